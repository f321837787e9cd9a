"""Fleets of one process that write to PostgreSQL at the same time share a transaction, and nothing else."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest

from tallystick.events.log import postgres_together
from tallystick.events.log.postgres_appending import Batch
from tallystick.events.log.postgres_lease import Lease, take_lease
from tallystick.events.log.postgres_place import place_of
from tallystick.events.log.postgres_tables import Connection, connect, create_tables
from tallystick.events.log.postgres_together import Together
from tallystick.events.log.store import Fenced, open_store
from tallystick.events.log.store_segments import rows_of
from tests.support.postgres_logs import as_written, ask, written
from tests.support.store_processes import records
from tests.support.stores import SECONDS, until

FLEETS = 4


class Writing:
    """Lends connections, and keeps the first who writes waiting until the others wait for it."""

    def __init__(self, url: str) -> None:
        self.times = 0
        self.go_on, self.is_held = threading.Event(), threading.Event()
        self.then: Callable[[Connection], None] = lambda connection: None
        """What happens to a connection before others than the first write."""
        self._place = place_of(url)

    @contextmanager
    def __call__(self) -> Iterator[Connection]:
        self.times += 1
        with connect(self._place) as connection:
            if self.times == 1:
                self.is_held.set()
                assert self.go_on.wait(SECONDS)
            else:
                self.then(connection)
            yield connection


class Town:
    """Some fleets of one process, of which each has a first batch to write."""

    def __init__(self, url: str) -> None:
        self.urls = [f"{url}-{n}" for n in range(FLEETS)]
        self.writing = Writing(url)
        self.took_seconds = 0.0
        """How long each statement takes, by the clock that ours are written by."""
        self.together = Together(self.writing, self._clock)
        self.leases = [self._lease(one) for one in self.urls]

    def _clock(self) -> float:
        return self.writing.times * self.took_seconds

    def _lease(self, url: str) -> Lease:
        place = place_of(url)

        @contextmanager
        def lent() -> Iterator[Connection]:
            with connect(place) as connection:
                yield connection

        with lent() as connection:
            create_tables(connection, url)
        return take_lease(place, 60.0, lent)

    def write(self, first: int = 1, upto: int = 3) -> list[Future[bool]]:
        """All write at once: the first one by itself, and the others behind it."""
        batch = Batch(first - 1, rows_of(records(first, upto)))
        with ThreadPoolExecutor(FLEETS) as threads:
            done = [threads.submit(self.together.write, self.leases[0], self.urls[0], batch)]
            assert self.writing.is_held.wait(SECONDS)
            for lease, url in zip(self.leases[1:], self.urls[1:], strict=True):
                done.append(threads.submit(self.together.write, lease, url, batch))
            until(lambda: self.together.waiting == FLEETS - 1)
            self.writing.go_on.set()
        return done

    def write_in_turn(self, first: int, upto: int, *, waits: bool) -> list[Future[bool]]:
        """All but the first, each once those before it wait for the others, or where none ``waits``, are done."""
        batch, done = Batch(first - 1, rows_of(records(first, upto))), list[Future[bool]]()
        with ThreadPoolExecutor(FLEETS) as threads:
            for lease, url in zip(self.leases[1:], self.urls[1:], strict=True):
                done.append(threads.submit(self.together.write, lease, url, batch))
                until(lambda: (waits and self.together.waiting == len(done)) or all(one.done() for one in done))
        return done


@pytest.fixture
def town(url: str) -> Town:
    return Town(url)


def test_those_who_come_while_one_writes_are_written_by_one_statement(town: Town) -> None:
    assert [one.result() for one in town.write()] == [True] * FLEETS
    assert town.writing.times == 2
    assert [written(url) for url in town.urls] == [as_written(3)] * FLEETS


def test_those_who_were_written_together_are_waited_for(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_together, "_USUAL_SECONDS", 1e6)
    town.took_seconds = 1e6
    town.write()
    assert [one.result() for one in town.write_in_turn(4, 5, waits=True)] == [True] * 3
    assert town.writing.times == 3
    assert [len(written(url)) for url in town.urls] == [3, 5, 5, 5]


def test_they_are_waited_for_no_longer_than_a_part_of_what_it_took(town: Town) -> None:
    town.write()
    assert [one.result() for one in town.write_in_turn(4, 5, waits=False)] == [True] * 3
    assert town.writing.times == 5


def test_a_database_that_stood_still_is_no_reason_to_wait_for_others(town: Town) -> None:
    town.took_seconds = 5.0 * SECONDS
    town.write()
    with ThreadPoolExecutor(1) as thread:
        batch = Batch(3, rows_of(records(4, 5)))
        assert thread.submit(town.together.write, town.leases[1], town.urls[1], batch).result(SECONDS)
    assert len(written(town.urls[1])) == 5


def test_a_fleet_alone_waits_for_none(town: Town) -> None:
    town.took_seconds = 1e6
    town.writing.go_on.set()
    for first in (1, 2):
        batch = Batch(first - 1, rows_of(records(first, first)))
        assert town.together.write(town.leases[0], town.urls[0], batch)
    assert town.writing.times == 2


def test_a_fleet_whose_place_was_taken_is_left_out_and_the_others_are_written(town: Town) -> None:
    ask(town.urls[2], "UPDATE tallystick_writers SET epoch = epoch + 1 WHERE fleet = %s", place_of(town.urls[2]).fleet)
    assert [one.result() for one in town.write()] == [True, True, False, True]
    assert [len(written(url)) for url in town.urls] == [3, 3, 0, 3]


def test_a_fleet_whose_place_is_just_being_taken_keeps_no_other_waiting(town: Town) -> None:
    place = place_of(town.urls[2])
    with psycopg.connect(place.database) as taker:
        taker.execute("UPDATE tallystick_writers SET epoch = epoch + 1 WHERE fleet = %s", (place.fleet,))
        assert [one.result() for one in town.write()] == [True, True, False, True]


def test_a_fleet_whose_log_does_not_reach_to_its_batch_is_left_out(town: Town) -> None:
    town.write()
    with psycopg.connect(place_of(town.urls[1]).database) as connection:
        connection.execute("DELETE FROM tallystick_events WHERE originator_id = %s", (place_of(town.urls[1]).fleet,))
    town.writing.times = 0
    town.writing.is_held.clear()
    town.writing.go_on.clear()
    assert [one.result() for one in town.write(4, 5)] == [True, False, True, True]
    assert [len(written(url)) for url in town.urls] == [5, 0, 5, 5]


def test_where_the_positions_of_one_are_taken_each_finds_out_by_itself(town: Town) -> None:
    fleet = place_of(town.urls[3]).fleet
    ask(town.urls[3], "INSERT INTO tallystick_events VALUES (%s, 3, 'x', 'y')", fleet)
    assert [one.result() for one in town.write()] == [True, False, False, False]
    assert [len(written(url)) for url in town.urls[:3]] == [3, 0, 0]


def test_where_the_connection_breaks_none_knows_whether_it_was_written(town: Town) -> None:
    town.writing.then = lambda connection: connection.close()
    first, *others = town.write()
    assert first.result()
    for one in others:
        assert isinstance(one.exception(), psycopg.OperationalError)


def test_where_the_one_that_writes_is_interrupted_none_knows_whether_it_was_written(town: Town) -> None:
    def interrupted(connection: Connection) -> None:
        raise KeyboardInterrupt

    town.writing.then = interrupted
    first, *others = town.write()
    assert first.result()
    assert sorted(type(one.exception()).__name__ for one in others) == ["KeyboardInterrupt"] + ["OperationalError"] * 2


def test_a_large_batch_keeps_no_other_waiting(town: Town) -> None:
    large = Batch(0, [rows_of(records(1, 1))[0]._replace(state=b"x" * 300_000)])
    assert not town.together.write(town.leases[0], town.urls[0], large)
    assert town.writing.times == 0


def test_fleets_that_write_at_the_same_time_write_each_its_own_log_whole(url: str) -> None:
    urls = [f"{url}-{n}" for n in range(8)]

    def life(one: str) -> None:
        store = open_store(one, writer=True)
        for position in range(1, 31):
            store.append(records(position, position), [(f"s-{position}", position)] if position % 7 == 0 else [])
        store.close()

    with ThreadPoolExecutor(len(urls)) as threads:
        list(threads.map(life, urls))
    assert [written(one) for one in urls] == [as_written(30)] * len(urls)


def test_a_fleet_that_was_taken_over_says_so_while_its_neighbours_write_on(url: str) -> None:
    stores = [open_store(f"{url}-{n}", writer=True) for n in range(FLEETS)]
    lost = stores[1]
    ask(lost.url, "UPDATE tallystick_writers SET epoch = epoch + 1 WHERE fleet = %s", place_of(lost.url).fleet)

    def life(number: int) -> str:
        try:
            for position in range(1, 11):
                stores[number].append(records(position, position))
        except Fenced as error:
            return str(error)
        return "written"

    with ThreadPoolExecutor(FLEETS) as threads:
        said = list(threads.map(life, range(FLEETS)))
    for store in stores:
        store.close()
    assert [one for n, one in enumerate(said) if n != 1] == ["written"] * (FLEETS - 1)
    assert "the writer's place was taken over" in said[1]
    assert written(lost.url) == []
