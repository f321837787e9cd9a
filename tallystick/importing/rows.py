"""The rows of a file of any of the forms in which they are exported: CSV, JSON lines, or JSON arrays, zipped or not.

No more of it is in memory than one row, or one page of a provider.
"""

import csv
import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any, BinaryIO, Final, NamedTuple, TextIO

from tallystick.importing.files import LINE_MAX, Opened

_CHUNK: Final = 1024 * 1024
_BETWEEN: Final = re.compile(r"[\s,]*")
_NEXT_AT_TOP: Final = re.compile(r"\n(?=[{\[])")
_NEXT_IN_ARRAY: Final = re.compile(r"\n\s*(?=\{)")
_CUT_OFF: Final = 16
"""A value is cut off where reading fails so near to the end of what was read."""
_decode = json.JSONDecoder(parse_float=Decimal).raw_decode


class Row(NamedTuple):
    """One object of a file, and the line on which it begins."""

    line: int
    values: dict[str, Any]


def rows_of(file: Opened, columns: Iterable[str]) -> Iterator[Row]:
    """The rows of a file, up to where it ends or cannot be read; what is wrong with it is noted.

    A CSV file needs these ``columns``, in any order and among others.
    """
    try:
        with file.path.open("rb") as raw:
            file.notes.files += 1
            stream = file.stream(raw)
            if stream is None:
                return
            watched = io.BufferedReader(_Watched(stream, raw, file), _CHUNK)
            text = io.TextIOWrapper(watched, encoding="utf-8-sig", errors="replace", newline="")
            start = text.read(_CHUNK)
            if start.lstrip()[:1] in ("{", "["):
                yield from _Values(file, text, start).rows()
            else:
                yield from _csv_rows(file, _lines(start, text), tuple(columns))
    except (OSError, EOFError, zlib.error) as error:
        file.failed(error)


class _Watched(io.RawIOBase):
    """A stream that says how far its file is read."""

    def __init__(self, stream: BinaryIO, raw: BinaryIO, file: Opened) -> None:
        self._stream, self._raw, self._file, self._read = stream, raw, file, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        part = self._stream.read(len(buffer))
        buffer[: len(part)] = part
        self._read = self._file.moved_to(self._raw, self._read)
        return len(part)


# --- JSON ------------------------------------------------------------------------------------------------------------


class _Values:
    """The objects of a text of JSON values, one after the other: by themselves, or in arrays."""

    def __init__(self, file: Opened, stream: TextIO, start: str) -> None:
        self._file, self._stream, self._text = file, stream, start
        self._at, self._line, self._counted, self._depth = 0, 1, 0, 0

    def rows(self) -> Iterator[Row]:
        while self._skip():
            mark = self._text[self._at]
            if mark == "[":
                self._depth, self._at = self._depth + 1, self._at + 1
            elif mark == "]":
                self._depth, self._at = self._depth - 1, self._at + 1
            elif (row := self._row()) is not None:
                yield row
        self._file.notes.lines += self._here()
        if self._depth > 0:
            self._file.notes.cannot_read(self._file.place(self._here()), "the array has no end: the file is cut off")

    def _row(self) -> Row | None:
        """The object that begins here; None where there is none that can be read."""
        more = _CHUNK
        while True:
            try:
                value, end = _decode(self._text, self._at)
            except (ValueError, RecursionError) as error:
                if self._may_go_on(error) and self._fill(more):
                    more = min(2 * more, LINE_MAX)
                    continue
                self._leave(error)
                return None
            line, self._at = self._here(), end
            if isinstance(value, dict):
                return Row(line, value)
            self._file.notes.cannot_read(self._file.place(line), f"found {type(value).__name__}, allowed is an object")
            return None

    def _may_go_on(self, error: Exception) -> bool:
        """Whether a value was not read to its end because more of the file is needed."""
        if not isinstance(error, json.JSONDecodeError) or len(self._text) - self._at > LINE_MAX:
            return False
        return error.pos >= len(self._text) - _CUT_OFF or error.msg.startswith("Unterminated string")

    def _leave(self, error: Exception) -> None:
        """Note what cannot be read, and go on behind it."""
        line = self._here()
        why = (
            error.msg
            if isinstance(error, json.JSONDecodeError)
            else "nested too deeply, or a number of too many digits"
        )
        self._file.notes.cannot_read(self._file.place(line), f"not JSON: {why}")
        again = _NEXT_IN_ARRAY if self._depth else _NEXT_AT_TOP
        while (found := again.search(self._text, self._at)) is None:
            self._at = max(self._at, len(self._text) - 1)
            if not self._fill(_CHUNK):
                self._at, self._depth = len(self._text), 0
                return
        self._at = found.end()

    def _skip(self) -> bool:
        """Go on to where the next value begins; False at the end."""
        while True:
            found = _BETWEEN.match(self._text, self._at)
            self._at = self._at if found is None else found.end()
            if self._at < len(self._text):
                return True
            if not self._fill(_CHUNK):
                return False

    def _fill(self, size: int) -> bool:
        """Read more; False at the end of the file."""
        part = self._stream.read(size)
        if not part:
            return False
        self._here()
        self._text = self._text[self._at :] + part
        self._at = self._counted = 0
        return True

    def _here(self) -> int:
        """The number of the line that has been reached."""
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = max(self._counted, self._at)
        return self._line


# --- CSV -------------------------------------------------------------------------------------------------------------


def _csv_rows(file: Opened, lines: Iterator[str], columns: tuple[str, ...]) -> Iterator[Row]:
    csv.field_size_limit(LINE_MAX)
    reader = csv.reader(lines, strict=True)
    names: list[str] | None = None
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            file.notes.cannot_read(file.place(reader.line_num), f"not CSV: {error}")
            continue
        if not cells:
            continue
        if names is None:
            names = [cell.strip() for cell in cells]
            if missing := [name for name in columns if name not in names]:
                found = f"the column {missing[0]} is missing; found {', '.join(names)}"
                file.notes.cannot_read(file.place(reader.line_num), found)
                return
        elif len(cells) != len(names):
            found = f"found {len(cells)} cells, and the first line names {len(names)} columns"
            file.notes.cannot_read(file.place(reader.line_num), found)
        else:
            yield Row(reader.line_num, dict(zip(names, cells, strict=True)))
    file.notes.lines += reader.line_num


def _lines(start: str, rest: TextIO) -> Iterator[str]:
    """The lines of a text whose beginning was read before."""
    for line in io.StringIO(start, newline=""):
        yield line if line.endswith(("\n", "\r")) else line + rest.readline()
    yield from rest
