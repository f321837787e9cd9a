"""The same id again: the recorded outcome, and nothing happens twice."""

from decimal import Decimal
from typing import Any

import pytest

from tallystick.config.amounts import Budget
from tallystick.events.messages import ReportUsage
from tallystick.events.state.ids import PAGE
from tests.support.asking import STATUS, code, report, spent
from tests.support.running import OpenFleet
from tests.support.stores import SECONDS

ONCE: list[dict[str, Any]] = [
    {"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 100}},
    {"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 100}, "note": "refused: already allocated"},
    {"type": "AllocateEqual", "agents": ["b", "c", "d"], "total": {"tokens": 100}},
    {"type": "ReportUsage", "agent": "a", "usage": {"tokens": 55, "cost_usd": "0.1"}},
    {"type": "Reserve", "agent": "a", "estimate": {"tokens": 10}},
    {"type": "Reserve", "agent": "a", "estimate": {"tokens": 10_000}, "note": "refused: not there"},
    {"type": "Settle", "hold": "none", "usage": {"tokens": 1}, "note": "refused: unknown"},
    {"type": "BorrowFromPool", "agent": "b", "amount": {"tokens": 50}},
    {"type": "ReturnToPool", "agent": "b", "amount": {"tokens": 10}},
    {"type": "Throttle", "agent": "a", "rate": "0.5"},
    {"type": "Stop", "agent": "a", "reason": "enough"},
    {"type": "Resume", "agent": "a"},
    {"type": "Heartbeat", "agent": "a"},
    {"type": "Rebalance"},
    {"type": "ReleaseBudget", "agent": "c"},
    {"type": "SetTotalBudget", "budget": {"tokens": 1}, "note": "refused: below committed"},
    {"type": "SetTotalBudget", "budget": {"tokens": 500_000}},
    {"type": "PauseAll", "reason": "lunch"},
    {"type": "ResumeAll"},
    {"type": "ReleaseReserve", "reason": "a storm"},
]


def _once() -> list[dict[str, Any]]:
    kept = [{key: value for key, value in message.items() if key != "note"} for message in ONCE]
    return [{**message, "id": f"once-{number}"} for number, message in enumerate(kept)]


def test_the_same_ids_again_get_the_same_replies_and_change_nothing_across_restarts_too(
    open_fleet: OpenFleet, tmp_path: Any
) -> None:
    url = f"sqlite:///{tmp_path}/fleet.db"
    fleet = open_fleet(url)
    first = [fleet.ask(message) for message in _once()]
    assert ["error" in reply for reply in first] == ["note" in message for message in ONCE]
    position = fleet.position
    assert [fleet.ask(message) for message in _once()] == first
    assert fleet.ask(_once()) == first
    assert fleet.position == position
    fleet.close()
    again = open_fleet(url)
    assert [again.ask(message) for message in reversed(_once())] == first[::-1]
    assert again.ask(_once()) == first
    assert again.position == position


def test_ids_that_are_packed_are_answered_and_counted_once_like_the_newest_across_restarts_too(
    open_fleet: OpenFleet, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tallystick.actors.manager.SNAPSHOT_EVERY", 2 * PAGE)
    url, messages = f"sqlite:///{tmp_path}/fleet.db", [report(f"r-{n}") for n in range(3 * PAGE + 10)]
    fleet = open_fleet(url)
    first = fleet.ask(messages)
    for _ in range(2):
        assert fleet.ask(messages[::-1]) == first[::-1]
        assert spent(fleet) == 5 * len(messages)
        assert code(fleet.ask(report("r-1", tokens=6))) == "idempotency_conflict"
        fleet.close()
        fleet = open_fleet(url)
    assert fleet._store.snapshots()


def test_a_repeat_is_answered_byte_for_byte(open_fleet: OpenFleet) -> None:
    fleet = open_fleet()
    for message in _once():
        pending = [fleet.send(message) for _ in range(3)]
        for one in pending:
            one.result(SECONDS)
        texts = [one._answers for one in pending]
        assert texts[0] == texts[1] == texts[2]


def test_a_repeat_within_the_same_list_is_harmless(open_fleet: OpenFleet) -> None:
    fleet = open_fleet()
    replies = fleet.ask([report("r-1"), report("r-1"), report("r-2"), report("r-1")])
    assert replies[0] == replies[1] == replies[3]
    assert spent(fleet) == 10
    replies = fleet.ask([report("r-3"), report("r-3", tokens=6)])
    assert code(replies[1]) == "idempotency_conflict"
    assert spent(fleet) == 15


@pytest.mark.parametrize("message", _once(), ids=lambda message: message["type"])
def test_another_body_under_a_used_id_is_a_conflict_and_changes_nothing(
    open_fleet: OpenFleet, message: dict[str, Any]
) -> None:
    fleet = open_fleet()
    fleet.ask(message)
    position = fleet.position
    other = {"type": "ReportUsage", "agent": "zz", "usage": {"tokens": 3}, "id": message["id"]}
    assert code(fleet.ask(other)) == "idempotency_conflict"
    assert code(fleet.ask([other, {**other, "agent": "yy"}])[1]) == "idempotency_conflict"
    assert fleet.position == position


def test_the_same_amount_written_otherwise_is_the_same_message(open_fleet: OpenFleet) -> None:
    fleet = open_fleet()
    written: list[Any] = [
        {"type": "ReportUsage", "agent": "a", "usage": {"cost_usd": "5.00"}, "id": "r"},
        {"id": "r", "usage": {"cost_usd": 5}, "agent": "a", "type": "ReportUsage"},
        b'{"type":"ReportUsage","agent":"a","usage":{"cost_usd":5.0},"id":"r"}',
        '{"type":"ReportUsage","agent":"\\u0061","usage":{"cost_usd":"5E0"},"id":"r","model":null}',
        ReportUsage(agent="a", usage=Budget(cost_usd=Decimal(5)), id="r"),
        ReportUsage(agent="a", usage=Budget(cost_usd=Decimal("5.000")), id="r"),
    ]
    replies = [fleet.ask(message) for message in written]
    assert replies == [replies[0]] * len(written)
    assert fleet._manager.ledger.spent[2] == 5_000_000_000


def test_a_malformed_message_is_not_remembered_under_its_id_and_a_query_neither(open_fleet: OpenFleet) -> None:
    fleet = open_fleet()
    assert code(fleet.ask(report("r", tokens=-1))) == "invalid_amount"
    assert code(fleet.ask({**report("r"), "extra": 1})) == "invalid_message"
    assert "ok" in fleet.ask({**STATUS, "id": "r"})
    assert "ok" in fleet.ask(report("r"))
    assert fleet.ask({**STATUS, "id": "q"})["ok"]["total_consumed"]["tokens"] == 5
    fleet.ask(report())
    assert fleet.ask({**STATUS, "id": "q"})["ok"]["total_consumed"]["tokens"] == 10


def test_ids_are_given_where_there_are_none_and_are_never_given_twice(open_fleet: OpenFleet, tmp_path: Any) -> None:
    url = f"sqlite:///{tmp_path}/fleet.db"
    for _ in range(2):
        fleet = open_fleet(url)
        fleet.ask([report()] * 20)
        fleet.close()
    fleet = open_fleet(url)
    assert spent(fleet) == 200
    assert len([id for id in fleet._manager.ledger.ids if id.startswith("m-")]) == 40


def test_a_message_is_not_changed_by_handing_it_in(open_fleet: OpenFleet) -> None:
    fleet = open_fleet()
    command, message = ReportUsage(agent="a", usage=Budget(tokens=5)), report()
    fleet.ask([command, message, command])
    assert command.id is None
    assert message == report()
    assert spent(fleet) == 15
