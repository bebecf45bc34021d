from __future__ import annotations

import random
from pathlib import Path

import pytest

from milvine.ingest import Document, Problem, read_documents

FRENCH = "Les élèves français étudient à l'école près de la forêt. Où êtes-vous allés hier après-midi ?"
RUSSIAN = "Искусственный интеллект был основан как научная дисциплина в 1956 году."
JAPANESE = "日本語の文章を読むための簡単な試験です。今日は天気がとても良い。"
CHINESE = "人工智能作为一门学科成立于一九五六年。今天天气很好。"
SPANISH = "El niño pequeño comió una manzana mañana."
SWEDISH = "Även små åkrar är värda något för bönderna i Skåne på våren."
POLISH = "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw."
CZECH = "Všichni lidé rodí se svobodní a sobě rovní co do důstojnosti a práv."
HUNGARIAN = "Minden emberi lény szabadon születik és egyenlő méltósága és joga van."
TURKISH = "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar."
KOREAN = "인공지능은 1956년에 학문 분야로 설립되었다. 오늘은 날씨가 좋다."


def read_bytes(path: Path, data: bytes) -> tuple[list[Document], list[Problem]]:
    path.write_bytes(data)
    problems: list[Problem] = []
    return list(read_documents([path], on_problem=problems.append)), problems


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_unicode_is_read_without_doubt(tmp_path: Path, encoding: str) -> None:
    text = f"{FRENCH}\n{JAPANESE} 👩‍👩‍👧‍👦\n"
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    ((document,), problems) = read_bytes(tmp_path / "a.txt", mark + text.encode(encoding))
    assert document.text == text
    assert problems == []


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (FRENCH, "latin-1"),
        (SPANISH, "latin-1"),
        (SWEDISH, "latin-1"),
        ("“Curly quotes” – and dashes…", "cp1252"),
        (POLISH, "cp1250"),
        (CZECH, "cp1250"),
        (HUNGARIAN, "cp1250"),
        (TURKISH, "cp1254"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8-r"),
        (JAPANESE, "shift_jis"),
        (JAPANESE * 20, "euc_jp"),
        (CHINESE, "gbk"),
        (KOREAN, "euc_kr"),
    ],
)
def test_another_encoding_is_guessed_and_the_guess_reported(tmp_path: Path, text: str, encoding: str) -> None:
    ((document,), (problem,)) = read_bytes(tmp_path / "a.txt", text.encode(encoding))
    assert document.text == text
    assert not problem.skipped
    assert problem.reason.startswith("is not UTF-8; it was read as ")


def test_a_single_accent_at_the_end_of_a_long_file_of_code_is_found(tmp_path: Path) -> None:
    text = 'if x[0] != {"a": [1, 2]}:  # ---\n' * 5_000 + "# Written in the café."
    ((document,), (problem,)) = read_bytes(tmp_path / "a.txt", text.encode("latin-1"))
    assert document.text == text
    assert not problem.skipped


def test_one_damaged_character_does_not_turn_utf8_into_something_else(tmp_path: Path) -> None:
    data = bytearray((CHINESE * 3).encode())
    data[10] = 0x20
    ((document,), (problem,)) = read_bytes(tmp_path / "a.txt", bytes(data))
    assert document.text[4:] in data.decode("utf-8", "replace")
    assert document.text.count("\ufffd") <= 2
    assert not problem.skipped
    assert problem.reason == "is damaged UTF-8 (first at byte 9); the damaged characters became U+FFFD"


def test_a_page_is_read_in_the_encoding_that_it_declares(tmp_path: Path) -> None:
    # Bytes that are letters in ISO 8859-2 and others in Windows' code pages: ą, š and ž.
    page = '<html><head><meta charset="iso-8859-2"></head><body><p>są Šťastný žluťoučký</p></body></html>'
    ((document,), problems) = read_bytes(tmp_path / "a.html", page.encode("iso-8859-2"))
    assert document.text == "są Šťastný žluťoučký"
    assert problems == []


def test_valid_utf8_wins_over_a_wrong_declaration(tmp_path: Path) -> None:
    page = '<meta http-equiv="Content-Type" content="text/html; charset=iso-8859-1"><p>Größe'
    assert read_bytes(tmp_path / "a.html", page.encode())[0][0].text == "Größe"


def test_characters_across_the_pieces_in_which_a_file_is_checked_are_whole(tmp_path: Path) -> None:
    text = "x" + "語" * 800_000  # 2.4 MB; no piece of 1 MiB ends between two characters.
    ((document,), problems) = read_bytes(tmp_path / "a.txt", text.encode())
    assert document.text == text
    assert problems == []


def test_bytes_that_are_no_text_are_skipped(tmp_path: Path) -> None:
    noise = bytes(random.Random(7).choices(range(1, 256), k=20_000))  # noqa: S311
    documents, (problem,) = read_bytes(tmp_path / "a.txt", noise)
    assert documents == []
    assert problem.skipped
    assert "no other encoding fits" in problem.reason


def test_a_broken_utf16_file_is_skipped(tmp_path: Path) -> None:
    documents, (problem,) = read_bytes(tmp_path / "a.txt", b"\xff\xfea\x00b")
    assert documents == []
    assert problem.reason == "starts with the byte order mark of utf-16 but is not valid utf-16"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_rows_are_decoded_as_they_are_read(tmp_path: Path, encoding: str) -> None:
    rows = "".join(f'{{"_id": "{number}", "text": "{FRENCH}"}}\r\n' for number in range(3))
    documents, _ = read_bytes(tmp_path / "a.jsonl", rows.encode(encoding))
    assert [document.text for document in documents] == [FRENCH] * 3
