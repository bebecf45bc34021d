from __future__ import annotations

import random
import string
import sys

import numpy as np
import pytest

from milvine.analysis import LANGUAGES, get_analyzer
from milvine.analysis.pieces import Cutter, PieceCache
from milvine.analysis.vocabulary import Vocabulary

SPACES = [chr(point) for point in range(sys.maxunicode + 1) if chr(point).isspace()]


def texts_of(seed: int, n: int = 200) -> list[str]:
    """Texts with every kind of white space, NUL, lone surrogates, and pieces around the sizes where keys change."""
    chance = random.Random(seed)  # noqa: S311
    letters = ["a", "b", "é", "東", "\0", "\x7f", "\ud800", "🙂", "-", "Z"]
    pieces = ["".join(chance.choices(letters, k=size)) for size in (*range(1, 18), 24, 70) for _ in range(4)]
    pieces += ["a" * size for size in range(1, 40)] + ["a" * size + "\0" for size in range(1, 20)]
    return [
        chance.choice(["", *SPACES])
        + "".join(chance.choice(pieces) + "".join(chance.choices(SPACES, k=chance.randint(1, 3))) for _ in range(count))
        for count in (chance.randrange(20) for _ in range(n))
    ]


def as_split(texts: list[str]) -> list[str]:
    return [piece for text in texts for piece in text.split()]


def test_pieces_are_those_of_split() -> None:
    for texts in (texts_of(0), ["", " ", "\n"], [], ["a"], [" a\x1cb\x85c "], ["x" * 100_000, "y"]):
        pieces = Cutter()(texts)
        found = [piece.decode("utf-8", "surrogatepass") for piece in pieces.at(np.arange(len(pieces)))]
        assert found == as_split(texts)
        assert pieces.counts.tolist() == [len(text.split()) for text in texts]


def test_more_separators_and_edges() -> None:
    texts = ["a-b,c (d)", "", "...", "'x.' .....y..... é-è, 'é'", "1,000-2"]
    pieces = Cutter("-()", ".,'")(texts)
    found = [piece.decode() for piece in pieces.at(np.arange(len(pieces)))]
    # Four characters at most are taken off either end.
    assert found == ["a", "b,c", "d", "x", ".y.", "é", "è", "é", "1,000", "2"]
    assert pieces.counts.tolist() == [3, 0, 0, 5, 2]


def test_the_cache_gives_what_was_put_and_nothing_else() -> None:
    cache = PieceCache()
    texts = texts_of(1)
    pieces, listed = Cutter()(texts), as_split(texts)
    numbers = {piece: number for number, piece in enumerate(dict.fromkeys(listed))}
    assert not cache.get(pieces)[1].any()
    half = np.arange(0, len(pieces), 2)
    cache.put(pieces, half, np.array([numbers[listed[at]] for at in half], dtype=np.int32))
    found, here = cache.get(pieces)
    put = {listed[at] for at in half}
    for at, piece in enumerate(listed):
        if here[at]:
            assert piece in put
            assert found[at] == numbers[piece]
    # Of what is short nearly all is there: two pieces share a place now and then.
    short = [at for at, piece in enumerate(listed) if piece in put and len(piece.encode("utf-8", "surrogatepass")) < 16]
    assert here[short].mean() > 0.95
    cache.remove(pieces)
    assert not cache.get(pieces)[1].any()


class Counting:
    """An analyzer that has `terms_of`, and counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, text: str) -> list[str]:
        return [term for terms in self.terms_of(text.split()) for term in terms]

    def terms_of(self, pieces: list[str]) -> list[list[str]]:
        """Nothing for "-", two terms for what has a hyphen, else one."""
        self.asked += pieces
        return [[part for part in piece.lower().split("-") if part] for piece in pieces]


class Plain:
    """The same without `terms_of`."""

    def __call__(self, text: str) -> list[str]:
        return Counting()(text)


@pytest.mark.parametrize("seed", range(5))
def test_both_ways_of_numbering_agree(seed: int) -> None:
    by_pieces, by_texts = Vocabulary(Counting()), Vocabulary(Plain())
    chance = random.Random(seed)  # noqa: S311
    for step in range(12):
        texts, grow = texts_of(seed * 100 + step, chance.randrange(40)), chance.random() < 0.5
        ids, lengths = by_pieces.number(texts, grow=grow)
        expected_ids, expected_lengths = by_texts.number(texts, grow=grow)
        assert ids.tolist() == expected_ids.tolist()
        assert lengths.tolist() == expected_lengths.tolist()
        assert list(by_pieces.numbers.items()) == list(by_texts.numbers.items())
        terms = list(by_pieces.numbers)
        assert [terms[at] if at >= 0 else None for at in ids.tolist()] == [
            term if term in by_pieces.numbers else None for text in texts for term in Plain()(text)
        ]


def test_a_piece_is_analyzed_once_while_it_is_kept() -> None:
    analyzer = Counting()
    vocabulary = Vocabulary(analyzer)
    for grow in (True, False, True, False):
        vocabulary.number(["The cat", "cat-and-dog The"], grow=grow)
    assert analyzer.asked == ["The", "cat", "cat-and-dog"]
    # What was unknown is asked for again once it may have a number.
    vocabulary.number(["zebra"], grow=False)
    assert vocabulary.number(["zebra cat"], grow=True)[0].tolist() == [4, 1]
    assert analyzer.asked == ["The", "cat", "cat-and-dog", "zebra", "zebra"]


def test_more_pieces_than_are_kept() -> None:
    vocabulary = Vocabulary(Counting())
    texts = [" ".join(f"w{number}" for number in range(start, start + 50_000)) for start in range(0, 400_000, 50_000)]
    for text in texts:
        vocabulary.number([text], grow=True)
    assert len(vocabulary) == 400_000
    for place in (0, 7, 3):
        ids, lengths = vocabulary.number([texts[place]])
        assert ids.tolist() == list(range(place * 50_000, (place + 1) * 50_000))
        assert lengths.tolist() == [50_000]


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_analyzer_gives_many_pieces_the_terms_that_it_gives_one(code: str) -> None:
    pieces = (
        as_split(texts_of(3))
        + (
            "The the THE, Cells' well-known Wnt1::Flpe, 2D 3/4 DNA/RNA a--b -x- U.S. C++ don't l'homme Ankara'nın"
            " getHTTP_x maxLength 3,520,031 Straße I İstanbul ΣΟΦΟΣ ёлка 東京都のcafé naïve ไทย 한국어 हिन्दी كتاب "
            + "ab"
            * 100
        ).split()
    )
    analyzer = get_analyzer(code)
    assert [list(terms) for terms in analyzer.terms_of(pieces)] == [analyzer(piece) for piece in pieces]


@pytest.mark.parametrize("code", LANGUAGES)
def test_terms_are_those_of_the_whole_text_wherever_it_is_cut(code: str) -> None:
    analyzer = get_analyzer(code)
    vocabulary = Vocabulary(analyzer)
    words = (
        "the don't l'homme qu'il Ankara'nın İstanbul'da C++ U.S. 1,000 3.11 os.path max_length MAX_LENGTH_2 _x_ x.y_z"
    )
    parts = [*string.printable, *"éßİ\u0301\u00ad漢カ한ไ٣，’", *words.split(), "maxLengthOf", "22._5"]
    chance = random.Random(code)  # noqa: S311
    texts = ["".join(chance.choices(parts, k=chance.randrange(9))) for _ in range(1500)]
    ids, lengths = vocabulary.number(texts, grow=True)
    terms = list(vocabulary.numbers)
    ends = np.cumsum(lengths)
    for text, start, end in zip(texts, ends - lengths, ends, strict=True):
        # The text as one piece: in no place is it cut before it is analysed.
        whole = [term for piece in text.split() for term in analyzer.terms_of([piece])[0]]
        assert [terms[number] for number in ids[start:end]] == whole == analyzer(text), repr(text)


class Failing(Counting):
    """Fails at the piece "bad"."""

    def terms_of(self, pieces: list[str]) -> list[list[str]]:
        if "bad" in pieces:
            raise RuntimeError("bad")
        return super().terms_of(pieces)


def test_an_analyzer_that_fails_leaves_nothing_half_learned() -> None:
    vocabulary = Vocabulary(Failing())
    vocabulary.number(["good"], grow=True)
    with pytest.raises(RuntimeError):
        vocabulary.number(["new bad", "newer"], grow=True)
    vocabulary.shrink(1)
    assert vocabulary.number(["newer new good"], grow=True)[0].tolist() == [1, 2, 0]
