"""Files as they are found: zipped, cut off, strange, endless, unreadable."""

import gzip
import json
import os
import tempfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.importing import claude_code, rows
from tallystick.importing import files as reading
from tallystick.importing.fields import Fields
from tallystick.importing.files import Opened, files_below
from tallystick.importing.notes import Misread, Notes
from tallystick.importing.rows import rows_of
from tests.support.usage_files import answer, write

JSONL = (".jsonl", ".jsonl.gz")


def sources(file: Path, notes: Notes) -> list[str]:
    return [used.source for used in claude_code.read(Opened(file, notes))]


TWO = "".join(json.dumps(answer(f"msg_{n}", f"req_{n}", n)) + "\n" for n in (1, 2)).encode()
FORMS = {
    "plain": TWO,
    "with a byte order mark": b"\xef\xbb\xbf" + TWO,
    "with the line ends of Windows": TWO.replace(b"\n", b"\r\n"),
    "without a last line end": TWO.rstrip(b"\n"),
    "with empty lines": TWO.replace(b"\n", b"\n\n  \n"),
    "zipped": gzip.compress(TWO),
    "zipped in two parts": gzip.compress(TWO[:500]) + gzip.compress(TWO[500:]),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_a_file_is_read_in_each_form(tmp_path: Path, form: bytes) -> None:
    (tmp_path / "s.jsonl").write_bytes(form)
    notes = Notes()
    assert sources(tmp_path / "s.jsonl", notes) == ["req_1", "req_2"]
    assert notes.unreadable == 0


def test_a_zipped_file_that_is_cut_off_is_read_up_to_there(tmp_path: Path) -> None:
    many = "".join(json.dumps(answer(f"msg_{n}", f"req_{os.urandom(20).hex()}", n)) + "\n" for n in range(2000))
    zipped = gzip.compress(many.encode())
    (tmp_path / "s.jsonl.gz").write_bytes(zipped[: len(zipped) // 2])
    notes = Notes()
    assert 500 < len(sources(tmp_path / "s.jsonl.gz", notes)) < 2000
    assert "not a whole gzip file" in "".join(notes.problems)


def test_a_text_in_utf_16_is_said(tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_bytes(TWO.decode().encode("utf-16"))
    notes = Notes()
    assert sources(tmp_path / "s.jsonl", notes) == []
    assert "found UTF-16, allowed is UTF-8" in notes.problems[0]


def test_a_line_without_an_end_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "LINE_MAX", 2_000)
    monkeypatch.setattr(reading, "_PART", 100)
    huge = json.dumps({"type": "user", "text": "x" * 9_000})
    first, second = TWO.decode().splitlines()
    write(tmp_path / "s.jsonl", first, huge, second)
    notes = Notes()
    assert sources(tmp_path / "s.jsonl", notes) == ["req_1", "req_2"]
    assert "line 2: found more than 2,000 bytes" in notes.problems[0]


def test_files_are_found_once_through_links_and_loops_of_them(tmp_path: Path) -> None:
    write(tmp_path / "a/b/s.jsonl", answer())
    write(tmp_path / "a/notes.txt", "none of ours")
    (tmp_path / "a/b/up").symlink_to(tmp_path / "a", target_is_directory=True)
    (tmp_path / "a/again.jsonl").symlink_to(tmp_path / "a/b/s.jsonl")
    (tmp_path / "elsewhere").symlink_to(tmp_path / "a", target_is_directory=True)
    notes = Notes()
    found = files_below([tmp_path, tmp_path / "a"], JSONL, notes)
    assert [file.name for file in found] == ["again.jsonl"]
    assert notes.unreadable == 0


def test_what_cannot_be_opened_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    write(tmp_path / "s.jsonl", answer())
    (tmp_path / "gone.jsonl").symlink_to(tmp_path / "nowhere")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.jsonl")  # nothing ever comes out of it
    notes = Notes()
    assert [file.name for file in files_below([tmp_path], JSONL, notes)] == ["s.jsonl"]
    assert notes.problems == [f"{tmp_path / 'gone.jsonl'}: No such file or directory"]
    assert sources(tmp_path / "deleted-meanwhile.jsonl", notes) == []
    assert "deleted-meanwhile.jsonl: No such file or directory" in notes.problems[1]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read everything")
def test_what_may_not_be_read_is_named(tmp_path: Path) -> None:
    write(tmp_path / "closed/s.jsonl", answer())
    write(tmp_path / "open/s.jsonl", answer()).chmod(0)
    (tmp_path / "closed").chmod(0)
    notes = Notes()
    for file in files_below([tmp_path], JSONL, notes):
        sources(file, notes)
    (tmp_path / "closed").chmod(0o700)
    assert [problem.rpartition(": ")[2] for problem in notes.problems] == ["Permission denied"] * 2


# --- rows ------------------------------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ROWS = st.lists(st.dictionaries(st.text(max_size=5), VALUES, max_size=4), min_size=1, max_size=8)


@given(found=ROWS, form=st.sampled_from(["lines", "array", "indented", "ascii"]), size=st.integers(1, 40))
def test_json_is_read_the_same_however_it_is_cut(found: list[dict[str, Any]], form: str, size: int) -> None:
    if form == "lines":
        text = "\n".join(json.dumps(row, ensure_ascii=False) for row in found)
    else:
        text = json.dumps(found, indent=2 if form == "indented" else None, ensure_ascii=form == "ascii")
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "_CHUNK", size)
        file = Path(folder, "rows.json")
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
        notes = Notes()
        read = [row.values for row in rows_of(Opened(file, notes), ())]
    if "\\ud" not in text:
        assert read == found
    assert len(read) == len(found)
    assert notes.unreadable == 0


BROKEN = {
    "a line": ('{"a": 1}\n{"a": nope}\n{"a": 3}\n', [1, 3], "line 2: not JSON"),
    "a line with a text without an end": ('{"a": 1}\n{"a": "x}\n{"a": 3}\n', [1, 3], "line 2: not JSON"),
    "an object of an array": ('[\n {"a": 1},\n {"a": nope},\n {"a": 3}\n]', [1, 3], "line 3: not JSON"),
    "an array that is cut off": ('[\n {"a": 1},\n {"a": 2},\n {"a"', [1, 2], "line 4: not JSON"),
    "an array without an end": ('[\n {"a": 1}', [1], "the array has no end: the file is cut off"),
    "a number where an object is due": ("[1]", [], "line 1: found int, allowed is an object"),
    "a number of too many digits": ('{"a": ' + "9" * 5000 + '}\n{"a": 2}', [2], "line 1: not JSON"),
    "too many brackets": ('{"a": ' + "[" * 100_000 + '\n{"a": 2}', [2], "line 1: not JSON"),
}


@pytest.mark.parametrize(("text", "read", "said"), BROKEN.values(), ids=BROKEN.keys())
def test_what_is_not_json_is_named_and_the_rest_is_read(tmp_path: Path, text: str, read: list[int], said: str) -> None:
    (tmp_path / "x.json").write_text(text)
    notes = Notes()
    found = list(rows_of(Opened(tmp_path / "x.json", notes), ()))
    assert [row.values["a"] for row in found] == read
    assert said in notes.problems[0]


def test_csv_with_damaged_rows_is_read_around_them(tmp_path: Path) -> None:
    text = 'a,b\n1,"two\nlines"\n2\n3,4,5\n6,"\u2028\x0b"\n7,"8" 9\n10,11'
    (tmp_path / "x.csv").write_text(text, encoding="utf-8-sig")
    notes = Notes()
    found = list(rows_of(Opened(tmp_path / "x.csv", notes), ("a",)))
    assert [row.values["a"] for row in found] == ["1", "6", "10"]
    assert [problem.rpartition("x.csv, ")[2][:17] for problem in notes.problems] == [
        "line 4: found 1 c", "line 5: found 3 c", "line 7: not CSV: ",
    ]  # fmt: skip


@given(value=st.text() | st.floats() | st.integers() | st.booleans() | st.lists(st.integers()) | st.none())
def test_a_field_is_read_or_named_whatever_is_in_it(value: Any) -> None:
    fields = Fields({"x": value})
    for read in (fields.text, fields.count, fields.money, fields.moment, fields.inside, fields.items, fields.flag):
        found = read_or_named(read)
        if isinstance(found, str):
            found.encode()
        if isinstance(found, int | Decimal):
            assert found >= 0


def read_or_named(read: Callable[[str], Any]) -> Any:
    try:
        return read("x")
    except Misread as error:
        return f"{error}" if str(error).startswith("x: found ") else pytest.fail(str(error))
