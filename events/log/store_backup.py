"""A copy of a fleet's file, taken while the fleet runs and verified before it gets its name; and its last writer."""

import glob
import hashlib
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from tallystick.events.log.audit import Report, Verification
from tallystick.events.log.store import StoreError, open_store
from tallystick.events.log.store_archive_file import file_beside
from tallystick.events.log.store_archives import archives_of
from tallystick.events.log.store_contract import Counted
from tallystick.events.log.store_place import file_of, is_in_memory, shown

_LOCK_SECONDS = 60
"""How long to wait for the file: a checkpoint may be under way."""


class Writer(NamedTuple):
    """Who wrote a fleet's file last: process and host, since when, and under which path; None where it does not say."""

    holder: str
    since: str
    place: str | None


def last_writer(file: Path) -> Writer | None:
    """The newest writer of a fleet's file.

    Raises:
        StoreError: the file cannot be read.
    """
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=_LOCK_SECONDS)) as connection:
            row = connection.execute("SELECT holder, since FROM writer").fetchone()
            knows = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'place'").fetchone()
            place = connection.execute("SELECT path FROM place").fetchone() if knows else None
    except sqlite3.Error as error:
        raise StoreError(f"{file} could not be read: {error}") from error
    return None if row is None else Writer(row[0], row[1], None if place is None else place[0])


def back_up(url: str, target: Path, counted: Counted) -> Report:
    """Copy a fleet, of one moment, into a new file, which appears under its name only when it is whole and proved.

    The fleet may run meanwhile, and does not wait for the copy. Returned is what the audit of the copy found: it is
    sound.

    Raises:
        StoreError: there is no fleet in a file at ``url``, ``target`` is there already, or it cannot be written, or the
            copy is not sound (what is wrong with the fleet is said, and no copy is left).
    """
    if is_in_memory(url):
        raise StoreError(f"{url} is in memory: there is no file to copy")
    source = file_of(url)
    open_store(url).close()  # it is there, and it is a fleet
    target = target.resolve()
    if os.path.lexists(target):
        raise StoreError(f"{target} is there already: name a new file")
    if not target.parent.is_dir():
        raise StoreError(f"{target} cannot be written: the folder {target.parent} does not exist")
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        if source is None:
            _copy_out(url, part, counted)
        else:
            _copy(source, part)
            _copy_archives(source, part)
        report = _proved(part, counted)
        # The copy has its name when all that it needs is there.
        for archive in archives_of(part):
            _keep(*(file_beside(one, archive.first, archive.upto) for one in (part, target)))
        _keep(part, target)
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"{shown(url)} could not be copied to {target}: {error}") from error
    finally:
        for suffix in ("", "-wal", "-shm", "-journal", ".lock"):
            part.with_name(part.name + suffix).unlink(missing_ok=True)
        for left in part.parent.glob(f"{glob.escape(part.name)}.archive-*"):
            left.unlink()
    return report


def _copy(source: Path, part: Path) -> None:
    with (
        closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True, timeout=_LOCK_SECONDS)) as live,
        closing(sqlite3.connect(part)) as copy,
    ):
        shutil.copymode(source, part)  # who may not read the fleet may not read its copy
        # All pages in one step: in several, each commit of the live fleet would make it begin again.
        live.backup(copy, pages=-1)
        (found,) = copy.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise StoreError(f"the copy of {source} is damaged, as the fleet's own file may be: {found}")


def _copy_out(url: str, part: Path, counted: Counted) -> None:
    """Write a fleet of a database into a file, which says of which place it is a copy, and who wrote there."""
    from tallystick.events.log.postgres_writer import holder_of
    from tallystick.events.log.store_transfer import write_out

    part.touch(0o600, exist_ok=False)  # who may not read the database may not read its copy
    with closing(open_store(url)) as source:
        write_out(source, part, counted)
    holder = holder_of(url)
    with closing(sqlite3.connect(part, isolation_level=None)) as copy:
        copy.execute("UPDATE place SET path = ?", (shown(url),))
        if holder is not None:
            copy.execute("UPDATE writer SET holder = ?, since = ?", (holder.holder, holder.since.isoformat()))
        copy.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _copy_archives(source: Path, part: Path) -> None:
    """What the copy's records refer to: archives never change, so that these are of the same moment."""
    for archive in archives_of(part):
        old, new = (file_beside(one, archive.first, archive.upto) for one in (source, part))
        if not old.exists():
            raise StoreError(f"the archive {old} is not there: put it back beside the store")
        shutil.copyfile(old, new)
        shutil.copymode(old, new)
        with new.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != archive.sha256:
                raise StoreError(f"the archive {old} is not what was written: restore it")


def _proved(part: Path, counted: Counted) -> Report:
    store = open_store(f"sqlite:///{part}")
    try:
        last = store.last()
        report = Verification(store.snapshots()).run(counted(store.read(), 0 if last is None else last.position))
        wrong = min(map(str, report.problems), default=store.stray())
    finally:
        store.close()
    if wrong is not None:
        raise StoreError(f"the copy is not sound, because the fleet's own log is not: {wrong}")
    return report


def _keep(part: Path, target: Path) -> None:
    """Give the copy its name, once it is on the disk; never over a file that came there meanwhile."""
    with part.open("rb") as file:
        os.fsync(file.fileno())
    try:
        os.link(part, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        part.rename(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
