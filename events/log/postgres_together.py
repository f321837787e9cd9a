"""Batches of several fleets of this process, written to PostgreSQL by one statement: one transaction and one sync.

A fleet that comes while another one writes waits with those that come then, and one of them writes for all, as in a
group commit within one log. Those who were written together before are waited for, but not for long: they may be about
to write again. Each fleet's place is checked in the statement for itself. A fleet whose place is not its own, or is
just being taken, is left out, and finds out by itself; so does each where the statement was refused as a whole.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import accumulate
from typing import Final

import psycopg
from psycopg import errors
from psycopg.sql import SQL, Identifier

from tallystick.events.log.postgres_appending import Batch, numbers, texts, write
from tallystick.events.log.postgres_lease import Lease
from tallystick.events.log.postgres_tables import BROKEN, EVENTS, Connection
from tallystick.events.log.store_contract import StoreError

RETRIED: Final = (errors.SerializationFailure, errors.DeadlockDetected)
_LARGE: Final = 256 * 1024
"""Bytes of a batch that keeps no other waiting: it is written by itself."""
_PATIENCE: Final = 0.25
"""How long those who wait wait for those who were written last, in times of what that took."""
_USUAL_SECONDS = 0.2
"""What took longer was a disk or a database that stood still: that is no reason to wait for anyone."""
_WRITE_ALL: Final = (
    SQL(
        "WITH mine AS (SELECT w.fleet, one.number FROM tallystick_writers AS w JOIN"
        " unnest(%s::text[], %s::bigint[], %s::bigint[]) WITH ORDINALITY AS one (fleet, epoch, before, number)"
        " ON w.fleet = one.fleet AND w.epoch = one.epoch WHERE one.before = 0 OR EXISTS (SELECT FROM {events}"
        " WHERE originator_id = w.fleet AND originator_version = one.before) FOR KEY SHARE OF w SKIP LOCKED),"
        " written AS (INSERT INTO {events} (originator_id, originator_version, topic, state)"
        " SELECT mine.fleet, one.position, one.topic, substring(whole.data FROM one.first FOR one.length)"
        " FROM (SELECT %s::bytea AS data OFFSET 0) AS whole,"
        " unnest(%s::bigint[], %s::bigint[], %s::text[], %s::int[], %s::int[])"
        " AS one (number, position, topic, first, length) JOIN mine ON mine.number = one.number)"
        " SELECT number FROM mine"
    )
    .format(events=Identifier(EVENTS))
    .as_bytes()
)
"""As the statement for one batch (see `postgres_appending`); it returns the numbers of those that were written."""


class _Batch:
    """What one fleet waits to have written."""

    __slots__ = ("batch", "error", "is_written", "leads", "lease", "named", "turn")

    def __init__(self, lease: Lease, named: str, batch: Batch) -> None:
        self.lease, self.named, self.batch = lease, named, batch
        self.is_written = False
        self.error: Exception | None = None
        self.leads = False
        """Whether this one's thread writes for all that wait."""
        self.turn = threading.Lock()
        """Released when it is written, or is to write for all."""
        self.turn.acquire()


class Together:
    """The batches of this process's fleets in one database. ``writing`` lends a connection."""

    def __init__(
        self, writing: Callable[[], AbstractContextManager[Connection]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._writing, self._clock = writing, clock
        self._changing = threading.Condition(threading.Lock())
        self._waiting: list[_Batch] = []
        self._is_led = False
        self._before, self._took_seconds = 1, 0.0
        """How many batches were written last, and how long that took."""

    @property
    def waiting(self) -> int:
        """How many wait while others write."""
        return len(self._waiting)

    def write(self, lease: Lease, named: str, batch: Batch) -> bool:
        """Write a batch, together with those of others that wait; whether it is written. If not, nothing of it is.

        Raises:
            Fenced, StoreError, psycopg.Error: as `postgres_appending.write`.
        """
        if sum([len(row.state) for row in batch.rows]) > _LARGE:
            return False
        mine = _Batch(lease, named, batch)
        with self._changing:
            self._waiting.append(mine)
            if not self._is_led:
                self._is_led = mine.leads = True
            elif len(self._waiting) == self._before:
                self._changing.notify()
        if not mine.leads:
            mine.turn.acquire()
        if mine.leads:
            self._lead(mine)
        if mine.error is not None:
            raise mine.error
        return mine.is_written

    def _lead(self, mine: _Batch) -> None:
        """Write for all that wait, and let one of those who come meanwhile go on."""
        with self._changing:
            # Those who were written last may be about to write again: a sync for all of them is worth this.
            self._changing.wait_for(lambda: len(self._waiting) >= self._before, self._took_seconds * _PATIENCE)
            led, self._waiting = self._waiting, []
        began = self._clock()
        try:
            self._write(led)
        finally:
            self._before, self._took_seconds = len(led), min(self._clock() - began, _USUAL_SECONDS)
            for one in led:
                if one is not mine:
                    one.turn.release()
            with self._changing:
                self._is_led = bool(self._waiting)
                if self._waiting:
                    self._waiting[0].leads = True
                    self._waiting[0].turn.release()

    def _write(self, led: Sequence[_Batch]) -> None:
        try:
            with self._writing() as connection:
                if len(led) == 1:
                    write(connection, led[0].lease, led[0].named, led[0].batch, ())
                    led[0].is_written = True
                else:
                    for one in _write_all(connection, led):
                        one.is_written = True
        except (StoreError, psycopg.Error) as error:
            if len(led) == 1 or isinstance(error, (*BROKEN, *RETRIED)):
                for one in led:
                    one.error = error
        except BaseException:
            for one in led:
                one.error = psycopg.OperationalError("the thread that wrote for several fleets was interrupted")
            raise


def _write_all(connection: Connection, led: Sequence[_Batch]) -> Iterator[_Batch]:
    """Write the batches of different fleets; those that were written, and each of them whole."""
    rows = [row for one in led for row in one.batch.rows]
    lengths = [len(row.state) for row in rows]
    parameters = (
        texts(one.lease.fleet for one in led),
        numbers(one.lease.epoch for one in led),
        numbers(one.batch.before for one in led),
        b"".join([row.state for row in rows]),
        numbers(number for number, one in enumerate(led, start=1) for _ in one.batch.rows),
        numbers(row.position for row in rows),
        texts(row.topic for row in rows),
        numbers(accumulate(lengths[:-1], initial=1)),
        numbers(lengths),
    )
    for (number,) in connection.execute(_WRITE_ALL, parameters, prepare=True, binary=True):
        yield led[number - 1]
