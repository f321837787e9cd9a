"""Holds that wait for the same room: in which order, how often and how many."""

from typing import Any

import pytest

from tallystick.actors import hold_waits
from tallystick.actors.runtime.clock import ManualClock
from tests.support.room import TOTAL, ask, error, later, ok, opened, tell, waits
from tests.support.running import OpenFleet

# --- in which order ---------------------------------------------------------------------------------------------------


def test_a_queue_is_in_the_order_of_priority_then_arrival(open_fleet: OpenFleet) -> None:
    fleet = opened(open_fleet, TOTAL, ann="low", ben="high", cat="low", dan="high")
    ok(ask(fleet, "a", 100))
    waiting = {agent: ask(fleet, f"w-{agent}", 100, agent) for agent in ("ann", "ben", "cat", "dan")}
    order, before = [], "a"
    for _ in waiting:
        tell(fleet, "CancelHold", hold=before)
        granted = [agent for agent, one in waiting.items() if not waits(one) and agent not in order]
        order += granted
        before = f"w-{granted[0]}"
    assert order == ["ben", "dan", "ann", "cat"]


def test_a_small_hold_does_not_overtake_a_large_one_that_waits_for_the_same(open_fleet: OpenFleet) -> None:
    fleet = opened(open_fleet, TOTAL)
    ok(ask(fleet, "a", 50))
    large = ask(fleet, "large", 80)
    small = ask(fleet, "small", 10)
    assert waits(large)
    assert waits(small), "50 tokens are free, and the large one came before"
    tell(fleet, "CancelHold", hold="a")
    ok(large)
    ok(small)


def test_a_wait_that_ends_behind_others_does_not_overtake_them_either(
    open_fleet: OpenFleet, clock: ManualClock
) -> None:
    fleet = opened(open_fleet, TOTAL)
    ok(ask(fleet, "a", 50))
    large, small = ask(fleet, "large", 80), ask(fleet, "small", 10, wait=5)
    later(fleet, clock, 5)
    refusal = error(small)
    assert refusal["code"] == "wait_over"
    assert refusal["waits_for"] == "limit cap of fleet"
    assert waits(large)


def test_who_waits_for_something_else_is_in_no_ones_way(open_fleet: OpenFleet) -> None:
    per = {"name": "each", "per": "account", "window": "total", "max": {"tokens": 50}}
    fleet = opened(open_fleet, TOTAL, per, ann="normal", ben="normal")
    ok(ask(fleet, "a", 50))
    waiting = ask(fleet, "b")
    ok(ask(fleet, "c", 50, agent="ben"))
    assert waits(waiting), "what ann waits for is a counter of her own"
    behind = ask(fleet, "d", 10, agent="ann")
    tell(fleet, "CancelHold", hold="c")
    assert waits(waiting)
    tell(fleet, "CancelHold", hold="a")
    ok(waiting)
    ok(behind)


def test_one_that_is_refused_by_something_else_now_waits_for_that(open_fleet: OpenFleet) -> None:
    fleet = opened(open_fleet, TOTAL, ann="normal", ben="normal")
    ok(ask(fleet, "a", 100, agent="ben"))
    waiting, other = ask(fleet, "b", 90), ask(fleet, "c", 20, agent="ben")
    tell(fleet, "ReturnToPool", agent="ann", amount={"tokens": 950})
    tell(fleet, "CancelHold", hold="a")
    assert waits(waiting), "there is room in the limit, and no longer in its account"
    ok(other)
    tell(fleet, "BorrowFromPool", agent="ann", amount={"tokens": 500})
    assert waits(waiting), "by now the other one has taken of the limit"
    tell(fleet, "CancelHold", hold="c")
    ok(waiting)


# --- ids, arrays and bounds -------------------------------------------------------------------------------------------


def test_a_repeated_id_joins_the_wait(open_fleet: OpenFleet) -> None:
    fleet = opened(open_fleet, TOTAL)
    ok(ask(fleet, "a", 100))
    first, again, other = ask(fleet, "b", 50), ask(fleet, "b", 50), ask(fleet, "b", 51)
    assert error(other)["code"] == "idempotency_conflict"
    tell(fleet, "CancelHold", hold="a")
    assert ok(first) == ok(again)
    assert ok(ask(fleet, "b", 50)) == ok(first), "and later it gets the recorded answer"
    assert tell(fleet, "GetHolds", state="open")["holds"][0]["held"] == {"tokens": 50}


def test_another_message_that_takes_the_id_meanwhile_leaves_it_in_conflict(open_fleet: OpenFleet) -> None:
    fleet = opened(open_fleet, TOTAL)
    ok(ask(fleet, "a", 100))
    waiting = ask(fleet, "b", 50)
    tell(fleet, "CancelHold", hold="a", id="b")
    assert error(waiting)["code"] == "idempotency_conflict"


def test_in_an_array_none_may_wait(open_fleet: OpenFleet) -> None:
    fleet = opened(open_fleet, TOTAL)
    message = {"type": "Reserve", "agent": "ann", "estimate": {"tokens": 1}, "wait_seconds": 5}
    for answers in (fleet.ask([message]), fleet.ask([message, {"type": "GetStatus", "agent": "ann"}])):
        assert answers[0]["error"]["code"] == "invalid_message"
        assert "wait_seconds" in answers[0]["error"]["detail"]


@pytest.mark.parametrize("wait", [-1, 3_600.001, 3_601, "NaN", 0.0001])
def test_a_wait_has_bounds(wait: Any, open_fleet: OpenFleet) -> None:
    fleet = opened(open_fleet, TOTAL)
    assert error(ask(fleet, "a", wait=wait))["code"] == "invalid_amount"


def test_a_question_never_waits(open_fleet: OpenFleet) -> None:
    fleet = opened(open_fleet, TOTAL)
    ok(ask(fleet, "a", 100))
    assert error(ask(fleet, "b", dry_run=True))["code"] == "limit_reached"


def test_so_many_wait_and_the_next_is_refused_at_once(open_fleet: OpenFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hold_waits, "WAITING_MAX", 2)
    fleet = opened(open_fleet, TOTAL)
    ok(ask(fleet, "a", 100))
    waiting = [ask(fleet, "b", 10), ask(fleet, "b", 10)]
    assert error(ask(fleet, "b", 10))["code"] == "too_many_waiting"
    assert error(ask(fleet, "c", 10))["code"] == "too_many_waiting"
    tell(fleet, "CancelHold", hold="a")
    assert ok(waiting[0]) == ok(waiting[1])
    assert "waited_since" not in ok(ask(fleet, "c", 10)), "there is room, so it does not have to wait"
