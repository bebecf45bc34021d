"""What the functions over local models share: their checks, and the identity of a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from milvine.errors import InputError, ModelFileError, ModelUnavailableError

if TYPE_CHECKING:
    from milvine.local.encoder import LocalModel


def check_device(device: str, batch_size: int) -> None:
    """Refuse what the local models do not do.

    Raises:
        InputTypeError: `batch_size` is no integer.
        InputError: `device` is not the CPU, or `batch_size` is less than 1.
    """
    from milvine.local.engine import check_count

    if device not in ("cpu", ""):
        raise InputError(f'device must be "cpu", not {device!r}: this version of milvine runs on the CPU alone')
    check_count("batch_size", batch_size)


def identity_of(model: LocalModel) -> dict[str, Any]:
    """A model's name, revision and fingerprint; and where it lies, if it is a folder's."""
    spec = model.spec
    identity = {"model": spec.name, "revision": spec.revision, "fingerprint": model.fingerprint}
    return identity | ({"folder": str(spec.folder)} if spec.folder else {})


def name_in(identity: dict[str, Any]) -> str:
    """What to call a model by, to have it again: its name, or the path of its folder.

    Raises:
        UnknownModelError: This milvine's catalogue has no such model.
        ModelUnavailableError: The model's folder is gone.
    """
    from milvine.local.catalogue import find

    folder = identity.get("folder")
    if folder is None:
        return find(identity["model"]).name
    if not Path(folder).is_dir():
        raise ModelUnavailableError(
            f"the model {identity['model']} lay in {folder}, and there is no such folder now; put it back, or pass"
            f" {identity['function']}(PATH) with the folder where it lies"
        )
    return str(folder)


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
