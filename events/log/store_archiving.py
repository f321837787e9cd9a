"""Old records moved out of a store's file into a compressed one beside it, where all who read the log still find them.

First the archive is written, synced, read again and compared; then it gets its name; then one transaction enters it and
removes the records. Whatever ends the process between two steps, each record is in the store or in a named archive.
"""

import datetime as dt
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from tallystick.events.log.codec import GENESIS, digest_of
from tallystick.events.log.replaying import link
from tallystick.events.log.store_archive_file import Archive, Block, Writing, file_beside, read_block
from tallystick.events.log.store_archives import archives_of, check_there
from tallystick.events.log.store_contract import Counted, Record, StoreError
from tallystick.events.log.store_segments import records_in
from tallystick.events.log.store_sqlite import SqliteStore

STEPS: Final = ("write", "compare", "name", "move", "shrink", "end")
"""What archiving says that it does next; a process may be killed before any of it."""


class Archived(NamedTuple):
    """What was moved: the archive and its file."""

    archive: Archive
    file: Path


def archive(
    store: SqliteStore, upto: int, now: dt.datetime, counted: Counted, step: Callable[[str], None] = lambda _: None
) -> Archived | None:
    """Move the records up to a position out of a store, which is open for writing; None where nothing is to be moved.

    The newest record stays. ``step`` is called before each step with its name, for tests.

    Raises:
        StoreError: the store or the archive cannot be written, or there is another file in its place.
        BrokenChain: the records are not what was written: nothing is moved.
    """
    path = store.path
    check_there(path)
    known, last = archives_of(path), store.last()
    first = known[-1].upto + 1 if known else 1
    upto = min(upto, 0 if last is None else last.position - 1)
    if upto < first:
        return None
    target = file_beside(path, first, upto)
    part = target.with_name(f"{path.name}.archive.part")
    try:
        step("write")
        made, blocks = _write(store, part, first, upto, now, counted)
        step("compare")
        _compare(store, part, blocks)
        step("name")
        _name(part, target)
        step("move")
        store.move_out(made, blocks)
        step("shrink")
    except OSError as error:
        raise StoreError(f"{target} could not be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    _shrink(path)
    step("end")
    return Archived(made, target)


def _write(
    store: SqliteStore, part: Path, first: int, upto: int, now: dt.datetime, counted: Counted
) -> tuple[Archive, list[Block]]:
    end, begin = store.record(upto), store.record(1)
    if end is None or begin is None:
        raise StoreError(f"{store.named} has no record at position {upto if end is None else 1}")
    digest = digest_of(end.data).hex()
    title = msgspec.json.encode(
        {"archive": 2, "fleet": digest_of(begin.data).hex(), "first": first, "anchor": f"{upto}:{digest}"}
    )
    with part.open("wb") as file:
        shutil.copymode(store.path, part)  # who may not read the store may not read its archive
        writing = Writing(file, first, title)
        writing.write(counted(_proved(store, first, upto), upto - first + 1))
        file.flush()
        os.fsync(file.fileno())
    made = Archive(first, upto, writing.size, writing.sha256, digest, now.isoformat(timespec="seconds"))
    return made, writing.blocks


def _proved(store: SqliteStore, first: int, upto: int) -> Iterator[Record]:
    """The records, each proved to follow the one before: what is broken is not put away."""
    before = store.record(first - 1) if first > 1 else None
    digest = GENESIS if before is None else digest_of(before.data)
    heads: dict[object, bytes] = {}
    for expected, record in enumerate(store.read(first - 1, upto), start=first):
        digest = link(record, digest, expected, heads)
        yield record


def _compare(store: SqliteStore, part: Path, blocks: list[Block]) -> None:
    """Read the file again, as readers will: it has the records that the store has."""
    for block in blocks:
        if records_in(read_block(part, block)) != list(store.read(block.first - 1, block.upto)):
            raise StoreError(f"{part} does not have what was written into it, from position {block.first} on")


def _name(part: Path, target: Path) -> None:
    """Give the file its name, over nothing but itself: an attempt that was cut off may have left it."""
    if target.exists() and target.read_bytes() != part.read_bytes():
        raise StoreError(f"{target} is there already, with other records: move it away")
    part.replace(target)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """See to it that the names in a folder are on the disk."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _shrink(path: Path) -> None:
    """Give the room back to the disk; where another process reads, new records take it instead."""
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("VACUUM")
            # SQLite does not promise that rows keep their numbers, which are their positions.
            connection.execute(
                "UPDATE stored_events SET rowid = originator_version WHERE rowid IS NOT originator_version"
            )
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error:
        pass
