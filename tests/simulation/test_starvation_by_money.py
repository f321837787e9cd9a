"""No task waits for ever for money either: what an aged task lacks is kept for it as it comes free, until it fits."""

import datetime as dt
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.actors.policies.scheduling.ranking import Ranking
from tallystick.config.loader import from_mapping
from tallystick.config.settings import Config, DailyLimits, Reallocation
from tallystick.config.totals import TotalBudget
from tallystick.events import catalog as e
from tallystick.events.log.codec import decode_event
from tallystick.events.messages import PRIORITIES
from tests.support.core import START
from tests.support.demand import Demand
from tests.support.driving import Outcome, simulated
from tests.support.examples import examples
from tests.support.fleet_machine import through_the_fleet
from tests.support.queue_machine import Job, Machine, Start
from tests.support.starvation import mixes

NEEDS = {"default": 1_000, "t": 1_000, "u": 3_000, "v": 9_000}
"""Tokens by agent type: the large ones fit only when the small ones let them."""
AGE_OF_HIGH = dt.timedelta(minutes=21, seconds=15)


@st.composite
def poor_mixes(draw: st.DrawFn) -> tuple[Config, list[Job]]:
    """Mixes of tasks with a pool, or a day, in which only a few of them fit at a time."""
    config, jobs = draw(mixes(crossing=True, preemption=True))
    pool, day = draw(st.tuples(st.sampled_from([9_000, 10_000, 14_000]), st.sampled_from([None, 9_000, 11_000])))
    poor = msgspec.structs.replace(
        config,
        total_budget=TotalBudget(tokens=pool),
        emergency_reserve_percent=Decimal(0),
        token_budgets=NEEDS,
        token_budget_multiplier=Decimal(1),
        daily_limits=DailyLimits(day, None),
        reallocation=Reallocation(enabled=False),
    )
    return poor, jobs


def bound(machine: Machine, start: Start, waits_from: float) -> float:
    """Seconds within which an aged task must have started: docs/explanation/scheduling.md, "The longest wait"."""
    levels = machine.config.priority_levels
    longest = max(job.lasts for job in machine.jobs.values())
    preempting = sum(levels.of(priority).preempt_lower for priority in PRIORITIES[:-1])
    place = (start.queued, machine.numbers[start.task])
    older = [
        task
        for task, queued in machine.queued.items()
        if (queued, machine.numbers[task]) < place and machine.done[task] > waits_from
    ]
    # Critical tasks may take what is kept.
    critical = sum(job.lasts for job in machine.jobs.values() if job.priority == "critical")
    turn = longest + 2 * (1 + preempting) * longest
    return (2 * len(older) + 1) * turn + critical * (1 + preempting)


@settings(max_examples=examples(60), deadline=None)
@given(poor_mixes())
def test_no_task_waits_longer_than_the_bound_where_money_is_short_as_well(mix: tuple[Config, list[Job]]) -> None:
    check_bound(through_the_fleet(*mix))


@settings(max_examples=examples(20), deadline=None)
@given(poor_mixes(), st.sampled_from([1_000, 2_250, 5_000]))
def test_no_task_waits_longer_than_the_bound_where_moves_give_away_what_is_free(
    mix: tuple[Config, list[Job]], part: int
) -> None:
    """Each agent gives back what it was given within the time that the longest run takes."""
    config, jobs = mix
    demanded = msgspec.structs.replace(config, max_pool_share_percent=Decimal(100), minimum_share_percent=Decimal(0))
    check_bound(through_the_fleet(demanded, jobs, Demand(part, max(job.lasts for job in jobs))))


def check_bound(machine: Machine) -> None:
    assert machine.done.keys() == machine.jobs.keys()
    ranking = Ranking(machine.config)
    for start in machine.starts:
        age = ranking.aged_after(machine.jobs[start.task].priority)
        assert age is not None
        waits_from = max(start.since, start.queued + age.total_seconds())
        assert start.at - waits_from <= bound(machine, start, waits_from) + 1e-6, start


# --- a steady stream of small tasks -----------------------------------------------------------------------------------

SMALL_ONES = 9


def stream(
    big: dict[str, Any] | None = None,
    limits: dict[str, Any] | None = None,
    minutes: int = 60,
    extra: Any = (),
    small: dict[str, Any] | None = None,
) -> Outcome:
    """Ten minutes' runs of small tasks: as one ends, the next is submitted, and the money passes from hand to hand."""
    config: dict[str, Any] = {
        "total_budget": {"tokens": 1_000_000},
        "token_budgets": {"default": 100_000, "big": 300_000},
        "token_budget_multiplier": 1,
        "max_concurrent": {"total": 10, "per_type": {}},
        "reallocation": {"enabled": False},
        "emergency_reserve_percent": 10,
        "leases": {"seconds": 10_000},
        "daily_limits": {"max_tokens_total": None, "max_cost_usd": None},
        **(limits or {}),
    }
    said: list[tuple[float, dict[str, Any]]] = [(0, {"type": "LoadConfig", "config": config}), *extra]
    said.append((30, {"type": "SubmitTask", "task": "BIG", "agent_type": "big", "product": "p", "priority": "high"}))
    said[-1][1].update(big or {})
    for number in range(minutes + SMALL_ONES):
        at = max(0, (number - SMALL_ONES) * 60) + number * 0.001
        task = {"type": "SubmitTask", "task": f"low-{number}", "agent_type": "default", "product": "p"}
        said.append((at, {**task, "priority": "low", **(small or {})}))
        usage = {"tokens": 10}
        done = {"type": "CompleteTask", "task": f"low-{number}", "outcome": "completed", "usage": usage}
        said.append((at + SMALL_ONES * 60, done))
    said.sort(key=lambda pair: pair[0])
    until = minutes * 60
    messages = [
        (START + dt.timedelta(seconds=at), {"id": f"m-{number}", **message})
        for number, (at, message) in enumerate(said)
        if at <= until
    ]
    return simulated(messages, until=START + dt.timedelta(seconds=until))


def began(outcome: Outcome, task: str) -> dt.datetime | None:
    events = (decode_event(record.data, record.name) for record in outcome.records)
    return next((event.at for event in events if isinstance(event, e.TaskStarted) and event.task == task), None)


DAY = {"daily_limits": {"max_tokens_total": 1_000_000, "max_cost_usd": None}, "total_budget": {"tokens": 9_000_000}}


@pytest.mark.parametrize("limits", [{}, DAY], ids=["of the pool", "of the day"])
def test_a_large_task_starts_soon_after_it_is_aged_although_small_ones_come_all_the_time(
    limits: dict[str, Any],
) -> None:
    at = began(stream(limits=limits), "BIG")
    assert at is not None
    aged = START + dt.timedelta(seconds=30) + AGE_OF_HIGH
    assert at <= aged + dt.timedelta(minutes=SMALL_ONES), "one run of those that had the money"


def test_a_task_that_can_never_fit_keeps_nothing_from_others() -> None:
    parent = {"type": "AllocateBudget", "agent": "p1", "budget": {"tokens": 250_000}}
    paid = {"parent": "p1"}
    outcome = stream(paid, extra=[(0, parent), (1_500, {"type": "GetTask", "task": "BIG"})], small=paid)
    aged = START + dt.timedelta(seconds=30) + AGE_OF_HIGH
    starts = [at for number in range(60) if (at := began(outcome, f"low-{number}")) is not None]
    assert sum(at > aged for at in starts) >= 4, "the account has room for two of the small ones at a time"
    answers = [reply["ok"] for reply in outcome.replies if reply.get("ok", {}).get("task") == "BIG"]
    assert [answer["reason"]["code"] for answer in answers] == ["cannot_fit", "cannot_fit"]


def test_a_newcomer_and_the_queue_say_for_which_task_the_money_is_kept() -> None:
    ask = {"type": "GetQueue"}
    outcome = stream(extra=[(1_400, ask)], minutes=24)
    queue = next(reply["ok"] for reply in outcome.replies if "tasks" in reply.get("ok", {}))
    big, small, *_ = queue["tasks"]
    assert (big["task"], big["reason"]["code"]) == ("BIG", "pool_exhausted")
    assert (small["reason"]["code"], small["reason"]["behind"], small["expected_start"]) == (
        "kept_for_older",
        "BIG",
        None,
    )
    newcomers = [reply["ok"] for reply in outcome.replies if reply.get("ok", {}).get("task", "").startswith("low-")]
    kept = [one for one in newcomers if (one.get("reason") or {}).get("code") == "kept_for_older"]
    assert kept
    assert {one["reason"]["behind"] for one in kept} == {"BIG"}


# --- demand ----------------------------------------------------------------------------------------------------------


def test_a_large_task_starts_although_agents_are_given_every_token_that_comes_free() -> None:
    config = from_mapping(
        {
            "total_budget": {"tokens": 9_000},
            "token_budgets": {"default": 9_000},
            "token_budget_multiplier": 1,
            "max_pool_share_percent": 100,
            "minimum_share_percent": 0,
            "emergency_reserve_percent": 0,
            "daily_limits": {"max_tokens_total": None, "max_cost_usd": None},
        }
    )
    job = Job("0", priority="critical", arrives=5.0)
    demand = Demand(part=2_250, seconds=50)
    (start,) = through_the_fleet(config, [job], demand).starts
    assert demand.moved
    assert start.at <= 5 + 50
