"""Files as they are found: many of them, large, zipped, cut off, being written, or not to be read at all."""

import gzip
import os
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from tallystick.importing.notes import Notes

LINE_MAX: Final = 64 * 1024 * 1024
"""Bytes of a line, or of one JSON value; what is longer is passed over, and never in memory as a whole."""
_BOM: Final = b"\xef\xbb\xbf"
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
_ZIPPED: Final = b"\x1f\x8b"
_STEP: Final = 1_000
_PART: Final = 1024 * 1024

Moved = Callable[[int], None]
"""Told how many bytes more are read."""


class Line(NamedTuple):
    """One line without its end; ``is_whole``: it had one."""

    number: int
    text: bytes
    is_whole: bool


def files_below(given: Iterable[Path], endings: tuple[str, ...], notes: Notes) -> list[Path]:
    """The files below folders whose names end so, and files that are named themselves, each once, in order.

    Links are followed, and a loop of them is left where it begins again.
    """
    found: dict[tuple[int, int], Path] = {}
    given = list(given)
    for path in given:
        for file in _below(path, endings, notes) if path.is_dir() else (path,):
            try:
                status = file.stat()
            except OSError as error:
                notes.cannot_read(str(file), error.strerror)
                continue
            if stat.S_ISREG(status.st_mode) or file == path:
                found.setdefault((status.st_dev, status.st_ino), file)
    if not found:
        notes.remark(f"{', '.join(map(str, given))}: no file there ends in {' or '.join(endings)}")
    return sorted(found.values())


def _below(top: Path, endings: tuple[str, ...], notes: Notes) -> Iterator[Path]:
    seen: set[tuple[int, int]] = set()

    def failed(error: OSError) -> None:
        notes.cannot_read(str(error.filename), error.strerror)

    for folder, folders, files in os.walk(top, onerror=failed, followlinks=True):
        status = os.stat(folder)  # noqa: PTH116 - os.walk gives names
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()
        yield from (Path(folder, file) for file in files if file.endswith(endings))


def size_of(files: Iterable[Path]) -> int:
    """How many bytes files have on disk; none for one that is gone."""
    total = 0
    for file in files:
        try:
            total += file.stat().st_size
        except OSError:
            continue
    return total


class Opened:
    """A file that is read once, as lines; ``moved`` learns how far it is."""

    def __init__(self, path: Path, notes: Notes, moved: Moved = lambda _: None) -> None:
        self.path, self.notes = path, notes
        self._moved = moved
        self.name = str(path)

    def place(self, line: int) -> str:
        return f"{self.name}, line {line}"

    def lines(self) -> Iterator[Line]:
        """Its lines, up to where it ends or cannot be read; what is wrong with it is noted."""
        try:
            with self.path.open("rb") as raw:
                self.notes.files += 1
                yield from self._lines(raw)
        except (OSError, EOFError, zlib.error) as error:
            self.failed(error)

    def failed(self, error: Exception) -> None:
        """The file cannot be read, or not to its end."""
        if isinstance(error, EOFError | zlib.error | gzip.BadGzipFile):
            self.notes.cannot_read(self.name, f"not a whole gzip file, read up to there: {error}")
        else:
            self.notes.cannot_read(self.name, getattr(error, "strerror", None) or error)

    def moved_to(self, raw: BinaryIO, before: int) -> int:
        """How far the file is read, in bytes; ``before`` is what it was when this was said last."""
        now = raw.tell() if raw.seekable() else before
        self._moved(now - before)
        return now

    def stream(self, raw: BufferedReader) -> BinaryIO | None:
        """What is in the file, unzipped and without a byte order mark; None for a text that is not UTF-8."""
        start = raw.peek(2)[:2]
        stream: BinaryIO = gzip.GzipFile(fileobj=raw) if start == _ZIPPED else raw  # type: ignore[assignment]
        if start in _UTF_16:
            self.notes.cannot_read(self.name, "found UTF-16, allowed is UTF-8")
            return None
        return stream

    def _lines(self, raw: BufferedReader) -> Iterator[Line]:
        stream = self.stream(raw)
        if stream is None:
            return
        number = read = 0
        try:
            while text := stream.readline(LINE_MAX + 1):
                number += 1
                if number == 1:
                    text = text.removeprefix(_BOM)
                if len(text) > LINE_MAX and not text.endswith(b"\n"):
                    self.notes.cannot_read(self.place(number), f"found more than {LINE_MAX:,} bytes, which is no line")
                    _pass_over(stream)
                    continue
                yield Line(number, text.rstrip(b"\r\n"), text.endswith(b"\n"))
                if number % _STEP == 0:
                    read = self.moved_to(raw, read)
        finally:
            self.notes.lines += number
            self.moved_to(raw, read)


def _pass_over(stream: BinaryIO) -> None:
    while (part := stream.readline(_PART)) and not part.endswith(b"\n"):
        pass
