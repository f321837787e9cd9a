"""Following a log in PostgreSQL: woken by NOTIFY, and then by pages."""

import logging
import threading
import zlib
from collections.abc import Callable, Iterator
from typing import Final

import psycopg

from tallystick.events.log.postgres_place import PostgresPlace
from tallystick.events.log.postgres_tables import Connection, connect
from tallystick.events.log.store_contract import Record, StoreError

log = logging.getLogger("tallystick.store")
_LOOK_SECONDS: Final = 1.0
"""How often a follower looks by itself: a notification may be lost with its connection."""


def channel_of(fleet: str) -> str:
    """The channel of a fleet's notifications; two fleets that share one wake each other's followers in vain."""
    return f"tallystick_{zlib.crc32(fleet.encode()):08x}"


class Notifier:
    """Wakes the followers of a log: those of this process at once, those of others by NOTIFY.

    NOTIFY is sent on a connection of its own, and once for all commits that came meanwhile: in the writer's transaction
    it would make all fleets of a database wait for each other.
    """

    def __init__(self, place: PostgresPlace) -> None:
        self._place = place
        self._listeners: set[threading.Event] = set()
        self._due, self._closed = threading.Event(), False
        self._thread: threading.Thread | None = None

    def committed(self) -> None:
        """There is more in the log."""
        for listener in tuple(self._listeners):
            listener.set()
        self._due.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._notify, name=f"notify {self._place.fleet}", daemon=True)
            self._thread.start()

    def listen(self, event: threading.Event) -> None:
        self._listeners.add(event)

    def unlisten(self, event: threading.Event) -> None:
        self._listeners.discard(event)

    def close(self) -> None:
        self._closed = True
        self._due.set()
        if self._thread is not None:
            self._thread.join(_LOOK_SECONDS)

    def _notify(self) -> None:
        connection: Connection | None = None
        while True:
            self._due.wait()
            self._due.clear()
            try:
                if connection is None or connection.closed:
                    connection = connect(self._place)
                connection.execute("SELECT pg_notify(%s, '')", (channel_of(self._place.fleet),))
            except psycopg.Error:
                if connection is not None:
                    connection.close()  # followers look by themselves
            if self._closed:
                break
        if connection is not None:
            connection.close()


class PostgresSubscription:
    """See `store_contract.Subscription`. While the database is away, it waits, and the program's log says so once."""

    def __init__(
        self, place: PostgresPlace, notifier: Notifier, page: Callable[[int], list[Record]], after: int
    ) -> None:
        self._place, self._notifier, self._page, self._after = place, notifier, page, after
        self._news, self._stopped = threading.Event(), threading.Event()
        notifier.listen(self._news)
        self._thread = threading.Thread(target=self._listen, name=f"listen {place.fleet}", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Record]:
        is_away = False
        while not self._stopped.is_set():
            self._news.clear()
            try:
                page = self._page(self._after)
            except StoreError as error:
                page = []
                if not is_away:
                    log.warning("tallystick: %s; it is tried again every second", error)
                is_away = True
            else:
                if is_away:
                    log.warning("tallystick: %s can be read again", self._place.named)
                is_away = False
            for record in page:
                if self._stopped.is_set():
                    return
                self._after = record.position
                yield record
            if not page:
                self._news.wait(_LOOK_SECONDS)

    def stop(self) -> None:
        self._stopped.set()
        self._news.set()
        self._notifier.unlisten(self._news)

    def _listen(self) -> None:
        while not self._stopped.is_set():
            try:
                with connect(self._place) as connection:
                    connection.execute(f"LISTEN {channel_of(self._place.fleet)}")
                    while not self._stopped.is_set():
                        for _ in connection.notifies(timeout=_LOOK_SECONDS, stop_after=1):
                            self._news.set()
            except psycopg.Error:
                self._stopped.wait(_LOOK_SECONDS)
