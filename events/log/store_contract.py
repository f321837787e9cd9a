"""The contract of every store: the log is kept there, and nothing else of the core touches the outside.

A fleet's log is one stream of records, each at its gapless position. ``append`` is all or nothing and durable before
it returns; one writer at a time is let in, and one that was shut out cannot commit. Snapshots lie beside the log, can
be deleted at any time, and are checked by all who read them.
"""

import os
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

STREAM = "fleet"
"""The name of the log's one stream in the recorder's table."""
PAGE = 2_000
"""Records read at a time."""
SNAPSHOTS_KEPT = 2


class Record(NamedTuple):
    """One stored event: its position, its stored name and its bytes (see ``codec``)."""

    position: int
    name: str
    data: bytes


class Row(NamedTuple):
    """One row of a store: the position of its last record, its topic and its bytes (see ``store_segments``)."""

    position: int
    topic: str
    state: bytes


Counted = Callable[[Iterable[Record], int], Iterable[Record]]
"""Passes records on, of which there are so many: a screen may show how far it is."""


class StoreError(Exception):
    """The store cannot be opened, read or written; the text says which and why, in one line."""


class StoreAway(StoreError):
    """The store cannot be reached now, or not as its writer; that may end by itself, and then the same is done."""


class NoFleet(StoreError):
    """There is no fleet to read at a URL that names a place for one."""


class WriterPresent(StoreError):
    """Another process writes this fleet; the text names it."""


class Fenced(StoreError):
    """Another writer took over: nothing of this one's was written."""


class Subscription(Protocol):
    """Records from a position on, first those that are there, then those to come, until it is stopped."""

    def __iter__(self) -> Iterator[Record]: ...
    def stop(self) -> None: ...


class SourceIndex(Protocol):
    """Under which position the log says last what counts for a source: an index beside the log, made from it."""

    def find(self, source: str) -> int | None:
        """The position that it has for a source."""

    def entries(self) -> Iterator[tuple[str, int]]:
        """All of it, in the order of the sources' characters."""

    def upto(self) -> int:
        """The position up to which it has all sources of the log, where more may be in it; 0 where there is none."""

    def add(self, entries: Sequence[tuple[str, int]], upto: int) -> None:
        """Take in what the log says: it has all up to a position from now on."""

    def clear(self) -> None:
        """Forget all of it."""


class Store(Protocol):
    """What every store does; one suite of contract tests runs against all of them."""

    url: str
    """Names the store wherever the program goes: a file by its absolute path."""
    named: str
    """As it was named when it was opened, to be shown."""

    @property
    def sources(self) -> SourceIndex:
        """For a writer; `append` keeps it."""

    def append(self, records: Sequence[Record], sources: Sequence[tuple[str, int]] = ()) -> None:
        """Write records at the next positions, all or nothing, synced to the disk before it returns.

        ``sources`` is what they say of sources, for the index, in the same transaction: it has all that was before.

        Raises:
            Fenced: another writer took over, or the positions are taken.
            StoreError: the store could not write. Nothing of the batch may be answered as done. Where the store is
                away, that is not raised: it waits until the store is there, or is closed.
        """

    def read(self, after: int = 0, upto: int | None = None) -> Iterator[Record]:
        """Records with ``after < position <= upto``, in order, a page at a time, archived or not.

        Raises:
            BrokenChain: an archive is damaged.
            StoreAway: the store cannot be reached now.
            StoreError: the store could not be read.
        """

    def rows(self, after: int = 0, upto: int | None = None) -> Iterator[Row]:
        """The rows in which these records lie, in order, as they are: nothing of them is proved. The first may begin
        before them, and the last may go on behind them.

        Raises:
            BrokenChain, StoreAway, StoreError: as `read`.
        """

    def record(self, position: int) -> Record | None:
        """The record at a position."""

    def last(self) -> Record | None:
        """The newest record."""

    def lost(self) -> str | None:
        """For a writer: why what it would write now could not be found again, in words; None where all is well.

        The file was deleted, replaced or cut off, or this is another process than the one that opened the store.
        """

    def away(self) -> str | None:
        """For a writer: why nothing may be answered now, not even a query, in words; None where all is well.

        The store is on another machine and has not confirmed this writer's place for as long as others wait before
        they take it. That may end by itself: it is asked for every batch of answers, and again and again.
        """

    def stray(self) -> str | None:
        """The first row of the log's table that is no record of this log in its place, in words; None without one.

        A reader of the log does not see it: a foreign stream, or a row whose place is not its position.
        """

    def stage_snapshot(self, position: int, data: bytes) -> Iterator[None]:
        """Write the bytes of a large snapshot in parts, so that `save_snapshot` of the same takes no time; none where
        that would not be quicker. What is written so is no snapshot yet.

        Raises:
            StoreError: a part could not be written.
        """

    def save_snapshot(self, position: int, data: bytes) -> None:
        """Keep the state at a position, and only the newest few such snapshots; none from behind the end of the log.

        One may come late: a newer one, which is kept already, stays.
        """

    def snapshots(self, limit: int = SNAPSHOTS_KEPT) -> list[tuple[int, bytes]]:
        """The snapshots that are there, newest first, at most ``limit`` of them."""

    def subscribe(self, after: int = 0) -> Subscription:
        """Follow the log from a position on."""

    def close(self) -> None:
        """Let go of files and of the writer's place."""


def holder() -> str:
    """Who we are to others who would like to write: process, host."""
    return f"process {os.getpid()} on {socket.gethostname()}"
