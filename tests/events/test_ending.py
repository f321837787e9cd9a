"""The end of tasks: slot, usage, memory and dependents in one transaction; and what others' ends mean for them."""

from typing import Any

import pytest

from tallystick.config.amounts import Budget
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.evolve import evolve
from tallystick.events.messages import proposals as p
from tallystick.events.state.conservation import check_conserved
from tallystick.projections.store.runner import catch_up
from tallystick.projections.store.view_store import MemoryViewStore
from tests.support.core import Core, allocate, budget, complete, fleet, hold, start, submit, use
from tests.support.view_logs import stored

QUIET: dict[str, Any] = {"daily_limits": {"max_tokens_total": None, "max_cost_usd": None}}


def configured(**config: Any) -> Core:
    return Core(fleet(10_000_000, **QUIET, **config))


def state(core: Core, task: str) -> str:
    return core.ledger.tasks.known[task].state


# --- completed --------------------------------------------------------------------------------------------------------


def test_after_75000_of_80000_tokens_and_85_of_90_minutes_the_estimate_was_good() -> None:
    core = configured(leases={"seconds": 10_000})
    lease = core.when(submit("t", estimated_tokens=80_000, estimated_minutes="90")).lease
    core.when(c.ReportUsage(task="t", lease=lease, usage=budget(70_000, cost="2.00")))
    core.wait(85 * 60)
    answer = core.when(c.CompleteTask(task="t", outcome="completed", lease=lease, usage=budget(75_000, cost="2.25")))
    core.then_events(e.UsageReported, e.TaskCompleted, e.BudgetReleased)
    rest = core.only(e.UsageReported)
    assert (rest.tokens, rest.cost_nanos, rest.operation) == (5_000, 250_000_000, "completion")
    assert (answer.state, answer.consumed.tokens, answer.consumed.cost_usd) == ("completed", 75_000, "2.25")
    assert (answer.tokens.estimated, answer.tokens.actual, answer.tokens.accuracy) == (80_000, 75_000, "good")
    assert (answer.minutes.estimated, answer.minutes.actual, answer.minutes.accuracy) == (90, 85, "good")
    done = core.only(e.TaskCompleted)
    assert (done.consumed.tokens, done.elapsed_ms, done.model) == (75_000, 85 * 60_000, "sonnet")
    assert core.pool == (10_000_000 - 75_000, None, None)


def test_a_total_that_was_reported_books_nothing_and_a_smaller_one_takes_nothing_back() -> None:
    core = configured()
    for task, total in (("t", 500), ("u", 400)):
        core.given(submit(task), use(task, 500))
        core.when(complete(task, used=total))
        assert core.every(e.UsageReported) == []
    assert core.ledger.spent[0] == 1_000


def test_the_rest_of_a_total_without_a_cost_is_priced_as_the_model_it_ran_on() -> None:
    core = configured()
    core.given(p.LoadPrices(prices={"claude-sonnet-5-5": {"input": 3, "output": 15}}), submit("t"))
    core.when(complete("t", used=1_000_000))
    assert core.only(e.UsageReported).cost_nanos == 3_000_000_000
    core.given(submit("u", model="who-knows"))
    core.when(complete("u", used=1_000))
    assert core.only(e.UsageReported).unpriced is True, "an unknown model is never free"


def test_an_estimate_of_nothing_is_compared_with_nothing() -> None:
    core = configured()
    core.given(submit("t"))
    answer = core.when(complete("t", used=90_000))
    assert (answer.tokens.estimated, answer.tokens.actual, answer.tokens.accuracy) == (None, 90_000, None)
    assert core.only(e.TaskCompleted).assumed
    assert (answer.minutes.estimated, answer.minutes.accuracy) == (None, None)


def test_a_completed_task_leaves_no_holds_and_no_sub_agents_and_its_parent_keeps_what_it_used() -> None:
    core = configured()
    core.given(allocate("lead", 1_000_000), submit("t", parent="lead"), hold("t", "h", 1_000))
    core.given(allocate("t/helper", 10_000, parent="t"), use("t/helper", 400))
    answer = core.when(complete("t", used=5_000))
    assert answer.consumed.tokens == 5_400, "the helper's part is the task's too"
    assert set(core.ledger.accounts) == {"lead"}
    assert core.ledger.holds == {}
    assert core.account("lead").consumed(0) == 5_400


def test_more_than_max_tokens_is_covered_like_any_usage() -> None:
    core = configured()
    core.given(submit("t"))
    answer = core.when(complete("t", used=130_000))
    assert answer.consumed.tokens == 130_000
    assert core.only(e.Covered).amount.tokens == 10_000


def test_a_total_whose_price_cannot_be_kept_is_refused_before_anything_is_recorded() -> None:
    core = configured()
    core.given(p.LoadPrices(prices={"claude-sonnet-5-5": {"input": 1_000_000, "output": 1}}), submit("t"))
    core.given(allocate("t/1", 10, parent="t"))
    core.when(c.CompleteTask(task="t", outcome="completed", usage=Budget(tokens=2**62)))
    core.then_refused("invalid_amount")
    assert "t/1" in core.ledger.accounts


def test_a_finished_id_is_taken_and_forgotten_with_the_memory_of_ids() -> None:
    core = configured(idempotency_hours=1)
    core.given(submit("t"), complete("t"))
    core.when(submit("t"))
    core.then_refused("already_submitted", state="completed")
    core.wait(3_600).when(c.PauseAll(reason="a command a minute makes the memory turn"))
    core.given(c.ResumeAll()).wait(3_700).given(c.PauseAll(reason="x"), c.ResumeAll())
    assert core.ledger.tasks.get("t") is None
    assert core.when(submit("t")).decision == "admitted"


# --- dependencies -----------------------------------------------------------------------------------------------------


def test_a_task_waits_for_all_that_it_depends_on_and_queues_when_the_last_is_completed() -> None:
    core = configured()
    core.given(submit("a"), submit("b"))
    answer = core.when(submit("c", "frontend-engineer", depends_on=["a", "b"]))
    assert (answer.decision, answer.state, answer.reason.code) == (*["waiting_on_dependencies"] * 3,)
    assert (answer.reason.current, answer.reason.message) == (2, "waits for a, b")
    core.when(start("c"))
    core.then_refused("plan_out_of_date")
    core.wait(10).when(complete("a"))
    assert core.every(e.TaskQueued) == []
    core.wait(10).when(complete("b"))
    queued = core.only(e.TaskQueued)
    assert (queued.task, queued.code) == ("c", None)
    assert core.ledger.tasks.known["c"].queued_at == core.now, "minutes are counted from here"
    core.given(start("c"))


@pytest.mark.parametrize("outcome", ["completed", "failed"])
def test_a_task_that_would_be_paid_by_the_one_it_waits_for_ends_with_it_and_never_queues(outcome: Any) -> None:
    core = configured(max_concurrent={"total": 1})
    core.given(submit("a"), submit("b", depends_on=["a"], parent="a"), submit("c", depends_on=["b"]))
    core.given(submit("next"))
    core.when(c.CompleteTask(task="a", outcome=outcome))
    assert (state(core, "a"), state(core, "b"), state(core, "c")) == (outcome, "cancelled", "cancelled")
    assert [event.code for event in core.every(e.TaskGivenUp)] == ["budget_released", "dependency_failed"]
    assert core.every(e.TaskQueued) == []


def test_a_task_that_is_free_to_run_and_finds_no_slot_says_so() -> None:
    core = configured()
    core.given(submit("a"), submit("b"), submit("c", depends_on=["a"]), c.PauseAll(reason="x"))
    core.when(complete("a"))
    assert core.only(e.TaskQueued).code == "paused"


def test_what_is_completed_already_is_not_waited_for() -> None:
    core = configured()
    core.given(submit("a"), complete("a"))
    assert core.when(submit("b", depends_on=["a"])).decision == "admitted"


@pytest.mark.parametrize("end", [c.CancelTask(task="a"), complete("a", outcome="failed")])
def test_the_failure_or_cancellation_of_a_task_cancels_all_that_depend_on_it(end: c.Command) -> None:
    core = configured()
    core.given(submit("a"), submit("b", depends_on=["a"]), submit("c", depends_on=["b"]), submit("d", depends_on=["a"]))
    answer = core.when(end)
    assert answer.cancelled == ["b", "d", "c"]
    gone = core.every(e.TaskGivenUp)
    assert [(event.task, event.code, event.because) for event in gone] == [
        ("b", "dependency_failed", "a"),
        ("d", "dependency_failed", "a"),
        ("c", "dependency_failed", "b"),
    ]
    assert {state(core, task) for task in "bcd"} == {"cancelled"}
    assert core.when(p.TellTask(task="c")).reason.code == "dependency_failed"
    rejected = core.when(submit("e", depends_on=["c"]))
    assert (rejected.decision, rejected.reason.code) == ("rejected", "dependency_failed")


def test_a_task_that_waits_for_itself_or_for_one_that_is_not_known_is_refused() -> None:
    core = configured()
    core.when(submit("t", depends_on=["t"]))
    core.then_refused("dependency_cycle", task="t")
    core.when(submit("t", depends_on=["nobody"]))
    core.then_refused("unknown_dependency", dependency="nobody")


def test_a_task_blocks_those_that_are_known_to_wait_or_as_many_as_was_said() -> None:
    core = configured()
    core.given(submit("a", blocks=1), submit("b", depends_on=["a"]))
    assert core.ledger.tasks.known["a"].blocked == 1
    core.given(submit("c", depends_on=["a"]))
    assert core.ledger.tasks.known["a"].blocked == 2
    core.given(c.CancelTask(task="b"))
    core.given(c.CancelTask(task="c"))
    assert core.ledger.tasks.known["a"].blocked == 1


def test_a_task_that_was_not_estimated_counts_as_done_and_is_not_scored() -> None:
    core = configured().given(allocate("boss", 500_000))
    core.given(submit("t", parent="boss"), complete("t", used=10))
    for name in ("boss", "t"):
        found = core.when(c.GetEfficiency(agent=name))
        assert (found.tasks, found.estimate_accuracy) == (1, None)
    core.given(submit("u", parent="boss", estimated_tokens=100), complete("u", used=100))
    assert core.when(c.GetEfficiency(agent="boss")).estimate_accuracy == 1.0


def test_efficiency_is_of_the_completed_tasks_that_an_account_was_or_paid_for() -> None:
    core = configured().given(allocate("boss", 500_000))
    for task, used in (("t", 75_000), ("u", 45_000)):
        core.given(submit(task, parent="boss", estimated_tokens=80_000), complete(task, used=used))
    core.given(submit("v", parent="boss"), complete("v", used=10, outcome="failed"))
    boss = core.when(c.GetEfficiency(agent="boss"))
    assert (boss.tasks, boss.tokens_per_task) == (2, 60_005.0)
    assert boss.tasks_per_1k_tokens == round(2_000 / 120_010, 6)
    assert boss.estimate_accuracy == 0.5, "75,000 are within 10 % of 80,000, and 45,000 are not"
    one = core.when(c.GetEfficiency(agent="t"))
    assert (one.tasks, one.tokens_per_task, one.estimate_accuracy) == (1, 75_000.0, 1.0)
    assert core.when(c.GetEfficiency(agent="v")).tasks is None
    core.given(c.ReleaseBudget(agent="boss"))
    assert core.when(c.GetEfficiency(agent="boss")).tasks is None


def test_a_long_chain_of_dependents_ends_without_going_deep() -> None:
    core = configured()
    core.given(submit("t0"))
    for number in range(300):
        core.given(submit(f"t{number + 1}", depends_on=[f"t{number}"]))
    assert len(core.when(c.CancelTask(task="t0")).cancelled) == 300


# --- cancelled, and ended with an account -----------------------------------------------------------------------------


def test_a_running_task_can_be_cancelled_and_its_agent_learns_of_it() -> None:
    core = configured()
    lease = core.when(submit("t")).lease
    core.given(use("t", 300))
    answer = core.when(c.CancelTask(task="t"))
    assert (answer.state, answer.consumed.tokens) == ("cancelled", 300)
    core.then_events(e.TaskCancelled, e.BudgetReleased)
    core.when(c.Heartbeat(task="t", lease=lease))
    core.then_refused("lease_lost", state="cancelled")
    core.when(c.CancelTask(task="t"))
    core.then_refused("already_finished", state="cancelled")


def test_a_waiting_task_can_be_cancelled() -> None:
    core = configured(max_concurrent={"total": 1})
    core.given(submit("a"), submit("t"))
    assert core.when(c.CancelTask(task="t")).consumed is None
    core.then_events(e.TaskCancelled)


def test_with_an_account_end_the_tasks_that_are_paid_from_it() -> None:
    core = configured(max_concurrent={"total": 2})
    core.given(
        allocate("lead", 240_000), submit("a", parent="lead"), submit("b", parent="lead"), submit("c", parent="lead")
    )
    core.given(submit("d", parent="lead", depends_on=["c"]), submit("e", depends_on=["a"]))
    core.when(c.ReleaseBudget(agent="lead"))
    gone = {event.task: (event.code, event.because) for event in core.every(e.TaskGivenUp)}
    assert gone == {
        "a": ("budget_released", "lead"),
        "b": ("budget_released", "lead"),
        "c": ("budget_released", "lead"),
        "d": ("dependency_failed", "c"),
        "e": ("dependency_failed", "a"),
    }
    assert core.ledger.accounts == {}
    assert core.ledger.tasks.open == 0
    assert core.when(p.TellTask(task="a")).reason.code == "budget_released"


def test_a_task_ends_with_its_own_account_and_so_does_what_runs_under_it() -> None:
    core = configured()
    core.given(submit("t"), c.BorrowFromPool(agent="t", amount=budget(120_000)))
    core.given(submit("sub", "frontend-engineer", parent="t"))
    core.when(c.ReleaseBudget(agent="t"))
    assert {state(core, "t"), state(core, "sub")} == {"cancelled"}
    core.given(submit("u"), c.BorrowFromPool(agent="u", amount=budget(120_000)), submit("v", "writer", parent="u"))
    core.when(complete("u"))
    assert (state(core, "u"), state(core, "v")) == ("completed", "cancelled")


def test_an_early_log_that_queued_such_a_task_again_is_read_by_ledger_and_views() -> None:
    core = configured()
    core.given(submit("a"), submit("b", depends_on=["a"], parent="a"), complete("a"))
    last = core.log[-1]
    head: dict[str, Any] = {"at": last.at, "id": "old", "by": "local"}
    again: list[e.Event] = [
        e.TaskQueued(position=last.position + 1, task="b", code="paused", **head),
        e.TaskOverdue(position=last.position + 2, task="b", waited_ms=61, allowed_ms=60, **head),
        e.TaskCancelled(position=last.position + 3, task="b", **head),
    ]
    for event in again:
        evolve(core.ledger, event)
    assert (state(core, "b"), core.ledger.tasks.queued, core.ledger.tasks.open) == ("cancelled", 0, 0)
    check_conserved(core.ledger)
    views = MemoryViewStore()
    assert catch_up(stored([*core.log, *again]), views) == again[-1].position
