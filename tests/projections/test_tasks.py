"""Rows of tasks: given a log, then each task's waits, runs and use, and the sums of the day."""

import datetime as dt
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.messages import proposals as p
from tallystick.projections.reports.task_day import TaskDay, Waits
from tallystick.projections.reports.task_list import listed_tasks
from tallystick.projections.reports.task_report import tasks_report
from tallystick.projections.store.projector import Projector
from tallystick.projections.store.view_store import MemoryViewStore
from tallystick.projections.views.task_rows import DayRow, LotRow, ModelRow, TaskRow, decode
from tallystick.projections.views.tasks import TasksView
from tests.support.core import Core, allocate, budget, complete, hold, preempt, settle, start, submit, use
from tests.support.examples import examples
from tests.support.strategies import Step, commands
from tests.support.task_views import (
    ALWAYS_OPUS,
    CATALOGUE,
    HOUR,
    ONE_SLOT,
    configured,
    one_slot,
    use_task,
    view_store_of,
    work,
)
from tests.support.view_logs import stored

PROFILE = settings(
    max_examples=examples(40),
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)


def rows_of(core: Core) -> list[TaskRow | DayRow | LotRow | ModelRow]:
    return [decode(row) for row in view_store_of(core).whole((TasksView.name,)).rows[TasksView.name]]


def task(core: Core, name: str = "t") -> TaskRow:
    (found,) = [row for row in rows_of(core) if isinstance(row, TaskRow) and row.task == name]
    return found


# --- one task ---------------------------------------------------------------------------------------------------------


def test_a_task_that_is_admitted_at_once_has_waited_for_nothing() -> None:
    core = one_slot().given(submit("t", priority="high", workflow="w", estimated_tokens=500, estimated_minutes="45"))
    row = task(core)
    assert (row.state, row.runs, row.waits, row.waited_ms, row.code) == ("running", 1, 0, 0, None)
    assert (row.product, row.agent_type, row.workflow, row.priority) == ("shop", "backend-engineer", "w", "high")
    assert (row.estimated_tokens, row.estimated_ms, row.model) == (500, 45 * 60_000, "sonnet")
    assert (row.token_budget, row.max_tokens) == (80_000, 120_000)


def test_what_is_in_a_tasks_way_is_reported_while_it_waits_and_how_long_it_waited_when_it_starts() -> None:
    core = one_slot().given(submit("first"), submit("t"))
    row = task(core)
    assert (row.state, row.code, row.message) == ("queued", "total_concurrency", "max 1 task already running")
    core.wait(600).given(complete("first"), start("t"))
    row = task(core)
    assert (row.state, row.waits, row.waited_ms, row.code) == ("running", 1, 600_000, None)


def test_an_announced_start_that_has_passed_is_listed_as_now() -> None:
    core = one_slot()
    core.given(submit("first"), submit("t", expected_start=core.now + dt.timedelta(minutes=1)))
    core.wait(90)
    row = next(row for row in listed_tasks(view_store_of(core), core.now) if row.task == "t")
    assert row.expected_start == core.now.isoformat().replace("+00:00", "Z")


def test_why_no_start_can_be_expected_is_kept_until_one_can_or_the_task_runs() -> None:
    core = one_slot().given(submit("first"), submit("t", unknown="end_unknown"))
    assert (task(core).expected_start, task(core).unknown, task(core).told) == (None, "end_unknown", 0)
    at = core.now + dt.timedelta(minutes=10)
    core.given(p.TellTask(task="t", expected_start=at))
    assert (task(core).expected_start, task(core).unknown, task(core).told) == (at, None, 1)
    core.given(p.TellTask(task="t", unknown="behind_others"))
    assert (task(core).expected_start, task(core).unknown, task(core).told) == (None, "behind_others", 1)
    core.given(complete("first"), start("t"))
    assert task(core).unknown is None


@pytest.mark.parametrize(("estimate", "assumed"), [({}, True), ({"estimated_tokens": 100}, False)])
def test_a_task_that_was_not_estimated_is_not_scored(estimate: dict[str, int], assumed: bool) -> None:
    core = one_slot().given(submit("t", **estimate), complete("t", used=100))
    assert task(core).assumed is assumed
    (lot,) = [row for row in rows_of(core) if isinstance(row, LotRow)]
    assert lot.completed_tokens == 100
    scored = (0, 0, 0) if assumed else (1, 100, 100)
    assert (lot.estimated, lot.estimated_tokens, lot.taken_tokens) == scored
    report = tasks_report([task(core)], core.now)
    assert report is not None
    assert report.estimates_good == (None if assumed else 1.0)


def test_a_task_waits_from_when_its_dependencies_were_met() -> None:
    core = one_slot().given(submit("first"), submit("t", depends_on=["first"]))
    assert (task(core).state, task(core).queued_at) == ("waiting_on_dependencies", None)
    core.wait(600).given(complete("first")).wait(60).given(start("t"))
    assert task(core).waited_ms == 60_000


def test_a_task_that_loses_its_slot_waits_again_and_all_its_runs_are_added_up() -> None:
    core = one_slot().given(submit("t", priority="low"), use_task("t", 100)).wait(120)
    core.given(submit("rush", priority="critical"), preempt("t", "rush"))
    row = task(core)
    assert (row.state, row.code, row.busy_ms) == ("queued", "preempted", 120_000)
    core.wait(60).given(complete("rush"), start("t"), use_task("t", 50)).wait(30).given(complete("t", used=70))
    row = task(core)
    assert (row.state, row.runs, row.waits, row.waited_ms, row.busy_ms) == ("completed", 2, 1, 60_000, 150_000)
    assert row.used.tokens == 170
    assert row.ended_at == core.now


def test_what_sub_agents_and_late_reports_used_is_the_tasks() -> None:
    core = one_slot().given(submit("t"), allocate("t/1", 1_000, parent="t"), use("t/1", 300), use_task("t", 100, "1"))
    core.given(hold("t", "h", 50), settle("h", 40, "0.5"))
    assert task(core).used.tokens == 440
    lease = core.ledger.tasks.known["t"].lease
    core.given(complete("t"), c.ReportUsage(task="t", lease=lease, usage=budget(7)))
    assert (task(core).used.tokens, task(core).used.cost_nanos) == (447, 1_500_000_000)


def test_a_task_that_fails_after_its_attempts_says_why() -> None:
    core = one_slot().given(submit("t"))
    for _ in range(2):
        core.wait(86_400).pass_time()
        if core.ledger.tasks.known["t"].is_open:
            core.given(start("t"))
    row = task(core)
    assert (row.state, row.code, row.attempt, row.runs) == ("failed", "attempts_exhausted", 2, 2)


def test_a_start_is_laid_beside_what_was_announced_of_it() -> None:
    core = one_slot().given(submit("first"))
    core.given(submit("t", expected_start=core.now + dt.timedelta(minutes=10)))
    assert (task(core).told, task(core).late_ms) == (1, None)
    core.wait(900).given(complete("first"), start("t"))
    assert task(core).late_ms == 300_000


# --- the day ----------------------------------------------------------------------------------------------------------


def test_waits_of_the_day_are_of_those_that_started_and_of_those_that_still_wait() -> None:
    core = one_slot().given(submit("first"), submit("second"), submit("third", "qa-engineer"))
    core.wait(600).given(complete("first"), start("second")).wait(300)
    assert work(core).waits() == Waits(runs=3, waited=2, waited_ms=1_500_000, longest_ms=900_000)
    assert work(core).waits("qa-engineer") == Waits(1, 1, 900_000, 900_000)


def test_slot_time_is_counted_against_each_limit_for_as_long_as_it_held() -> None:
    core = one_slot(max_concurrent={"total": 4, "per_type": {"frontend-engineer": None, "idle": 3}})
    core.given(submit("t"), submit("u", "architect")).wait(HOUR)
    own = {"backend-engineer": None, "frontend-engineer": None, "idle": 3}
    core.given(configured(max_concurrent={"total": 2, "per_type": own})).wait(HOUR)
    slots = work(core).slots()
    assert {name: (one.busy_ms // 60_000, (one.available_ms or 0) // 60_000) for name, one in slots.items()} == {
        "architect": (120, 4 * 60 + 2 * 60),
        "backend-engineer": (120, 2 * 60 + 2 * 60),
        "idle": (0, 3 * 60 + 2 * 60),
    }
    assert (slots["idle"].is_own, slots["backend-engineer"].is_own) == (True, False)


def test_without_a_limit_there_is_no_utilization() -> None:
    core = one_slot(max_concurrent={**ONE_SLOT["max_concurrent"], "total": None}).given(submit("t")).wait(HOUR)
    assert work(core).slots()["backend-engineer"].share is None
    assert work(core).all_slots().share is None


def test_slot_time_is_cut_at_midnight_and_a_run_counts_on_both_days() -> None:
    core = one_slot().given(submit("t")).wait(13 * HOUR).given(use_task("t", 5)).wait(HOUR)
    found = work(core)
    assert (found.day is not None and found.day.date) == "2026-03-05"
    slots = found.slots()["backend-engineer"]
    assert (slots.busy_ms, slots.available_ms) == (2 * HOUR * 1_000, 2 * HOUR * 1_000)
    lots = {row.date: row for row in rows_of(core) if isinstance(row, LotRow)}
    assert lots["2026-03-04"].busy_ms == 12 * HOUR * 1_000
    assert [(row.date, row.tasks) for row in rows_of(core) if isinstance(row, ModelRow)] == [
        ("2026-03-04", 1),
        ("2026-03-05", 1),
    ]


def test_a_day_that_no_other_followed_ended_with_the_log() -> None:
    core = one_slot().given(submit("t")).wait(HOUR).given(use_task("t", 1)).wait(3 * 86_400)
    slots = work(core).slots()["backend-engineer"]
    assert (slots.busy_ms, slots.available_ms) == (HOUR * 1_000, HOUR * 1_000)


def test_completed_tasks_are_added_up_with_all_their_runs() -> None:
    core = one_slot().given(submit("t", estimated_tokens=90), use_task("t", 100, "2"), complete("t"))
    core.given(submit("u", estimated_tokens=90), complete("u", used=50, outcome="failed"))
    done = work(core).done()
    assert (done.tasks, done.tokens, done.cost_nanos, done.estimated_tokens) == (1, 100, 2_000_000_000, 90)


def test_usage_is_laid_beside_what_each_model_of_the_catalogue_costs_request_by_request() -> None:
    core = one_slot(models=CATALOGUE, auto_model_selection=ALWAYS_OPUS)
    tiers = {"opus-1": {"input": 10, "output": 50}, "haiku-1": {"input": 1, "output": 5}}
    core.given(p.LoadPrices(prices=tiers), submit("t"), submit("u", priority="critical"))
    core.given(c.ReportUsage(task="t", model="opus", input_tokens=1_000_000, output_tokens=100_000))
    (row,) = [row for row in rows_of(core) if isinstance(row, ModelRow)]
    assert (row.model, row.tasks, row.compared) == ("opus", 1, 1)
    assert row.would_cost == task(core).would_cost == {"opus": 15 * 10**9, "haiku": 15 * 10**8}


def test_what_critical_tasks_used_is_not_compared_in_the_sums_and_a_task_that_starts_again_counts_once() -> None:
    core = one_slot(models=CATALOGUE, auto_model_selection=ALWAYS_OPUS)
    core.given(p.LoadPrices(prices={"opus-1": {"input": 10, "output": 50}, "haiku-1": {"input": 1, "output": 5}}))
    core.given(submit("t", priority="low"), use_task("t", 100), submit("u", priority="critical"), preempt("t", "u"))
    core.given(use_task("u", 10_000), complete("u"), start("t"))
    (row,) = [row for row in rows_of(core) if isinstance(row, ModelRow)]
    assert (row.tasks, row.critical, row.would_cost) == (2, 1, {"opus": 1_000_000, "haiku": 100_000})
    assert task(core, "u").would_cost == {"opus": 100_000_000, "haiku": 10_000_000}


# --- any log ----------------------------------------------------------------------------------------------------------


@PROFILE
@given(commands(), st.integers(0, 2**32))
def test_for_any_log_the_rows_are_what_the_core_knows_whatever_the_pages(steps: list[Step], seed: int) -> None:
    core = Core()
    for command, seconds in steps:
        core.wait(seconds)
        core.when(command)
    store, dice = stored(core.log), Random(seed)
    pieces, last = MemoryViewStore(), len(core.log)
    projector = Projector(store, pieces)
    while projector.position < last:
        if dice.random() < 0.5:
            projector = Projector(store, pieces)
        projector.catch_up(upto=min(last, projector.position + dice.randint(1, 9)))
    whole = view_store_of(core)
    assert pieces.whole((TasksView.name,)).rows == whole.whole((TasksView.name,)).rows
    found = {row.task: row for row in TaskDay(whole, core.now).tasks}
    known = {name: one for name, one in core.ledger.tasks.known.items() if one.is_open}
    assert found.keys() == known.keys()
    for name, one in known.items():
        row = found[name]
        assert (row.state, row.attempt, row.runs, row.estimated_tokens) == (
            one.state,
            one.attempt,
            one.runs,
            one.estimated_tokens,
        )
        if one.state == "queued":
            assert (row.queued_at, row.expected_start) == (one.queued_at, one.expected_start)


@PROFILE
@given(commands())
def test_for_any_log_no_slot_time_and_no_start_is_lost_at_midnight_nor_counted_twice(steps: list[Step]) -> None:
    core = Core()
    for command, seconds in steps:
        core.wait(seconds)
        core.when(command)
    began: dict[str, dt.datetime] = {}
    held_ms = starts = completed = 0
    for event in core.log:
        if isinstance(event, e.TaskStarted):
            began[event.task], starts = event.at, starts + 1
        elif isinstance(event, ENDS) and event.task in began:
            held_ms += (event.at - began.pop(event.task)) // dt.timedelta(milliseconds=1)
        completed += isinstance(event, e.TaskCompleted) and event.outcome == "completed"
    rows = rows_of(core)
    lots = [row for row in rows if isinstance(row, LotRow)]
    assert sum(lot.starts for lot in lots) == starts
    assert sum(lot.completed for lot in lots) == completed
    at_hand = sum(row.busy_ms for row in rows if isinstance(row, TaskRow) and row.task in began)
    # Where a run is cut at midnight, both parts are floored to the millisecond.
    days = len({lot.date for lot in lots})
    assert 0 <= held_ms - (sum(lot.busy_ms for lot in lots) - at_hand) <= starts * days


ENDS = (e.TaskPreempted, e.LeaseLost, e.TaskCompleted, e.TaskCancelled, e.TaskGivenUp)


@pytest.mark.parametrize("share", [0, 1])
def test_a_second_is_no_wait(share: int) -> None:
    core = one_slot().given(submit("first"), submit("t")).wait(0.999 + share).given(complete("first"), start("t"))
    assert work(core).waits().waited == share
