"""What the fleets of a process share in a database: connections that are there already, and notifications."""

import math
import threading
from typing import Any

import pytest
from psycopg_pool import ConnectionPool

from tallystick.cluster.fleets import Database
from tallystick.events.log import postgres_database, postgres_following
from tallystick.events.log.postgres_following import Notifier, channel_of
from tallystick.events.log.postgres_lease import Renewals
from tallystick.events.log.postgres_place import place_of
from tallystick.events.log.postgres_tables import connect
from tallystick.events.log.postgres_writer import holder_of
from tallystick.events.log.store import open_store
from tallystick.events.log.store_postgres import PostgresStore
from tests.support.stores import until


def test_what_a_process_asks_of_a_database_that_it_has_open_needs_no_connection_of_its_own(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, fleets = open_store(url, writer=True), Database(url.partition("&fleet")[0])
    store.last()
    monkeypatch.setattr(postgres_database, "connect", None)
    holder = holder_of(url)
    assert holder is not None
    assert holder.is_valid
    assert not fleets.has(place_of(url).fleet)
    monkeypatch.undo()
    store.close()
    holder = holder_of(url)
    assert holder is not None
    assert not holder.is_valid


def test_a_lease_that_was_let_go_is_not_renewed_by_what_was_on_its_way(url: str) -> None:
    store = open_store(url, writer=True)
    assert isinstance(store, PostgresStore)
    lease = store._own_lease()
    store.close()
    with connect(place_of(url)) as connection:
        Renewals._renew(connection, [lease])
    assert lease.taken is None
    holder = holder_of(url)
    assert holder is not None
    assert not holder.is_valid


@pytest.mark.parametrize(("fresh_seconds", "times"), [(math.inf, 0), (-1.0, 2)])
def test_a_connection_is_asked_whether_it_answers_unless_it_was_used_just_now(
    url: str, fresh_seconds: float, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, checked = open_store(url, writer=True), list[Any]()
    store.last()
    monkeypatch.setattr(postgres_database, "_FRESH_SECONDS", fresh_seconds)
    monkeypatch.setattr(ConnectionPool, "check_connection", checked.append)
    store.last()
    store.last()
    store.close()
    assert len(checked) == times


class Said:
    """In place of a connection: which channels were notified, statement by statement."""

    closed = False

    def __init__(self) -> None:
        self.channels: list[set[str]] = []

    def execute(self, statement: str, parameters: tuple[list[str]]) -> None:
        self.channels.append(set(parameters[0]))

    def close(self) -> None:
        self.closed = True


class Closing(threading.Event):
    """Whether the notifier is closed, and how often that was waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waited.append(timeout)
        return super().wait(timeout)


def test_commits_that_come_after_a_notification_share_the_next_one(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said, woken, closing = Said(), threading.Event(), Closing()
    monkeypatch.setattr(postgres_following, "connect", lambda place: said)
    monkeypatch.setattr(postgres_following, "_PAUSE_SECONDS", 3_600.0)
    notifier = Notifier(place_of(url))
    notifier._closed = closing
    notifier.listen("b", woken)
    notifier.committed("a")
    until(lambda: closing.waited == [3_600.0])
    for fleet in ("b", "c", "b"):
        notifier.committed(fleet)
    assert woken.is_set()  # who follows in this process does not wait for it
    assert said.channels == [{channel_of("a")}]
    notifier.close()
    assert said.channels == [{channel_of("a")}, {channel_of("b"), channel_of("c")}]
    assert said.closed
