"""Holds that wait for room: `Reserve{wait_seconds}` is answered when there is room, or when its wait ends."""

import asyncio
from typing import Any

import pytest

from tallystick.actors.errors import Unanswered
from tallystick.actors.runtime.clock import ManualClock
from tallystick.events.catalog import HoldPlaced
from tallystick.events.log.codec import decode_event
from tallystick.events.log.store_memory import MemoryStore
from tallystick.whatif.reproduction import Reproduction
from tallystick.whatif.steps import steps_of
from tests.support.core import START
from tests.support.room import MINUTE, TOTAL, ask, error, later, names, ok, opened, request, tell, waits
from tests.support.running import OpenFleet

# --- when it is answered ----------------------------------------------------------------------------------------------


def test_where_there_is_room_no_one_waits(open_fleet: OpenFleet) -> None:
    fleet = opened(open_fleet, TOTAL)
    assert "waited_since" not in ok(ask(fleet, "a", 100))


def test_it_is_granted_in_the_commit_of_what_makes_room(open_fleet: OpenFleet) -> None:
    fleet = opened(open_fleet, TOTAL)
    ok(ask(fleet, "a", 100))
    waiting, before = ask(fleet, "b", 60), len(names(fleet))
    assert waits(waiting)
    assert len(names(fleet)) == before, "nothing is recorded before it is decided"
    tell(fleet, "Settle", hold="a", usage={"tokens": 40})
    assert ok(waiting)["waited_since"] == "2026-03-04T12:00:00Z"
    placed = [record for record in fleet._store.read() if record.name == "hold-placed.v1"][-1]
    event = decode_event(placed.data, placed.name)
    assert isinstance(event, HoldPlaced)
    assert event.waited_since == START


@pytest.mark.parametrize(
    "message",
    [
        {"type": "CancelHold", "hold": "a"},
        {"type": "ApproveLimit", "limit": "cap", "max": {"tokens": 200}},
        {"type": "LoadConfig", "config": {"limits": []}},
        {"type": "ReleaseBudget", "agent": "ben"},
    ],
    ids=lambda message: message["type"],
)
def test_what_makes_room_ends_the_wait(message: dict[str, Any], open_fleet: OpenFleet) -> None:
    fleet = opened(open_fleet, TOTAL, ann="normal", ben="normal")
    ok(ask(fleet, "a", 100, agent="ben"))
    waiting = ask(fleet, "b")
    assert waits(waiting)
    tell(fleet, message["type"], **{key: value for key, value in message.items() if key != "type"})
    ok(waiting)


def test_more_budget_ends_the_wait_for_an_account_above(open_fleet: OpenFleet) -> None:
    fleet = opened(open_fleet, team="normal")
    tell(fleet, "AllocateBudget", agent="ann", parent="team", budget={"cost_usd": 1})
    ok(ask(fleet, "a", 700))
    waiting = ask(fleet, "b", 700)
    assert waits(waiting), "ann has no tokens of her own: the team pays"
    tell(fleet, "BorrowFromPool", agent="team", amount={"tokens": 1_000})
    ok(waiting)


def test_a_window_that_has_room_again_ends_the_wait_without_any_message(
    open_fleet: OpenFleet, clock: ManualClock
) -> None:
    fleet = opened(open_fleet, MINUTE)
    assert [waits(request(fleet, id)) for id in ("a", "b")] == [False, False]
    waiting = request(fleet, "c", wait=300)
    later(fleet, clock, 60)
    assert waits(waiting)
    later(fleet, clock, 1)
    ok(waiting)


def test_each_that_waits_for_a_window_is_granted_when_it_has_room_for_it(
    open_fleet: OpenFleet, clock: ManualClock
) -> None:
    fleet = opened(open_fleet, MINUTE)
    ok(request(fleet, "a"))
    later(fleet, clock, 30)
    ok(request(fleet, "b"))
    first, second, third = (request(fleet, id, wait=300) for id in ("c", "d", "e"))
    later(fleet, clock, 31)
    ok(first)
    later(fleet, clock, 29)
    assert waits(second)
    later(fleet, clock, 1)
    ok(second)
    assert waits(third)


def test_a_calendar_window_that_begins_ends_the_wait(open_fleet: OpenFleet, clock: ManualClock) -> None:
    fleet = opened(open_fleet, {**TOTAL, "window": "hour"})
    ok(ask(fleet, "a", 100, ttl_seconds=10_000))
    tell(fleet, "Settle", hold="a", usage={"tokens": 100})
    later(fleet, clock, 3_500)
    waiting = ask(fleet, "b", wait=300)
    later(fleet, clock, 99)
    assert waits(waiting)
    later(fleet, clock, 1)
    ok(waiting)


def test_a_hold_that_expires_ends_the_wait(open_fleet: OpenFleet, clock: ManualClock) -> None:
    fleet = opened(open_fleet)
    ok(ask(fleet, "a", 1_000, ttl_seconds=20))
    waiting = ask(fleet, "b", 1_000)
    later(fleet, clock, 20)
    ok(waiting)


def test_the_end_of_the_wait_is_a_recorded_refusal_that_says_since_when(
    open_fleet: OpenFleet, clock: ManualClock
) -> None:
    fleet = opened(open_fleet, MINUTE)
    for id in ("a", "b"):
        ok(request(fleet, id))
    later(fleet, clock, 10)
    waiting = request(fleet, "c", wait=20)
    later(fleet, clock, 19)
    assert waits(waiting)
    later(fleet, clock, 1)
    refusal = error(waiting)
    assert (refusal["code"], refusal["limit"], refusal["retry_after_seconds"]) == ("limit_reached", "rpm", 31)
    assert refusal["waited_since"] == "2026-03-04T12:00:10Z"
    assert names(fleet)[-1] == "request-refused"


def test_without_a_wait_it_is_refused_with_the_time_at_which_there_will_be_room(open_fleet: OpenFleet) -> None:
    fleet = opened(open_fleet, MINUTE)
    for id in ("a", "b"):
        ok(request(fleet, id))
    assert error(request(fleet, "c", wait=None))["retry_after_seconds"] == 61
    assert error(request(fleet, "d", wait=0))["retry_after_seconds"] == 61


def test_a_throttled_agent_may_wait_for_its_pace(open_fleet: OpenFleet, clock: ManualClock) -> None:
    fleet = opened(open_fleet)
    tell(fleet, "ReportUsage", agent="ann", usage={"tokens": 1, "time_seconds": 5})
    tell(fleet, "Throttle", agent="ann", rate=0.5)
    waiting = ask(fleet, "a")
    later(fleet, clock, 4)
    assert waits(waiting)
    later(fleet, clock, 1)
    ok(waiting)


# --- what ends a wait -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"type": "Stop", "agent": "ann", "reason": "enough"}, "agent_stopped"),
        ({"type": "Stop", "agent": "team", "reason": "enough"}, "agent_stopped"),
        ({"type": "PauseAll", "reason": "enough"}, "paused"),
        ({"type": "ReleaseBudget", "agent": "ann"}, "already_released"),
        ({"type": "ReleaseBudget", "agent": "team"}, "already_released"),
    ],
)
def test_a_stop_or_a_release_ends_it_wherever_it_is_in_its_queue(
    message: dict[str, Any], code: str, open_fleet: OpenFleet
) -> None:
    fleet = opened(open_fleet, TOTAL, ben="normal", team="normal")
    tell(fleet, "AllocateBudget", agent="ann", parent="team", budget={"tokens": 500})
    ok(ask(fleet, "a", 100, agent="ben"))
    first, waiting = ask(fleet, "b", agent="ben"), ask(fleet, "c")
    tell(fleet, message["type"], **{key: value for key, value in message.items() if key != "type"})
    assert error(waiting)["code"] == code
    assert error(waiting)["waited_since"] == "2026-03-04T12:00:00Z"
    assert waits(first) == (message["type"] != "PauseAll")


def test_a_caller_that_goes_away_gets_no_hold_later_and_is_in_no_ones_way(open_fleet: OpenFleet) -> None:
    fleet = opened(open_fleet, TOTAL, ann="normal", ben="normal")
    ok(ask(fleet, "a", 50))
    with pytest.raises(Unanswered):
        fleet.ask(
            {"type": "Reserve", "id": "b", "agent": "ann", "estimate": {"tokens": 80}, "wait_seconds": 0.2},
            timeout=-0.2,
        )
    fleet.quiesce()
    ok(ask(fleet, "c", 50, agent="ben"))
    assert tell(fleet, "GetHolds", agent="ann")["holds"][0]["hold"] == "a"


def test_a_coroutine_that_is_cancelled_gets_no_hold_later(open_fleet: OpenFleet) -> None:
    fleet = opened(open_fleet, TOTAL)
    ok(ask(fleet, "a", 100))

    async def cancelled() -> None:
        message = {"type": "Reserve", "id": "b", "agent": "ann", "estimate": {"tokens": 10}, "wait_seconds": 60}
        asking = asyncio.create_task(fleet.ask_async(message))
        await asyncio.sleep(0)
        fleet.quiesce()
        assert fleet._manager.waits
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    asyncio.run(cancelled())
    fleet.quiesce()
    assert not fleet._manager.waits
    tell(fleet, "CancelHold", hold="a")
    assert not tell(fleet, "GetHolds", state="open")["holds"]


def test_one_of_two_callers_that_goes_away_does_not_end_the_wait_of_the_other(open_fleet: OpenFleet) -> None:
    fleet = opened(open_fleet, TOTAL)
    ok(ask(fleet, "a", 100))
    message = {"type": "Reserve", "id": "b", "agent": "ann", "estimate": {"tokens": 10}, "wait_seconds": 0.2}
    first = fleet.send(message)
    with pytest.raises(Unanswered):
        fleet.ask(message, timeout=-0.2)
    fleet.quiesce()
    tell(fleet, "CancelHold", hold="a")
    ok(first)


def test_who_waits_is_answered_when_the_fleet_is_closed_and_asks_again_after_a_restart(open_fleet: OpenFleet) -> None:
    fleet = opened(open_fleet, TOTAL)
    ok(ask(fleet, "a", 100))
    waiting = ask(fleet, "b", 50)
    records = list(fleet._store.read())
    fleet.close()
    assert error(waiting)["code"] == "halted"
    store = MemoryStore()
    store.append(records)
    again = open_fleet(store)
    waiting = ask(again, "b", 50)
    assert waits(waiting)
    tell(again, "CancelHold", hold="a")
    ok(waiting)


def test_who_waits_is_answered_when_the_fleet_stops(open_fleet: OpenFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = opened(open_fleet, TOTAL)
    ok(ask(fleet, "a", 100))
    waiting = ask(fleet, "b", 50)

    def die(*_: Any) -> None:
        raise RuntimeError("struck by lightning")

    monkeypatch.setattr(fleet._manager.answering, "write", die)
    assert fleet.ask({"type": "CancelHold", "hold": "a"})["error"]["code"] == "halted"
    assert waiting.result()["error"]["code"] == "halted"


# --- the log ----------------------------------------------------------------------------------------------------------


def test_a_log_with_waits_is_decided_again_as_it_was(open_fleet: OpenFleet, clock: ManualClock) -> None:
    fleet = opened(open_fleet, TOTAL)
    ok(ask(fleet, "a", 50))
    large, small = ask(fleet, "large", 80), ask(fleet, "small", 10, wait=5)
    never = ask(fleet, "never", 2_000, wait=7)
    later(fleet, clock, 8)
    tell(fleet, "CancelHold", hold="a")
    ok(large)
    assert (error(small)["code"], error(never)["code"]) == ("wait_over", "budget_exhausted")
    reproduction = Reproduction()
    for step in steps_of(list(fleet._store.read())):
        assert reproduction.take(step) is None
    reproduction.finish()
