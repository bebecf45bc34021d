"""Texts in number, of words as they are spread in real ones: many that occur once, few that occur everywhere."""

from __future__ import annotations

import ast
import random
import sysconfig
from collections import Counter
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path

SHORTEST, MEAN, LONGEST = 20, 40, 60
_ENDINGS = ("", "", "", "", "", "", ",", ".")


def passages(count: int) -> list[str]:
    """That many texts of 20 to 60 words, the same on every machine with the same version of Python.

    The words, marks and all, are those of the standard library's docstrings, and ever more that are made of theirs: see
    `grow`.
    """
    rng = random.Random(0)
    lengths = [rng.randint(SHORTEST, LONGEST) for _ in range(count)]
    words = grow(docstring_words(), sum(lengths), seed=1)
    texts, at = [], 0
    for length in lengths:
        texts.append(" ".join(words[at : at + length]))
        at += length
    return texts


def collected_passages(folders: Sequence[Path], count: int) -> list[str]:
    """That many texts of 40 words, out of the documents of BEIR test collections, in a fixed random order.

    Where the documents have fewer, their texts come again.
    """
    from milvine.evaluate import load_beir

    texts = []
    for folder in folders:
        for document in load_beir(folder).documents:
            words = document.text.split()
            texts += [" ".join(words[at : at + MEAN]) for at in range(0, len(words) - MEAN // 2, MEAN)]
    random.Random(0).shuffle(texts)
    return list(islice(cycle(texts), count))


def docstring_words() -> list[str]:
    """The words of the docstrings of the standard library's modules, functions and classes, in their order."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    words: list[str] = []
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, kinds):
                words += (ast.get_docstring(node) or "").split()
    return words


def grow(source: Sequence[str], count: int, seed: int) -> list[str]:
    """That many more words, as if a text that began with `source` went on.

    Each is one of the words so far, at random, or a new one, with a probability of `d * distinct / all`, where `d` is
    the share of the distinct words that occur once in `source`. So the number of distinct words grows as the `d`-th
    power of the text's length, which is Heaps' law, and their frequencies keep falling as in Zipf's (H. A. Simon, "On a
    Class of Skew Distribution Functions", Biometrika 42, 1955). A new word is half of one and half of another.
    """
    rng = random.Random(seed)
    counts = Counter(source)
    once = sum(number == 1 for number in counts.values()) / len(counts)
    plain = [word for word in counts if word.isalpha() and word.isascii() and len(word) > 3]
    known, words = set(counts), list(source)
    for _ in range(count):
        if rng.random() * len(words) < once * len(known):
            word = _new_word(plain, known, rng)
            known.add(word)
        else:
            word = words[int(rng.random() * len(words))]
        words.append(word)
    return words[len(source) :]


def _new_word(plain: Sequence[str], known: set[str], rng: random.Random) -> str:
    while True:
        left, right = rng.choice(plain), rng.choice(plain)
        word = left[: (len(left) + 1) // 2] + right[len(right) // 2 :] + rng.choice(_ENDINGS)
        if word not in known:
            return word
