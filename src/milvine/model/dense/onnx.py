"""Ready ONNX files, on this machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from milvine.errors import InputError, ModelFileError, ModelUnavailableError, UnknownModelError
from milvine.local.options import LocalOptions, check_place
from milvine.local.reading.onnx_file import find_onnx_file
from milvine.model._dense import LocalDenseFunction
from milvine.model._local import check_fingerprint, check_identity

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

DEFAULT_MODEL = "GPTCache/paraphrase-albert-onnx"
DEFAULT_TOKENIZER = "GPTCache/paraphrase-albert-small-v2"


class OnnxEmbeddingFunction(LocalDenseFunction):
    """Dense vectors from a ready ONNX file.

    What the file takes and gives is read from it. A vector that it gives for a whole text is taken as it is; of what it
    gives for each token, the mean is taken, unless `modules.json` or `1_Pooling/config.json` beside the tokenizer say
    otherwise. A file that quantises as it runs has every text run alone, because results would depend on what else is
    in the batch.

    The default is that of `pymilvus.model`: an ALBERT for English with 768 dimensions.

    Args:
        model_name: The path of an ONNX file, or of a folder that holds one as transformers, Optimum and fastembed name
            it; or the id of a model on the Hugging Face hub, of which `model.onnx` is taken.
        tokenizer_name: The path of a folder that holds `tokenizer.json` and `config.json`, or the id of a model on the
            hub. By default the model's own: its folder or repository must have a `tokenizer.json` then. The name
            above is taken with the default model alone.
        batch_size: Taken for the sake of other functions' programs; see `batch_tokens`.
        query_instruction: Put before each query; by default what the tokenizer's folder says.
        doc_instruction: Put before each document; by default what the tokenizer's folder says.
        device: `"cpu"`, `"cuda"`, or `"cuda:1"` for the second CUDA device.
        normalize_embeddings: Scale vectors to length 1.
        truncate_dim: How many dimensions of a vector are kept, the first.
        output: As in `SentenceTransformerEmbeddingFunction`.
        **options: See `milvine.local.options.LocalOptions`; `folder` is not one of them.

    Raises:
        UnknownModelError: There is no such file or folder, and the name is no id.
        ModelUnavailableError: The hub cannot be asked, or has no such file.
        ModelFileError: The file is no ONNX file, or takes or gives what is not known here.
        InputError: An option has a value that is not allowed; `InputTypeError` if it is of the wrong type.
    """

    def __init__(
        self,
        model_name: str | Path = DEFAULT_MODEL,
        tokenizer_name: str | Path = DEFAULT_TOKENIZER,
        *,
        batch_size: int = 32,
        query_instruction: str = "",
        doc_instruction: str = "",
        device: str | None = "cpu",
        normalize_embeddings: bool = True,
        truncate_dim: int | None = None,
        output: str = "float32",
        **options: Unpack[LocalOptions],
    ) -> None:
        from milvine.local.reading.folder import read_folder

        if options.get("folder") is not None:
            raise InputError("folder= is not for an ONNX file; model_name is its path, or its folder's")
        check_place("model_name", model_name)
        check_place("tokenizer_name", tokenizer_name)
        file = _onnx_file(model_name, options.get("revision"))
        beside = file.parent if file.parent.name != "onnx" else file.parent.parent
        if tokenizer_name != DEFAULT_TOKENIZER:
            self._tokenizer_folder = _tokenizer_folder(tokenizer_name, None)
        elif (beside / "tokenizer.json").is_file():
            self._tokenizer_folder = beside
        elif model_name == DEFAULT_MODEL:
            self._tokenizer_folder = _tokenizer_folder(DEFAULT_TOKENIZER, None)
        elif Path(model_name).expanduser().exists():
            raise ModelFileError(
                f"{beside} holds no tokenizer.json, which is how texts become tokens here; put the model's there, or"
                " pass tokenizer_name= with the folder that holds it"
            )
        else:
            self._tokenizer_folder = _tokenizer_folder(str(model_name), options.get("revision"))
        self._file = file
        spec = replace(
            read_folder(self._tokenizer_folder, "dense", file.absolute()), name=beside.name, folder=beside.absolute()
        )
        super().__init__(
            spec,
            batch_size,
            query_instruction,
            doc_instruction,
            device,
            normalize_embeddings,
            truncate_dim,
            output,
            **options,
        )

    def identity(self) -> dict[str, Any]:
        """The file's name and fingerprint, and every option that changes vectors.

        Where the file and its tokenizer lie is named, too; it changes no vector.
        """
        places = {"file": str(self._file.absolute()), "tokenizer": str(self._tokenizer_folder)}
        return super().identity() | {"folder": places}

    @classmethod
    def from_identity(cls, identity: dict[str, Any]) -> Self:
        """The function that has this identity.

        Raises:
            UnknownModelError: The file is gone.
            ModelFileError: It is another file now.
            InputError: It is no identity, or another function's.
        """
        check_identity(cls.__name__, identity)
        names = ("query_instruction", "doc_instruction", "max_length", "quantize", *cls.SETTINGS)
        places = identity["folder"]
        made = cls(places["file"], places["tokenizer"], **{name: identity[name] for name in names})
        check_fingerprint(made._model, identity | {"folder": places["file"]})
        return made


def _onnx_file(name: str | Path, revision: str | None) -> Path:
    path = Path(name).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        found = find_onnx_file(path)
        if found is None:
            raise ModelFileError(f"{path} holds no ONNX file, such as model.onnx or onnx/model.onnx")
        return found
    return _from_hub(str(name), revision, "model.onnx")


def _tokenizer_folder(name: str | Path, revision: str | None) -> Path:
    path = Path(name).expanduser()
    if path.is_dir():
        return path.absolute()
    if path.is_file():
        raise ModelFileError(f"tokenizer_name is a file, {path}; pass the folder that holds it: {path.parent}")
    config = _from_hub(str(name), revision, "config.json")
    return _from_hub(str(name), config.parent.name, "tokenizer.json").parent


def _from_hub(repo: str, revision: str | None, file: str) -> Path:
    """One file of a repository of the hub, in the Hugging Face cache.

    Raises:
        UnknownModelError: `repo` is no id.
        ModelUnavailableError: The file is not in the cache, and the hub cannot be asked or does not have it.
    """
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache

    from milvine.local.finding.hub import is_hub_id
    from milvine.local.finding.sources import (
        HUB_TOTAL_SECONDS,
        SourceError,
        authorization,
        hub_endpoint,
        probe,
        why_offline,
    )

    if not is_hub_id(repo):
        raise UnknownModelError(
            f"There is no file or folder {repo!r}, and it is no id of a model on the hub (owner/name). Models of the"
            " catalogue are run by SentenceTransformerEmbeddingFunction."
        )
    held = try_to_load_from_cache(repo, file, constants.HF_HUB_CACHE, revision)
    if isinstance(held, str):
        return Path(held)
    advice = "pass the path of a folder that holds it"
    if why := why_offline(None):
        raise ModelUnavailableError(f"{file} of {repo} is not in the Hugging Face cache, and {why}; {advice}.")
    try:
        probe(f"{hub_endpoint()}/api/models/{repo}", authorization())
        at = hf_hub_download(repo, file, revision=revision, endpoint=hub_endpoint(), etag_timeout=HUB_TOTAL_SECONDS)
    except SourceError as error:
        raise ModelUnavailableError(f"{file} of {repo} cannot be had of the hub: {error}; {advice}.") from error
    except Exception as error:  # huggingface_hub's transport, and so its errors, differ by its version
        why = str(error).strip().partition("\n")[0]
        raise ModelUnavailableError(f"{file} of {repo} cannot be had of the hub: {why}; {advice}.") from error
    return Path(at)
