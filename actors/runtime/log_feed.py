"""The log of a running fleet for readers within its program: what is there by position, and word of what comes."""

import threading
from collections.abc import Callable, Sequence

from tallystick.events.log.store import Record, Store

Follower = Callable[[Sequence[Record]], None]
_STEP = 50
"""Records that are read at a time, so that one read stays within bounds where records are large."""


class LogFeed:
    """What was committed. Reading is safe from any thread, and waits for the disk."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._followers: tuple[Follower, ...] = ()
        self._changing = threading.Lock()

    def newest(self) -> int:
        """The newest position that is durable; 0 in an empty log.

        Raises:
            StoreError: the store could not be read.
        """
        last = self._store.last()
        return 0 if last is None else last.position

    def page(self, after: int, limit: int, bytes_max: int) -> list[Record]:
        """The records behind ``after``: up to ``limit``, and no more once they have ``bytes_max`` together.

        Raises:
            StoreError: the store could not be read.
        """
        found: list[Record] = []
        size, end = 0, after + limit
        while after < end:
            step = list(self._store.read(after, min(after + _STEP, end)))
            if not step:
                break
            for record in step:
                found.append(record)
                size += len(record.data)
                if size >= bytes_max:
                    return found
            after = step[-1].position
        return found

    def snapshot(self) -> tuple[int, bytes] | None:
        """The newest snapshot that is kept, with its position; None where there is none.

        Raises:
            StoreError: the store could not be read.
        """
        return next(iter(self._store.snapshots(1)), None)

    def follow(self, follower: Follower) -> None:
        """Call with the records of every batch that is committed from now on, in the manager's turn: it returns at
        once.
        """
        with self._changing:
            self._followers = (*self._followers, follower)

    def unfollow(self, follower: Follower) -> None:
        """Call it no more."""
        with self._changing:
            self._followers = tuple(one for one in self._followers if one != follower)

    def publish(self, records: Sequence[Record]) -> None:
        """Tell all who follow what was committed."""
        for follower in self._followers:
            follower(records)
