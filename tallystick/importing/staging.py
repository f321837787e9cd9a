"""What was read, brought together in a file of our own before anything is reported: each use once, the oldest first,
however many there are. The file has no name, and goes when it is closed.
"""

import sqlite3
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Self

import msgspec

from tallystick.importing.notes import Notes
from tallystick.importing.used import DOLLARS, Used

REPEATED: Final = "said again in the files"
_FLUSH: Final = 20_000
_PRAGMAS: Final = (
    "PRAGMA synchronous = OFF",
    "PRAGMA journal_mode = OFF",
    "PRAGMA cache_size = -32768",  # kilobytes
    "PRAGMA temp_store = FILE",
)
_encode = msgspec.msgpack.Encoder(decimal_format="string").encode
_decode = msgspec.msgpack.Decoder(Used).decode
_TABLES: Final = """
CREATE TABLE used (key TEXT PRIMARY KEY, at REAL, said BLOB) WITHOUT ROWID;
CREATE TABLE seen (key TEXT PRIMARY KEY, count INTEGER) WITHOUT ROWID;
CREATE TABLE currencies (name TEXT PRIMARY KEY, place TEXT) WITHOUT ROWID
"""


class StagingError(Exception):
    """The file in which an import is brought together cannot be written; the text says why."""


class Staging:
    """The uses of an import."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._file = sqlite3.connect("", isolation_level=None)
        for statement in (*_PRAGMAS, *_TABLES.split(";")):
            self._file.execute(statement)
        self._fresh: dict[str, Used] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def take(self, used: Used) -> None:
        """Add a use, or what it says beyond another one with its key.

        Raises:
            StagingError: the disk is full, or another thing is wrong with it.
        """
        known = self._fresh.get(used.key)
        if known is not None:
            self._notes.drop(REPEATED)
            used = _merged(known, used)
        self._fresh[used.key] = used
        if len(self._fresh) >= _FLUSH:
            self._flush()

    def nth(self, key: str) -> int:
        """How often something was asked for, with this time.

        Raises:
            StagingError: the disk is full, or another thing is wrong with it.
        """
        statement = "INSERT INTO seen VALUES (?, 1) ON CONFLICT DO UPDATE SET count = count + 1 RETURNING count"
        try:
            return int(self._file.execute(statement, (key,)).fetchone()[0])
        except sqlite3.Error as error:
            raise _failed(error) from error

    def count(self) -> int:
        """How many uses there are."""
        self._flush()
        return int(self._file.execute("SELECT count(*) FROM used").fetchone()[0])

    def currencies(self) -> dict[str, str]:
        """The currencies other than dollars, each with a place where it was found."""
        self._flush()
        return dict(self._file.execute("SELECT name, place FROM currencies ORDER BY name"))

    def oldest_first(self) -> Iterator[Used]:
        """All uses.

        Raises:
            StagingError: the disk is full, or another thing is wrong with it.
        """
        self._flush()
        try:
            for (said,) in self._file.execute("SELECT said FROM used ORDER BY at, key"):
                yield _decode(said)
        except sqlite3.Error as error:
            raise _failed(error) from error

    def _flush(self) -> None:
        if not self._fresh:
            return
        try:
            self._file.execute("BEGIN")
            for key, used in self._fresh.items():
                found = self._file.execute("SELECT said FROM used WHERE key = ?", (key,)).fetchone()
                if found is not None:
                    self._notes.drop(REPEATED)
                whole = used if found is None else _merged(_decode(found[0]), used)
                row = (key, whole.at.timestamp(), _encode(whole))
                self._file.execute("INSERT OR REPLACE INTO used VALUES (?, ?, ?)", row)
                if used.currency != DOLLARS:
                    self._file.execute("INSERT OR IGNORE INTO currencies VALUES (?, ?)", (used.currency, used.place))
            self._file.execute("COMMIT")
        except sqlite3.Error as error:
            raise _failed(error) from error
        self._fresh.clear()


def _merged(first: Used, second: Used) -> Used:
    """Of two lines that say the same call the one with more tokens, or else that costs more, at the earlier time.

    Whose it is, and under which source it is recorded, is said by the conversation that is no copy of another one. An
    id of a request is preferred to one of a message: telemetry has no other.
    """
    more, less = (first, second) if _weight(first) >= _weight(second) else (second, first)
    own = min(first, second, key=lambda one: (one.copied, one.source == one.key, one.source))
    merged = msgspec.structs.replace(
        more,
        source=own.source,
        agent=own.agent,
        labels=own.labels,
        copied=own.copied,
        at=min(first.at, second.at),
    )
    if merged.cost is None:
        merged.cost, merged.currency = less.cost, less.currency
    return merged


def _weight(used: Used) -> tuple[int, object]:
    return used.tokens, used.cost or 0


def _failed(error: sqlite3.Error) -> StagingError:
    return StagingError(f"the temporary file of the import could not be written: {error}; $TMPDIR says where it lies")
