"""Words by dictionary. Expected words are the packages' own examples, or what the packages give when they are asked."""

from __future__ import annotations

import pickle
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from milvine.analysis import dictionaries
from milvine.analysis.dictionaries import DICTIONARIES, DictionaryAnalyzer, get_dictionary_analyzer, pieces
from milvine.errors import InputError, InputTypeError, MissingExtraError


def analyzer(code: str) -> DictionaryAnalyzer:
    """The analyzer; without its packages the test is skipped."""
    for module in DICTIONARIES[code].modules:
        pytest.importorskip(module, reason=f"milvine[{DICTIONARIES[code].extra}] is not installed")
    return get_dictionary_analyzer(code)


TEXTS = {
    # The example of jieba's README for its search mode: of long words, the words within them, too.
    "zh-jieba": (
        "小明硕士毕业于中国科学院计算所，后在日本京都大学深造",
        "小明 硕士 毕业 于 中国 科学 学院 科学院 中国科学院 计算 计算所 后 在 日本 京都 大学 日本京都大学 深造",
    ),
    # Particles (は, を, で), auxiliaries (た, です) and marks go; 使っ is a form of 使う.
    "ja-mecab": ("日本の首都は東京です。鈴木さんはＰＣを使った！", "日本 首都 東京 鈴木 さん pc 使う"),
    # Of Kiwi's README: particles (는, 을, 로) and the ending ᆸ니다 go.
    "ko-kiwi": ("한국어 형태소 분석기는 문장을 형태소로 나눕니다.", "한국어 형태소 분석기 문장 형태소 나누"),
}


@pytest.mark.parametrize("code", TEXTS)
def test_terms(code: str) -> None:
    text, terms = TEXTS[code]
    analyze = analyzer(code)
    assert analyze(text) == terms.split()
    assert analyze.terms([text, ""]) == [terms.split(), []]


@pytest.mark.parametrize("code", DICTIONARIES)
@pytest.mark.parametrize("text", ["", " \n\u3000", "。、!?…", "😀", "\0", "\ud800"])
def test_texts_without_terms(code: str, text: str) -> None:
    assert analyzer(code)(text) == []


@pytest.mark.parametrize("code", DICTIONARIES)
def test_what_c_code_cannot_read_separates(code: str) -> None:
    text, terms = TEXTS[code]
    assert analyzer(code)(f"{text}\0{text}\ud800{text}") == terms.split() * 3


@pytest.mark.parametrize("code", DICTIONARIES)
def test_a_long_text_gives_the_terms_of_its_sentences(code: str) -> None:
    text, terms = TEXTS[code]
    assert analyzer(code)((text + "\n") * 500) == terms.split() * 500


@pytest.mark.parametrize("code", DICTIONARIES)
def test_a_run_without_a_break(code: str) -> None:
    # MeCab alone ends the process on such a text.
    words = analyzer(code)("a" * 300_000)
    assert words
    assert all(set(word) == {"a"} and len(word) <= 128 for word in words)


def test_pieces() -> None:
    text = "漢" * 5000 + "。" + "字" * 3000 + " " + "x" * 9000
    found = list(pieces(text))
    assert "".join(found) == text
    assert [len(piece) for piece in found] == [4096, 3906, 4096, 4096, 808]
    assert list(pieces("ab")) == ["ab"]
    assert list(pieces("")) == [""]


@pytest.mark.parametrize("code", DICTIONARIES)
def test_threads_and_pickled_copies_give_the_same(code: str) -> None:
    analyze = analyzer(code)
    texts = [f"{TEXTS[code][0]} {number}" for number in range(100)]
    expected = [analyze(text) for text in texts]
    copy = pickle.loads(pickle.dumps(analyze))  # noqa: S301
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: [copy(text) for text in texts], range(4)):
            assert found == expected


def test_a_dictionary_is_loaded_once_by_one_thread() -> None:
    loaded: list[object] = []

    def load() -> object:
        time.sleep(0.05)  # so that the others arrive meanwhile
        loaded.append(object())
        return loaded[-1]

    once = dictionaries._once(load)
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: once(), range(8)))
    assert found == set(loaded)
    assert len(loaded) == 1


@pytest.mark.parametrize("code", DICTIONARIES)
def test_identity_names_the_dictionary_and_its_version(code: str) -> None:
    analyze = analyzer(code)
    assert analyze.name == code
    assert analyze.identity["language"] == code
    assert analyze.identity["dictionary"].startswith(DICTIONARIES[code].data + " ")


def test_loading_jieba_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    import subprocess

    analyzer("zh-jieba")
    code = "from milvine.analysis import dictionaries; dictionaries.get_dictionary_analyzer('zh-jieba')('北京')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize("code", DICTIONARIES)
def test_a_missing_package_is_an_error_with_the_command(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    row = DICTIONARIES[code]
    monkeypatch.setitem(sys.modules, row.modules[0], None)
    with pytest.raises(MissingExtraError, match=rf"{code}.*{row.modules[0]}.*pip install 'milvine\[{row.extra}\]'"):
        get_dictionary_analyzer(code)


def test_bad_input() -> None:
    with pytest.raises(InputError, match="'zh-ansj'; there are: zh-jieba, ja-mecab, ko-kiwi"):
        get_dictionary_analyzer("zh-ansj")
    with pytest.raises(InputTypeError, match="text must be one string"):
        analyzer("zh-jieba")(["北京"])  # type: ignore[arg-type]
