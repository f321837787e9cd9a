"""A log that another process writes into a file, as it grows: woken by the system when the file changes."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import watchfiles

from tallystick.events.log.store_contract import Record, StoreError
from tallystick.events.log.store_place import Identity, identity_of

LOOK_MS = 500
"""How often the log is looked at where the system does not report changes (network folders)."""
_STEP_MS = 10
_TOGETHER_MS = 100
"""Changes that follow each other by less than the one are taken together, for at most the other."""


class Readable(Protocol):
    """What is needed of the store."""

    named: str

    def read(self, after: int = 0, upto: int | None = None) -> Iterator[Record]: ...


class FileSubscription:
    """The records behind ``after`` in a store's file, first those that are there, then those to come.

    The file may be written by any process; ``there`` says which file it was when it was opened. It ends when it is
    stopped.

    Raises:
        StoreError: the file is gone, or another one is in its place.
    """

    def __init__(self, store: Readable, file: Path, there: Identity | None, after: int) -> None:
        self._store, self._file, self._there, self._after = store, file, there, after
        self._stopped = threading.Event()

    def __iter__(self) -> Iterator[Record]:
        yield from self._new()
        names = {self._file.name, f"{self._file.name}-wal"}
        changes = watchfiles.watch(
            self._file.parent,
            watch_filter=lambda _, path: Path(path).name in names,
            debounce=_TOGETHER_MS,
            step=_STEP_MS,
            stop_event=self._stopped,
            rust_timeout=LOOK_MS,
            yield_on_timeout=True,
            recursive=False,
        )
        for _ in changes:
            if identity_of(self._file) != self._there:
                raise StoreError(f"{self._store.named} is not there any more: its file was deleted or replaced")
            yield from self._new()

    def stop(self) -> None:
        self._stopped.set()

    def _new(self) -> Iterator[Record]:
        for record in self._store.read(self._after):
            if self._stopped.is_set():
                return
            self._after = record.position
            yield record
