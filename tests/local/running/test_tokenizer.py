from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, processors

from milvine.errors import InputError, ModelFileError
from milvine.local.finding.catalogue import models
from milvine.local.finding.files import fetch_model
from milvine.local.running.tokenizer import HEAD, TextTokenizer, Tokens
from tiny_bert import tokenizer_json
from varied_texts import TEXTS


def reference(path: Path, max_length: int) -> Tokenizer:
    """The tokenizers library's own cutting, over the whole text."""
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    return tokenizer


@pytest.fixture(scope="module", params=[row.name for row in models() if row.verified])
def real(request: pytest.FixtureRequest) -> Path:
    row = next(row for row in models() if row.name == request.param)
    return fetch_model(row)["tokenizer.json"]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tokenizer.json"
    path.write_text(tokenizer_json())
    return path


@pytest.mark.parametrize("max_length", [3, 5, 16, 256])
def test_texts_are_tokenized_and_cut_as_the_library_does(real: Path, max_length: int) -> None:
    expected = reference(real, max_length).encode_batch(TEXTS)
    got = TextTokenizer(real, max_length).texts(TEXTS)
    assert [(tokens.ids, tokens.type_ids) for tokens in got] == [(each.ids, each.type_ids) for each in expected]
    assert [tokens.lost > 0 for tokens in got] == [bool(each.overflowing) for each in expected]


def test_tokens_that_are_lost_are_counted_and_of_texts_far_too_long_estimated(real: Path) -> None:
    library, tokenizer = Tokenizer.from_file(str(real)), TextTokenizer(real, 16)
    library.no_truncation()
    library.no_padding()
    lengths = [len(each) for each in library.encode_batch(TEXTS)]
    assert tokenizer.count(TEXTS) == lengths
    near = [max(0, length - 16) for text, length in zip(TEXTS, lengths, strict=True) if len(text) <= 16 * HEAD]
    assert [
        each.lost for text, each in zip(TEXTS, tokenizer.texts(TEXTS), strict=True) if len(text) <= 16 * HEAD
    ] == near
    assert max(near) > 0
    prose = "The weather is lovely today, and nobody expects it to last until the evening. " * 100
    (far,) = tokenizer.texts([prose])
    assert far.lost == pytest.approx(len(library.encode(prose)) - 16, rel=0.1)
    (pair,) = tokenizer.pairs(prose, ["the weather"])
    assert pair.lost == pytest.approx(len(library.encode(prose, "the weather")) - 16, rel=0.1)


@pytest.mark.parametrize(
    ("max_length", "most_characters"), [(5, 60), (9, 100), (33, 300), (511, 20_000), (8, 60), (512, 4000)]
)
def test_pairs_are_joined_and_cut_as_the_library_does(real: Path, max_length: int, most_characters: int) -> None:
    library, tokenizer = reference(real, max_length), TextTokenizer(real, max_length)
    # The library's memory grows with the product of the lengths. Where an odd number of tokens is to be shared, texts
    # are short enough for their heads.
    texts = [text[:most_characters] for text in TEXTS]
    for whole in ("", "a", TEXTS[10], TEXTS[30], TEXTS[38][:1500]):
        query = whole[:most_characters]
        expected = library.encode_batch([(query, text) for text in texts])
        got = tokenizer.pairs(query, texts)
        assert [(tokens.ids, tokens.type_ids) for tokens in got] == [(each.ids, each.type_ids) for each in expected]
        assert [tokens.lost > 0 for tokens in got] == [bool(each.overflowing) for each in expected]


def test_cutting_by_words_changes_no_token_that_is_kept(tiny: Path) -> None:
    # Random texts in which a head ends anywhere: amid a word, in white space of every kind, among control characters.
    random = np.random.RandomState(5)
    pieces = [
        "ab",
        "abcdefgh" * 20,
        " ",
        "\n\n",
        "\t ",
        "\r\n",
        "\x1c",
        "\x00",
        "\u200b",
        "中",
        "é",
        "e\u0301",
        ",",
        "😀",
        "\xa0",
    ]
    library, tokenizer = reference(tiny, 12), TextTokenizer(tiny, 12)
    texts = ["".join(random.choice(pieces, random.choice([5, 60, 400]))) for _ in range(400)]
    texts += [" " * random.randint(900) + text for text in texts[:100]]
    assert [tokens.ids for tokens in tokenizer.texts(texts)] == [each.ids for each in library.encode_batch(texts)]


def test_padding_and_truncation_that_the_file_carries_do_not_matter(tiny: Path) -> None:
    carried = Tokenizer.from_file(str(tiny)).encode("abcd efgh")
    assert (carried.attention_mask.count(1), len(carried)) == (6, 16)
    (tokens,) = TextTokenizer(tiny, 19).texts(["abcd efgh"])
    #                      [CLS] a  ##b ##c ##d  e ##f ##g ##h [SEP]
    assert tokens == Tokens([2, 4, 27, 28, 29, 8, 31, 32, 33, 3], [0] * 10)
    assert len(tokens) == 10


def test_special_tokens_stand_where_the_file_puts_them(tmp_path: Path, tiny: Path) -> None:
    # RoBERTa's manner: two separators between the texts of a pair, and one type.
    file = Tokenizer.from_file(str(tiny))
    file.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    path = tmp_path / "roberta.json"
    file.save(str(path))
    for max_length in (6, 7, 9, 30):
        library, tokenizer = reference(path, max_length), TextTokenizer(path, max_length)
        for one, two in (("abc", "defgh"), ("a b c d e f g h", "a"), ("a b c d", "e f g h"), ("", "")):
            assert tokenizer.pairs(one, [two])[0].ids == library.encode(one, two).ids
            assert tokenizer.texts([one])[0].ids == library.encode(one).ids


def test_a_pair_of_two_long_texts_needs_no_memory_for_what_is_thrown_away(real: Path) -> None:
    # The library's own cutting takes 15 GB and 49 s for two texts of 60,000 characters.
    (tokens,) = TextTokenizer(real, 512).pairs("中文" * 100_000, ["汉字" * 100_000])
    assert (len(tokens), tokens.lost > 0, tokens.type_ids.count(1)) == (512, True, 256)
    (tokens,) = TextTokenizer(real, 512).pairs("two words", ["汉字" * 100_000])
    assert (len(tokens), tokens.lost > 0, tokens.type_ids.count(0)) == (512, True, 4)


def test_nothing_gives_nothing(tiny: Path) -> None:
    assert TextTokenizer(tiny, 16).texts([]) == []
    assert TextTokenizer(tiny, 16).pairs("a", []) == []


@pytest.mark.parametrize("text", ["\ud800", "before \udfff after", "a" * 50 + "\ud83d"])
def test_half_a_surrogate_pair_is_refused_by_its_place(tiny: Path, text: str) -> None:
    tokenizer = TextTokenizer(tiny, 16)
    place = next(at for at, character in enumerate(text) if "\ud800" <= character <= "\udfff")
    for tokenize in (tokenizer.texts, lambda texts: tokenizer.pairs("a", texts)):
        with pytest.raises(InputError, match=f"half of a surrogate pair .* at character {place} of .*errors='replace'"):
            tokenize(["good", text])
    with pytest.raises(InputError, match="half of a surrogate pair"):
        tokenizer.pairs(text, ["good"])


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"version": "1.0"}'])
def test_a_file_that_is_missing_or_no_tokenizer_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ModelFileError, match=r"tokenizer.json is not a usable tokenizer.json: \S"):
        TextTokenizer(path, 16)


def test_a_tokenizer_that_knows_no_letters_is_refused(tmp_path: Path) -> None:
    from tokenizers import models as kinds

    path = tmp_path / "tokenizer.json"
    Tokenizer(kinds.WordLevel({"only": 0}, unk_token="only")).save(str(path))
    assert TextTokenizer(path, 16).texts(["what"])[0].ids == [0]
    Tokenizer(kinds.BPE({}, [])).save(str(path))
    with pytest.raises(ModelFileError, match=r"tokenizer.json gives no token for the text 'a'"):
        TextTokenizer(path, 16)
