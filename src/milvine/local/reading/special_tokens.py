"""What a tokenizer calls its special tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer

USUAL = {
    "cls_token": ("<s>", "[CLS]"),
    "eos_token": ("</s>",),
    "pad_token": ("<pad>", "[PAD]"),
    "unk_token": ("<unk>", "[UNK]"),
    "mask_token": ("<mask>", "[MASK]"),
}
"""What XLM-RoBERTa and BERT call them: taken where a tokenizer's files name none."""


def read_special_tokens(config: Mapping[str, Any]) -> dict[str, str]:
    """The names that a `tokenizer_config.json` has for special tokens, by their kind, such as `"mask_token"`."""
    named = {}
    for kind in USUAL:
        given = config.get(kind)
        given = given.get("content") if isinstance(given, Mapping) else given
        if isinstance(given, str):
            named[kind] = given
    return named


def special_token(tokenizer: Tokenizer, named: Mapping[str, str], kind: str) -> str:
    """The special token of a kind: the one that is named, else the usual one that the tokenizer knows; else empty."""
    known = (token for token in USUAL[kind] if tokenizer.token_to_id(token) is not None)
    return named.get(kind) or next(known, "")


def special_ids(tokenizer: Tokenizer, named: Mapping[str, str], *kinds: str) -> frozenset[int]:
    """The ids of the special tokens of these kinds, as far as there are any."""
    found = (tokenizer.token_to_id(special_token(tokenizer, named, kind)) for kind in kinds)
    return frozenset(int(number) for number in found if number is not None)
