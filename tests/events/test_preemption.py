"""Preemption: a slot passes at once, in one transaction, and only where that is what was missing."""

from typing import Any

import pytest

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tests.support.core import Core, allocate, budget, complete, fleet, hold, preempt, start, submit, use

QUIET: dict[str, Any] = {"daily_limits": {"max_tokens_total": None, "max_cost_usd": None}}


def configured(**config: Any) -> Core:
    return Core(fleet(10_000_000, **QUIET, **({"max_concurrent": {"total": 1}} | config)))


def test_the_slot_passes_in_one_transaction_and_the_victim_waits_again_since_when_it_was_queued() -> None:
    core = configured()
    core.given(submit("t", priority="low"), use("t", 300), hold("t", "h", 1_000))
    queued_at = core.ledger.tasks.known["t"].queued_at
    core.wait(60).given(submit("c", priority="critical"))
    core.when(preempt("t", "c"))
    core.then_events(e.BudgetAllocated, e.TaskPreempted, e.HoldEnded, e.BudgetReleased, e.TaskStarted)
    victim = core.ledger.tasks.known["t"]
    assert (victim.state, victim.attempt, victim.queued_at) == ("queued", 1, queued_at)
    assert core.ledger.tasks.running.keys() == {"c"}
    assert core.pool == (10_000_000 - 300 - 120_000, None, None)


def test_a_critical_task_gets_a_slot_in_the_answer_to_its_submission() -> None:
    core = configured()
    core.given(submit("t", priority="normal"))
    answer = core.when(submit("c", priority="critical", victim="t"))
    assert (answer.decision, answer.lease is not None) == ("admitted", True)
    core.then_events(e.TaskSubmitted, e.BudgetAllocated, e.TaskPreempted, e.BudgetReleased, e.TaskStarted)


def test_a_victim_that_is_not_needed_is_left_alone() -> None:
    core = configured(max_concurrent={"total": 2})
    core.given(submit("t", priority="low"))
    core.when(submit("c", priority="critical", victim="t"))
    assert core.every(e.TaskPreempted) == []
    assert core.ledger.tasks.running.keys() == {"t", "c"}
    core.given(submit("d", priority="critical"), complete("c"))
    core.when(preempt("t", "d"))
    core.then_refused("plan_out_of_date")


@pytest.mark.parametrize(
    ("victim", "config"),
    [
        ({"priority": "critical"}, {}),
        ({"priority": "low", "aged": True}, {}),
        ({"priority": "low"}, {"priority_levels": {"critical": {"preempt_lower": False}}}),
    ],
    ids=["of the same level", "admitted aged", "the level does not preempt"],
)
def test_some_are_safe(victim: dict[str, Any], config: dict[str, Any]) -> None:
    core = configured(**config)
    core.given(submit("t", **victim))
    answer = core.when(submit("c", priority="critical", victim="t"))
    assert (answer.decision, answer.reason.code) == ("queued", "total_concurrency")
    core.when(preempt("t", "c"))
    core.then_refused("plan_out_of_date")


def test_who_lost_a_slot_does_not_lose_one_again_within_ten_minutes() -> None:
    core = configured(leases={"seconds": 10_000})
    core.given(submit("t", priority="low"), submit("c", priority="critical", victim="t"), complete("c"), start("t"))
    core.wait(599.999)
    assert core.when(submit("d", priority="critical", victim="t")).decision == "queued"
    core.wait(0.001).given(preempt("t", "d"))


def test_only_where_that_frees_what_is_missing() -> None:
    core = configured(max_concurrent={"total": 3, "per_type": {"backend-engineer": 1}})
    core.given(submit("front", "frontend-engineer", priority="low"), submit("back", priority="low"))
    answer = core.when(submit("c", priority="critical", victim="front"))
    assert (answer.decision, answer.reason.code) == ("queued", "type_concurrency")
    core.given(preempt("back", "c"))


def test_what_the_victim_would_give_back_is_not_counted_on() -> None:
    core = configured()
    core.given(submit("t", priority="low"), allocate("hog", 9_800_000))
    answer = core.when(submit("c", priority="critical", victim="t"))
    assert (answer.decision, answer.reason.code) == ("queued", "total_concurrency")
    core.given(c.ReturnToPool(agent="hog", amount=budget(100_000)), preempt("t", "c"))


def test_no_task_takes_the_slot_of_the_run_that_pays_for_it() -> None:
    core = configured()
    core.given(submit("t", priority="low"), c.BorrowFromPool(agent="t", amount=budget(120_000)))
    assert core.when(submit("c", priority="critical", parent="t", victim="t")).decision == "queued"


def test_with_a_victim_end_the_tasks_that_it_pays_for() -> None:
    core = configured(max_concurrent={"total": 2})
    core.given(submit("t", priority="low"), c.BorrowFromPool(agent="t", amount=budget(120_000)))
    core.given(submit("sub", parent="t", priority="low"), submit("c", priority="critical", victim="t"))
    assert core.ledger.tasks.known["sub"].state == "cancelled"
    assert core.ledger.tasks.known["t"].state == "queued"


def test_a_proposal_for_tasks_that_are_not_there_is_refused() -> None:
    core = configured()
    core.given(submit("t", priority="low"), submit("c", priority="critical"))
    for victim, beneficiary in (("nobody", "c"), ("c", "c"), ("t", "nobody"), ("t", "t")):
        core.when(preempt(victim, beneficiary))
        core.then_refused("plan_out_of_date")
