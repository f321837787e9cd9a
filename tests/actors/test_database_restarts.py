"""A database that is stopped, killed and started under load: clear errors meanwhile, nothing lost, nothing doubled."""

import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from tallystick import Fleet
from tallystick.events.log import store_postgres
from tallystick.events.log.audit import Verification
from tallystick.events.log.codec import decode_event
from tests.support.postgres import RESTARTS, PostgresServer, running
from tests.support.stores import SECONDS, until

CLIENTS = 4
REPORTS = 20
"""Of each client, before the database goes and after it is back."""


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with running() as own:
        yield own


class Client(threading.Thread):
    """Reports one token after the other; each again under its id, until it is answered as done."""

    def __init__(self, fleet: Fleet, name: str) -> None:
        super().__init__(daemon=True)
        self._fleet, self._name, self._enough = fleet, name, threading.Event()
        self.done = 0
        self.errors: Counter[str] = Counter()
        self.start()

    def run(self) -> None:
        while not self._enough.is_set():
            report = {"type": "ReportUsage", "agent": "a", "usage": {"tokens": 1}, "id": f"{self._name}-{self.done}"}
            answer = self._fleet.ask(report)
            if "ok" in answer:
                self.done += 1
            else:
                self.errors[answer["error"]["code"]] += 1
                self._enough.wait(0.02)

    def stop(self) -> None:
        self._enough.set()
        self.join(SECONDS)
        assert not self.is_alive()


def test_a_database_that_goes_and_comes_back_under_load_loses_nothing_and_doubles_nothing(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_postgres, "LEASE_SECONDS", 0.5)
    with Fleet.open(server.url(), {"total_budget": {"tokens": 10_000_000}}, notify=False) as fleet:
        # On a busy machine, so short a lease may end in between.
        opens = {"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 1_000_000}, "id": "opens"}
        until(lambda: "ok" in fleet.ask(opens))
        clients = [Client(fleet, f"c{n}") for n in range(CLIENTS)]

        def all_go_on() -> None:
            goals = [client.done + REPORTS for client in clients]
            until(lambda: all(client.done >= goal for client, goal in zip(clients, goals, strict=True)))

        for turn in range(RESTARTS):
            all_go_on()
            turned_away = sum(client.errors["store_away"] for client in clients)
            (server.kill if turn % 2 else server.stop)()
            until(lambda before=turned_away: sum(client.errors["store_away"] for client in clients) > before)  # type: ignore[misc]
            server.start()
            all_go_on()
        for client in clients:
            client.stop()
        done = sum(client.done for client in clients)
        assert fleet.halted is None
        status = {"type": "GetStatus", "agent": "a"}
        while "ok" not in (answer := fleet.ask(status)):
            assert answer["error"]["code"] == "store_away"
        consumed = answer["ok"]["consumed"]["tokens"]
        records = list(fleet.store.read())
    # A client that is stopped may leave its last report unanswered.
    assert done <= consumed <= done + CLIENTS
    assert {code for client in clients for code in client.errors} == {"store_away"}
    assert Verification().run(records).problems == []
    reported = [decode_event(one.data, one.name).id for one in records if one.name == "usage-reported.v1"]
    assert len(reported) == len(set(reported)) == consumed
