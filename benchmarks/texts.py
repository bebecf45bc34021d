"""The texts that are measured on: paragraphs that every machine with Python has, and questions."""

from __future__ import annotations

import random
from collections.abc import Sequence

TEXTS = 2_000
MEAN_TOKENS = 60
MOST_TOKENS = 256

QUESTIONS = (
    "how do I catch two exceptions at once",
    "sort a list of dictionaries by a key",
    "read a file line by line",
    "what does the with statement do",
    "difference between a list and a tuple",
    "run a function every ten seconds",
    "parse a date from a string",
    "count the words in a text",
    "make an HTTP server that serves a folder",
    "how are default arguments evaluated",
    "copy a folder with everything in it",
    "escape a string for a regular expression",
    "when is a variable local to a function",
    "merge two dictionaries",
    "send a signal to another process",
    "round a number to two digits",
    "write CSV with a header",
    "how does multiple inheritance find a method",
    "compress a file with gzip",
    "time how long a function takes",
)


def choose(lengths: Sequence[int], count: int = TEXTS, mean: int = MEAN_TOKENS) -> list[int]:
    """Positions of `count` texts of mixed length, evenly spread over all lengths, in a fixed random order.

    Of the short texts so many are left out that the mean is right.

    Raises:
        ValueError: There are too few texts, or too few long ones.
    """
    by_length = sorted(range(len(lengths)), key=lambda at: (lengths[at], at))
    total = sum(lengths)
    while by_length and total < mean * len(by_length):
        dropped = len(by_length) // 50 + 1
        total -= sum(lengths[at] for at in by_length[:dropped])
        by_length = by_length[dropped:]
    if len(by_length) < count:
        raise ValueError(f"{len(by_length)} texts have {mean} tokens on average; {count} are needed")
    chosen = [by_length[at * len(by_length) // count] for at in range(count)]
    random.Random(0).shuffle(chosen)
    return chosen


def paragraphs(count: int = TEXTS) -> tuple[list[str], list[int]]:
    """That many paragraphs of Python's documentation, and how many tokens of each all-MiniLM-L6-v2 reads."""
    from milvine import model
    from milvine.ingest import python_documents

    tokenizer = model.DefaultEmbeddingFunction(show_progress=False).tokenizer
    texts = list(dict.fromkeys(part for document in python_documents() for part in document.text.split("\n\n")))
    lengths = [min(len(encoding.ids), MOST_TOKENS) for encoding in tokenizer.encode_batch_fast(texts)]
    chosen = choose(lengths, count)
    return [texts[at] for at in chosen], [lengths[at] for at in chosen]
