"""A fleet whose log is in PostgreSQL, while the database is away or another process has taken its place."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tallystick import Fleet
from tallystick.events.log import store_postgres
from tests.support.postgres import PostgresServer, running
from tests.support.store_processes import child, let_go, line_of
from tests.support.stores import SECONDS, until

LEASE_SECONDS = 0.5
CONFIG = {"total_budget": {"tokens": 1000}}
REPORT = {"type": "ReportUsage", "agent": "a", "usage": {"tokens": 1}}
STATUS = {"type": "GetStatus", "agent": "a"}
OPENS = {"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 100}}


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server that tests stop and kill."""
    with running() as own:
        yield own


@pytest.fixture(autouse=True)
def short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_postgres, "LEASE_SECONDS", LEASE_SECONDS)


def code(answer: Any) -> str | None:
    return answer.get("error", {}).get("code")


def answered(fleet: Fleet, message: dict[str, Any]) -> Any:
    """What is answered while the database is there: on a busy machine so short a lease may end in between."""
    answers: list[Any] = []

    def is_there() -> bool:
        answers.append(fleet.ask({**message, "id": "once"}))
        return code(answers[-1]) != "store_away"

    until(is_there)
    return answers[-1]


@pytest.mark.parametrize("way", ["stop", "kill"])
def test_nothing_is_answered_while_the_database_is_away_and_the_fleet_goes_on_by_itself(
    server: PostgresServer, way: str
) -> None:
    with Fleet.open(server.url(fleet=way), CONFIG, notify=False) as fleet:
        assert "ok" in answered(fleet, OPENS)
        getattr(server, way)()
        unwritten = fleet.ask({**REPORT, "id": "r-1"}, timeout=SECONDS)
        assert code(unwritten) == "store_away"
        assert "the writer's lease has ended: " in unwritten["error"]["detail"]
        assert code(fleet.ask(STATUS)) == "store_away"
        until(lambda: ": it could not be renewed: " in fleet.ask(STATUS)["error"]["detail"])
        server.start()
        until(lambda: "ok" in fleet.ask({**REPORT, "id": "r-1"}))
        assert answered(fleet, STATUS)["ok"]["consumed"]["tokens"] == 1, "once"
        assert fleet.halted is None


def test_a_fleet_is_closed_while_the_database_is_away(server: PostgresServer) -> None:
    fleet = Fleet.open(server.url(fleet="closed"), CONFIG, notify=False)
    server.stop()
    assert code(fleet.ask(REPORT, timeout=SECONDS)) == "store_away"
    fleet.close()
    assert code(fleet.ask(REPORT)) == "halted"
    server.start()


_SERVES = """
import sys, time
from tallystick import Fleet
from tallystick.events.log import store_postgres
store_postgres.LEASE_SECONDS = float(sys.argv[2])
fleet = Fleet.open(sys.argv[1], {"total_budget": {"tokens": 1000}}, notify=False)
print("serves", flush=True)
sys.stdin.readline()
for asked in ({"type": "GetGlobalStatus", "limit": 0}, {"type": "ReportUsage", "agent": "a", "usage": {"tokens": 1}}):
    print(fleet.ask(asked)["error"]["code"], flush=True)
while fleet.halted is None:
    time.sleep(0.01)
print(fleet.halted)
fleet.close()
"""


def test_a_fleet_that_was_stopped_for_longer_than_its_lease_answers_nothing_of_what_it_knew(
    server: PostgresServer,
) -> None:
    url = server.url(fleet="stopped")
    with child(_SERVES, url, str(LEASE_SECONDS)) as process:
        assert line_of(process) == "serves"
        process.send_signal(signal.SIGSTOP)
        with Fleet.open(url, notify=False) as other:
            assert "ok" in answered(other, OPENS)
            process.send_signal(signal.SIGCONT)
            query, command, why = let_go(process)
            assert {query, command} <= {"store_away", "halted"}
            assert f"the writer's place was taken over by process {os.getpid()} on " in why
            assert answered(other, STATUS)["ok"]["consumed"] == {"tokens": 0}
