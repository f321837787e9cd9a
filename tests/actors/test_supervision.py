"""The fleet when something breaks, and what its specialists do when their moment has come."""

import datetime as dt
import threading
from pathlib import Path
from typing import Any

import pytest

from tallystick.actors.runtime.clock import ManualClock
from tallystick.actors.runtime.fleet import Fleet
from tallystick.actors.runtime.messages import MANAGER, Tick
from tallystick.actors.runtime.supervision import CRASHES_MAX
from tallystick.events import catalog as e
from tallystick.events.log.codec import decode_event
from tallystick.events.log.store import StoreError, open_store
from tallystick.events.state.conservation import check_conserved
from tests.support.core import START
from tests.support.running import OpenFleet
from tests.support.stores import SECONDS, FailingStore


def after(seconds: float) -> dt.datetime:
    return START + dt.timedelta(seconds=seconds)


def allocate(agent: str, tokens: int = 1_000, **labels: Any) -> dict[str, Any]:
    return {"type": "AllocateBudget", "agent": agent, "budget": {"tokens": tokens}, **labels}


def report(agent: str, tokens: int) -> dict[str, Any]:
    return {"type": "ReportUsage", "agent": agent, "usage": {"tokens": tokens}}


def reserve(agent: str, tokens: int, id: str, ttl: float = 60) -> dict[str, Any]:
    return {"type": "Reserve", "agent": agent, "estimate": {"tokens": tokens}, "id": id, "ttl_seconds": ttl}


def done(fleet: Fleet, *messages: dict[str, Any]) -> list[Any]:
    replies = [fleet.ask(message) for message in messages]
    assert all("ok" in reply for reply in replies), replies
    fleet.quiesce()
    return [reply["ok"] for reply in replies]


def events(fleet: Fleet, *classes: type[e.Event]) -> list[Any]:
    """What is in the store, of these classes."""
    found = [decode_event(record.data, record.name) for record in fleet._store.read()]
    return [event for event in found if isinstance(event, classes)]


# --- the manager stops the fleet -------------------------------------------------------------------------------------


def test_a_broken_invariant_halts_the_fleet_with_nothing_written_and_a_restart_is_clean(
    open_fleet: OpenFleet, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/fleet.db"
    fleet = open_fleet(url)
    done(fleet, allocate("a"), allocate("b"))
    reader = open_store(url)
    before = list(reader.read())
    fleet._manager.ledger.accounts["a"].free_tokens += 7
    replies = fleet.ask([report("b", 1), report("a", 5)])
    assert [reply["error"]["code"] for reply in replies] == ["halted", "halted"]
    assert "a tokens" in replies[0]["error"]["detail"]
    assert fleet.ask(report("b", 1))["error"]["code"] == "halted"
    assert fleet.halted is not None
    assert "a tokens" in fleet.halted
    assert list(reader.read()) == before
    reader.close()
    fleet.close()
    again = open_fleet(url)
    check_conserved(again._manager.ledger)
    assert done(again, report("a", 5))[0]["remaining"] == {"tokens": 995}


@pytest.mark.parametrize("error", [StoreError("the disk is on fire"), RuntimeError("the disk is on fire")], ids=repr)
def test_a_store_that_fails_halts_the_fleet_and_every_caller_learns_why(
    open_fleet: OpenFleet, error: Exception
) -> None:
    store = FailingStore()
    store.error = error
    fleet = open_fleet(store)
    done(fleet, allocate("a"))
    before = store.last()
    store.failing = True
    waiting = [fleet.send(report("a", 1)) for _ in range(20)] + [fleet.send([report("a", 1)] * 3)]
    for pending in waiting:
        reply = pending.result(SECONDS)
        for one in reply if isinstance(reply, list) else [reply]:
            assert one["error"]["code"] == "halted"
            assert "the disk is on fire" in one["error"]["detail"]
    store.failing = False
    assert fleet.ask({"type": "GetGlobalStatus"})["error"]["code"] == "halted", "also a query: it saw what is not there"
    assert store.last() == before
    assert fleet.halted is not None
    fleet.close()


def test_an_error_in_the_manager_stops_the_fleet_and_callers_that_wait_get_an_error(
    open_fleet: OpenFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = open_fleet()

    def fail(*arguments: object, **more: object) -> bytes:
        raise ZeroDivisionError("seven by nothing")

    monkeypatch.setattr(fleet._manager, "decide", fail)
    reply = fleet.ask(report("a", 1), timeout=SECONDS)
    assert reply["error"]["code"] == "halted"
    assert "seven by nothing" in reply["error"]["detail"]
    assert fleet.ask(report("a", 1), timeout=SECONDS)["error"]["code"] == "halted"
    fleet.close()


def test_a_follower_that_raises_stops_the_fleet_after_the_commit_and_not_before(
    clock: ManualClock, tmp_path: Path
) -> None:
    failing = threading.Event()

    def follow(recorded: Any) -> None:
        if failing.is_set():
            raise ZeroDivisionError("seven by nothing")

    url = f"sqlite:///{tmp_path}/fleet.db"
    fleet = Fleet.open(url, clock=clock, followers=[follow])
    failing.set()
    assert "ok" in fleet.ask(report("a", 1), timeout=SECONDS), "it is durable"
    assert fleet.ask(report("a", 1), timeout=SECONDS)["error"]["code"] == "halted"
    fleet.close()
    store = open_store(url)
    assert sum(record.name == "usage-reported.v1" for record in store.read()) == 1
    store.close()


# --- specialists are replaced ----------------------------------------------------------------------------------------


def fail(*told: object) -> Any:
    raise ZeroDivisionError("a bug in the judgement")


def kill(fleet: Fleet, name: str) -> None:
    """Let a specialist fail with its next message, and wait until another is in its place."""
    specialist = fleet._specialists[name]
    specialist.handle = fail  # type: ignore[method-assign]
    fleet._tell(name, "anything")
    fleet.quiesce()
    assert fleet._specialists[name] is not specialist
    assert fleet._refs[name].is_alive()


def kill_allocator(fleet: Fleet) -> None:
    """Let the allocator fail when it is woken, and wait until another is in its place."""
    allocator = fleet._manager._allocator
    assert allocator is not None
    allocator.wake = fail  # type: ignore[method-assign]
    fleet._tell(MANAGER, Tick(START))
    fleet.quiesce()
    assert fleet._manager._allocator not in (allocator, None)


def test_a_hold_expires_in_its_time_after_the_tracker_died(open_fleet: OpenFleet) -> None:
    fleet = open_fleet()
    done(fleet, allocate("a"), reserve("a", 400, "before"))
    kill(fleet, "tracker")
    done(fleet, reserve("a", 500, "after"))
    fleet.advance(after(59))
    assert fleet._manager.ledger.held[0] == 900
    fleet.advance(after(60))
    assert fleet._manager.ledger.held[0] == 0
    assert sorted(event.hold for event in events(fleet, e.HoldEnded)) == ["after", "before"]
    assert fleet.halted is None


def test_rebalancing_goes_on_after_the_reallocator_and_the_tracker_died(open_fleet: OpenFleet) -> None:
    fleet = open_fleet()
    done(fleet, allocate("a"), allocate("b"), report("a", 1), report("b", 1))
    kill(fleet, "reallocator")
    kill(fleet, "tracker")
    fleet.advance(after(59))
    assert events(fleet, e.BudgetMoved) == []
    fleet.advance(after(70))
    assert [event.source for event in events(fleet, e.BudgetMoved)] == ["a", "b"]
    kill(fleet, "reallocator")
    assert "ok" in fleet.ask({"type": "Rebalance"}, timeout=SECONDS)


def test_a_warning_is_given_once_although_tracker_and_enforcer_died_in_between(open_fleet: OpenFleet) -> None:
    fleet = open_fleet()
    done(fleet, allocate("a"))
    fleet.advance(after(1))
    done(fleet, report("a", 10))
    kill(fleet, "enforcer")
    fleet.advance(after(2))
    done(fleet, report("a", 10))
    assert len(events(fleet, e.ExhaustionWarned)) == 1
    kill(fleet, "tracker")
    fleet.advance(after(3))
    done(fleet, report("a", 10))
    assert len(events(fleet, e.ExhaustionWarned)) == 1


def test_the_period_ends_in_its_time_after_the_allocator_died(open_fleet: OpenFleet) -> None:
    fleet = open_fleet(total_budget={"tokens": 1_000, "period": "day"})
    kill_allocator(fleet)
    fleet.advance(START + dt.timedelta(hours=13))
    (renewed,) = events(fleet, e.PeriodRenewed)
    assert renewed.began_at == START + dt.timedelta(hours=12)


def test_a_specialist_that_dies_again_and_again_is_given_up_and_the_fleet_goes_on(open_fleet: OpenFleet) -> None:
    fleet = open_fleet()
    for _ in range(CRASHES_MAX):
        kill(fleet, "enforcer")
    fleet._tell("enforcer", "what an enforcer does not know")
    fleet.quiesce()
    assert not fleet._refs["enforcer"].is_alive()
    done(fleet, allocate("a"), report("a", 10))
    assert fleet.halted is None


# --- what time brings ------------------------------------------------------------------------------------------------


def test_a_forgotten_hold_is_given_back_at_its_moment_and_not_before(open_fleet: OpenFleet) -> None:
    fleet = open_fleet()
    done(fleet, allocate("a"), reserve("a", 100, "short", 30), reserve("a", 200, "long", 90))
    fleet.advance(after(30) - dt.timedelta(microseconds=1))
    assert events(fleet, e.HoldEnded) == []
    fleet.advance(after(30))
    (ended,) = events(fleet, e.HoldEnded)
    assert (ended.hold, ended.how, ended.at) == ("short", "expired", after(30))
    assert done(fleet, {"type": "GetStatus", "agent": "a"})[0]["held"] == {"tokens": 200}


def test_a_heartbeat_moves_a_hold_on(open_fleet: OpenFleet) -> None:
    fleet = open_fleet()
    done(fleet, allocate("a"), reserve("a", 100, "h", 30))
    fleet.advance(after(20))
    done(fleet, {"type": "Heartbeat", "hold": "h"})
    fleet.advance(after(49))
    assert events(fleet, e.HoldEnded) == []
    fleet.advance(after(60))
    assert [event.at for event in events(fleet, e.HoldEnded)] == [after(50)]


def test_holds_that_were_there_before_a_restart_expire_after_it(open_fleet: OpenFleet, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/fleet.db"
    fleet = open_fleet(url)
    done(fleet, allocate("a"), reserve("a", 100, "h", 30))
    fleet.close()
    again = open_fleet(url)
    again.advance(after(31))
    assert [event.at for event in events(again, e.HoldEnded)] == [after(30)]


def test_a_period_is_renewed_at_midnight_and_the_next_one_a_day_later(open_fleet: OpenFleet) -> None:
    fleet = open_fleet(total_budget={"tokens": 1_000, "period": "day"}, timezone="Europe/Zurich")
    done(fleet, report("a", 300))
    fleet.advance(START + dt.timedelta(days=2, hours=1))
    renewed = events(fleet, e.PeriodRenewed)
    assert [event.at for event in renewed] == [
        dt.datetime(2026, 3, 4, 23, tzinfo=dt.UTC),
        dt.datetime(2026, 3, 5, 23, tzinfo=dt.UTC),
    ]
    assert done(fleet, {"type": "GetGlobalStatus"})[0]["total_consumed"]["tokens"] == 0


def test_idle_budget_is_reclaimed_at_the_tick_and_once_only(open_fleet: OpenFleet) -> None:
    fleet = open_fleet()
    done(fleet, allocate("a"), report("a", 100))
    fleet.advance(after(59))
    assert events(fleet, e.BudgetMoved) == []
    fleet.advance(after(60))
    (moved,) = events(fleet, e.BudgetMoved)
    assert (moved.source, moved.target, moved.amount.tokens) == ("a", "pool", 450)
    fleet.advance(after(600))
    assert len(events(fleet, e.BudgetMoved)) == 1


def test_idle_budget_is_reclaimed_after_a_restart_although_nothing_is_said_any_more(
    open_fleet: OpenFleet, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/fleet.db"
    fleet = open_fleet(url)
    done(fleet, allocate("a"), report("a", 100))
    fleet.close()
    again = open_fleet(url)
    again.advance(after(70))
    assert [event.amount.tokens for event in events(again, e.BudgetMoved)] == [450]


def test_nothing_is_reclaimed_where_reallocation_is_off(open_fleet: OpenFleet) -> None:
    fleet = open_fleet(reallocation={"enabled": False})
    done(fleet, allocate("a"), report("a", 100))
    fleet.advance(after(600))
    assert events(fleet, e.BudgetMoved) == []
    assert done(fleet, {"type": "Rebalance"})[0]["moves"] == []


def test_a_rebalance_is_answered_with_its_moves_and_its_id_counts_once(open_fleet: OpenFleet) -> None:
    fleet = open_fleet(reallocation={"interval_seconds": 3_600})
    done(fleet, allocate("a"), allocate("b"), report("a", 100), report("b", 100))
    fleet.advance(after(65))
    message = {"type": "Rebalance", "id": "please"}
    twice = [fleet.send(message), fleet.send(message), fleet.send([message, message])]
    first, second, (third, fourth) = [pending.result(SECONDS) for pending in twice]
    assert first == second == third == fourth
    assert [(move["from"], move["to"], move["amount"]) for move in first["ok"]["moves"]] == [
        ("a", "pool", {"tokens": 450}),
        ("b", "pool", {"tokens": 450}),
    ]
    assert len(events(fleet, e.Rebalanced)) == 1
    assert len(events(fleet, e.BudgetMoved)) == 2
    position = fleet.position
    assert fleet.ask(message) == first
    assert fleet.position == position
    assert fleet.ask({**report("a", 1), "id": "please"})["error"]["code"] == "idempotency_conflict"
    record = fleet._store.record(fleet._manager.ledger.ids["please"])
    assert record is not None
    assert b'"command":{"type":"Rebalance","id":"please"}' in record.data


def test_a_rebalance_in_a_list_is_answered_in_its_place(open_fleet: OpenFleet) -> None:
    fleet = open_fleet()
    replies = fleet.ask([allocate("a"), {"type": "Rebalance"}, {"type": "Nonsense"}, report("a", 1)], timeout=SECONDS)
    assert [list(reply) for reply in replies] == [["ok"], ["ok"], ["error"], ["ok"]]
    assert "moves" in replies[1]["ok"]


def test_an_agent_is_warned_once_until_it_is_topped_up(open_fleet: OpenFleet) -> None:
    fleet = open_fleet(reallocation={"enabled": False})
    done(fleet, allocate("a"))

    def use(seconds: int) -> Any:
        fleet.advance(after(seconds))
        return done(fleet, report("a", 10))[0]

    replies = [use(seconds) for seconds in range(1, 6)]
    assert len(events(fleet, e.ExhaustionWarned)) == 1
    assert len(events(fleet, e.AlertRaised)) == 1
    assert sum("warnings" in reply for reply in replies) == 1, "with the next reply after it was seen coming"
    done(fleet, {"type": "BorrowFromPool", "agent": "a", "amount": {"tokens": 50}})
    for seconds in range(6, 9):
        use(seconds)
    assert len(events(fleet, e.ExhaustionWarned)) == 1, "it was near all the time"
    done(fleet, {"type": "BorrowFromPool", "agent": "a", "amount": {"tokens": 20_000}})
    use(9)
    assert len(events(fleet, e.ExhaustionWarned)) == 1, "now it is far"
    done(fleet, report("a", 19_000))
    fleet.advance(after(11))
    done(fleet, report("a", 100))
    fleet.quiesce()
    assert len(events(fleet, e.ExhaustionWarned)) == 2


def test_who_will_last_is_not_warned(open_fleet: OpenFleet) -> None:
    fleet = open_fleet()
    done(fleet, allocate("a", 100_000))
    for seconds in range(1, 10):
        fleet.advance(after(seconds))
        done(fleet, report("a", 10))
    assert events(fleet, e.ExhaustionWarned) == []


# --- the machine's own clock -----------------------------------------------------------------------------------------


def test_with_the_machines_clock_timers_fire_by_themselves() -> None:
    ended = threading.Event()

    def follow(recorded: Any) -> None:
        if any(isinstance(event, e.HoldEnded) for event in recorded):
            ended.set()

    with Fleet.open("memory:", followers=[follow]) as fleet:
        for message in (allocate("a"), reserve("a", 100, "h", ttl=0.05), reserve("a", 100, "later", ttl=600)):
            assert "ok" in fleet.ask(message)
        assert ended.wait(SECONDS)
        assert fleet.ask({"type": "GetStatus", "agent": "a"})["ok"]["held"] == {"tokens": 100}


def test_the_configuration_is_recorded_once_and_again_only_when_it_is_another(
    open_fleet: OpenFleet, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/fleet.db"
    for tokens, loaded in ((1_000, 1), (1_000, 1), (2_000, 2), (1_000, 3), (1_000, 3)):
        fleet = open_fleet(url, total_budget={"tokens": tokens})
        assert len(events(fleet, e.ConfigLoaded)) == loaded
        fleet.close()
