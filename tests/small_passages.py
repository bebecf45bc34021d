"""A function of a user's own making whose tokens are words: what the tests split texts by."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from small_functions import HashedWords


class CountedWords(HashedWords):
    """`HashedWords` that reads ten tokens of a text: `[CLS]`, eight words or marks, and `[SEP]`."""

    max_length = 10
    doc_instruction = ""

    def count_tokens(self, documents: Iterable[str]) -> list[int]:
        return [len(self.tokenizer.encode(f"{self.doc_instruction} {document}")) for document in documents]

    @property
    def tokenizer(self) -> Any:
        from tokenizers import Tokenizer, models, pre_tokenizers, processors

        tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "[CLS]": 1, "[SEP]": 2}, unk_token="[UNK]"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
        return tokenizer


def words(first: int, end: int) -> str:
    """A text of one word a number."""
    return " ".join(f"w{number}" for number in range(first, end))
