"""What the functions over local models share: their options, their checks, and the identity of a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from milvine._texts import as_text, as_texts
from milvine.errors import InputError, ModelFileError, ModelUnavailableError
from milvine.local.options import LocalOptions, check_options
from milvine.local.running.devices import check_device
from milvine.local.running.tokenizer import check_unicode
from milvine.model.base import BaseEmbeddingFunction, Vectors
from milvine.types import Truncation

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from typing_extensions import Self, Unpack

    from milvine.local.encoder import LocalModel
    from milvine.local.running.torch_models import TorchModel
    from milvine.local.spec import ModelSpec


def local_model(
    name: str | Path | ModelSpec, task: str, device: str | None, batch_size: int, options: LocalOptions
) -> LocalModel:
    """A model on this machine, with the arguments that all functions over one have.

    Raises:
        MilvineError: As `LocalModel`, or with `backend="torch"` as `TorchModel`; and `InputTypeError` for an option
            that there is not.
    """
    check_device(device, batch_size)
    check_options(options)
    if options.get("backend") == "torch":
        return cast("LocalModel", _torch_model(name, task, device, batch_size, options))  # it does what LocalModel does
    from milvine.local.encoder import LocalModel

    others: dict[str, Any] = {option: value for option, value in options.items() if option != "backend"}
    return LocalModel(name, task, device=device, **others)


def _torch_model(
    name: str | Path | ModelSpec, task: str, device: str | None, batch_size: int, options: LocalOptions
) -> TorchModel:
    from milvine.local.running.torch_models import TorchModel

    if not isinstance(name, (str, Path)):
        raise InputError(f'backend="torch" is not for {name.name}, which is run by onnxruntime')
    return TorchModel(name, task, device=device, batch_size=batch_size, options=options)


def one_device(device: str | None, devices: str | Sequence[str] | None) -> str | None:
    """The device of FlagEmbedding's two ways to name it.

    Raises:
        InputError: Several are named.
    """
    if devices is None:
        return device
    listed = [devices] if isinstance(devices, str) else list(devices)
    if len(listed) != 1:
        raise InputError(f"devices must name one device, not {devices!r}; use a function for each")
    return listed[0]


class LocalEmbeddingFunction(BaseEmbeddingFunction[Vectors]):
    """An embedding function over a model on this machine.

    A subclass says its task and which of its arguments are settings: those that change vectors, and that it keeps as
    attributes of the same names.
    """

    TASK: ClassVar[str]
    SETTINGS: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        model_name: str | Path | ModelSpec,
        batch_size: int,
        query_instruction: str,
        doc_instruction: str,
        device: str | None,
        /,
        **options: Unpack[LocalOptions],
    ) -> None:
        for what, instruction in (("query_instruction", query_instruction), ("doc_instruction", doc_instruction)):
            check_unicode(as_text(instruction, what), what)
        self._model = local_model(model_name, self.TASK, device, batch_size, options)
        spec = self._model.spec
        self.model_name = spec.name
        self.query_instruction = query_instruction or spec.query_prompt
        self.doc_instruction = doc_instruction or spec.document_prompt

    @property
    def dim(self) -> Any:
        """The number of dimensions of a vector."""
        return self._model.dim

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer, a `tokenizers.Tokenizer` that neither cuts nor pads."""
        return self._model.tokenizer.tokenizer

    @property
    def max_length(self) -> int:
        """Tokens of a text that are read, special tokens included."""
        return self._model.max_length

    @property
    def truncation(self) -> Truncation:
        """How many texts were longer than `max_length` since this function was made, and how many tokens they lost."""
        return self._model.truncation

    def count_tokens(self, documents: Iterable[str]) -> list[int]:
        """How many tokens each document has, special ones and the instruction's included.

        Those above `max_length` are not read.

        Raises:
            InputTypeError: `documents` is a bare string, or holds something that is no string.
        """
        return self._model.count_tokens(as_texts(documents, "documents"), prompt=self.doc_instruction)

    def identity(self) -> dict[str, Any]:
        """The model's name, revision and fingerprint, and every option that changes its vectors.

        For the model of a folder, the weights are read to make the fingerprint, and the folder is named; where it lies
        changes no vector.
        """
        return {
            "function": type(self).__name__,
            **identity_of(self._model),
            "dim": self.dim,
            "max_length": self.max_length,
            "query_instruction": self.query_instruction,
            "doc_instruction": self.doc_instruction,
            **{name: getattr(self, name) for name in self.SETTINGS},
        }

    @classmethod
    def from_identity(cls, identity: dict[str, Any]) -> Self:
        """The function that has this identity.

        Raises:
            UnknownModelError: This milvine's catalogue has no such model.
            ModelUnavailableError: The model's folder is gone.
            ModelFileError: The folder holds another model now.
            InputError: It is no identity, or another function's.
        """
        check_identity(cls.__name__, identity)
        options = ("revision", "max_length", "quantize", "backend")
        settings = (*options, "query_instruction", "doc_instruction", *cls.SETTINGS)
        given = {name: identity[name] for name in settings if name in identity}
        make: Any = cls  # subclasses have other arguments
        made: Self = make(name_in(identity), **given, **folder_in(identity))
        check_fingerprint(made._model, identity)
        return made


def check_identity(function: str, identity: dict[str, Any]) -> None:
    """Refuse what is no identity of a function of this name.

    Raises:
        InputError: It is another function's, or names no model.
    """
    if not isinstance(identity, dict) or not isinstance(identity.get("model"), str):
        raise InputError(f"{identity!r} is no identity; pass what identity() of a {function} gave")
    if identity.get("function") != function:
        raise InputError(f"this is the identity of {identity.get('function')!r}, not of {function}; use that function")


def identity_of(model: LocalModel) -> dict[str, Any]:
    """A model's name, revision and fingerprint, how it is run, and where it lies, if it is a folder's."""
    spec = model.spec
    identity = {
        "model": spec.name,
        "revision": spec.revision,
        "fingerprint": model.fingerprint,
        "quantize": model.quantize,
    }
    if backend := getattr(model, "backend", None):
        identity["backend"] = backend
    return identity | ({"folder": str(spec.folder)} if spec.folder else {})


def name_in(identity: dict[str, Any]) -> str:
    """What to call a model by, to have it again: its name, its hub id, or the path of its folder.

    Raises:
        UnknownModelError: This milvine's catalogue has no such model, and it is no hub id.
        ModelUnavailableError: The model's folder is gone.
    """
    from milvine.local.finding.catalogue import find
    from milvine.local.finding.hub import is_hub_id

    folder, model = identity.get("folder"), identity["model"]
    if folder is None or folder_in(identity):
        return str(model) if is_hub_id(model) else find(model).name
    if not Path(folder).is_dir():
        raise ModelUnavailableError(
            f"the model {identity['model']} lay in {folder}, and there is no such folder now; put it back, or pass"
            f" {identity['function']}(PATH) with the folder where it lies"
        )
    return str(folder)


def folder_in(identity: dict[str, Any]) -> dict[str, str]:
    """The option that says where the files lie of a model that has a name of its own, not its folder's."""
    folder = identity.get("folder")
    if folder is None or Path(folder).name == identity["model"] or not Path(folder).is_dir():
        return {}
    return {"folder": str(folder)}


def check_fingerprint(model: LocalModel, identity: dict[str, Any]) -> None:
    """Refuse the model of a folder whose weights are others now.

    Raises:
        ModelFileError: They are.
    """
    if "folder" in identity and model.fingerprint != identity["fingerprint"]:
        raise ModelFileError(
            f"the weights in {identity['folder']} are not those of {identity['model']} any more: their fingerprint is"
            f" {model.fingerprint}, and was {identity['fingerprint']}"
        )
