"""Texts to token ids, through the model's own `tokenizer.json`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from milvine.errors import InputError, ModelFileError

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

HEAD = 8
"""Characters of a text that are tokenized first, for each token that may be kept."""

_WORD_END = re.compile(r"(?<=[^ \t\n\r])[ \t\n\r]")


@dataclass(frozen=True)
class Tokens:
    """One text, or one pair of texts, as a model takes it.

    Attributes:
        ids: Token ids.
        type_ids: Their types.
        lost: How many tokens it had too many, and lost; of a text of which only the head was tokenized, an estimate.
        unpooled: How many tokens at its head take no part in pooling.
        unattended: How many tokens at its end no token attends to.
    """

    ids: list[int]
    type_ids: list[int]
    lost: int = 0
    unpooled: int = 0
    unattended: int = 0

    def __len__(self) -> int:
        return len(self.ids)


class TextTokenizer:
    """Tokenizes texts and pairs, cut to a maximum length and never padded.

    Of a long text only the head is tokenized, up to the end of a word; the rest, where it is needed to fill
    `max_length`. That costs neither time nor memory for what is thrown away, and changes no token that is kept.

    Args:
        path: A `tokenizer.json`. Its own padding and truncation are ignored: published ones often carry those of
            the training run.
        max_length: Tokens a text may have, special tokens included.
        lowercase: Whether texts are put into lower case before anything else is done to them.

    Raises:
        ModelFileError: The file is missing or no tokenizer.
    """

    def __init__(self, path: Path, max_length: int, *, lowercase: bool = False) -> None:
        from tokenizers import Tokenizer, normalizers

        try:
            self.tokenizer: Tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises bare Exception
            raise ModelFileError(f"{path} is not a usable tokenizer.json: {error}") from error
        self.max_length = max_length
        if lowercase:
            others = [self.tokenizer.normalizer] if self.tokenizer.normalizer else []
            self.tokenizer.normalizer = normalizers.Sequence([normalizers.Lowercase(), *others])
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()  # its truncation of two long texts takes memory that grows with their product
        self._one = _layout(self.tokenizer.encode("a"))
        self._two = _layout(self.tokenizer.encode("a", "a"))
        if [sum(text is not None for text, _, _ in layout) for layout in (self._one, self._two)] != [1, 2]:
            raise ModelFileError(f"{path} gives no token for the text 'a', so it cannot serve this model")

    def texts(self, texts: Sequence[str]) -> list[Tokens]:
        """The tokens of texts.

        Raises:
            InputError: A text holds half of a surrogate pair.
        """
        return self.texts_cut_to(self.max_length, texts)

    def texts_cut_to(self, max_length: int, texts: Sequence[str]) -> list[Tokens]:
        """The tokens of texts that may have another number of tokens.

        Raises:
            InputError: A text holds half of a surrogate pair.
        """
        room = max_length - (len(self._one) - 1)
        found = self._ids(texts, max_length)
        return [_join(self._one, [ids[:room]], max(0, len(ids) + beyond - room)) for ids, beyond in found]

    def count(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has in full, special ones included.

        Raises:
            InputError: A text holds half of a surrogate pair.
        """
        return [len(ids) + len(self._one) - 1 for ids in self._encode(list(texts))]

    def prompt_length(self, prompt: str) -> int:
        """How many tokens stand at the head of every text that begins with `prompt`, special ones included.

        Raises:
            InputError: It holds half of a surrogate pair.
        """
        (tokens,) = self.texts([prompt])
        ends_specially = self._one[-1][0] is None
        return len(tokens) - ends_specially

    def pairs(self, first: str, seconds: Sequence[str], first_length: int | None = None) -> list[Tokens]:
        """The tokens of `first` joined with each of `seconds`; of a pair too long, the longer text loses its end.

        Of two texts that both fill more than half of `max_length`, each keeps half; an odd token goes to the longer
        one, or to either where both go beyond their heads.

        Args:
            first: The one text.
            seconds: The others.
            first_length: Tokens of `first` that are kept, without special ones; then only the other text is cut.

        Raises:
            InputError: A text holds half of a surrogate pair.
        """
        room = self.max_length - (len(self._two) - 2)
        ((one, beyond_one),) = self._ids([first], self.max_length)
        pairs = []
        for two, beyond_two in self._ids(seconds, self.max_length):
            if first_length is None:
                kept_one, kept_two = _share(len(one), len(two), room)
            else:
                kept_one = min(len(one), first_length, room)
                kept_two = min(len(two), room - kept_one)
            lost = len(one) - kept_one + beyond_one + len(two) - kept_two + beyond_two
            pairs.append(_join(self._two, [one[:kept_one], two[:kept_two]], lost))
        return pairs

    def _ids(self, texts: Sequence[str], length: int) -> list[tuple[list[int], int]]:
        """Each text's tokens, without special ones: all, or more than `length` and about how many follow."""
        heads = [_head(text, HEAD * length) for text in texts]
        found = []
        for text, head, ids in zip(texts, heads, self._encode(heads), strict=True):
            if len(head) == len(text):
                found.append((ids, 0))
            elif len(ids) > length:
                found.append((ids, round((len(text) - len(head)) * len(ids) / len(head))))
            else:
                found.append((self._encode([text])[0], 0))
        return found

    def _encode(self, texts: list[str]) -> list[list[int]]:
        for text in texts:
            check_unicode(text)  # some releases of tokenizers refuse it with a bare TypeError, some replace it
        return [encoding.ids for encoding in self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)]


def _layout(encoding: Encoding) -> list[tuple[int | None, int, int]]:
    """How texts stand among special tokens: (the text's number, or None; the special token's id; the type id)."""
    layout: list[tuple[int | None, int, int]] = []
    for part in zip(encoding.sequence_ids, encoding.ids, encoding.type_ids, strict=True):
        if part[0] is None or all(part[0] != text for text, _, _ in layout):
            layout.append(part)
    return layout


def _join(layout: list[tuple[int | None, int, int]], texts: list[list[int]], lost: int) -> Tokens:
    ids: list[int] = []
    type_ids: list[int] = []
    for text, special, type_id in layout:
        part = [special] if text is None else texts[text]
        ids += part
        type_ids += [type_id] * len(part)
    return Tokens(ids, type_ids, lost)


def _share(first: int, second: int, room: int) -> tuple[int, int]:
    """How many tokens two texts keep: the longer one is cut first, as tokenizers' "longest_first" does."""
    if first + second <= room:
        return first, second
    shorter = min(first, second, room // 2)
    return (room - shorter, shorter) if first > second else (shorter, room - shorter)


def _head(text: str, limit: int) -> str:
    """The text up to the end of the first word that ends after `limit` characters."""
    end = _WORD_END.search(text, limit) if len(text) > limit else None
    return text[: end.start()] if end else text


def check_unicode(text: str, what: str = "a text") -> None:
    """Refuse a text that no encoding can write.

    Raises:
        InputError: It holds half of a surrogate pair.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{what} holds half of a surrogate pair ({text[error.start]!a} at character {error.start} of"
            f" {text[:40]!a}); replace or remove it, for example with text.encode(errors='replace').decode()"
        ) from error
