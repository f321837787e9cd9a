"""The allocator in the fleet: which task starts when, and that restarts and failures change nothing."""

import datetime as dt

import pytest

from tallystick.actors.allocator import Allocator
from tallystick.actors.runtime.clock import ManualClock
from tallystick.actors.runtime.messages import Question
from tallystick.events.log.codec import decode_event
from tallystick.events.log.store_memory import MemoryStore
from tallystick.events.state.conservation import check_conserved
from tests.support.core import START
from tests.support.driving import simulated
from tests.support.live_tasks import ONE_SLOT, complete, get, later, names, queue, submit
from tests.support.running import OpenFleet

# --- who starts -------------------------------------------------------------------------------------------------------


def test_when_one_of_five_finishes_the_last_task_starts_in_the_same_commit(open_fleet: OpenFleet) -> None:
    store = MemoryStore()
    fleet = open_fleet(store)
    for number, agent_type in enumerate(["backend-engineer"] * 3 + ["frontend-engineer"] * 2):
        submit(fleet, f"T{number}", agent_type)
    assert queue(fleet) == ["T2"]
    complete(fleet, "T1")
    assert names(store)[-4:] == ["task-completed", "budget-released", "budget-allocated", "task-started"], "no timer"
    assert get(fleet, "T2")["state"] == "running"
    assert queue(fleet) == []


def test_the_integration_decision_of_the_seed(open_fleet: OpenFleet) -> None:
    """1 of 2 backend engineers, two normal tasks wait for another slot, a normal task of 90 minutes."""
    fleet = open_fleet()
    submit(fleet, "B1")
    for number in range(4):
        submit(fleet, f"F{number}", "frontend-engineer")
    assert queue(fleet) == ["F2", "F3"]
    answer = submit(fleet, "BACKEND", estimated_minutes=90)
    assert answer["decision"] == "admitted"
    assert (answer["model"], answer["token_budget"], answer["max_tokens"]) == ("sonnet", 80_000, 120_000)
    assert submit(fleet, "QUICK", "writer", estimated_minutes=5)["model"] == "haiku"


def test_the_queued_tasks_record_of_the_seed(open_fleet: OpenFleet, clock: ManualClock) -> None:
    clock.move_to(dt.datetime(2026, 3, 4, 13, 30, tzinfo=dt.UTC))
    fleet = open_fleet(leases={"seconds": 100_000})
    for number in range(2):
        submit(fleet, f"B{number}", estimated_minutes=90)
    later(fleet, clock, 3_600)
    answer = submit(fleet, "TASK-042", product="analytics-dashboard")
    assert answer["expected_start"] == "2026-03-04T15:00:00Z", "when the current task finishes"
    (record,) = fleet.ask({"type": "GetQueue"})["ok"]["tasks"]
    assert {key: record[key] for key in ("task", "product", "agent_type", "priority", "queued_at")} == {
        "task": "TASK-042",
        "product": "analytics-dashboard",
        "agent_type": "backend-engineer",
        "priority": "normal",
        "queued_at": "2026-03-04T14:30:00Z",
    }
    assert record["estimated_tokens"] == 80_000
    assert record["reason"]["message"] == "max backend-engineer (2) already running"
    assert record["expected_start"] == "2026-03-04T15:00:00Z"


def test_of_the_seeds_three_tasks_the_normal_one_that_has_waited_longest_for_its_level_goes_first(
    open_fleet: OpenFleet, clock: ManualClock
) -> None:
    fleet = open_fleet(**ONE_SLOT, leases={"seconds": 100_000})
    submit(fleet, "busy")
    submit(fleet, "low", priority="low", blocks=1)
    later(fleet, clock, 75 * 60)
    submit(fleet, "normal", blocks=2)
    later(fleet, clock, 40 * 60)
    submit(fleet, "high", priority="high")
    for number in range(6):
        submit(fleet, f"other-{number}", depends_on=["busy"])
    later(fleet, clock, 5 * 60)
    shown = fleet.ask({"type": "GetQueue"})["ok"]["tasks"]
    assert [(task["task"], task["score"]) for task in shown] == [("normal", 0.515), ("high", 0.475), ("low", 0.295)]
    assert shown[0]["terms"] == {"priority": 0.25, "wait": 0.225, "blocking": 0.04}
    complete(fleet, "busy")
    assert get(fleet, "normal")["state"] == "running"


def test_a_critical_task_takes_the_slot_of_a_lower_one_in_its_answer_and_the_victim_goes_on_later(
    open_fleet: OpenFleet,
) -> None:
    fleet = open_fleet(**ONE_SLOT)
    victim = submit(fleet, "normal")
    answer = submit(fleet, "critical", priority="critical")
    assert (answer["decision"], answer["model"]) == ("admitted", "opus")
    running = fleet.ask({"type": "GetQueue"})["ok"]["running"]
    assert queue(fleet) == ["normal"]
    assert [(task["task"], task["stopping"]) for task in running] == [("critical", False), ("normal", True)]
    told = fleet.ask({"type": "Heartbeat", "task": "normal", "lease": victim["lease"]})["ok"]
    assert (told["preempted"], told["action"]) == (True, "stop")
    complete(fleet, "critical")
    assert get(fleet, "normal")["state"] == "running"


def test_a_critical_task_that_found_only_safe_victims_gets_a_slot_when_the_first_is_safe_no_longer(
    open_fleet: OpenFleet, clock: ManualClock
) -> None:
    fleet = open_fleet(**ONE_SLOT, leases={"seconds": 100_000})
    submit(fleet, "low", priority="low")
    submit(fleet, "first", priority="critical")
    complete(fleet, "first")
    assert get(fleet, "low")["state"] == "running"
    assert submit(fleet, "second", priority="critical")["decision"] == "queued"
    later(fleet, clock, 599)
    assert get(fleet, "second")["state"] == "queued"
    later(fleet, clock, 1)
    assert get(fleet, "second")["state"] == "running", "ten minutes after it lost a slot it can lose one again"


def test_a_task_waits_for_money_and_starts_when_it_comes_back(open_fleet: OpenFleet) -> None:
    fleet = open_fleet(total_budget={"tokens": 200_000})
    fleet.ask({"type": "AllocateBudget", "agent": "hog", "budget": {"tokens": 150_000}})
    assert submit(fleet, "t")["reason"]["code"] == "pool_exhausted"
    fleet.ask({"type": "ReturnToPool", "agent": "hog", "amount": {"tokens": 60_000}})
    fleet.quiesce()
    assert get(fleet, "t")["reason"]["current"] == 120_000, "110,000 are not enough"
    fleet.ask({"type": "ReturnToPool", "agent": "hog", "amount": {"tokens": 10_000}})
    fleet.quiesce()
    assert get(fleet, "t")["state"] == "running"


def test_one_parent_that_has_nothing_left_does_not_hold_up_the_others(open_fleet: OpenFleet) -> None:
    fleet = open_fleet(**ONE_SLOT)
    fleet.ask({"type": "AllocateBudget", "agent": "poor", "budget": {"tokens": 100}})
    submit(fleet, "busy")
    submit(fleet, "unpaid", parent="poor", priority="high")
    submit(fleet, "paid")
    complete(fleet, "busy")
    assert get(fleet, "paid")["state"] == "running"
    assert get(fleet, "unpaid")["reason"]["code"] == "total_concurrency"
    fleet.ask({"type": "BorrowFromPool", "agent": "poor", "amount": {"tokens": 120_000}})
    complete(fleet, "paid")
    assert get(fleet, "unpaid")["state"] == "running"


def test_a_pause_holds_the_queue_and_its_end_lets_it_go_on(open_fleet: OpenFleet) -> None:
    fleet = open_fleet()
    fleet.ask({"type": "PauseAll", "reason": "a fire"})
    assert submit(fleet, "t")["reason"]["code"] == "paused"
    fleet.ask({"type": "ResumeAll"})
    fleet.quiesce()
    assert get(fleet, "t")["state"] == "running"


def test_more_slots_and_another_level_in_a_new_configuration_count_at_once(open_fleet: OpenFleet) -> None:
    fleet = open_fleet(**ONE_SLOT)
    for task, product in (("a", "x"), ("b", "x"), ("c", "y"), ("d", "y")):
        submit(fleet, task, product=product)
    assert queue(fleet)[0] == "c", "x has used more"
    config = {"max_concurrent": {"total": 2, "per_type": {}}, "manual_override": {"priority_override": {"x": "high"}}}
    fleet.ask({"type": "LoadConfig", "config": {"total_budget": {"tokens": 1_000_000}, **config}})
    fleet.quiesce()
    assert len(queue(fleet)) == 2
    assert fleet.ask({"type": "GetQueue"})["ok"]["tasks"][-1]["priority"] in ("high", "normal")


def test_a_task_that_waits_too_long_is_announced_once(open_fleet: OpenFleet, clock: ManualClock) -> None:
    store = MemoryStore()
    fleet = open_fleet(store, **ONE_SLOT, leases={"seconds": 100_000})
    submit(fleet, "busy")
    submit(fleet, "t", priority="high")
    later(fleet, clock, 15 * 60 - 1)
    assert "task-overdue" not in names(store)
    later(fleet, clock, 1)
    later(fleet, clock, 10_000)
    alerts = [decode_event(r.data, r.name) for r in store.read() if r.name == "alert-raised.v1"]
    overdue = [alert for alert in alerts if getattr(alert, "code", "") == "task_overdue"]
    assert len(overdue) == 1
    assert getattr(overdue[0], "message", "") == "t (high, shop) has waited 15 minutes: max 1 task already running"


def test_a_run_that_is_cheaper_than_was_promised_makes_room_in_the_day_before_it_ends(
    open_fleet: OpenFleet, clock: ManualClock
) -> None:
    limits = {"max_tokens_total": None, "max_cost_usd": "0.25"}
    fleet = open_fleet(daily_limits=limits, leases={"seconds": 100_000})
    submit(fleet, "cheap", model="sonnet")
    # 80,000 tokens are 16 cents at the published price, and so many are kept for the first.
    assert submit(fleet, "waits", model="sonnet")["reason"]["code"] == "daily_cost"
    later(fleet, clock, 600)
    assert get(fleet, "waits")["state"] == "queued"
    report = {"type": "ReportUsage", "task": "cheap", "usage": {"tokens": 55_000, "cost_usd": "0.001"}}
    fleet.ask(report)
    later(fleet, clock, 11)
    assert get(fleet, "waits")["state"] == "running"


@pytest.mark.parametrize("level", ["normal", "high"])
def test_a_newcomer_does_not_take_the_room_in_the_day_that_one_that_ranks_higher_waits_for(
    open_fleet: OpenFleet, level: str
) -> None:
    limits = {"max_tokens_total": None, "max_cost_usd": "0.25"}
    fleet = open_fleet(daily_limits=limits, leases={"seconds": 100_000}, max_concurrent={"total": 5, "per_type": {}})
    submit(fleet, "cheap", model="sonnet")
    assert submit(fleet, "waits", model="sonnet", priority=level)["reason"]["code"] == "daily_cost"
    fleet.ask({"type": "ReportUsage", "task": "cheap", "usage": {"tokens": 55_000, "cost_usd": "0.001"}})
    newcomer = submit(fleet, "newcomer", model="sonnet")
    assert newcomer["reason"] == {
        "code": "outranked",
        "limit": None,
        "current": None,
        "message": "waits ranks higher and waits for the same slot",
        "behind": "waits",
    }
    assert get(fleet, "waits")["state"] == "running", "at once: the core has found that there is room"


def test_a_task_that_is_retried_starts_in_the_same_commit_where_a_slot_is_free(open_fleet: OpenFleet) -> None:
    store = MemoryStore()
    fleet = open_fleet(store, **ONE_SLOT)
    submit(fleet, "t")
    fleet.ask({"type": "CompleteTask", "task": "t", "outcome": "failed"})
    fleet.ask({"type": "RetryTask", "task": "t", "reason": "the provider is back"})
    assert names(store)[-4:] == ["task-retried", "task-queued", "budget-allocated", "task-started"]
    assert get(fleet, "t")["state"] == "running"


# --- what a death and a restart change --------------------------------------------------------------------------------


def test_an_allocator_that_dies_loses_no_task_and_no_question(
    open_fleet: OpenFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = open_fleet(**ONE_SLOT)
    submit(fleet, "busy")
    submit(fleet, "t")
    waiting = fleet.send({"type": "GetTask", "task": "t", "wait_seconds": 30})
    fleet.quiesce()
    answer = Allocator.answer

    def die(self: Allocator, question: Question, now: dt.datetime) -> None:
        monkeypatch.setattr(Allocator, "answer", answer)
        raise RuntimeError("struck by lightning")

    monkeypatch.setattr(Allocator, "answer", die)
    answer = fleet.ask({"type": "SubmitTask", "task": "u", "agent_type": "writer", "product": "shop"})
    assert answer["ok"]["decision"] == "queued", "its follower was asked again"
    complete(fleet, "busy")
    assert waiting.result()["ok"]["state"] == "running"
    complete(fleet, "t")
    assert get(fleet, "u")["state"] == "running"


def test_after_a_restart_queue_leases_attempts_and_memory_are_as_they_were(
    open_fleet: OpenFleet, clock: ManualClock
) -> None:
    store = MemoryStore()
    fleet = open_fleet(store, **ONE_SLOT)
    lease = submit(fleet, "a")["lease"]
    for task, priority in (("b", "low"), ("c", "high"), ("d", "normal")):
        submit(fleet, task, priority=priority)
    later(fleet, clock, 60)
    before = fleet.ask({"type": "GetQueue"})["ok"]
    fleet.close()
    again = open_fleet(store, **ONE_SLOT)
    now = again.ask({"type": "GetQueue"})["ok"]
    (running,) = now["running"]
    assert running["lease_expires_at"] == "2026-03-04T12:03:00Z", "its whole time anew"
    running["lease_expires_at"] = before["running"][0]["lease_expires_at"]
    assert now == before
    assert again.ask({"type": "Heartbeat", "task": "a", "lease": lease})["ok"]["state"] == "running"
    later(again, clock, 120)
    again.quiesce()
    assert get(again, "a")["attempt"] == 2, "its lease was lost"
    check_conserved(again._manager.ledger)


def test_a_slot_that_became_free_just_before_the_end_is_given_away_after_the_restart(clock: ManualClock) -> None:
    store = MemoryStore()
    simulated(
        [(START, {"type": "LoadConfig", "config": {"max_concurrent": {"total": 1, "per_type": {}}}})], store=store
    )
    for task in "ab":
        message = {"type": "SubmitTask", "task": task, "agent_type": "writer", "product": "p", "id": f"s-{task}"}
        simulated([(START, message)], store=store)
    # The fleet stops between the completion and the start.
    lasting = MemoryStore()
    complete_a = {"type": "CompleteTask", "task": "a", "outcome": "completed", "id": "done"}
    simulated([(START, complete_a)], store=store)
    records = list(store.read())
    cut = next(i for i, record in enumerate(records) if b"~start-b" in record.data)
    lasting.append(records[:cut])
    outcome = simulated([], store=lasting, until=START + dt.timedelta(seconds=1))
    assert outcome.ledger.tasks.known["b"].state == "running"


def test_a_preemption_ends_what_its_victim_was_to_pay_for_before_the_queue_is_looked_at_again() -> None:
    new = {"type": "SubmitTask", "agent_type": "writer", "product": "shop"}
    one_slot = {"max_concurrent": {"total": 1, "per_type": {}}}
    outcome = simulated(
        [
            (START, {"type": "LoadConfig", "id": "c", "config": one_slot}),
            (START, {**new, "task": "victim", "id": "v", "product": "lab", "priority": "low"}),
            (START, {**new, "task": "urgent", "id": "u"}),
            (START, {**new, "task": "below", "id": "b", "parent": "victim"}),
            (START, {"type": "OverridePriority", "id": "o", "product": "shop", "priority": "critical"}),
        ]
    )
    tasks = outcome.ledger.tasks
    assert list(tasks.running) == ["urgent"]
    assert (tasks.known["victim"].state, tasks.known["below"].state) == ("queued", "cancelled")
