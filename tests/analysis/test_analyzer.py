from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from milvine.analysis import Analyzer, get_analyzer
from milvine.errors import InputError, InputTypeError, MilvineError
from milvine.model.sparse.bm25 import tokenizers


@pytest.fixture(scope="module")
def analyze() -> Analyzer:
    return get_analyzer("en")


def test_the_sentence_of_milvus_bm25_page(analyze: Analyzer) -> None:
    # The terms that pymilvus.model's documentation prints for it.
    assert analyze("Artificial intelligence was founded as an academic discipline in 1956.") == [
        *("artifici", "intellig", "found", "academ", "disciplin", "1956"),
    ]


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("3,520,031 inhabitants, 891.82 square kilometers.", ["3520031", "inhabit", "891.82", "squar", "kilomet"]),
        ("1,2,3 and $1,234.56", ["1", "2", "3", "1234.56"]),
        ("version 3.11.2, python3.11", ["version", "3.11.2", "python3.11"]),
        ("Turing's TURING turing’s", ["ture"] * 3),
        ("state-of-the-art COVID-19", ["state", "art", "covid", "19"]),
        ("U.S. and US, the U.S.A.", ["us", "us", "usa"]),
        ("max_length maxLength __init__", ["maxlength", "max", "length"] * 2 + ["init"]),
        ("getElementById()", ["getelementbyid", "get", "element", "id"]),
        (
            "parseHTTPResponse, SimpleHTTPServer",
            ["parsehttprespons", "pars", "http", "respons", "simplehttpserv", "simpl", "http", "server"],
        ),
        ("GitHub McKay mRNA iPhone URLs x_1", ["github", "mckay", "mrna", "iphon", "url", "x1", "x", "1"]),
        (
            "jo.doe@mail.example.org https://a.example/b?c=1",
            ["jo", "doe", "mail", "exampl", "org", "https", "exampl", "b", "c", "1"],
        ),
        ("C++ (C#) or F#; C", ["c++", "c#", "f#", "c"]),
        ("O'Neill o’neill", ["o'neil"] * 2),
        ("v1.2.3 Node.js .NET", ["v1.2.3", "node", "js", "net"]),
        ("İstanbul istanbul", ["istanbul"] * 2),
        ("किताबें ٣٫٥ ３", ["किताबें", "3", "5", "3"]),
        ("iPhone手机", ["iphon", "手", "机", "手机"]),
        ("infor\u00admation zero\u200dwidth \ufeffhello", ["inform", "zerowidth", "hello"]),
        ("ｆｕｌｌ ﬁsh m² café cafe\u0301", ["full", "fish", "m2", "café", "café"]),
        ("😀 👍🏽 ☃ 🇩🇪 — … ★", []),
        ("who won the prize?", ["won", "prize"]),
        ("STRASSE Straße", ["strass"] * 2),
    ],
)
def test_treatments_that_the_docstring_states(analyze: Analyzer, text: str, terms: list[str]) -> None:
    assert analyze(text) == terms


def test_contractions_leave_nothing_behind(analyze: Analyzer) -> None:
    contractions = (
        "don't isn't can't won't shan't ain't couldn't wouldn't shouldn't've they'll I'd've it's who's what's that'll"
        " we're you've should've I'm he'd DON'T Isn't"
    )
    assert analyze(contractions) == []
    assert analyze(contractions.replace("'", "’")) == []


@pytest.mark.parametrize("text", ["", " ", "\n\t\u00a0\u3000", "the of and", "...", "'", "_", "\ufeff", ",,,", "\x00"])
def test_texts_without_terms(analyze: Analyzer, text: str) -> None:
    assert analyze(text) == []


def test_no_length_is_too_long(analyze: Analyzer) -> None:
    assert analyze("x" * 2_000_000) == ["x" * 128]
    assert analyze("a-" * 500_000 + "cat") == ["cat"]
    assert analyze("a'" * 500_000)[0] == "a'" * 63 + "a"
    assert len(analyze("1." * 500_000)) == 1
    assert len(analyze("1,000," * 200_000)) > 0
    assert analyze("aB" * 500_000) == ["ab" * 64]
    assert len(analyze("ab_" * 300_000)) == 300_001
    assert len(analyze("漢" * 1_000_000)) == 1_999_999
    assert len(analyze("เ" * 100_000)) > 0


def test_a_lone_surrogate_is_no_word(analyze: Analyzer) -> None:
    assert analyze("bad \ud800 cats\ud800dogs") == ["bad", "cat", "dog"]


def test_pieces_between_white_space_can_be_analysed_on_their_own(analyze: Analyzer) -> None:
    # The composed analyzer sees whole texts, the fast one pieces, whose terms it keeps: equal terms for any text.
    composed = tokenizers.Analyzer(
        "whole",
        tokenizers.StandardTokenizer(),
        filters=[
            tokenizers.LowercaseFilter(),
            tokenizers.PunctuationFilter(),
            tokenizers.StopwordFilter(),
            tokenizers.StemmingFilter(),
        ],
    )
    chance = np.random.default_rng(5)
    # Not a lone ß: folding makes two letters of it, and one alone is what abbreviations are made of.
    pieces = [
        *"aZé1,.'’-_+#:; \u00a0\u00ad½ſ\u0301漢字カﾞ한ไทย²٣，",
        "Maß",
        "the",
        "don't",
        "C++",
        "U.S.",
        "10,000",
        "runs",
        "'s",
        "max_length",
        "maxLengthOf",
        "  ",
    ]
    for _ in range(5000):
        text = "".join(chance.choice(pieces, chance.integers(12)))
        assert analyze(text) == composed(text), repr(text)


def test_terms_of_many_texts(analyze: Analyzer) -> None:
    assert analyze.terms(iter(["Cats and dogs", "", "Cats"])) == [["cat", "dog"], [], ["cat"]]
    assert analyze.terms([]) == []
    with pytest.raises(InputTypeError, match="one string; wrap it"):
        analyze.terms("cats")
    with pytest.raises(InputTypeError, match="takes one string, not list"):
        analyze(["cats"])  # type: ignore[arg-type]


def test_memory_is_bounded_and_results_do_not_depend_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("milvine.analysis.analyzer._CACHED_FORMS", 10)
    analyze = get_analyzer("en")
    texts = [f"Running {number}, {number}s! {'long' * 20}{number}" for number in range(50)]
    assert [analyze(text) for text in texts] == [get_analyzer("en")(text) for text in reversed(texts)][::-1]
    assert len(analyze._forms) <= 10
    assert not any("longlong" in form for form in analyze._forms)


def test_texts_without_spaces_do_not_fill_the_memory() -> None:
    analyze = get_analyzer("zh")
    chance = np.random.default_rng(3)
    texts = ["".join(map(chr, chance.integers(0x4E00, 0x9FFF, 40))) + "，" for _ in range(200)]
    assert all(len(terms) == 79 for terms in analyze.terms(texts))
    assert len(analyze._forms) <= 1


def test_threads_share_one_analyzer() -> None:
    texts = [
        " ".join(f"running{number % 997}s jumped{number % 13}" for number in range(start, start + 200))
        for start in range(100)
    ]
    expected = [get_analyzer("en")(text) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(get_analyzer("en"), texts)) == expected


def test_a_pickled_copy_gives_the_same_terms(analyze: Analyzer) -> None:
    copy = pickle.loads(pickle.dumps(analyze))  # noqa: S301
    assert copy("Turing's machines") == analyze("Turing's machines")
    assert copy.identity == analyze.identity == {"language": "en", "rules": 2}


def test_an_unknown_language_is_refused_with_those_there_are() -> None:
    with pytest.raises(InputError, match=r"'xx'.*en \(english\).*dictionary: zh-jieba") as caught:
        get_analyzer("xx")
    assert isinstance(caught.value, (MilvineError, ValueError))
    assert get_analyzer("english").name == get_analyzer("EN").name == "en"
    with pytest.raises(InputError):
        get_analyzer(None)  # type: ignore[arg-type]
