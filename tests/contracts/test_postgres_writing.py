"""A connection that is cut at any message: what was written is there whole and once, and what follows is right."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest

from tallystick.events.log import store_postgres
from tallystick.events.log.postgres_place import place_of
from tallystick.events.log.store import Store, StoreError, open_store
from tests.support.cutting_proxy import CuttingProxy, Moment
from tests.support.postgres import shared
from tests.support.postgres_logs import as_written, ask, written
from tests.support.store_processes import records
from tests.support.stores import SECONDS, until

MESSAGES_MAX = 50
moments = pytest.mark.parametrize("moment", ["before the server has it", "after the server has it"])


@pytest.fixture
def proxy() -> Iterator[CuttingProxy]:
    with TemporaryDirectory(prefix="px-") as folder:
        made = CuttingProxy(Path(folder), shared().folder)
        yield made
        made.close()


@pytest.fixture
def through(proxy: CuttingProxy, url: str) -> str:
    """A fleet of its own, behind the proxy."""
    return url.replace(str(shared().folder), str(proxy.folder))


def cut_at_each(proxy: CuttingProxy, moment: Moment, turn: Callable[[int], None]) -> None:
    """Take turns in which the connection is cut at the first message, at the second one, until there are no more."""
    for at in range(1, MESSAGES_MAX):
        turn(at)
        cut = proxy.was_cut.is_set()
        proxy.cut(0, moment)
        if not cut:
            assert at > 1
            return
    pytest.fail(f"there are more than {MESSAGES_MAX} messages")


def tried(doing: Callable[[], object]) -> None:
    """Do something that may fail."""
    with contextlib.suppress(StoreError):
        doing()


BATCHES = {
    "a few records": (3, []),
    "many records": (100, []),
    "a few records and sources": (3, [("s", 4)]),
    "many records and sources": (100, [("s", 4)]),
}


@moments
@pytest.mark.parametrize("batch", BATCHES)
def test_a_batch_is_there_whole_and_once(proxy: CuttingProxy, through: str, batch: str, moment: Moment) -> None:
    size, sources = BATCHES[batch]

    def turn(at: int) -> None:
        fleet = f"{through}-{at}"
        store = open_store(fleet, writer=True)
        store.append(records(1, 1))
        proxy.cut(at, moment)
        store.append(records(2, 1 + size), sources)
        cut = proxy.was_cut.is_set()
        proxy.cut(0, moment)
        assert written(fleet) == as_written(1 + size)
        assert store.sources.find("s") == (4 if sources else None)
        store.append(records(2 + size, 2 + size))
        store.close()
        if cut:
            proxy.was_cut.set()

    cut_at_each(proxy, moment, turn)


def test_a_batch_that_the_server_ends_only_after_it_was_sent_again_is_there_once(
    proxy: CuttingProxy, through: str, url: str
) -> None:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    store = open_store(through, writer=True)
    store.append(records(1, 1))
    with psycopg.connect(place_of(url).database) as locking:
        locking.execute("SELECT FROM tallystick_writers WHERE fleet = %s FOR UPDATE", (place_of(through).fleet,))
        writing = threading.Thread(target=store.append, args=(records(2, 5),))
        writing.start()
        until(lambda: ask(through, waiting) == [(1,)])
        proxy.cut_all()
        until(lambda: ask(through, waiting) == [(2,)])
        assert written(through) == as_written(1)
    writing.join(SECONDS)
    assert written(through) == as_written(5)
    assert store.lost() is None
    store.append(records(6, 6))
    store.close()


BESIDE: dict[str, Callable[[Store], None]] = {
    "a snapshot": lambda store: store.save_snapshot(2, b"new"),
    "the index of sources": lambda store: store.sources.add([("s", 2), ("t", 2)], 2),
    "the index of sources, forgotten": lambda store: store.sources.clear(),
}


@moments
@pytest.mark.parametrize("what", BESIDE)
def test_what_lies_beside_the_log_is_as_before_or_as_after(
    proxy: CuttingProxy, through: str, what: str, moment: Moment
) -> None:
    def state(store: Store) -> tuple[object, ...]:
        return store.snapshots(), list(store.sources.entries())

    def turn(at: int) -> None:
        store = open_store(f"{through}-{at}", writer=True)
        store.append(records(1, 2))
        store.save_snapshot(1, b"old")
        store.sources.add([("s", 1)], 1)
        before = state(store)
        proxy.cut(at, moment)
        tried(lambda: BESIDE[what](store))
        cut = proxy.was_cut.is_set()
        proxy.cut(0, moment)
        found = state(store)
        BESIDE[what](store)
        assert found in (before, state(store))
        assert before != state(store)
        store.close()
        if cut:
            proxy.was_cut.set()

    cut_at_each(proxy, moment, turn)


@moments
def test_a_writer_whose_opening_failed_leaves_a_place_that_is_taken_when_its_lease_has_ended(
    proxy: CuttingProxy, through: str, moment: Moment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_postgres, "LEASE_SECONDS", 0.5)

    def turn(at: int) -> None:
        proxy.cut(at, moment)
        tried(lambda: open_store(f"{through}-{at}", writer=True).close())
        cut = proxy.was_cut.is_set()
        proxy.cut(0, moment)
        store = open_store(f"{through}-{at}", writer=True)
        store.append(records(1, 1))
        assert written(f"{through}-{at}") == as_written(1)
        store.close()
        if cut:
            proxy.was_cut.set()

    cut_at_each(proxy, moment, turn)
