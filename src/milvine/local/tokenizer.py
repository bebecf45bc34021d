"""Texts to token ids, through the model's own `tokenizer.json`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from milvine.errors import ModelFileError, TruncationWarning

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer


@dataclass(frozen=True)
class Tokens:
    """One text, or one pair of texts, as a model takes it."""

    ids: list[int]
    type_ids: list[int]

    def __len__(self) -> int:
        return len(self.ids)


class TextTokenizer:
    """Tokenizes texts and pairs, cut to a maximum length and never padded.

    Args:
        path: A `tokenizer.json`. Its own padding and truncation are ignored: published ones often carry those of
            the training run.
        max_length: Tokens a text may have, special tokens included.

    Raises:
        ModelFileError: The file is missing or no tokenizer.
    """

    def __init__(self, path: Path, max_length: int) -> None:
        from tokenizers import Tokenizer

        try:
            self.tokenizer: Tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises bare Exception
            raise ModelFileError(f"{path} is not a usable tokenizer.json: {error}") from error
        self.max_length = max_length
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(max_length)
        self._warned = False

    def texts(self, texts: Sequence[str]) -> list[Tokens]:
        """The tokens of texts; says once, as a `TruncationWarning`, if some were too long."""
        return self._tokens(self.tokenizer.encode_batch_fast(list(texts)))

    def pairs(self, first: str, seconds: Sequence[str]) -> list[Tokens]:
        """The tokens of `first` joined with each of `seconds`; of a pair too long, the longer text loses its end."""
        return self._tokens(self.tokenizer.encode_batch_fast([(first, second) for second in seconds]))

    def _tokens(self, encodings: list[Encoding]) -> list[Tokens]:
        cut = [encoding for encoding in encodings if encoding.overflowing]
        if cut and not self._warned:
            self._warned = True
            lost = sum(len(part.ids) - sum(part.special_tokens_mask) for text in cut for part in text.overflowing)
            warnings.warn(
                f"{len(cut)} of {len(encodings)} texts are longer than the model's {self.max_length} tokens and lost"
                f" their ends ({lost} tokens in all); split them into passages to keep all of them",
                TruncationWarning,
                stacklevel=2,
            )
        return [Tokens(encoding.ids, encoding.type_ids) for encoding in encodings]
