"""A writer whose place was taken, and a database that is not the one that was written: nothing more is written."""

import secrets
from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg import errors

from tallystick.events.log.postgres_appending import MINE
from tallystick.events.log.postgres_database import READERS, WRITERS
from tallystick.events.log.postgres_place import place_of
from tallystick.events.log.store import Fenced, Store, StoreAway, StoreError, open_store
from tests.support.postgres import shared
from tests.support.postgres_logs import as_written, ask, written
from tests.support.store_processes import records
from tests.support.stores import until

_TAKEN = "UPDATE tallystick_writers SET epoch = epoch + 1, holder = 'process 1 on elsewhere' WHERE fleet = %s"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = open_store(url, writer=True)
    opened.append(records(1, 2), [("s", 2)])
    opened.append(records(3, 3))
    opened.save_snapshot(2, b"old")
    yield opened
    opened.close()


@pytest.fixture
def database() -> str:
    """The URL of a fleet in a database of its own."""
    name = f"d-{secrets.token_hex(6)}"
    shared().new_database(name)
    return shared().url(database=name)


WRITES: dict[str, Callable[[Store], None]] = {
    "a batch": lambda store: store.append(records(4, 4)),
    "a batch with sources": lambda store: store.append(records(4, 4), [("s", 4)]),
    "a snapshot": lambda store: store.save_snapshot(3, b"stale"),
    "sources": lambda store: store.sources.add([("s", 3)], 3),
    "no sources": lambda store: store.sources.clear(),
}


@pytest.mark.parametrize("what", WRITES)
def test_a_writer_whose_place_was_taken_writes_nothing_and_says_who_took_it(url: str, store: Store, what: str) -> None:
    ask(url, _TAKEN, place_of(url).fleet)
    with pytest.raises(Fenced, match="the writer's place was taken over by process 1 on elsewhere"):
        WRITES[what](store)
    assert written(url) == as_written(3)
    assert store.snapshots() == [(2, b"old")]
    assert dict(store.sources.entries()) == {"s": 2}
    assert store.lost() == store.away() != None  # noqa: E711


def test_a_writer_whose_place_was_taken_learns_it_though_it_writes_nothing(url: str, store: Store) -> None:
    ask(url, _TAKEN, place_of(url).fleet)
    until(lambda: store.lost() is not None)
    assert "taken over by process 1 on elsewhere" in str(store.lost())


def test_a_fleet_that_was_deleted_is_written_no_more(url: str, store: Store) -> None:
    ask(url, "DELETE FROM tallystick_writers WHERE fleet = %s", place_of(url).fleet)
    with pytest.raises(Fenced, match="the fleet was deleted"):
        store.append(records(4, 4))
    assert "the fleet was deleted" in str(store.lost())


@pytest.mark.parametrize("sources", [[], [("s", 4)]])
def test_a_log_that_ends_before_the_batch_is_not_written(
    url: str, store: Store, sources: list[tuple[str, int]]
) -> None:
    ask(url, "DELETE FROM tallystick_events WHERE originator_id = %s AND originator_version = 3", place_of(url).fleet)
    with pytest.raises(StoreError, match="has no record at position 3 any more: the database was restored"):
        store.append(records(4, 4), sources)
    assert written(url) == as_written(2)
    assert store.sources.find("s") == 2


def test_a_batch_that_is_being_written_keeps_others_from_the_place_but_not_the_lease_from_its_renewal(
    url: str, store: Store
) -> None:
    fleet = place_of(url).fleet
    with psycopg.connect(place_of(url).database) as writing, psycopg.connect(place_of(url).database) as other:
        assert writing.execute(MINE, (fleet, 1)).fetchone() == (fleet,)
        other.execute("SET lock_timeout = '100ms'")
        with pytest.raises(errors.LockNotAvailable):
            other.execute(_TAKEN, (fleet,))
        other.rollback()
        other.execute("SET lock_timeout = '100ms'")
        renewed = other.execute("UPDATE tallystick_writers SET until = clock_timestamp() WHERE fleet = %s", (fleet,))
        assert renewed.rowcount == 1


def test_many_fleets_of_a_process_share_few_connections_and_all_their_leases_are_renewed(database: str) -> None:
    fleets = [open_store(f"{database}-{n}", writer=True) for n in range(60)]
    for store in fleets:
        store.append(records(1, 1))
        assert store.last() == records(1, 1)[0]
    (first,) = ask(database, "SELECT min(until) FROM tallystick_writers")
    until(lambda: ask(database, "SELECT min(until) FROM tallystick_writers") > [first])
    ((connections,),) = ask(
        database,
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    assert connections <= READERS + WRITERS + 2
    assert [store.away() for store in fleets] == [None] * 60
    for store in fleets:
        store.close()
    until(
        lambda: ask(database, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()") == [(1,)],
    )


def test_a_table_that_was_dropped_is_said_in_one_line(database: str) -> None:
    store = open_store(database, writer=True)
    ask(database, "DROP TABLE tallystick_events CASCADE")
    with pytest.raises(StoreError, match=r"could not be written: relation .*tallystick_events.* does not exist$"):
        store.append(records(1, 1))
    store.close()


def test_a_database_that_was_dropped_is_away_and_says_so(database: str) -> None:
    store = open_store(database, writer=True)
    ask(shared().url(), f'DROP DATABASE "{database.partition("//tests@/")[2].partition("?")[0]}" WITH (FORCE)')
    with pytest.raises(StoreAway, match="does not exist"):
        list(store.read())
    store.close()


def test_a_database_that_does_not_hold_every_text_is_refused() -> None:
    name = f"l-{secrets.token_hex(6)}"
    ask(shared().url(), f"CREATE DATABASE \"{name}\" TEMPLATE template0 ENCODING 'LATIN1'")
    with pytest.raises(StoreError, match="found a database with the encoding LATIN1, allowed is UTF8"):
        open_store(shared().url(database=name), writer=True)


def test_a_user_who_may_only_read_reads_and_is_refused_as_a_writer(url: str, store: Store) -> None:
    ask(url, "DO $$ BEGIN CREATE ROLE looker LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    ask(
        url, "GRANT SELECT ON tallystick_events, tallystick_writers, tallystick_snapshots, tallystick_sources TO looker"
    )
    theirs = url.replace("//tests@", "//looker@")
    reader = open_store(theirs)
    assert list(reader.read()) == records(1, 3)
    reader.close()
    with pytest.raises(StoreError, match=r"cannot be written: permission denied for table tallystick_writers$"):
        open_store(theirs, writer=True)
