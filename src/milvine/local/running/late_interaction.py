"""Late interaction (ColBERT): how queries and documents become tokens, and what the published files say of that.

Three libraries publish such models: Stanford's colbert-ai (an `artifact.metadata` beside the checkpoint, which holds
the projection), PyLate (its settings in `config_sentence_transformers.json`), and Sentence Transformers since 6.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from milvine.errors import ModelFileError
from milvine.local.building.architectures.base import check, check_switches
from milvine.local.reading.special_tokens import special_token
from milvine.local.running.tokenizer import TextTokenizer, Tokens

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PUNCTUATION = tuple(string.punctuation)
STANFORD_DIM = 128
"""Dimensions of a token's vector where a Stanford model does not say (colbert-ai's `DocSettings`)."""


@dataclass(frozen=True)
class LateInteraction:
    """How a model's queries and documents become tokens, and which of them have vectors.

    Attributes:
        query_length: Tokens of a query that are read, and the number that a query is filled up to.
        document_length: Tokens of a document that are read.
        query_marker: A token that is put after the first token of a query; empty for none.
        document_marker: The same for a document.
        expands: Whether queries are filled up with mask tokens, whose vectors count as any other's.
        attends: Whether the other tokens attend to these.
        expansion: The token that queries are filled up with; empty for the tokenizer's mask token.
        skipped: Tokens of a document that have no vector: punctuation.
        skips_unknown: Whether one of them that the tokenizer does not know stands for its unknown token.
        normalize: Whether vectors are scaled to length 1.
    """

    query_length: int
    document_length: int
    query_marker: str = ""
    document_marker: str = ""
    expands: bool = True
    attends: bool = False
    expansion: str = ""
    skipped: tuple[str, ...] = PUNCTUATION
    skips_unknown: bool = True
    normalize: bool = True


def of_stanford(metadata: Mapping[str, Any], source: str) -> LateInteraction:
    """What colbert-ai reads from an `artifact.metadata`; what is left out has its `ColBERTConfig`'s defaults.

    Raises:
        ModelFileError: A setting is of the wrong type, or not known here.
    """
    check_switches(source, metadata, similarity="cosine", interaction="colbert")
    return LateInteraction(
        query_length=_length(metadata, "query_maxlen", 32, source),
        document_length=_length(metadata, "doc_maxlen", 220, source),
        query_marker=_text(metadata, "query_token_id", "[unused0]", source),
        document_marker=_text(metadata, "doc_token_id", "[unused1]", source),
        attends=_switch(metadata, "attend_to_mask_tokens", False, source),
        skipped=PUNCTUATION if _switch(metadata, "mask_punctuation", True, source) else (),
    )


def of_pylate(settings: Mapping[str, Any], source: str) -> LateInteraction:
    """What PyLate reads from a `config_sentence_transformers.json`, with its defaults.

    Raises:
        ModelFileError: A setting is of the wrong type, or not known here.
    """
    expands = _switch(settings, "do_query_expansion", True, source)
    return LateInteraction(
        query_length=_length(settings, "query_length", 32, source),
        document_length=_length(settings, "document_length", 180, source),
        query_marker=_text(settings, "query_prefix", "[Q] ", source),
        document_marker=_text(settings, "document_prefix", "[D] ", source),
        expands=expands,
        attends=expands and _switch(settings, "attend_to_expansion_tokens", False, source),
        skipped=_words(settings, PUNCTUATION, source),
    )


def of_sentence_transformers(
    settings: Mapping[str, Any], mask: Mapping[str, Any], source: str, *, normalize: bool, max_length: int
) -> LateInteraction:
    """What Sentence Transformers 6 reads from the settings of its Transformer and its MultiVectorMask.

    Args:
        settings: The object of a `sentence_bert_config.json`.
        mask: The object of the mask's `config.json`.
        source: The path of the former.
        normalize: Whether a Normalize follows.
        max_length: Tokens of a text that are read where neither length is stated.

    Raises:
        ModelFileError: A setting is of the wrong type, or not known here.
    """
    expansion = settings.get("query_expansion") or {}
    is_known = isinstance(expansion, Mapping) and (not expansion or expansion.get("strategy") == "fixed")
    tasks = mask.get("skiplist_tasks", ["document"])
    check(
        source,
        (is_known, f"query_expansion is {expansion!r}; only one of the strategy 'fixed' is known here"),
        (tasks == ["document"], f"the mask's skiplist_tasks is {tasks!r}; only ['document'] is known here"),
        (not mask.get("keep_only_token_ids"), "the mask keeps only some token ids; that is not known here"),
    )
    query_length = _length(settings, "query_length", max_length, source)
    return LateInteraction(
        query_length=_length(expansion, "length", 0, source) if expansion else min(query_length, max_length),
        document_length=min(_length(settings, "document_length", max_length, source), max_length),
        expands=bool(expansion),
        attends=bool(expansion) and _switch(expansion, "attend", False, source),
        expansion=_text(expansion, "token", "", source),
        skipped=_words(mask, (), source),
        skips_unknown=False,
        normalize=normalize,
    )


class LateTokenizer:
    """Makes tokens of queries and documents.

    Args:
        tokenizer: The model's tokenizer.
        how: How they become tokens.
        special: The names of special tokens, as in `ModelSpec`.
        source: What errors call the tokenizer.

    Raises:
        ModelFileError: The tokenizer lacks a token that is needed.
    """

    def __init__(self, tokenizer: TextTokenizer, how: LateInteraction, special: Mapping[str, str], source: str) -> None:
        known = tokenizer.tokenizer
        self._tokenizer, self._how = tokenizer, how
        self._query_marker = _needed(known, how.query_marker, source) if how.query_marker else None
        self._document_marker = _needed(known, how.document_marker, source) if how.document_marker else None
        self._filler = _needed(known, how.expansion or special_token(known, special, "mask_token"), source) if (
            how.expands
        ) else None  # fmt: skip
        if (how.query_marker or how.document_marker) and not known.encode("").ids:
            raise ModelFileError(
                f"{source}'s tokenizer puts no special token before a text, where the marker would follow"
            )
        unknown = known.token_to_id(special_token(known, special, "unk_token")) if how.skips_unknown else None
        ids = {unknown if (found := known.token_to_id(word)) is None else found for word in how.skipped}
        self.skipped = frozenset(number for number in ids if number is not None)
        """The ids of tokens that have no vector in a document."""

    def queries(self, prompt: str, length: int) -> Callable[[Sequence[str]], list[Tokens]]:
        """Makes tokens of queries, of which `length` are read, a prompt before each."""

        def filled(tokens: Tokens) -> Tokens:
            count = length - len(tokens)
            if self._filler is None or count <= 0:
                return tokens
            return replace(
                tokens,
                ids=tokens.ids + [self._filler] * count,
                type_ids=tokens.type_ids + [0] * count,
                unattended=0 if self._how.attends else count,
            )

        return lambda texts: [filled(tokens) for tokens in self._marked(texts, prompt, length, self._query_marker)]

    def documents(self, prompt: str, length: int) -> Callable[[Sequence[str]], list[Tokens]]:
        """Makes tokens of documents, of which `length` are read, a prompt before each."""
        return lambda texts: self._marked(texts, prompt, length, self._document_marker)

    def _marked(self, texts: Sequence[str], prompt: str, length: int, marker: int | None) -> list[Tokens]:
        prompted = [prompt + text for text in texts] if prompt else texts
        found = self._tokenizer.texts_cut_to(length - (marker is not None), prompted)
        if marker is None:
            return found
        return [replace(each, ids=[each.ids[0], marker, *each.ids[1:]], type_ids=[0, *each.type_ids]) for each in found]


def _needed(tokenizer: Tokenizer, token: str, source: str) -> int:
    found = tokenizer.token_to_id(token)
    if found is None:
        raise ModelFileError(f"{source} has no token {token!r}, which the model's queries or documents need")
    return int(found)


def _length(settings: Mapping[str, Any], name: str, default: int, source: str) -> int:
    value = settings.get(name)
    value = default if value is None else value
    is_length = isinstance(value, int) and not isinstance(value, bool) and value > 3
    check(source, (is_length, f"{name} is {value!r}; it must be a whole number above 3"))
    return int(value)


def _text(settings: Mapping[str, Any], name: str, default: str, source: str) -> str:
    value = settings.get(name)
    value = default if value is None else value
    check(source, (isinstance(value, str), f"{name} is {value!r}; it must be a string"))
    return str(value)


def _switch(settings: Mapping[str, Any], name: str, default: bool, source: str) -> bool:
    value = settings.get(name)
    value = default if value is None else value
    check(source, (isinstance(value, bool), f"{name} is {value!r}; it must be true or false"))
    return bool(value)


def _words(settings: Mapping[str, Any], default: tuple[str, ...], source: str) -> tuple[str, ...]:
    value = settings.get("skiplist_words")
    value = list(default) if value is None else value
    are_words = isinstance(value, list) and all(isinstance(word, str) for word in value)
    check(source, (are_words, f"skiplist_words is {value!r}; it must be a list of strings"))
    return tuple(value)
