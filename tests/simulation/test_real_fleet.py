"""Real runs as tasks under 16 slots and a day's cost limit of seven tenths of what they cost in all.

Everything is read off the log, by a second set of books that shares no arithmetic with the core. A third of the runs is
played here, three times as densely; `python -m benchmarks.fleet` plays all of them.
"""

import datetime as dt
from collections import Counter

import msgspec
import pytest

from benchmarks import fleet
from benchmarks.data import found
from benchmarks.fleet import DEATHS, SLOTS, Mortal, Played, plans, play
from tallystick.demo.agent import Outcome
from tallystick.demo.campaign import STARTS_AT
from tallystick.demo.trace import read_trace
from tallystick.demo.workload import Workload
from tallystick.events import catalog as e

TRACE = found(fleet.TRACE)
THIRD = 3
DAY = STARTS_AT.date()
LEASE = dt.timedelta(seconds=120)

pytestmark = pytest.mark.skipif(TRACE is None, reason="the real runs are not on this machine")


@pytest.fixture(scope="module")
def workload() -> Workload:
    assert TRACE is not None
    runs = read_trace(TRACE).runs[::THIRD]
    closer = tuple(msgspec.structs.replace(run, starts_ms=run.starts_ms // THIRD) for run in runs)
    return Workload("a third of the real runs", "", closer)


@pytest.fixture(scope="module")
def promised(workload: Workload) -> Played:
    return play(workload, plans(workload)["committed"])


@pytest.fixture(scope="module")
def approved(workload: Workload) -> Played:
    return play(workload, plans(workload)["surprised.approved"])


@pytest.fixture(scope="module")
def next_day(workload: Workload) -> Played:
    return play(workload, plans(workload)["surprised.next_day"])


def every(played: Played, *kinds: type[e.Event]) -> list[e.Event]:
    return [event for event in played.events if isinstance(event, kinds)]


def test_what_is_promised_to_those_that_run_keeps_the_day_within_its_limit(promised: Played) -> None:
    assert promised.books.used[DAY] <= promised.limit
    assert promised.books.used[DAY] > 0.9 * promised.limit, "and no more was held back than was needed"
    assert not every(promised, e.BreakerTripped)


def test_the_hard_end_stops_those_and_only_those_that_need_more(promised: Played, workload: Workload) -> None:
    plan = plans(workload)["committed"]
    end = int(plan.token_budget * plan.multiplier)
    needs = {run.id: sum(step.used[0] for step in run.steps) for run in workload.runs}
    stopped = {task for task, _, _ in promised.stopped_short}
    assert stopped == {task for task, tokens in needs.items() if tokens > end}
    longest_step = max(step.used[0] for run in workload.runs for step in run.steps)
    assert all(end - longest_step < used < end + longest_step for _, used, _ in promised.stopped_short)


def test_slots_are_never_idle_while_something_waits_that_could_start(
    promised: Played, approved: Played, next_day: Played
) -> None:
    for played in (promised, approved, next_day):
        assert played.books.utilization is not None
        assert played.books.utilization >= 0.95
        assert played.books.busiest == SLOTS
        assert played.books.waiting_hours > 0.1


def test_the_breaker_trips_in_the_transaction_that_crosses_the_line(approved: Played, next_day: Played) -> None:
    for played in (approved, next_day):
        (crossing,) = played.books.crossings
        (trip,) = played.books.trips
        assert trip.id == crossing.id
        assert trip.position > crossing.position
        between = played.events[crossing.position : trip.position]
        assert {event.id for event in between} == {crossing.id}
        assert played.books.started_while_open == 0


def test_alerts_of_the_day_come_once_each_and_with_the_usage_that_calls_for_them(
    promised: Played, approved: Played, next_day: Played
) -> None:
    for played in (promised, approved, next_day):
        raised = every(played, e.LimitApproved)
        first = {day: dict(reversed(given)) for day, given in played.books.alerts.items()}
        assert first == {day: due for day, due in played.books.lines.items() if due}
        for given in played.books.alerts.values():
            # A limit that is raised has lines of its own.
            assert max(Counter(code for code, _ in given).values()) == (2 if raised else 1)
    assert played.books.alerts[DAY][0][0] == "daily_cost_near"
    assert played.books.alerts[DAY][1][0] == "daily_cost_reached"


def test_the_limit_is_passed_by_no_more_than_what_ran_and_was_not_held(approved: Played, next_day: Played) -> None:
    for played in (approved, next_day):
        (crossing,) = played.books.crossings
        ((over, by_those_that_ran),) = played.books.over()
        assert over == by_those_that_ran > 0
        assert set(crossing.after) <= crossing.running
        assert over < 0.2 * played.limit
    ((over, _),) = next_day.books.over()
    assert next_day.books.used[DAY] == next_day.limit + over


def test_an_approved_higher_limit_lets_the_rest_run_on_the_same_day(approved: Played) -> None:
    (limit,) = every(approved, e.LimitApproved)
    (closed,) = every(approved, e.BreakerClosed)
    assert closed.id == limit.id
    last = every(approved, e.TaskCompleted)[-1]
    assert last.at.date() == DAY
    assert any(start.at == limit.at for start in every(approved, e.TaskStarted)), "at once"
    assert approved.outcomes[Outcome.FINISHED] >= len(approved.workload.runs) - 1


def test_without_it_nothing_starts_before_the_next_day_which_begins_anew(next_day: Played) -> None:
    (trip,) = next_day.books.trips
    begins = every(next_day, e.DayBegan)[0]
    starts = [start for start in every(next_day, e.TaskStarted) if start.position > trip.position]
    assert starts
    assert {start.at.date() for start in starts} == {begins.at.date()}
    assert starts[0].at == begins.at, "at midnight, and no later"
    assert next_day.books.used[begins.at.date()] == sum(
        event.cost_nanos
        for event in next_day.events[begins.position :]
        if isinstance(event, e.UsageReported | e.HoldSettled)
    )
    assert next_day.outcomes[Outcome.FINISHED] >= len(next_day.workload.runs) - 1


def test_estimates_are_learnt_as_the_runs_end(next_day: Played) -> None:
    assert every(next_day, e.EstimateAdjusted)
    assert next_day.books.learnt > 0


def test_each_token_is_counted_once_and_every_task_ends(promised: Played, approved: Played, next_day: Played) -> None:
    for played in (promised, approved, next_day):
        assert played.books.by_task == played.reported
        assert sum(played.books.ends.values()) == len(played.workload.runs)
        assert played.books.running == {}


def test_small_products_do_not_wait_for_a_large_one(next_day: Played) -> None:
    """All products that need less than their share of the slots get them nearly at once."""
    waits = next_day.books.waits()
    small = [waits[name] for name in waits if waits[name][0] <= 3]
    assert small
    (largest,) = [waits[name] for name in waits if waits[name][0] == max(tasks for tasks, _, _ in waits.values())]
    assert max(mean for _, mean, _ in small) < largest[1] / 4


def test_where_three_in_ten_agents_die_every_slot_comes_back_and_every_task_ends(workload: Workload) -> None:
    plan = plans(workload)["committed"]
    played = play(workload, plan, Mortal)
    runs = len(every(played, e.TaskStarted))
    assert 0.8 * DEATHS < played.deaths / runs < 1.2 * DEATHS
    until: dict[str, dt.datetime] = {}
    holds: dict[str, set[str]] = {}
    lost: Counter[str] = Counter()
    for event in played.events:
        match event:
            case e.TaskStarted():
                until[event.task] = event.at + LEASE
                holds[event.task] = set()
            case e.LeaseExtended():
                until[event.task] = event.at + LEASE
            case e.HoldPlaced():
                holds[event.agent].add(event.hold)
            case e.HoldSettled() | e.HoldEnded():
                holds[event.agent].discard(event.hold)
            case e.LeaseLost():
                assert event.at == until[event.task]
                lost[event.task] += 1
            case e.BudgetReleased():
                assert not holds[event.agent], "its holds came back before its account was closed"
    # The slot of a dead one may also be taken by a task of a higher priority before its lease ends.
    assert 0 <= played.deaths - lost.total() <= len(every(played, e.TaskPreempted))
    assert played.books.by_task == played.reported, "what each used, once"
    assert played.books.ends.total() == len(played.workload.runs)
    assert played.books.running == {}
    failed = {event.task for event in played.events if isinstance(event, e.LeaseLost) and event.then == "failed"}
    assert failed == {task for task, times in lost.items() if times == 3}
    assert played.books.utilization is not None
    assert played.books.utilization >= 0.95
