from __future__ import annotations

import unicodedata

import pytest

from milvine.analysis import get_analyzer
from milvine.analysis.ngrams import has_runs, ngrams, split_runs


@pytest.mark.parametrize(
    ("run", "terms"),
    [
        ("東京都", ["東", "京", "都", "東京", "京都"]),
        ("水", ["水"]),
        ("人々", ["人", "々", "人々"]),
        ("サーバー", ["サ", "ー", "バ", "ー", "サー", "ーバ", "バー"]),
        ("한국어", ["한", "국", "어", "한국", "국어"]),
        # What is read as one: before and after the consonant, above and below it.
        ("เชียงใหม่", ["เชี", "ย", "ง", "ให", "ม่", "เชีย", "ยง", "งให", "ให" + "ม่"]),
        ("กะทะ", ["กะ", "ทะ", "กะทะ"]),
        ("ខ្មែរ", ["ខ្មែ", "រ", "ខ្មែរ"]),
        ("ເມືອງ", ["ເມື", "ອ", "ງ", "ເມືອ", "ອງ"]),
    ],
)
def test_characters_then_pairs(run: str, terms: list[str]) -> None:
    assert ngrams(run) == terms


def test_runs_end_where_the_script_does() -> None:
    assert split_runs("iPod東京2020年、ไทย한국・カナ") == [
        "iPod",
        "東京",
        "2020",
        "年",
        "、",
        "ไทย",
        "",
        "한국",
        "・",
        "カナ",
        "",
    ]
    assert split_runs("") == [""]
    assert not has_runs("café, здравствуйте, नमस्ते, مرحبا, 😀、")
    assert has_runs("a𠮷")


def test_spellings_of_thai_that_look_the_same_meet() -> None:
    analyze = get_analyzer("th")
    assert analyze("น้ำ") == analyze("น้ํา") == analyze("นํ้า") == analyze(unicodedata.normalize("NFD", "น้ำ"))
    assert analyze("เเม่") == analyze("แม่")


@pytest.mark.parametrize("code", ["zh", "ja", "ko", "th", "multilingual"])
def test_a_text_is_found_by_any_part_of_it(code: str) -> None:
    analyze = get_analyzer(code)
    for text in ("黒猫が水を飲む", "고양이가 물을 마신다", "人工智能的发展"):
        terms = set(analyze(text))
        for start in range(len(text)):
            for end in range(start + 1, len(text) + 1):
                assert set(analyze(text[start:end])) <= terms
