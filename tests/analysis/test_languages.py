"""What every row of the table must do: each test walks it, so a new language is checked as soon as its row stands."""

from __future__ import annotations

import pickle
import unicodedata
from importlib import resources

import numpy as np
import pytest
import Stemmer

from milvine.analysis import LANGUAGES, Analyzer, Language, find_language, get_analyzer, stop_words
from milvine.analysis.unicode import fold, normalize
from milvine.errors import InputError

# For each language a stop word, groups of forms of one word that must meet, and words that must not.
SAMPLES: dict[str, tuple[str, list[str], tuple[str, str]]] = {
    "ar": ("على", ["مدرسة المدرسة مَدْرَسَة", "أحمد احمد", "كتـــاب الكتاب"], ("كتاب", "مدرسة")),
    "cs": ("nebo", ["žena ženy ženu", "město města"], ("město", "žena")),
    "da": ("ikke", ["hus huset husene", "bøger bøgerne"], ("hus", "bøger")),
    "de": (
        "daß",
        ["Haus Häuser Hause", "Straße STRASSE Strassen", "München Muenchen", "Peter Peter's"],
        ("Haus", "Hose"),
    ),
    "el": ("και", ["άνθρωπος ΑΝΘΡΩΠΟΣ ανθρωπος άνθρωποι", "πόλη πόλεις ΠΟΛΗ"], ("πόλη", "πύλη")),
    "en": ("the", ["city cities City's", "running runs run"], ("city", "cite")),
    "es": ("también", ["canción canciones", "niño niños niña"], ("año", "ano")),
    "fi": ("että", ["talo talot talossa talon", "kirja kirjat kirjassa"], ("talo", "kirja")),
    "fr": ("été", ["cheval chevaux", "homme l'homme l’homme hommes d'hommes", "île l'île"], ("cheval", "chevelure")),
    "hi": ("और", ["किताब किताबें किताबों", "हिन्दी हिंदी", "लड़का लडका लड़के", "गाँव गांव"], ("दिन", "दान")),
    "hu": ("és", ["ház házak házban", "könyv könyvek könyvet"], ("kor", "kór")),
    "id": ("yang", ["bangun membangun", "buku bukunya"], ("buku", "baku")),
    "it": ("perché", ["ragazzo ragazzi", "università l'università dell'università"], ("ragazzo", "razza")),
    "ja": ("", ["東京都 東京", "ｶﾞﾗｽ ガラス", "ラーメン らーめん ﾗｰﾒﾝ"][:2], ("東京", "京都")),
    "ko": ("", ["학교 학교에서 학교는", "한국 한국"], ("학교", "병원")),
    "nl": ("niet", ["huis huizen", "foto foto's foto’s"], ("huis", "hals")),
    "no": ("ikke", ["hus huset husene", "bok boken"], ("hus", "bok")),
    "pl": ("które", ["książka książki książkę", "dom domu"], ("dom", "dym")),
    "pt": ("não", ["menino meninos", "quilométrica quilométricas", "água d'água"], ("avó", "avô")),
    "ro": ("și", ["oraș orașe orașul oraşe", "carte cărți"][:1], ("oraș", "ora")),
    "ru": ("её", ["город города городов ГОРОДУ", "ёлка елка елки", "за́мок замок"], ("город", "огород")),
    "sv": ("från", ["bil bilar bilarna", "bok boken"], ("får", "far")),
    "th": ("", ["ภาษาไทย ภาษา", "นํ้า น้ำ"], ("ภาษา", "อาหาร")),
    "tr": (
        "çünkü",
        ["kitap kitaplar kitabı", "İstanbul istanbul İSTANBUL İstanbul'da", "ISPARTA ısparta"],
        ("kır", "kir"),
    ),
    "zh": ("", ["北京大学 北京", "ＡＢＣ abc"], ("北京", "上海")),
    "multilingual": (
        "the",
        [
            "cities city",
            "города город",
            "άνθρωπος ΑΝΘΡΩΠΟΣ",
            "किताबें किताब",
            "المدرسة مدرسة",
            "東京都 東京",
            "l'homme homme",
        ],
        ("город", "gorod"),
    ),
}
CODES = sorted(LANGUAGES)


@pytest.fixture(scope="module")
def analyzers() -> dict[str, Analyzer]:
    return {code: get_analyzer(code) for code in CODES}


def test_every_row_has_samples() -> None:
    assert set(SAMPLES) == set(LANGUAGES)
    assert all(code == row.code for code, row in LANGUAGES.items())


@pytest.mark.parametrize("code", CODES)
def test_a_stop_word_goes(code: str, analyzers: dict[str, Analyzer]) -> None:
    stop_word = SAMPLES[code][0]
    for form in (stop_word, stop_word.upper(), stop_word.title(), unicodedata.normalize("NFD", stop_word)):
        assert analyzers[code](form) == [], form


@pytest.mark.parametrize("code", CODES)
def test_every_listed_stop_word_goes(code: str, analyzers: dict[str, Analyzer]) -> None:
    row = LANGUAGES[code]
    if row.stopwords is None:
        assert stop_words(row) == frozenset()
        return
    text = (resources.files("milvine.analysis") / "data" / row.stopwords).read_text(encoding="utf-8")
    listed = [word for line in text.splitlines() if not line.startswith("#") for word in line.split()]
    assert len(listed) > 50
    assert {word: terms for word in listed if (terms := analyzers[code](word))} == {}
    assert stop_words(row) >= {fold(normalize(word), row.folding) for word in listed}


@pytest.mark.parametrize("code", CODES)
def test_forms_of_a_word_meet_and_other_words_do_not(code: str, analyzers: dict[str, Analyzer]) -> None:
    _, groups, (one, other) = SAMPLES[code]
    for group in groups:
        terms = [set(analyzers[code](form)) for form in group.split()]
        assert all(terms), group
        assert set.intersection(*terms), (group, terms)
    assert analyzers[code](one) != analyzers[code](other)


@pytest.mark.parametrize("code", CODES)
def test_letter_case_and_unicode_form_make_no_difference(code: str, analyzers: dict[str, Analyzer]) -> None:
    for group in SAMPLES[code][1]:
        for word in group.split():
            terms = analyzers[code](word)
            for form in ("NFC", "NFD", "NFKC", "NFKD"):
                assert analyzers[code](unicodedata.normalize(form, word)) == terms, (word, form)
            upper = word.replace("i", "İ").replace("ı", "I").upper() if code == "tr" else word.upper()
            assert analyzers[code](upper) == terms, word


@pytest.mark.parametrize("code", CODES)
def test_latin_words_numbers_and_punctuation(code: str, analyzers: dict[str, Analyzer]) -> None:
    analyze = analyzers[code]
    for text, number in (
        ("Python 3.11.2", "3.11.2"),
        ("(Python, 1,234)", "1234"),
        ("»Ｐｙｔｈｏｎ«… ２０２４", "2024"),
    ):
        terms = analyze(text)
        assert len(terms) == 2, (text, terms)
        assert terms == [*analyze("python"), number]
    assert analyze("C++ 😀 — „…“ 。、؟ । 👍🏽 1️⃣") == ["c++", "1"]
    assert analyze("٣ ३ ๓ ３") == ["3"] * 4


@pytest.mark.parametrize("code", CODES)
def test_scripts_without_spaces_are_searchable_in_every_language(code: str, analyzers: dict[str, Analyzer]) -> None:
    assert analyzers[code]("iPod東京2020年") == [*analyzers[code]("iPod"), "東", "京", "東京", "2020", "年"]


@pytest.mark.parametrize("code", CODES)
def test_stems_are_snowballs(code: str, analyzers: dict[str, Analyzer]) -> None:
    row = LANGUAGES[code]
    if row.stemmer is None or row.scripts:
        return
    reference = Stemmer.Stemmer(row.stemmer)
    for group in SAMPLES[code][1]:
        word = fold(normalize(group.split()[0], fold_case=False), row.folding)
        assert analyzers[code](group.split()[0]) == [reference.stemWord(word)]


# Lines of the sample vocabularies on the algorithms' pages at snowballstem.org.
@pytest.mark.parametrize(
    ("code", "word", "stem"),
    [
        ("en", "consolingly", "consol"),
        ("en", "knightly", "knight"),
        ("de", "aufeinanderfolgenden", "aufeinanderfolg"),
        ("de", "kategorischen", "kategor"),
        ("fr", "majestueusement", "majestu"),
        ("fr", "continuellement", "continuel"),
        ("es", "chicharrones", "chicharron"),
        ("es", "torear", "tor"),
        ("it", "abbandonata", "abbandon"),
        ("it", "pronunciato", "pronunc"),
        ("pt", "quilométricas", "quilométr"),
        ("ru", "важнейшими", "важн"),
        ("ru", "пальцами", "пальц"),
        ("sv", "jaktkarlarne", "jaktkarl"),
        ("sv", "klostergården", "klostergård"),
        ("da", "undersøgelse", "undersøg"),
        ("no", "havnemyndighetene", "havnemynd"),
        ("fi", "edeltänyt", "edeltäny"),
        ("hu", "babakocsijáért", "babakocs"),
    ],
)
def test_published_stems(code: str, word: str, stem: str, analyzers: dict[str, Analyzer]) -> None:
    assert analyzers[code](word) == [stem]


@pytest.mark.parametrize("code", CODES)
def test_random_texts(code: str, analyzers: dict[str, Analyzer]) -> None:
    """Terms are short, in one form and folded; the Unicode form of the text has no say, nor what was asked before."""
    row = LANGUAGES[code]
    chance = np.random.default_rng(17)
    alphabet = [
        *"".join("".join(group) for group in SAMPLES[code][1]),
        *"aE1 ,.-_'’+#:漢ガ한ไ\u0301\u200b",
        " ",
        " ",
        "\n",
    ]
    fresh = get_analyzer(code)
    for _ in range(400):
        text = "".join(chance.choice(alphabet, chance.integers(40)))
        terms = analyzers[code](text)
        assert all(terms)
        assert terms == fresh.terms([text])[0] == analyzers[code](unicodedata.normalize("NFD", text)), repr(text)
        if row.stemmer is None:
            assert terms == [fold(normalize(term), row.folding) for term in terms], repr(text)


@pytest.mark.parametrize("code", CODES)
def test_identity_and_pickling(code: str, analyzers: dict[str, Analyzer]) -> None:
    copy = pickle.loads(pickle.dumps(analyzers[code]))  # noqa: S301
    text = " ".join(SAMPLES[code][1])
    assert copy(text) == analyzers[code](text)
    assert copy.identity == analyzers[code].identity == {"language": code, "rules": LANGUAGES[code].rules}
    assert copy.name == code


def test_names_and_aliases() -> None:
    for alias, code in {
        "sp": "es",
        "jp": "ja",
        "kr": "ko",
        "nb": "no",
        "german": "de",
        "Thai": "th",
        "ZH": "zh",
    }.items():
        assert find_language(alias).code == code
    names = [name for row in LANGUAGES.values() for name in {row.code, row.name, *row.aliases}]
    assert len(names) == len(set(names))
    for wrong in ("xx", "", None, 5):
        with pytest.raises(InputError, match=r"de \(german\).*multilingual"):
            find_language(wrong)  # type: ignore[arg-type]


def test_stop_word_files_say_whose_they_are() -> None:
    files = [file for file in (resources.files("milvine.analysis") / "data").iterdir() if file.name.startswith("stopw")]
    assert {file.name for file in files} == {row.stopwords for row in LANGUAGES.values() if row.stopwords}
    for file in files:
        text = file.read_text(encoding="utf-8")
        head = text[: text.index("\n\n")]
        assert all(line.startswith("#") for line in head.splitlines()), file.name
        assert "licence" in head or "License" in head, file.name
        assert unicodedata.is_normalized("NFC", text), file.name
    assert "Redistribution and use" in (resources.files("milvine.analysis") / "data/LICENSES.txt").read_text("utf-8")


def test_a_row_of_ones_own() -> None:
    plain = Analyzer(Language("eo", "esperanto", stemmer="esperanto"))
    assert plain("La hundoj") == ["la", Stemmer.Stemmer("esperanto").stemWord("hundoj")]
    assert plain.identity == {"language": "eo", "rules": 1}
