"""While its store is away a fleet answers nothing, says so in time, and goes on by itself when the store is back."""

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from tallystick import Fleet
from tallystick.actors.errors import Unanswered
from tallystick.actors.manager import Manager
from tallystick.actors.runtime.messages import Envelope
from tallystick.actors.runtime.pending import Pending
from tallystick.events import messages as c
from tallystick.events.log.codec import encode_command
from tallystick.events.log.restoring import open_ledger
from tallystick.events.log.store import Record, StoreAway, StoreError
from tallystick.events.log.store_memory import MemoryStore
from tests.support.core import START
from tests.support.stores import SECONDS

REPORT = {"type": "ReportUsage", "agent": "a", "usage": {"tokens": 1}, "id": "r"}
STATUS = {"type": "GetStatus", "agent": "a"}


class Distant(MemoryStore):
    """A store that a test takes away: an append waits for it, and a read fails."""

    def __init__(self) -> None:
        super().__init__()
        self._there, self._closed = threading.Event(), False
        self._there.set()
        self._goes_when_written = threading.Event()
        self.unconfirmed = True
        """Where it is away, the writer's lease has ended, too."""

    def go(self) -> None:
        self._there.clear()

    def go_when_written(self) -> None:
        """Go with the next append."""
        self._goes_when_written.set()

    def come_back(self) -> None:
        self._there.set()

    def away(self) -> str | None:
        return "the database is away" if self.unconfirmed and not self._there.is_set() else None

    def append(self, records: Sequence[Record], sources: Sequence[tuple[str, int]] = ()) -> None:
        if self._goes_when_written.is_set():
            self._goes_when_written.clear()
            self.go()
        self._there.wait()
        if self._closed:
            raise StoreError("it was closed, and the database is away")
        super().append(records, sources)

    def record(self, position: int) -> Record | None:
        if not self._there.is_set():
            raise StoreAway("the database is away")
        return super().record(position)

    def close(self) -> None:
        self._closed = True
        self._there.set()


@pytest.fixture
def store() -> Distant:
    return Distant()


@pytest.fixture
def fleet(store: Distant) -> Iterator[Fleet]:
    with Fleet.open(store, {"total_budget": {"tokens": 1000}}, notify=False) as fleet:
        fleet.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 100}})
        yield fleet
        store.come_back()


def code(answer: Any) -> str | None:
    return answer.get("error", {}).get("code")


def test_neither_a_command_nor_a_query_is_answered_while_the_store_is_away(fleet: Fleet, store: Distant) -> None:
    store.go()
    for asked in (REPORT, STATUS):
        answer = fleet.ask(asked)
        assert code(answer) == "store_away"
        assert "the database is away" in answer["error"]["detail"]
        assert answer["error"]["retry_after_seconds"] == 1
    assert [code(one) for one in fleet.ask([REPORT, STATUS])] == ["store_away"] * 2
    store.come_back()
    assert "ok" in fleet.ask(REPORT)


def test_one_whose_batch_was_being_written_is_answered_in_time_and_finds_what_became_of_it(
    fleet: Fleet, store: Distant
) -> None:
    store.go_when_written()
    assert code(fleet.ask(REPORT, timeout=SECONDS)) == "store_away"
    store.come_back()
    done = fleet.ask(REPORT)
    assert "ok" in done
    assert fleet.ask(STATUS)["ok"]["consumed"]["tokens"] == 1, "once"


def test_a_query_that_was_decided_before_the_store_went_is_not_answered_after_it(store: Distant) -> None:
    ledger, digest = open_ledger(store)
    manager, query, pending = Manager(ledger, store, digest), c.GetStatus(agent="a"), Pending()
    manager.take(Envelope([query], [encode_command(query)], "test", pending), START)
    store.go()
    manager.commit(START)
    assert code(pending.result(0)) == "store_away"


def test_an_id_whose_answer_cannot_be_read_now_is_answered_later(fleet: Fleet, store: Distant) -> None:
    before = fleet.ask(REPORT)
    store.unconfirmed = False
    store.go()
    assert code(fleet.ask(REPORT)) == "store_away"
    store.come_back()
    assert fleet.ask(REPORT) == before


def test_a_configuration_that_could_not_be_put_in_force_now_is_no_refusal(fleet: Fleet, store: Distant) -> None:
    store.go()
    with pytest.raises(Unanswered, match="the database is away"):
        fleet.put_in_force({"total_budget": {"tokens": 2000}})


def test_an_agent_waits_for_the_store(fleet: Fleet, store: Distant) -> None:
    with fleet.agent("b", tokens=100) as agent:
        store.go()
        threading.Timer(0.1, store.come_back).start()
        agent.report({"prompt_tokens": 1, "completion_tokens": 0})
        assert fleet.ask({"type": "GetStatus", "agent": "b"})["ok"]["consumed"]["tokens"] == 1


def test_a_fleet_is_closed_while_its_store_is_away(store: Distant) -> None:
    fleet = Fleet.open(store, {"total_budget": {"tokens": 1000}}, notify=False)
    store.go_when_written()
    assert code(fleet.ask(REPORT, timeout=SECONDS)) == "store_away"
    closing = threading.Thread(target=fleet.close)
    closing.start()
    closing.join(SECONDS)
    assert not closing.is_alive()
    assert code(fleet.ask(REPORT)) == "halted"
