from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from milvine.errors import InputError, InputTypeError, ReadError
from milvine.model.sparse import BM25EmbeddingFunction
from milvine.model.sparse.bm25.tokenizers import (
    Analyzer,
    CharacterfilterPreprocessor,
    LowercaseFilter,
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
unknown: {tokenizer: {class: JiebaTokenizerOfMine}}
wrong: {tokenizer: {class: StandardTokenizer, params: {speed: 9}}}
hollow: {filters: []}
nothing:
"""


@pytest.fixture
def yaml_file(tmp_path: Path) -> Path:
    path = tmp_path / "analyzers.yaml"
    path.write_text(YAML, encoding="utf-8")
    return path


def test_default_analyzer_goes_where_an_analyzer_does() -> None:
    analyzer = build_default_analyzer(language="en")
    assert analyzer("Jumping dogs") == ["jump", "dog"]
    assert analyzer.name == "en"
    assert BM25EmbeddingFunction(analyzer, ["Jumping dogs"]).dim == 2
    with pytest.raises(InputError, match=r"'kr'.*en"):
        build_default_analyzer("kr")


def test_composed_analyzer() -> None:
    analyzer = Analyzer(name="mine", tokenizer=StandardTokenizer())
    assert analyzer("Jumping dogs, isn't it?") == ["Jumping", "dogs", "isn't", "it"]
    analyzer = Analyzer(
        "mine", StandardTokenizer(), None, [LowercaseFilter(), StopwordFilter(), StemmingFilter("english")]
    )
    assert analyzer("Jumping dogs, isn't it?") == ["jump", "dog"]
    assert BM25EmbeddingFunction(analyzer, ["jumping dogs", "a dog"]).dim == 2


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
    assert pickle.loads(pickle.dumps(StemmingFilter()))  # noqa: S301
    for base in (StandardTokenizer, LowercaseFilter):
        assert issubclass(base, (Tokenizer, TextFilter))


def test_bad_parameters_are_refused_with_what_is_allowed() -> None:
    with pytest.raises(InputError, match="single characters, not 'ab'"):
        CharacterfilterPreprocessor(["ab"])
    with pytest.raises(InputError, match="empty string"):
        ReplacePreprocessor({"": "x"})
    with pytest.raises(InputError, match=r"'klingon'; there are: .*english.*german"):
        StemmingFilter("klingon")
    with pytest.raises(InputError, match=r"'klingon'.*english"):
        StopwordFilter("klingon")


def test_yaml(yaml_file: Path) -> None:
    analyzer = build_analyzer_from_yaml(yaml_file, "mine")
    assert analyzer.name == "mine"
    assert analyzer("the colour of dogs/cats & birds") == ["dog", "cat", "bird"]
    assert build_analyzer_from_yaml(str(yaml_file), "bare")("The dogs") == ["The", "dogs"]


def test_yaml_finds_registered_classes(yaml_file: Path) -> None:
    @register_class("JiebaTokenizerOfMine")
    class Splitter(Tokenizer):
        def tokenize(self, text: str) -> list[str]:
            return text.split("/")

    assert build_analyzer_from_yaml(yaml_file, "unknown")("a/b") == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("absent", InputError, "no analyzer 'absent'.*mine, bare"),
        ("nothing", InputError, "no analyzer 'nothing'"),
        ("hollow", InputError, "with a tokenizer"),
        ("wrong", InputTypeError, "StandardTokenizer does not take.*speed"),
    ],
)
def test_yaml_entries_that_cannot_be_built(yaml_file: Path, name: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        build_analyzer_from_yaml(yaml_file, name)


def test_yaml_with_an_unknown_class(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("x: {tokenizer: {class: Nowhere}}")
    with pytest.raises(InputError, match=r"'Nowhere'.*StandardTokenizer"):
        build_analyzer_from_yaml(path, "x")


def test_files_that_are_no_yaml(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="Cannot read analyzers"):
        build_analyzer_from_yaml(tmp_path / "missing.yaml", "en")
    (tmp_path / "broken.yaml").write_text("a: [")
    with pytest.raises(ReadError, match="is not YAML"):
        build_analyzer_from_yaml(tmp_path / "broken.yaml", "en")
    (tmp_path / "list.yaml").write_text("- a")
    with pytest.raises(InputError, match="no analyzer 'en'"):
        build_analyzer_from_yaml(tmp_path / "list.yaml", "en")
