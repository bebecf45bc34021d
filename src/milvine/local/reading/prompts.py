"""What is put before queries and before documents, by Sentence Transformers' settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from milvine.local.building.architectures.base import check
from milvine.local.reading.json_files import read_optional_json

_DOCUMENT_PROMPTS = ("document", "passage", "corpus")


def read_prompts(path: Path) -> tuple[str, str]:
    """What is put before queries and documents, by a `config_sentence_transformers.json`; see `choose_prompts`.

    Raises:
        ModelFileError: Its prompts are no strings.
    """
    return choose_prompts(read_optional_json(path), str(path))


def choose_prompts(settings: Mapping[str, Any], source: str) -> tuple[str, str]:
    """What is put before queries and documents, by Sentence Transformers' settings, which come from `source`.

    A model that has no prompts under these names was trained with its default prompt, if it has one, for all texts.

    Raises:
        ModelFileError: The prompts are no strings.
    """
    prompts = settings.get("prompts") or {}
    is_texts = isinstance(prompts, dict) and all(isinstance(text, str | None) for text in prompts.values())
    check(source, (is_texts, f"prompts is {prompts!r}; it must be an object of strings"))
    default = prompts.get(settings.get("default_prompt_name")) or ""
    given = [prompts[name] for name in _DOCUMENT_PROMPTS if name in prompts]
    document = next((text for text in given if text), "" if given else default)
    return prompts.get("query", default) or "", document
