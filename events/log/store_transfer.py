"""A fleet moved between kinds of stores: out of a database into a file, and out of a file into a database."""

from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import Final

from tallystick.events.log.audit import Report, Verification
from tallystick.events.log.sources import bring_up_to_date
from tallystick.events.log.store import NoFleet, Store, StoreError, open_store
from tallystick.events.log.store_contract import Counted
from tallystick.events.log.store_place import is_postgres, shown

_BATCH: Final = 20_000
"""Records that are written together."""


def write_out(source: Store, file: Path, counted: Counted) -> None:
    """Write the log of a store, as it is now, and its snapshots into a new file.

    Raises:
        StoreError: the store cannot be read, or the file not written.
    """
    last = source.last()
    end = 0 if last is None else last.position
    with closing(open_store(f"sqlite:///{file}", writer=True)) as copy:
        records = iter(counted(source.read(0, end), end))
        while batch := list(islice(records, _BATCH)):
            copy.append(batch)
        _copy_cache(source, copy, end)


def restore(file: Path, url: str, counted: Counted) -> Report:
    """Write the fleet of a file into a database, all or nothing, once it is proved to be sound.

    Raises:
        WriterPresent: another process writes the fleet there.
        StoreError: the file is no sound fleet, ``url`` names no place in a database, there is a fleet already, or the
            database cannot be written.
    """
    if not is_postgres(url):
        raise StoreError(
            f"--store: found {shown(url)}, allowed is postgresql://HOST/DATABASE?fleet=NAME; a backup is a fleet's file"
            f" already: copy it to where the store was, or name it, sqlite:///{file}"
        )
    from tallystick.events.log.store_postgres import PostgresStore

    taken = f"there is a fleet at {shown(url)} already: name another one with fleet="
    with suppress(NoFleet), closing(open_store(url)) as there:
        if there.last() is not None:
            raise StoreError(taken)
    with closing(open_store(f"sqlite:///{file}")) as source:
        last = source.last()
        end = 0 if last is None else last.position
        report = Verification(source.snapshots()).run(counted(source.read(0, end), end))
        wrong = min(map(str, report.problems), default=source.stray())
        if wrong is not None:
            raise StoreError(f"{file} is not sound, and nothing is restored from it: {wrong}")
        with closing(PostgresStore(url, writer=True)) as target:
            if target.last() is not None:
                raise StoreError(taken)
            target.fill(counted(source.read(0, end), end), end)
            _copy_cache(source, target, end)
    return report


def _copy_cache(source: Store, target: Store, end: int) -> None:
    """What a store has beside the log, and makes from it where it is missing."""
    for position, data in reversed(source.snapshots()):
        if position <= end:
            target.save_snapshot(position, data)
    bring_up_to_date(target)
