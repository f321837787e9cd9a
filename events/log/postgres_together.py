"""Batches of several fleets of this process, written to PostgreSQL by one statement: one transaction and one sync.

A fleet that comes while another one writes waits with those that come then, and one of them writes for all, as in a
group commit within one log. Each fleet's place is checked in the statement for itself. A fleet whose place is not its
own, or is just being taken, is left out, and finds out by itself; so does each where the statement was refused as a
whole.
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import accumulate
from typing import Final

import psycopg
from psycopg import errors
from psycopg.sql import SQL, Identifier

from tallystick.events.log.postgres_appending import Batch, write
from tallystick.events.log.postgres_lease import Lease
from tallystick.events.log.postgres_tables import BROKEN, EVENTS, Connection
from tallystick.events.log.store_contract import StoreError
from tallystick.events.log.store_segments import Row

RETRIED: Final = (errors.SerializationFailure, errors.DeadlockDetected)
_LARGE: Final = 256 * 1024
"""Bytes of a batch that keeps no other waiting: it is written by itself."""
_WRITE_ALL: Final = SQL(
    "WITH mine AS (SELECT w.fleet FROM tallystick_writers AS w JOIN"
    " unnest(%s::text[], %s::bigint[], %s::bigint[]) AS one (fleet, epoch, before)"
    " ON w.fleet = one.fleet AND w.epoch = one.epoch WHERE one.before = 0 OR EXISTS (SELECT FROM {events}"
    " WHERE originator_id = w.fleet AND originator_version = one.before) FOR KEY SHARE OF w SKIP LOCKED)"
    " INSERT INTO {events} (originator_id, originator_version, topic, state)"
    " SELECT mine.fleet, one.position, one.topic, substring(whole.data FROM one.first FOR one.length)"
    " FROM (SELECT %s::bytea AS data OFFSET 0) AS whole,"
    " unnest(%s::text[], %s::bigint[], %s::text[], %s::int[], %s::int[]) AS one (fleet, position, topic, first, length)"
    " JOIN mine ON mine.fleet = one.fleet RETURNING originator_id"
).format(events=Identifier(EVENTS))
"""As the statement for one batch (see `postgres_appending`); it returns whose rows were written."""


class _Batch:
    """What one fleet waits to have written."""

    __slots__ = ("batch", "error", "is_written", "lease", "led", "named", "turn")

    def __init__(self, lease: Lease, named: str, batch: Batch) -> None:
        self.lease, self.named, self.batch = lease, named, batch
        self.is_written = False
        self.error: Exception | None = None
        self.led: list[_Batch] | None = None
        """What this one's thread is to write for all; None where another one does."""
        self.turn = threading.Lock()
        self.turn.acquire()


class Together:
    """The batches of this process's fleets in one database. ``writing`` lends a connection."""

    def __init__(self, writing: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._writing = writing
        self._changing = threading.Lock()
        self._waiting: list[_Batch] = []
        self._is_led = False

    @property
    def waiting(self) -> int:
        """How many wait while others write."""
        return len(self._waiting)

    def write(self, lease: Lease, named: str, batch: Batch) -> bool:
        """Write a batch, together with those of others that wait; whether it is written. If not, nothing of it is.

        Raises:
            Fenced, StoreError, psycopg.Error: as `postgres_appending.write`.
        """
        if sum(len(row.state) for row in batch.rows) > _LARGE:
            return False
        mine = _Batch(lease, named, batch)
        with self._changing:
            if self._is_led:
                self._waiting.append(mine)
            else:
                self._is_led, mine.led = True, [mine]
        if mine.led is None:
            mine.turn.acquire()
        if mine.led is not None:
            self._lead(mine, mine.led)
        if mine.error is not None:
            raise mine.error
        return mine.is_written

    def _lead(self, mine: _Batch, led: Sequence[_Batch]) -> None:
        """Write for all, and let one of those who came meanwhile go on."""
        try:
            self._write(led)
        finally:
            with self._changing:
                waiting, self._waiting = self._waiting, []
                self._is_led = bool(waiting)
                if waiting:
                    waiting[0].led = waiting
            for one in (*led, *waiting[:1]):
                if one is not mine:
                    one.turn.release()

    def _write(self, led: Sequence[_Batch]) -> None:
        try:
            with self._writing() as connection:
                if len(led) == 1:
                    write(connection, led[0].lease, led[0].named, led[0].batch, ())
                    led[0].is_written = True
                else:
                    written = _write_all(connection, led)
                    for one in led:
                        one.is_written = one.lease.fleet in written
        except (StoreError, psycopg.Error) as error:
            if len(led) == 1 or isinstance(error, (*BROKEN, *RETRIED)):
                for one in led:
                    one.error = error
        except BaseException:
            for one in led:
                one.error = psycopg.OperationalError("the thread that wrote for several fleets was interrupted")
            raise


def _write_all(connection: Connection, led: Sequence[_Batch]) -> set[str]:
    rows: list[tuple[str, Row]] = [(one.lease.fleet, row) for one in led for row in one.batch.rows]
    lengths = [len(row.state) for _, row in rows]
    parameters = (
        [one.lease.fleet for one in led],
        [one.lease.epoch for one in led],
        [one.batch.before for one in led],
        b"".join(row.state for _, row in rows),
        [fleet for fleet, _ in rows],
        [row.position for _, row in rows],
        [row.topic for _, row in rows],
        list(accumulate(lengths[:-1], initial=1)),
        lengths,
    )
    return {fleet for (fleet,) in connection.execute(_WRITE_ALL, parameters, prepare=True, binary=True)}
