from __future__ import annotations

import html
import json
import pickle
from functools import partial

import pytest

from milvine import Hit
from milvine.analysis import get_analyzer
from milvine.errors import InputError
from milvine.rank import find_matches


def hit(query: str, text: str, language: str = "en") -> Hit:
    return Hit("id", text, 1.0, _find=partial(find_matches, get_analyzer(language), query))


TEXT = "one two three four five six seven eight nine ten"


def test_terms_and_marks() -> None:
    found = hit("hot water", "HOT waters; hot-water bottle, water")
    assert found.terms == ["HOT", "waters", "water"]
    assert found.highlight() == "**HOT** **waters**; **hot**-**water** bottle, **water**"
    assert found.highlight("<", ">", None) == "<HOT> <waters>; <hot>-<water> bottle, <water>"
    assert found.to_dict()["terms"] == ["HOT", "waters", "water"]
    assert json.loads(json.dumps(found.to_dict())) == found.to_dict()


def test_without_matches_the_beginning_is_shown() -> None:
    for plain in (hit("zebra", TEXT), Hit("id", TEXT, 1.0)):
        assert (plain.terms, plain.matches) == ([], ())
        assert plain.highlight(width=14) == "one two three…"
        assert plain.highlight(width=15) == "one two three…"
        assert plain.highlight(width=None) == plain.highlight(width=len(TEXT)) == TEXT
    assert Hit("id", "", 1.0).highlight() == ""


def test_the_best_window() -> None:
    # Two different words beat the same word three times, wherever they stand.
    text = "tea tea tea " + "x " * 40 + "tea milk " + "y " * 40
    assert hit("tea milk", text).highlight(width=20).count("**") == 4
    assert "**tea** **milk**" in hit("tea milk", text).highlight(width=20)
    # Of equals the first.
    assert hit("tea", "tea " + "x " * 40 + "tea").highlight(width=9).startswith("**tea**")
    # Words are whole at both ends, and the match is in the middle.
    assert hit("five", TEXT).highlight(width=20) == "…four **five** six…"


@pytest.mark.parametrize("width", [1, 2, 3, 5, 8, 13, 21, 34, 47, 48, 49, 1000])
@pytest.mark.parametrize(
    ("language", "query", "text"),
    [
        ("en", "three nine", TEXT),
        ("en", "one ten", TEXT),
        ("ja", "東京", "日本の首都は東京都であり、東京は人口が多い。" * 3),
        ("en", "supercalifragilistic", "a supercalifragilistic word"),
        ("en", "b", "a\n\n  b  \n\nc" * 9),
    ],
)
def test_what_is_shown_is_a_piece_of_the_text(width: int, language: str, query: str, text: str) -> None:
    shown = hit(query, text, language).highlight("\x01", "\x02", width)
    plain = shown.replace("\x01", "").replace("\x02", "").strip("…")
    assert plain in text
    assert 0 < len(plain) <= width
    assert shown.startswith("…") or text.startswith(plain)
    assert shown.endswith("…") or text.endswith(plain)
    assert "\x01" in shown
    assert shown.count("\x01") == shown.count("\x02")


def test_a_character_is_not_cut_in_two() -> None:
    text = "e\u0301" * 50
    for width in range(2, 20):
        shown = hit("zebra", text).highlight(width=width).rstrip("…")
        assert shown == "e\u0301" * (width // 2)
    family = "👩\u200d👩\u200d👧" * 9
    for width in range(5, 10):
        assert hit("zebra", family).highlight(width=width) == "👩\u200d👩\u200d👧…"


def test_html() -> None:
    found = hit("tea", "<b>tea</b> & <script>")
    assert found.highlight("<mark>", "</mark>", escape=html.escape) == (
        "&lt;b&gt;<mark>tea</mark>&lt;/b&gt; &amp; &lt;script&gt;"
    )


@pytest.mark.parametrize("width", [0, -1])
def test_widths_that_are_not_allowed(width: int) -> None:
    with pytest.raises(InputError, match=f"width must be at least 1, or None, not {width}"):
        hit("five", TEXT).highlight(width=width)


def test_a_hit_is_a_value() -> None:
    found = hit("five", TEXT)
    assert found == Hit("id", TEXT, 1.0)
    assert "_find" not in repr(found)
    copy = pickle.loads(pickle.dumps(found))  # noqa: S301
    assert (copy, copy.highlight()) == (found, found.highlight())
