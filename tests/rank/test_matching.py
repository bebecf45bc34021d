from __future__ import annotations

import unicodedata

import pytest

from milvine.analysis import get_analyzer
from milvine.rank import find_matches


def marked(language: str, query: str, text: str) -> str:
    matches = find_matches(get_analyzer(language), query, text)
    assert list(matches) == sorted(matches)
    assert all(0 <= begin < end <= len(text) for begin, end in matches)
    for begin, end in reversed(matches):
        text = f"{text[:begin]}[{text[begin:end]}]{text[end:]}"
    return text


# What is marked follows from the rules of milvine.analysis: which words are one term.


@pytest.mark.parametrize(
    ("language", "query", "expected"),
    [
        # Stems, letter case, punctuation.
        ("en", "hot water", "[HOT] [waters], and of leaves; ([hot]-[water] bottle)"),
        ("en", "state of the art", "[state]-of-the-[art]: the parts, not the stop words"),
        ("en", "water", "underwater, waterfall"),
        # What belongs together is marked together.
        ("en", "US", "the [U.S]. and [us]"),
        ("en", "3520031", "had [3,520,031] people, not 520"),
        ("en", "3.11 11", "version [3.11], with [11] of 3"),
        ("en", "C++", "in [C++], not in C"),
        ("en", "maxlength", "[max_length] is [maxLength]"),
        ("en", "length", "max_[length] is [maxLength]"),
        (
            "en",
            "turing",
            "[Turing’s] and [Turing's] machine".replace("[Turing’s]", "[Turing]’s").replace("g's]", "g]'s"),
        ),
        ("fr", "homme", "L’[homme], d'un [homme]"),
        ("tr", "ankara istanbul", "[Ankara]'nın [İSTANBUL] Istanbul"),
        ("de", "strasse", "[Straße] [STRASSE] Gasse"),
        ("hi", "हिन्दी किताब", "[हिंदी] [किताबें]"),
        ("multilingual", "привет waters", "[Привет], [water]!"),
        # Several in one piece between white space, each by its own rule.
        ("en", "foo US C++", "[foo]/[U.S]/[C++]/bar"),
    ],
)
def test_words(language: str, query: str, expected: str) -> None:
    assert marked(language, query, expected.replace("[", "").replace("]", "")) == expected


@pytest.mark.parametrize(
    ("language", "query", "expected"),
    [
        # Pairs carry the meaning: the single characters of 東京 are not marked beside it.
        ("ja", "東京", "[東京]都の京、東日本"),
        ("ja", "東京都", "[東京都]に、[京都]に、[東京]に"),
        # Unless there is nothing else, or the query has the character alone.
        ("ja", "東京", "[京]都と[東]"),
        ("ja", "猫 東京", "三毛[猫]と[東京]"),
        ("zh", "北京 milvus", "在[北京]用[Milvus]，[北京]！[ｍｉｌｖｕｓ]"),
        ("ko", "한국", "[한국]어 대한민국"),
        ("th", "น้ำ", "กิน[น้ำ]เย็น"),
        ("en", "東京", "in [東京] and Tokyo"),
    ],
)
def test_scripts_without_spaces(language: str, query: str, expected: str) -> None:
    assert marked(language, query, expected.replace("[", "").replace("]", "")) == expected


@pytest.mark.parametrize(
    ("language", "query", "expected"),
    [
        # Normalisation makes the text longer or shorter than it is stored; positions are those of what is stored.
        ("en", "fine behind", "ﬃ ﬁ [ﬁne] ﬃ [behind]"),
        ("en", "café behind", "[cafe\u0301] ﬃ [behind] [café]"),
        ("en", "emoji", "😀[emoji]😀 👩‍👩‍👧 [emo\u00adji]"),
        ("ja", "ガギ 株", "[ｶﾞｷﾞ]と[ガギ]、[カ\u3099キ\u3099]、[㈱]"),
        ("ko", "한국", "[\u1112\u1161\u11ab\u1100\u116e\u11a8] [한국]"),
        ("th", "แม่", "[เเม่]น้ำ [แม่]น้ำ"),
        ("en", "kg 株式", "㎏ [kg] 𠮷[株式]𠮷"),
    ],
)
def test_positions_in_unicode(language: str, query: str, expected: str) -> None:
    text = expected.replace("[", "").replace("]", "")
    if "㎏" in text:
        expected = expected.replace("㎏", "[㎏]")  # NFKC: kg
    assert marked(language, query, text) == expected


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
def test_any_normal_form(form: str) -> None:
    text = unicodedata.normalize(form, "Crème brûlée, 한국어, がぎぐ")
    matches = [text[begin:end] for begin, end in find_matches(get_analyzer("en"), "BRÛLÉE 한국 がぎ", text)]
    assert [unicodedata.normalize("NFC", match) for match in matches] == ["brûlée", "한국", "がぎ"]


def test_nothing_to_mark() -> None:
    analyzer = get_analyzer("en")
    assert find_matches(analyzer, "the of and", "the of and") == ()
    assert find_matches(analyzer, "tea", "") == ()
    assert find_matches(analyzer, "?!", "?!") == ()
    assert find_matches(analyzer, "tea", " \n ") == ()


def test_dictionary_words() -> None:
    pytest.importorskip("jieba")
    assert marked("zh-jieba", "北京 大学", "我在北京大学，大学，北方") == "我在[北京大学]，[大学]，北方"
    assert marked("zh-jieba", "art", "我爱 Art，not party") == "我爱 [Art]，not party"
