from __future__ import annotations

from itertools import pairwise

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from milvine.errors import InputError
from milvine.ingest import Document, split_passages
from milvine.ingest.passages import MOST_CHARACTERS
from milvine.types import Record


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """BERT's pipeline over a vocabulary of letters: a known word is a token, any other as many as it has letters."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,:;!?#`*-"
    words = ["the", "cat", "sat", "on", "mat", "title"]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words, *letters, *(f"##{letter}" for letter in letters)]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def split(tokenizer: Tokenizer, text: str, max_tokens: int = 16, **options: object) -> list[Record]:
    document = Document("doc", text, str(options.pop("title", "")), dict(options.pop("metadata", {})))  # type: ignore[call-overload]
    return list(split_passages([document], tokenizer, max_tokens, **options))  # type: ignore[arg-type]


def check(passages: list[Record], text: str, tokenizer: Tokenizer, max_tokens: int) -> None:
    """What holds of any split: it fits, it is where it says, nothing but white space is lost, order is kept."""
    end = 0
    for ordinal, passage in enumerate(passages):
        start = passage.metadata["start"]
        assert passage.id == f"doc#{ordinal}"
        assert passage.text == text[start : passage.metadata["end"]]
        assert passage.text.strip()
        assert len(tokenizer.encode(passage.text).ids) <= max_tokens
        assert not text[end:start].strip()
        end = max(end, passage.metadata["end"])
    assert not text[end:].strip()


def test_a_text_that_fits_is_one_passage(tokenizer: Tokenizer) -> None:
    # Six words, a full stop and two special tokens: nine.
    passages = split(tokenizer, "The cat sat on the mat.", 9, title="Title", metadata={"source": "/a", "year": 1956})
    metadata = {"source": "/a", "year": 1956, "document": "doc", "title": "Title", "start": 0, "end": 23}
    assert passages == [Record("doc#0", "The cat sat on the mat.", metadata)]
    assert len(split(tokenizer, "The cat sat on the mat.", 8)) == 2


def test_cuts_fall_between_paragraphs_before_sentences_before_words(tokenizer: Tokenizer) -> None:
    text = "The cat sat. The cat sat.\n\nThe mat.\n\nOn the mat the cat sat on the cat."
    passages = split(tokenizer, text, 12)
    assert [passage.text for passage in passages] == [
        "The cat sat. The cat sat.",
        "The mat.",
        "On the mat the cat sat on the cat.",
    ]
    check(passages, text, tokenizer, 12)
    passages = split(tokenizer, text, 6)
    assert passages[0].text == "The cat sat."
    check(passages, text, tokenizer, 6)


@pytest.mark.parametrize(
    "text",
    [
        "日本語の文章です。" * 40,
        "人" * 3_000,
        "👩‍👩‍👧‍👦 the cat 🐈 sat. " * 60,
        "e\u0301a\u0301 cafe\u0301 " * 200,
        "the cat\r\n\r\nsat on " * 100,
        "\n\n\n the   cat \t\n" * 100,
        "abcdefghij" * 5 + " " + "x" * 5_000 + " the cat",
        "the" + " " * 5_000 + "cat",
    ],
    ids=["japanese", "no boundary", "emoji", "combining", "crlf", "white space", "unknown word", "spaces"],
)
@pytest.mark.parametrize("overlap", [0, 4])
@pytest.mark.parametrize("kind", ["text", "markdown"])
def test_offsets_are_characters_in_every_script(tokenizer: Tokenizer, text: str, overlap: int, kind: str) -> None:
    passages = split(tokenizer, text, 16, overlap=overlap, metadata={"format": kind})
    check(passages, text, tokenizer, 16)


def test_where_a_window_ends_cannot_be_seen(tokenizer: Tokenizer) -> None:
    # Passages of ten equal sentences each, over many windows of 4 x 16 x 50 characters: no short one in between.
    text = "The cat sat on. " * 5_000
    passages = split(tokenizer, text, 52)
    assert {len(passage.text) for passage in passages} == {10 * 16 - 1}
    assert len(passages) == 500


def test_neighbours_share_their_overlap(tokenizer: Tokenizer) -> None:
    text = "The cat sat. " * 100
    passages = split(tokenizer, text, 14, overlap=4)  # Three sentences of four tokens; the last comes again.
    places = [(passage.metadata["start"], passage.metadata["end"]) for passage in passages]
    assert all(start == end - 12 for (_, end), (start, _) in pairwise(places))
    check(passages, text, tokenizer, 14)


def test_markdown_is_cut_at_headings(tokenizer: Tokenizer) -> None:
    text = "# The cat\n\nSat on.\n\nThe mat.\n\n## The mat\n\nOn the cat."
    passages = split(tokenizer, text, 13, metadata={"format": "markdown"})
    assert [passage.text for passage in passages] == ["# The cat\n\nSat on.\n\nThe mat.", "## The mat\n\nOn the cat."]


def test_a_word_of_one_token_does_not_make_a_passage_without_end(tokenizer: Tokenizer) -> None:
    text = "x" * 100_000  # One [UNK].
    passages = split(tokenizer, text, 34)
    assert {len(passage.text) for passage in passages[:-1]} == {16 * 32}
    assert max(len(passage.text) for passage in split(tokenizer, text, 8_192)) == MOST_CHARACTERS
    check(passages, text, tokenizer, 34)


@pytest.mark.parametrize("text", ["", " \n\t ", "\n" * 50_000])
def test_a_blank_document_has_no_passage(tokenizer: Tokenizer, text: str) -> None:
    assert split(tokenizer, text) == []


def test_truncation_and_padding_do_not_matter_and_stay(tokenizer: Tokenizer) -> None:
    text = "The cat sat on the mat. " * 30
    expected = split(tokenizer, text, 20)
    changed = Tokenizer.from_str(tokenizer.to_str())
    changed.enable_truncation(8)
    changed.enable_padding(length=64)
    assert split(changed, text, 20) == expected
    assert changed.truncation is not None
    assert changed.padding is not None


def test_the_title_stands_before_each_passage_and_fits(tokenizer: Tokenizer) -> None:
    text = "The cat sat. " * 20
    passages = split(tokenizer, text, 34, title="Title", with_title=True)
    assert len(passages) > 2
    for passage in passages:
        assert passage.text == f"Title\n{text[passage.metadata['start'] : passage.metadata['end']]}"
        assert len(tokenizer.encode(passage.text).ids) <= 34


def test_a_long_title_is_cut_to_its_share(tokenizer: Tokenizer) -> None:
    # 34 tokens less two special ones; an eighth of 32 is four.
    (passage,) = split(tokenizer, "The cat.", 34, title="the mat the mat the mat", with_title=True)
    assert passage.text == "the mat the mat\nThe cat."
    assert passage.metadata["title"] == "the mat the mat the mat"


def test_a_passage_that_begins_with_the_title_does_not_repeat_it(tokenizer: Tokenizer) -> None:
    (passage,) = split(tokenizer, "# Title\n\nThe cat.", 34, title="Title", with_title=True)
    assert passage.text == "# Title\n\nThe cat."
    (passage,) = split(tokenizer, "The cat.", 34, title="", with_title=True)
    assert passage.text == "The cat."


def test_documents_are_taken_one_at_a_time(tokenizer: Tokenizer) -> None:
    taken = []

    def documents():  # type: ignore[no-untyped-def]
        for number in range(3):
            taken.append(number)
            yield Document(str(number), "The cat.")

    passages = split_passages(documents(), tokenizer, 16)
    assert taken == []
    assert next(passages).id == "0#0"
    assert taken == [0]
    assert [passage.id for passage in passages] == ["1#0", "2#0"]


def test_bad_arguments_are_refused_at_once(tokenizer: Tokenizer) -> None:
    with pytest.raises(InputError, match="max_tokens must be more than 2, not 2"):
        split_passages([], tokenizer, 2)
    with pytest.raises(InputError, match="overlap must be from 0 to 13 tokens, not 14"):
        split_passages([], tokenizer, 16, overlap=14)
    with pytest.raises(InputError, match="overlap must be from 0"):
        split_passages([], tokenizer, 16, overlap=-1)
    with pytest.raises(InputError, match="the text of document 'doc' holds half of a surrogate pair"):
        split(tokenizer, "the \ud83d cat")
