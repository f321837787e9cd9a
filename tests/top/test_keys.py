"""Keys by name, however the terminal sends them."""

import os
from collections.abc import Iterator

import pytest

from tallystick.top.keys import Hungup, Keys


@pytest.fixture
def line() -> Iterator[tuple[int, int]]:
    """What is read, and what is written."""
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)


def keys_of(line: tuple[int, int], data: bytes) -> list[str]:
    os.write(line[1], data)
    return Keys(line[0]).read(1)


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (b"q", ["q"]),
        (b"\x1b[A\x1b[B", ["up", "down"]),
        (b"\x1bOA\x1bOB\x1bOH\x1bOF", ["up", "down", "home", "end"]),
        (b"\x1b[5~\x1b[6~\x1b[1~\x1b[4~", ["page up", "page down", "home", "end"]),
        (b"\x1b", ["escape"]),
        (b"\x1bq", ["escape", "q"]),
        (b"\r\n\x7f\t\x1a", ["enter", "enter", "backspace", "tab", "suspend"]),
        (b"\x1b[15~x", ["x"]),
        (b"\x1b[1;5Cx", ["x"]),
        ("é/ü".encode(), ["é", "/", "ü"]),
        (b"\x00\x01", []),
        (b"\xff\xfe", []),
    ],
)
def test_a_key_has_a_name(line: tuple[int, int], data: bytes, names: list[str]) -> None:
    assert keys_of(line, data) == names


def test_a_letter_that_arrives_in_parts_is_one_key(line: tuple[int, int]) -> None:
    keys = Keys(line[0])
    first, second = "é".encode()[:1], "é".encode()[1:]
    os.write(line[1], first)
    assert keys.read(1) == []
    os.write(line[1], second)
    assert keys.read(1) == ["é"]


def test_no_key_is_no_key(line: tuple[int, int]) -> None:
    assert Keys(line[0]).read(0) == []


def test_a_terminal_that_is_gone_is_said(line: tuple[int, int]) -> None:
    os.close(line[1])
    with pytest.raises(Hungup):
        Keys(line[0]).read(1)
