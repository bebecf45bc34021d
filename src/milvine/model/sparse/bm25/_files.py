"""Files that are replaced in one step."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from milvine.errors import InputError


def replace_file(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file; whoever reads it finds the old content or the new.

    Raises:
        InputError: The folder does not exist, or `path` is a folder.
        OSError: The file cannot be written; what was there before is still there.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise InputError(f"Cannot save to {target}: the folder {target.parent} does not exist; create it first")
    if target.is_dir():
        raise InputError(f"Cannot save to {target}: it is a folder; name a file in it")
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
