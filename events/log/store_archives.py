"""The index of archives in a SQLite file: which old records lie in which file beside it, and where."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from eventsourcing.sqlite import SQLiteCursor

from tallystick.events.log.store_archive_file import Archive, Block, file_beside, read_block
from tallystick.events.log.store_contract import Row, StoreError

TABLES: Final = (
    """CREATE TABLE IF NOT EXISTS archives
    (first INTEGER PRIMARY KEY, upto INTEGER, size INTEGER, sha256 TEXT, digest TEXT, archived_at TEXT)""",
    """CREATE TABLE IF NOT EXISTS archive_blocks
    (first INTEGER PRIMARY KEY, upto INTEGER, archive INTEGER, at_byte INTEGER, size INTEGER)""",
)
_LOCK_SECONDS = 60
_KEPT = 4
"""Blocks that are kept in memory: neighbours are read one after the other."""


class Archives:
    """The archived records of one store's file."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._rows: dict[int, Row] = {}

    def row(self, cursor: SQLiteCursor, position: int) -> Row | None:
        """The block in which the record at a position lies, as a row of the store; None where it is not archived.

        Raises:
            StoreError: the file is not there, or cannot be read.
            BrokenChain: the block is damaged.
        """
        block = self._find(cursor, position)
        if block is None:
            return None
        found = self._rows.get(block.first)
        if found is None:
            archived = _row(cursor, "SELECT upto FROM archives WHERE first=?", block.archive)
            if archived is None:
                raise StoreError(f"the table archives of {self._store} lacks the archive from position {block.archive}")
            found = read_block(file_beside(self._store, block.archive, archived[0]), block)
            self._rows = {**dict(list(self._rows.items())[1 - _KEPT :]), block.first: found}
        return found

    def _find(self, cursor: SQLiteCursor, position: int) -> Block | None:
        if _row(cursor, "SELECT 1 FROM sqlite_master WHERE name='archive_blocks'") is None:
            return None  # a file that only older versions have written
        row = _row(
            cursor,
            "SELECT first, upto, archive, at_byte, size FROM archive_blocks WHERE first<=? ORDER BY first DESC LIMIT 1",
            position,
        )
        return Block(*row) if row is not None and row[1] >= position else None


def put(cursor: SQLiteCursor, archive: Archive, blocks: Sequence[Block]) -> None:
    """Enter an archive into the index, in the transaction of a cursor."""
    cursor.execute("INSERT INTO archives VALUES (?,?,?,?,?,?)", archive)
    cursor.executemany("INSERT INTO archive_blocks VALUES (?,?,?,?,?)", blocks)


def archives_of(store: Path) -> list[Archive]:
    """The archives of a store's file, in the order of their records.

    Raises:
        StoreError: the file cannot be read.
    """
    try:
        with closing(sqlite3.connect(f"{store.as_uri()}?mode=ro", uri=True, timeout=_LOCK_SECONDS)) as connection:
            there = connection.execute("SELECT 1 FROM sqlite_master WHERE name='archives'").fetchone()
            rows = connection.execute("SELECT * FROM archives ORDER BY first").fetchall() if there else []
    except sqlite3.Error as error:
        raise StoreError(f"{store} could not be read: {error}") from error
    return [Archive(*row) for row in rows]


def check_there(store: Path) -> None:
    """That all archives of a store lie beside it.

    Raises:
        StoreError: one is not there, or has another size.
    """
    for archive in archives_of(store):
        file = file_beside(store, archive.first, archive.upto)
        if not file.exists():
            raise StoreError(f"the archive {file} is not there: put it back beside the store")
        if file.stat().st_size != archive.size:
            raise StoreError(f"the archive {file} has {file.stat().st_size} bytes, and had {archive.size}: restore it")


def _row(cursor: SQLiteCursor, statement: str, *values: int) -> tuple[int, ...] | None:
    cursor.execute(statement, values)
    row = cursor.fetchone()
    return None if row is None else tuple(row)
