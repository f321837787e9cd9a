"""Logs for tests of exports: any records in a store of their own, and what an export of them holds."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tallystick.events.catalog import STORED_NAME, Event
from tallystick.events.log.codec import GENESIS, seal
from tallystick.events.log.store import Record, open_store


class Entry(NamedTuple):
    """An event with what was asked and answered."""

    event: Event
    asked: bytes | None = None
    answered: bytes | None = None


def sealed(entries: Iterable[Entry]) -> list[Record]:
    """The records of a log, each chained to the one before."""
    digest, records = GENESIS, []
    for event, asked, answered in entries:
        data, digest = seal(event, asked, answered, digest)
        records.append(Record(event.position, STORED_NAME[type(event)], data))
    return records


def store_of(path: Path, records: Iterable[Record]) -> str:
    """A new store with these records; its URL."""
    url = f"sqlite:///{path}"
    store = open_store(url, writer=True)
    store.append(list(records))
    store.close()
    return url


def place_of(fleet: Path, name: str, nth: int = 0) -> int:
    """Where the nth event with this stored name is."""
    store = open_store(f"sqlite:///{fleet}")
    found = [record.position for record in store.read() if record.name == name]
    store.close()
    return found[nth]


def records_of(fleet: Path) -> list[bytes]:
    store = open_store(f"sqlite:///{fleet}")
    records = [record.data for record in store.read()]
    store.close()
    return records
