"""A store that is closed while threads still use it: they are waited for, because SQLite would crash the process."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from eventsourcing.persistence import ConnectionPoolClosedError

from tallystick.events.log import store_connections
from tallystick.events.log.store_connections import SqliteConnections
from tests.support.store_processes import run

_CLOSED_WHILE_READ = """
import sys, threading
from tallystick.events.log.store import Record, StoreError, open_store
from tests.support.store_processes import records
for turn in range(20):
    store = open_store(sys.argv[1], writer=True)
    if turn == 0:
        store.append(records(1, 2_000))
    followed = [store.subscribe() for _ in range(4)]
    def read_often():
        try:
            for _ in range(10):
                list(store.read())
        except StoreError as error:
            assert "closed" in str(error), error
    readers = [threading.Thread(target=read_often) for _ in range(4)]
    for thread in readers:
        thread.start()
    for one in followed:
        one.stop()
    store.close()
    for thread in readers:
        thread.join()
print("done")
"""


@pytest.fixture
def connections(tmp_path: Path) -> Iterator[SqliteConnections]:
    made = SqliteConnections(str(tmp_path / "some.db"), "FULL", 60)
    yield made
    made.close()


def test_closing_waits_for_what_is_in_use_and_gives_out_no_more(connections: SqliteConnections) -> None:
    used = connections.get_connection()
    with ThreadPoolExecutor(1) as threads:
        closing = threads.submit(connections.close)
        while True:
            try:
                connections.put_connection(connections.get_connection())
            except ConnectionPoolClosedError:
                break
        assert not closing.done()
        assert not used.closed
        used.cursor().execute("SELECT 1")
        connections.put_connection(used)
        closing.result(60)
    assert used.closed


def test_what_is_never_given_back_is_closed_at_last(tmp_path: Path) -> None:
    connections = SqliteConnections(str(tmp_path / "some.db"), "FULL", 0)
    used = connections.get_connection()
    connections.close()
    assert used.closed


def test_what_is_closed_again_is_not_waited_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connections = SqliteConnections(str(tmp_path / "some.db"), "FULL", 60)
    connections.get_connection()
    moments = iter((0.0, 61.0))
    monkeypatch.setattr(store_connections, "time", SimpleNamespace(monotonic=lambda: next(moments)))
    connections.close()
    connections.close()
    assert connections.num_in_use
    assert connections.closed


def test_a_store_that_is_closed_while_threads_read_and_follow_it_does_not_crash(tmp_path: Path) -> None:
    assert run(_CLOSED_WHILE_READ, f"sqlite:///{tmp_path / 'fleet.db'}") == ["done"]
