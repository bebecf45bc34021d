from __future__ import annotations

import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from milvine.errors import InputError, InputTypeError, MissingExtraError, ReadError
from milvine.model.sparse import BM25EmbeddingFunction
from milvine.model.sparse.bm25 import tokenizers
from milvine.model.sparse.bm25.tokenizers import (
    Analyzer,
    CharacterfilterPreprocessor,
    JiebaTokenizer,
    KiwiTokenizer,
    KonlpyTokenizer,
    LowercaseFilter,
    MecabTokenizer,
    Preprocessor,
    PunctuationFilter,
    ReplacePreprocessor,
    StandardTokenizer,
    StemmingFilter,
    StopwordFilter,
    TextFilter,
    Tokenizer,
    build_analyzer_from_yaml,
    build_default_analyzer,
    register_class,
)

NAMES_OF_PYMILVUS = {
    *("Analyzer", "Preprocessor", "Tokenizer", "TextFilter"),
    *("CharacterfilterPreprocessor", "ReplacePreprocessor"),
    *("StandardTokenizer", "JiebaTokenizer", "MecabTokenizer", "KonlpyTokenizer", "KiwiTokenizer"),
    *("LowercaseFilter", "StopwordFilter", "PunctuationFilter", "StemmingFilter"),
    *("build_default_analyzer", "build_analyzer_from_yaml", "register_class"),
}

YAML = """
mine:
  preprocessors:
    - class: ReplacePreprocessor
      params: {replacement_mapping: {"&": " and ", "colour": "color"}}
    - class: CharacterfilterPreprocessor
      params: {chars_to_replace: ["/", "|"]}
  tokenizer: {class: StandardTokenizer, params: {}}
  filters:
    - class: LowercaseFilter
    - class: PunctuationFilter
      params: {extras: "¡¿"}
    - class: StopwordFilter
      params: {language: english, stopword_list: [color]}
    - class: StemmingFilter
      params: {language: english}
bare: {tokenizer: {class: StandardTokenizer}}
unknown: {tokenizer: {class: SplitterOfMine}}
"""


@pytest.fixture
def yaml_file(tmp_path: Path) -> Path:
    path = tmp_path / "analyzers.yaml"
    path.write_text(YAML, encoding="utf-8")
    return path


def test_every_name_of_pymilvus_is_there() -> None:
    assert set(tokenizers.__all__) == NAMES_OF_PYMILVUS
    assert all(hasattr(tokenizers, name) for name in NAMES_OF_PYMILVUS)


def test_default_analyzer_goes_where_an_analyzer_does() -> None:
    analyzer = build_default_analyzer(language="en")
    assert analyzer("Jumping dogs") == ["jump", "dog"]
    assert analyzer.name == "en"
    assert BM25EmbeddingFunction(analyzer, ["Jumping dogs"]).dim == 2
    with pytest.raises(InputError, match=r"'tlh'.*en"):
        build_default_analyzer("tlh")


# The codes of pymilvus.model's own file; of each text one word with an inflected ending, or in Chinese, Japanese and
# Korean one pair of characters. Stems: Snowball's (snowballstem.org).
@pytest.mark.parametrize(
    ("code", "text", "term"),
    [
        ("en", "the jumping dogs", "jump"),
        ("de", "die kleinen Häuser", "haus"),
        ("fr", "les continuations", "continu"),
        ("ru", "важные новости", "важн"),
        ("sp", "las chicas", "chic"),
        ("it", "le propaghe abbandonate", "abbandon"),
        ("pt", "os meninos", "menin"),
        ("zh", "中国的首都", "首都"),
        ("jp", "日本の首都", "首都"),
        ("kr", "한국의 수도는", "수도"),
    ],
)
def test_default_analyzers_of_pymilvus_codes(code: str, text: str, term: str) -> None:
    assert term in build_default_analyzer(code)(text)


def test_composed_analyzer() -> None:
    analyzer = Analyzer(name="mine", tokenizer=StandardTokenizer())
    assert analyzer("Jumping dogs, isn't it?") == ["Jumping", "dogs", "isn't", "it"]
    analyzer = Analyzer(
        "mine", StandardTokenizer(), None, [LowercaseFilter(), StopwordFilter(), StemmingFilter("english")]
    )
    assert analyzer("Jumping dogs, isn't it?") == ["jump", "dog"]
    assert BM25EmbeddingFunction(analyzer, ["jumping dogs", "a dog"]).dim == 2


def test_a_program_of_pymilvus_with_parts_of_its_own() -> None:
    class Splitter(Tokenizer):
        def tokenize(self, text: str) -> list[str]:
            return text.split("/")

    class Shout:  # what has the method will do
        def apply(self, text: str) -> str:
            return text.upper()

    class Longer(TextFilter):
        def __init__(self, least: int) -> None:
            self.params = {"least": least}

        def apply(self, tokens: list[str]) -> list[str]:
            return [token for token in tokens if len(token) >= self.params["least"]]

    analyzer = Analyzer("mine", Splitter(), preprocessors=[Shout()], filters=[Longer(2)])  # type: ignore[list-item]
    assert analyzer("a/bc/def") == ["BC", "DEF"]
    function = BM25EmbeddingFunction(analyzer, ["a/bc/def", "bc/gh"])
    assert set(function.idf) == {"BC", "DEF", "GH"}
    assert analyzer.identity["filters"] == [{"class": "Longer", "params": {"least": 2}}]


def test_parts_one_by_one() -> None:
    assert CharacterfilterPreprocessor("、。").apply("a、b。c") == "a b c"
    assert CharacterfilterPreprocessor(["[", "]"]).apply("[a]") == " a "
    # The longest string wins, and what was put in is not searched again.
    assert ReplacePreprocessor({"a": "b", "ab": "c", "b": "a"}).apply("abab b") == "cc a"
    assert ReplacePreprocessor({}).apply("abc") == "abc"
    assert LowercaseFilter().apply(["ÄB", "STRASSE"]) == ["äb", "strasse"]
    assert PunctuationFilter().apply(["a", ".", "…", "c++"]) == ["a", "…", "c++"]
    assert PunctuationFilter(extras="…").apply(["a", ".", "…"]) == ["a"]
    assert StopwordFilter(stopword_list=["cat"]).apply(["the", "cat", "don't", "dog"]) == ["dog"]
    assert StemmingFilter("german").apply(["aufeinander", "häuser"]) == ["aufeinand", "haus"]
    for part, base in ((StandardTokenizer(), Tokenizer), (LowercaseFilter(), TextFilter)):
        assert isinstance(part, base)
    assert isinstance(ReplacePreprocessor({}), Preprocessor)


def test_a_pickled_analyzer_gives_the_same(yaml_file: Path) -> None:
    analyzer = build_analyzer_from_yaml(yaml_file, "mine")
    copy = pickle.loads(pickle.dumps(analyzer))  # noqa: S301
    text = "the colour of dogs/cats & birds"
    assert copy(text) == analyzer(text) == ["dog", "cat", "bird"]


def test_threads_may_share_an_analyzer(yaml_file: Path) -> None:
    analyzer = build_analyzer_from_yaml(yaml_file, "mine")
    texts = [f"the {word}ing dogs/cats & birds " * 50 for word in ("jump", "bark", "climb", "sing")]
    expected = [analyzer(text) for text in texts]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(analyzer, texts * 20)) == expected * 20


def test_bad_parameters_are_refused_with_what_is_allowed() -> None:
    with pytest.raises(InputError, match="single characters, not 'ab'"):
        CharacterfilterPreprocessor(["ab"])
    with pytest.raises(InputTypeError, match=r"chars_to_replace must be strings, not \[7\]"):
        CharacterfilterPreprocessor([7])  # type: ignore[list-item]
    with pytest.raises(InputError, match="empty string"):
        ReplacePreprocessor({"": "x"})
    with pytest.raises(InputTypeError, match="must map strings to strings, and is of type list"):
        ReplacePreprocessor(["x"])  # type: ignore[arg-type]
    with pytest.raises(InputTypeError, match=r"values of replacement_mapping must be strings, not \[1\]"):
        ReplacePreprocessor({"x": 1})  # type: ignore[dict-item]
    with pytest.raises(InputError, match=r"'klingon'; there are: .*english.*german"):
        StemmingFilter("klingon")
    with pytest.raises(InputError, match=r"'klingon'.*english"):
        StopwordFilter("klingon")
    with pytest.raises(InputTypeError, match=r"not one string: \['the'\]"):
        StopwordFilter(stopword_list="the")
    with pytest.raises(InputTypeError, match="extras must be strings, not 7"):
        PunctuationFilter(7)  # type: ignore[arg-type]
    with pytest.raises(InputTypeError, match=r'@register_class\("Mine"\)'):
        register_class(StandardTokenizer)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tokenizer": str.split}, "tokenizer must have a method tokenize"),
        ({"tokenizer": StandardTokenizer}, r"not the class StandardTokenizer; write StandardTokenizer\(\)"),
        ({"filters": [StandardTokenizer()]}, r"filters\[0\] must have a method apply, and StandardTokenizer has none"),
        ({"preprocessors": [LowercaseFilter(), None]}, r"preprocessors\[1\] must have a method apply"),
    ],
)
def test_parts_that_are_none(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputTypeError, match=message):
        Analyzer(**{"name": "x", "tokenizer": StandardTokenizer(), **arguments})


def test_yaml(yaml_file: Path) -> None:
    analyzer = build_analyzer_from_yaml(yaml_file, "mine")
    assert analyzer.name == "mine"
    assert analyzer("the colour of dogs/cats & birds") == ["dog", "cat", "bird"]
    assert build_analyzer_from_yaml(str(yaml_file), "bare")("The dogs") == ["The", "dogs"]


def test_identity_is_what_the_file_says(yaml_file: Path) -> None:
    identity = build_analyzer_from_yaml(yaml_file, "mine").identity
    assert identity == {
        "tokenizer": {"class": "StandardTokenizer", "params": {}},
        "preprocessors": [
            {"class": "ReplacePreprocessor", "params": {"replacement_mapping": {"&": " and ", "colour": "color"}}},
            {"class": "CharacterfilterPreprocessor", "params": {"chars_to_replace": ["/", "|"]}},
        ],
        "filters": [
            {"class": "LowercaseFilter", "params": {}},
            {"class": "PunctuationFilter", "params": {"extras": "¡¿"}},
            {"class": "StopwordFilter", "params": {"language": "english", "stopword_list": ["color"]}},
            {"class": "StemmingFilter", "params": {"language": "english"}},
        ],
    }


def test_yaml_finds_registered_classes(yaml_file: Path) -> None:
    @register_class("SplitterOfMine")
    class Splitter(Tokenizer):
        def tokenize(self, text: str) -> list[str]:
            return text.split("/")

    assert build_analyzer_from_yaml(yaml_file, "unknown")("a/b") == ["a", "b"]


STANDARD = "tokenizer: {class: StandardTokenizer}"


@pytest.mark.parametrize(
    ("entry", "error", "message"),
    [
        ("y: {}", InputError, "describes no analyzer 'x'; its entries: 'y'"),
        ("x:", InputError, "x must be a mapping with the keys tokenizer, preprocessors, filters, and is empty"),
        ("x: {filters: []}", InputError, "x lacks the key tokenizer"),
        (f"x: {{{STANDARD}, filter: []}}", InputError, "x has the unknown key 'filter'"),
        (f"x: {{{STANDARD}, filters: {{class: A}}}}", InputError, "x.filters must be a list, and is of type dict"),
        (f"x: {{{STANDARD}, filters: [A]}}", InputError, r"x.filters\[0\] must be a mapping .*, and is of type str"),
        ("x: {tokenizer: {klass: A}}", InputError, "x.tokenizer has the unknown key 'klass'; there are class, params"),
        ("x: {tokenizer: {params: {}}}", InputError, "x.tokenizer lacks the key class"),
        ("x: {tokenizer: {class: Nowhere}}", InputError, "x.tokenizer.class: .*'Nowhere'.*StandardTokenizer"),
        ("x: {tokenizer: {class: [A]}}", InputError, r"x.tokenizer.class: .*\['A'\]"),
        ("x: {tokenizer: {class: LowercaseFilter}}", InputTypeError, "x.tokenizer.class: .* a method tokenize"),
        (
            "x: {tokenizer: {class: StandardTokenizer, params: [1]}}",
            InputError,
            "x.tokenizer.params must be a mapping, and is of type list",
        ),
        (
            "x: {tokenizer: {class: StandardTokenizer, params: {speed: 9}}}",
            InputTypeError,
            "x.tokenizer.params: StandardTokenizer does not take.*speed",
        ),
        (
            f"x: {{{STANDARD}, filters: [{{class: StemmingFilter, params: {{language: k}}}}]}}",
            InputError,
            r"x.filters\[0\].params: There is no stemmer 'k'",
        ),
        ("- a", InputError, "must map names to analyzers, and is of type list"),
        ("", InputError, "must map names to analyzers, and is empty"),
    ],
)
def test_wrong_files_name_the_key(tmp_path: Path, entry: str, error: type[Exception], message: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(entry, encoding="utf-8")
    with pytest.raises(error, match=message):
        build_analyzer_from_yaml(path, "x")


def test_files_that_are_no_yaml(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="Cannot read analyzers"):
        build_analyzer_from_yaml(tmp_path / "missing.yaml", "en")
    (tmp_path / "broken.yaml").write_text("a: [")
    with pytest.raises(ReadError, match="is not YAML"):
        build_analyzer_from_yaml(tmp_path / "broken.yaml", "en")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ReadError, match="is not YAML"):
        build_analyzer_from_yaml(tmp_path / "bytes.yaml", "en")


def test_yaml_runs_no_code(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(
        f"x: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{tmp_path}/y']]"
    )
    with pytest.raises(ReadError, match="is not YAML"):
        build_analyzer_from_yaml(path, "x")
    assert not (tmp_path / "y").exists()


@pytest.mark.parametrize(
    ("tokenizer", "module", "text", "tokens"),
    [
        # The example of jieba's README.
        (JiebaTokenizer, "jieba", "我来到北京清华大学。", "我 来到 北京 清华大学 。"),
        (MecabTokenizer, "fugashi", "日本の首都は東京です。 Hello", "日本 の 首都 は 東京 です 。 Hello"),
        (KiwiTokenizer, "kiwipiepy", "서울은 대한민국의 수도이다.", "서울 은 대한민국 의 수도 이 다 ."),
    ],
)
def test_dictionary_tokenizers(tokenizer: type[Tokenizer], module: str, text: str, tokens: str) -> None:
    pytest.importorskip(module, reason=f"{module} is not installed")
    assert Analyzer("x", tokenizer())(text) == tokens.split()
    assert pickle.loads(pickle.dumps(tokenizer())).tokenize(text) == tokens.split()  # noqa: S301


def test_mecab_tokenizer_gives_what_mecab_gives() -> None:
    reference = pytest.importorskip("MeCab", reason="mecab-python3 is not installed")
    pytest.importorskip("fugashi", reason="milvine[ja] is not installed")
    text = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。Python 3.11とC++も。"
    assert MecabTokenizer().tokenize(text) == reference.Tagger("-Owakati").parse(text).split()


def test_konlpy_tokenizer() -> None:
    pytest.importorskip("konlpy", reason="konlpy is not installed")
    try:
        nouns = KonlpyTokenizer().tokenize("서울은 대한민국의 수도이다.")
    except MissingExtraError as error:
        pytest.skip(f"there is no Java: {error}")
    assert nouns == ["서울", "대한", "대한민국", "민국", "수도"]


@pytest.mark.parametrize(
    ("tokenizer", "module", "remedy"),
    [
        (JiebaTokenizer, "jieba", r"pip install 'milvine\[zh\]'"),
        (MecabTokenizer, "fugashi", r"pip install 'milvine\[ja\]'"),
        (MecabTokenizer, "unidic_lite", r"pip install 'milvine\[ja\]'"),
        (KiwiTokenizer, "kiwipiepy", r"pip install 'milvine\[ko\]'"),
        (KonlpyTokenizer, "konlpy", r"pip install konlpy, and a Java runtime; or use KiwiTokenizer, .*milvine\[ko\]"),
    ],
)
def test_a_missing_package_is_an_error_with_the_command(
    tokenizer: type[Tokenizer], module: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if tokenizer is MecabTokenizer and module != "fugashi":
        pytest.importorskip("fugashi", reason="milvine[ja] is not installed")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"{tokenizer.__name__} needs the package {module}, .*: {remedy}"):
        tokenizer()
