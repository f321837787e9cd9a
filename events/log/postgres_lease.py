"""The writer's lease of a fleet in PostgreSQL: a row with an epoch that every append checks.

While the lease is kept, no one else opens the fleet. One whose lease has ended, because it was stopped or could not
reach the database, goes on only if no one took its place meanwhile: taking it raises the epoch.
"""

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final

import psycopg
from psycopg import errors

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
# A row that someone else has locked is renewed the next time: it does not keep the others waiting. One that was let go
# is not: a renewal may be on its way at that moment.
_RENEW = (
    "WITH free AS (SELECT w.fleet, mine.seconds FROM tallystick_writers AS w JOIN"
    " unnest(%s::text[], %s::bigint[], %s::float8[]) AS mine (fleet, epoch, seconds)"
    " ON w.fleet = mine.fleet AND w.epoch = mine.epoch WHERE w.until <> 'epoch' FOR NO KEY UPDATE OF w SKIP LOCKED)"
    " UPDATE tallystick_writers AS w SET until = clock_timestamp() + free.seconds * interval '1 second'"
    " FROM free WHERE w.fleet = free.fleet RETURNING w.fleet, w.epoch"
)
_EPOCHS = "SELECT fleet, epoch FROM tallystick_writers WHERE fleet = ANY(%s)"
_END = "UPDATE tallystick_writers SET until = 'epoch' WHERE fleet = %s AND epoch = %s"


def passed() -> float:
    """Seconds of a clock that goes on while the machine sleeps, where the system has one."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Lease:
    """The writer's place of one fleet, as this process knows it. `Renewals` keeps it."""

    def __init__(
        self, place: PostgresPlace, epoch: int, seconds: float, until: float, clock: Callable[[], float] = passed
    ) -> None:
        self.fleet, self.epoch, self.seconds = place.fleet, epoch, seconds
        self._named, self._clock = place.named, clock
        self._until = until
        """By our clock; counted from before it was asked for, so that it ends no later than in the database."""
        self._failure = _STOOD_STILL
        self.taken: str | None = None
        """That another writer took the place, in words; it does not come back."""

    def away(self) -> str | None:
        """Why nothing may be answered now, in words: the lease has ended, and another writer may have one."""
        if self.taken is not None or self._clock() < self._until:
            return self.taken
        return f"{self._named}: the writer's lease has ended: {self._failure}"

    def renewed(self, asked: float) -> None:
        """It was renewed by a statement that was sent at a time of our clock."""
        self._until, self._failure = asked + self.seconds, _STOOD_STILL

    def failed(self, error: Exception) -> None:
        """It could not be renewed."""
        self._failure = f"it could not be renewed: {why(error)}"

    def lost(self, connection: Connection) -> str:
        """Find out who took the place, in words.

        Raises:
            psycopg.Error: the database does not say.
        """
        found = connection.execute(_READ, (self.fleet,)).fetchone()
        what = "the fleet was deleted" if found is None else f"the writer's place was taken over by {found[1]}"
        self.taken = f"{self._named}: {what}"
        return self.taken


def take_lease(
    place: PostgresPlace, seconds: float, writing: Callable[[], AbstractContextManager[Connection]]
) -> Lease:
    """A new lease, which is ours; waits for one that its holder does not renew to end.

    Raises:
        WriterPresent: another process writes the fleet, and renews its lease.
        psycopg.Error: the database refuses, or is gone.
    """
    waiting, first = threading.Event(), None
    while True:
        asked = passed()
        # The connection is given back while it waits: others need it.
        with writing() as connection:
            row = _taken(connection, {"fleet": place.fleet, "holder": holder(), "seconds": seconds})
            if row is not None:
                return Lease(place, int(row[0]), seconds, asked + seconds)
            found = connection.execute(_READ, (place.fleet,)).fetchone()
        if found is not None and found[4]:
            _, name, since, until, _ = found
            if first is not None and until != first:
                raise WriterPresent(
                    f"{place.named} is being written by {name} (since {since.isoformat(timespec='seconds')})"
                )
            first = until
        waiting.wait(_LOOK_SECONDS)


def _taken(connection: Connection, wanted: dict[str, Any]) -> tuple[Any, ...] | None:
    try:
        return connection.execute(_TAKE, wanted).fetchone()
    except errors.UniqueViolation:
        return None  # another opener of a new fleet was as quick, and has made the row


class Renewals:
    """Renews all leases of this process in a database, by one statement, on a thread and a connection of its own."""

    def __init__(self, place: PostgresPlace) -> None:
        self._place = place
        self._leases: frozenset[Lease] = frozenset()
        self._changing = threading.Lock()
        self._ended, self._due = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, lease: Lease) -> None:
        """Renew it from now on."""
        with self._changing:
            self._leases |= {lease}
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="leases in PostgreSQL", daemon=True)
                self._thread.start()
        self._due.set()

    def end(self, lease: Lease, writing: Callable[[], AbstractContextManager[Connection]]) -> None:
        """Let go of it, so that the next writer need not wait."""
        with self._changing:
            self._leases -= {lease}
        try:
            with writing() as connection:
                connection.execute(_END, (lease.fleet, lease.epoch))
        except psycopg.Error:
            pass  # it ends by itself

    def close(self) -> None:
        self._ended.set()
        self._due.set()
        if self._thread is not None:
            self._thread.join(LEASE_SECONDS)

    def _run(self) -> None:
        connection: Connection | None = None
        while not self._ended.is_set():
            self._due.clear()
            leases = [lease for lease in self._leases if lease.taken is None]
            pause = min((lease.seconds / _RENEWALS for lease in leases), default=LEASE_SECONDS)
            try:
                if leases:
                    if connection is None or connection.closed:
                        connection = connect(self._place)
                    self._renew(connection, leases)
            except psycopg.Error as error:
                if connection is not None:
                    connection.close()
                for lease in leases:
                    lease.failed(error)
                pause = _LOOK_SECONDS
            self._due.wait(pause)
        if connection is not None:
            connection.close()

    @staticmethod
    def _renew(connection: Connection, leases: list[Lease]) -> None:
        asked, fleets = passed(), [lease.fleet for lease in leases]
        parameters = (fleets, [lease.epoch for lease in leases], [lease.seconds for lease in leases])
        renewed = set(connection.execute(_RENEW, parameters))
        left = [lease for lease in leases if (lease.fleet, lease.epoch) not in renewed]
        for lease in leases:
            if (lease.fleet, lease.epoch) in renewed:
                lease.renewed(asked)
        if left:
            epochs: dict[str, int] = dict(connection.execute(_EPOCHS, ([lease.fleet for lease in left],)).fetchall())
            for lease in left:
                if epochs.get(lease.fleet) != lease.epoch:
                    lease.lost(connection)
