"""Following a log in PostgreSQL: woken by NOTIFY, and then by pages."""

import logging
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Final

import psycopg

from tallystick.events.log.postgres_place import PostgresPlace
from tallystick.events.log.postgres_tables import Connection, connect
from tallystick.events.log.store_contract import Record, StoreAway

log = logging.getLogger("tallystick.store")
_LOOK_SECONDS: Final = 1.0
"""How often a follower looks by itself: a notification may be lost with its connection."""
_PAUSE_SECONDS: Final = 0.01
"""How long after a notification the next one may be sent: under load, one for each commit would cost as much as it."""
_NOTIFY: Final = "SELECT pg_notify(channel, '') FROM unnest(%s::text[]) AS channel"


def channel_of(fleet: str) -> str:
    """The channel of a fleet's notifications; followers of two fleets that share one wake once more than they need."""
    return f"tallystick_{zlib.crc32(fleet.encode()):08x}"


class Notifier:
    """Wakes the followers of the logs that this process writes: its own at once, those of others by NOTIFY.

    NOTIFY is sent on a connection of its own, and once for all commits that came meanwhile, at most every 10 ms: in the
    writer's transaction it would make all fleets of a database wait for each other.
    """

    def __init__(self, place: PostgresPlace) -> None:
        self._place = place
        self._listeners: dict[str, frozenset[threading.Event]] = {}
        self._fleets: set[str] = set()
        """Those with something new that was not sent yet."""
        self._changing, self._due = threading.Lock(), threading.Event()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def committed(self, fleet: str) -> None:
        """There is more in the log of a fleet."""
        for listener in self._listeners.get(fleet, ()):
            listener.set()
        with self._changing:
            self._fleets.add(fleet)
            if self._thread is None:
                self._thread = threading.Thread(target=self._notify, name="notifications of PostgreSQL", daemon=True)
                self._thread.start()
        if not self._due.is_set():
            self._due.set()

    def listen(self, fleet: str, event: threading.Event) -> None:
        """Set an event at every commit of this process to the log of a fleet."""
        with self._changing:
            self._listeners[fleet] = self._listeners.get(fleet, frozenset()) | {event}

    def unlisten(self, fleet: str, event: threading.Event) -> None:
        """Set it no more."""
        with self._changing:
            self._listeners[fleet] = self._listeners.get(fleet, frozenset()) - {event}
            if not self._listeners[fleet]:
                del self._listeners[fleet]

    def close(self) -> None:
        self._closed.set()
        self._due.set()
        if self._thread is not None:
            self._thread.join(_LOOK_SECONDS)

    def _notify(self) -> None:
        connection: Connection | None = None
        while not self._closed.is_set() or self._fleets:
            self._due.wait()
            self._due.clear()
            with self._changing:
                channels, self._fleets = {channel_of(fleet) for fleet in self._fleets}, set()
            try:
                if channels:
                    if connection is None or connection.closed:
                        connection = connect(self._place)
                    connection.execute(_NOTIFY, (list(channels),))
            except psycopg.Error:
                if connection is not None:
                    connection.close()  # followers look by themselves
            self._closed.wait(_PAUSE_SECONDS)
        if connection is not None:
            connection.close()


class PostgresSubscription:
    """See `store_contract.Subscription`. While the database is away, it waits, and the program's log says so once.

    In the process that writes the fleet it is woken at every commit; in another one it listens to the database.
    """

    def __init__(
        self, place: PostgresPlace, notifier: Notifier, page: Callable[[int], list[Record]], after: int, writer: bool
    ) -> None:
        self._place, self._notifier, self._page, self._after = place, notifier, page, after
        self.looked_at = time.monotonic()
        """When the newest page was asked for: what was committed before is in it, or in those before it."""
        self._news, self._stopped = threading.Event(), threading.Event()
        notifier.listen(place.fleet, self._news)
        if not writer:
            threading.Thread(target=self._listen, name=f"listen {place.fleet}", daemon=True).start()

    def __iter__(self) -> Iterator[Record]:
        for page in self.pages():
            for record in page:
                if self._stopped.is_set():
                    return
                yield record

    def pages(self) -> Iterator[list[Record]]:
        """The same as `Subscription` gives, a page at a time: an empty one says that there is no more for now."""
        is_away = False
        while not self._stopped.is_set():
            self._news.clear()
            looked_at = time.monotonic()
            try:
                page = self._page(self._after)
            except StoreAway as error:
                if not is_away:
                    log.warning("tallystick: %s; it is tried again every second", error)
                is_away = True
                self._news.wait(_LOOK_SECONDS)
                continue
            if is_away:
                log.warning("tallystick: %s can be read again", self._place.named)
            is_away = False
            self.looked_at = looked_at
            if page:
                self._after = page[-1].position
            yield page
            if not page:
                self._news.wait(_LOOK_SECONDS)

    def stop(self) -> None:
        self._stopped.set()
        self._news.set()
        self._notifier.unlisten(self._place.fleet, self._news)

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
