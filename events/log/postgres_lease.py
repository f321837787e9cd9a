"""The writer's lease of a fleet in PostgreSQL: a row with an epoch that every append checks.

While the lease is kept, no one else opens the fleet. One whose lease has ended, because it was stopped or could not
reach the database, goes on only if no one took its place meanwhile: taking it raises the epoch.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

import psycopg

from tallystick.events.log.postgres_place import PostgresPlace
from tallystick.events.log.postgres_tables import Connection, connect, why
from tallystick.events.log.store_contract import WriterPresent, holder

LEASE_SECONDS: Final = 5.0
_RENEWALS: Final = 3
"""How often a lease is renewed within its time."""
_LOOK_SECONDS: Final = 0.2
_STOOD_STILL: Final = "this process did not run in time to renew it"
_READ = "SELECT epoch, holder, since, until, until > clock_timestamp() FROM tallystick_writers WHERE fleet = %s"
_TAKE = (
    "INSERT INTO tallystick_writers AS w VALUES (%(fleet)s, 1, %(holder)s, clock_timestamp(),"
    " clock_timestamp() + %(seconds)s * interval '1 second') ON CONFLICT (fleet) DO UPDATE SET epoch = w.epoch + 1,"
    " holder = excluded.holder, since = excluded.since, until = excluded.until WHERE w.until <= clock_timestamp()"
    " RETURNING epoch"
)
_RENEW = (
    "UPDATE tallystick_writers SET until = clock_timestamp() + %s * interval '1 second' WHERE fleet = %s AND epoch = %s"
)
_END = "UPDATE tallystick_writers SET until = clock_timestamp() WHERE fleet = %s AND epoch = %s"


def _clock() -> float:
    """Seconds that go on while the machine sleeps, where the system has such a clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def take_lease(connection: Connection, place: PostgresPlace, seconds: float) -> int:
    """The epoch of a new lease, which is ours; waits for one that its holder does not renew to end.

    Raises:
        WriterPresent: another process writes the fleet, and renews its lease.
        psycopg.Error: the database refuses, or is gone.
    """
    waiting, first = threading.Event(), None
    while True:
        row = connection.execute(_TAKE, {"fleet": place.fleet, "holder": holder(), "seconds": seconds}).fetchone()
        if row is not None:
            return int(row[0])
        found = connection.execute(_READ, (place.fleet,)).fetchone()
        if found is not None and found[4]:
            _, name, since, until, _ = found
            if first is not None and until != first:
                raise WriterPresent(
                    f"{place.named} is being written by {name} (since {since.isoformat(timespec='seconds')})"
                )
            first = until
        waiting.wait(_LOOK_SECONDS)


class Lease:
    """Keeps a lease by renewing it on a thread and a connection of its own."""

    def __init__(
        self,
        place: PostgresPlace,
        epoch: int,
        seconds: float,
        clock: Callable[[], float] = _clock,
    ) -> None:
        self.epoch = epoch
        self._place, self._seconds, self._clock = place, seconds, clock
        self._until = clock() + seconds / _RENEWALS
        """By our clock; counted from before it was asked for, so that it ends no later than in the database."""
        self._failure = _STOOD_STILL
        self._taken: str | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"lease of {place.fleet}", daemon=True)
        self._thread.start()

    def away(self) -> str | None:
        """Why nothing may be answered now, in words: the lease has ended, and another writer may have one."""
        if self._taken is not None or self._clock() < self._until:
            return self._taken
        return f"{self._place.named}: the writer's lease has ended: {self._failure}"

    @property
    def taken(self) -> str | None:
        """That another writer took the place, in words; it does not come back."""
        return self._taken

    def end(self) -> None:
        """Let go of it, so that the next writer need not wait."""
        self._ended.set()
        self._thread.join(self._seconds)

    def _keep(self) -> None:
        connection: Connection | None = None
        while not self._ended.is_set():
            try:
                if connection is None or connection.closed:
                    connection = connect(self._place)
                self._renew(connection)
                self._ended.wait(self._seconds / _RENEWALS)
            except psycopg.Error as error:
                self._failure = f"it could not be renewed: {why(error)}"
                if connection is not None:
                    connection.close()
                self._ended.wait(_LOOK_SECONDS)
        self._let_go(connection)

    def _renew(self, connection: Connection) -> None:
        began = self._clock()
        renewed = connection.execute(_RENEW, (self._seconds, self._place.fleet, self.epoch)).rowcount
        if renewed:
            self._until, self._failure = began + self._seconds, _STOOD_STILL
        else:
            self._taken = taken_over(connection, self._place)

    def _let_go(self, connection: Connection | None) -> None:
        try:
            if connection is None or connection.closed:
                connection = connect(self._place)
            with connection:
                connection.execute(_END, (self._place.fleet, self.epoch))
        except psycopg.Error:
            pass  # it ends by itself


def taken_over(connection: Connection, place: PostgresPlace) -> str:
    """Who took the writer's place, in words."""
    found = connection.execute(_READ, (place.fleet,)).fetchone()
    by = "nobody: the fleet was deleted" if found is None else str(found[1])
    return f"{place.named}: the writer's place was taken over by {by}"
