from __future__ import annotations

import re
import unicodedata

import numpy as np
import pytest

from milvine.analysis.unicode import fold, marks, normalize
from milvine.errors import InputError

FOLDINGS = ("arabic", "greek", "hindi", "romanian", "russian", "turkish")


def test_normalize_gives_one_form() -> None:
    chance = np.random.default_rng(7)
    for high in (0x3000, 0xD800):
        for codes in chance.integers(0x20, high, (2000, 4)):
            text = "".join(map(chr, codes))
            for once in (normalize(text), normalize(text, fold_case=False)):
                assert unicodedata.is_normalized("NFKC", once), repr(text)
            assert normalize(unicodedata.normalize("NFD", text)) == normalize(text), repr(text)
            assert normalize(normalize(text)) == normalize(text), repr(text)
            assert normalize(normalize(text, fold_case=False)) == normalize(text), repr(text)


def test_every_character_has_one_form() -> None:
    wrong = [
        character
        for character in map(chr, [*range(0x3400), *range(0xA000, 0xAC00), *range(0xF900, 0x1F000)])
        if normalize(normalize(character)) != normalize(character)
    ]
    assert wrong == []


@pytest.mark.parametrize("folding", FOLDINGS)
def test_folding_twice_is_folding_once(folding: str) -> None:
    for character in map(chr, [*range(0x20, 0xA00), *range(0x1E00, 0x2000)]):
        once = fold(normalize(character, fold_case=False), folding)
        assert fold(normalize(once, fold_case=False), folding) == once, repr(character)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("É e\u0301 E\u0301", "é é é"),
        ("ＡＢＣ　１２３ ﬁ ㈱ ㎏", "abc 123 fi (株) kg"),
        ("ｶﾞﾗｽ ﾊﾟﾝ", "ガラス パン"),
        ("한국 한국", "한국 한국"),  # jamo, and the syllables that they compose
        ("ﷲ ﻻ كتـــاب", "الله لا كتاب"),
        ("٣ ۳ ३ ๓ ৩ 𝟛", "3 3 3 3 3 3"),
        ("STRASSE Straße straẞe", "strasse strasse strasse"),
        ("Σίσυφος ΣΊΣΥΦΟΣ", "σίσυφοσ σίσυφοσ"),
        ("İzmir i\u0307zmir", "izmir izmir"),
        ("葛\U000e0100城 ❤\ufe0f", "葛城 ❤"),
        ("infor\u00admation zero\u200dwidth \ufefftext", "information zerowidth text"),
        ("O’Neill ‘n‛ roʼk", "o'neill 'n' ro'k"),
        ("1，000 1,000", "1 000 1,000"),
    ],
)
def test_forms_that_the_docstring_states(text: str, form: str) -> None:
    assert normalize(text) == form


def test_case_is_kept_where_it_is_wanted() -> None:
    assert normalize("İstanbul’s ＡB", fold_case=False) == "İstanbul's AB"


@pytest.mark.parametrize(
    ("folding", "text", "folded"),
    [
        ("turkish", "IĞDIR İZMİR Iı İi", "ığdır izmir ıı ii"),
        ("greek", "Άνθρωπος ΰ ϊ ΐ Ὀδυσσεύς ᾄδω café", "ανθρωποσ υ ι ι οδυσσευσ αιδω café"),
        ("russian", "Ёлка зелёный йод за\u0301мок", "елка зеленый йод замок"),
        ("romanian", "Şcoală ţară Școală țară", "școală țară școală țară"),
        ("arabic", "مُحَمَّدٌ أحمد إسلام آمن ٱلله مدرسى علی", "محمد احمد اسلام امن الله مدرسي علي"),
        ("hindi", "ज़मीन हिन्दी मुम्बई अण्डा गङ्गा गाँव डॉक्टर उन्हें", "जमीन हिंदी मुंबई अंडा गंगा गांव डोक्टर उन्हें"),
    ],
)
def test_foldings_that_the_docstring_states(folding: str, text: str, folded: str) -> None:
    assert fold(normalize(text, fold_case=False), folding) == folded


def test_an_unknown_folding_is_refused() -> None:
    with pytest.raises(InputError, match="'klingon'"):
        fold("a", "klingon")


def test_marks_are_what_unicode_says() -> None:
    pattern = re.compile(f"[{marks()}]")
    for character in map(chr, range(0x20000)):
        assert bool(pattern.match(character)) == (unicodedata.category(character) in ("Mn", "Mc")), repr(character)
