from __future__ import annotations

from importlib.util import find_spec

import pytest

from milvine.analysis import DICTIONARIES, LANGUAGES, Analyzer, DictionaryAnalyzer, get_analyzer
from milvine.errors import InputError, MissingExtraError


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_language_goes_by_its_code_its_name_and_its_aliases(code: str) -> None:
    row = LANGUAGES[code]
    for name in (code, row.name, *row.aliases, code.upper()):
        analyzer = get_analyzer(name)
        assert isinstance(analyzer, Analyzer)
        assert analyzer.name == code


@pytest.mark.parametrize("code", DICTIONARIES)
def test_a_dictionary_goes_by_its_code_or_says_what_to_install(code: str) -> None:
    row = DICTIONARIES[code]
    if all(find_spec(module) for module in row.modules):
        analyzer = get_analyzer(code)
        assert isinstance(analyzer, DictionaryAnalyzer)
        assert analyzer.identity["language"] == code
    else:
        with pytest.raises(MissingExtraError, match=rf"pip install 'milvine\[{row.extra}\]'"):
            get_analyzer(code)


@pytest.mark.parametrize("wrong", ["", "xx", "klingon", "zh-kiwi"])
def test_another_language_is_refused_with_those_there_are(wrong: str) -> None:
    with pytest.raises(InputError, match=r"no analyzer for language .*en \(english\)"):
        get_analyzer(wrong)
