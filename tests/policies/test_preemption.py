"""Whose slot goes to a task that must not wait, and that no task can be kept from running by it for ever."""

import datetime as dt
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.actors.policies.scheduling.preemption import next_victim_at, preempt
from tallystick.actors.policies.scheduling.queue import Queue
from tallystick.actors.policies.scheduling.ranking import Moment
from tallystick.actors.policies.scheduling.slots import Limits, Slots
from tallystick.actors.policies.scheduling.tasks import LEVEL, Kind, Running
from tallystick.config.kinds import Priority
from tallystick.config.settings import Config
from tallystick.events.messages import PRIORITIES
from tests.support.core import START
from tests.support.queue_machine import Job, Machine, config_of, may_start
from tests.support.ranking import queue_of, waiting

MINUTE = dt.timedelta(minutes=1)
CRITICAL = waiting("critical", "critical")


def running(
    task: str,
    priority: Priority = "normal",
    minutes: float = 5,
    product: str = "q",
    agent_type: str = "u",
    aged: bool = False,
    preempted: float | None = None,
) -> Running:
    """A task that has run so many minutes at `START`, and was ``preempted`` so many minutes before."""
    last = None if preempted is None else START - preempted * MINUTE
    return Running(task, Kind(product, agent_type, priority), START - minutes * MINUTE, aged, last)


def victim(queue: Queue, config: Config, *tasks: Running) -> str | None:
    slots = Slots(Limits.of(config))
    for task in tasks:
        slots.take(task.kind)
    found = preempt(queue, slots, tasks, Moment(START, 100), may_start, config)
    return None if found is None else found.victim.task


# --- who --------------------------------------------------------------------------------------------------------------


def test_the_lowest_level_gives_its_slot_first_and_of_it_who_has_run_the_shortest() -> None:
    tasks = [
        running("high", "high", 1),
        running("long", "low", 9),
        running("short", "low", 3),
        running("normal", minutes=2),
    ]
    assert victim(queue_of(CRITICAL), config_of(4), *tasks) == "short"
    assert victim(queue_of(CRITICAL), config_of(3), *tasks[::3], tasks[0]) == "normal"


def test_no_run_gives_its_slot_to_its_own_priority_or_a_lower_one() -> None:
    assert victim(queue_of(CRITICAL), config_of(1), running("a", "critical")) is None
    assert victim(queue_of(waiting("high", "high")), config_of(1), running("a", "low")) is None, "high does not preempt"
    high_preempts = config_of(
        1, priority_levels={"high": {"weight": "0.75", "max_wait_time_minutes": 15, "preempt_lower": True}}
    )
    assert victim(queue_of(waiting("high", "high")), high_preempts, running("a", "low")) == "a"
    assert victim(queue_of(waiting("high", "high")), high_preempts, running("a", "high")) is None


def test_only_a_slot_that_is_really_missing_is_taken() -> None:
    other, same = running("other", "low"), running("same", agent_type="t")
    assert victim(queue_of(CRITICAL), config_of(9, {"t": 1}), other, same) == "same", "the type is full"
    assert victim(queue_of(CRITICAL), config_of(2, {"t": 2}), other, same) == "other", "the total is full"
    assert victim(queue_of(CRITICAL), config_of(2, {"t": 1}), other, same) == "same", "both are"
    product = running("product", product="p")
    assert victim(queue_of(CRITICAL), config_of(9, {}, {"p": 1}), other, product) == "product"
    assert victim(queue_of(CRITICAL), config_of(9, {"t": 1}, {"p": 1}), same, product) is None, (
        "no one has what is missing"
    )
    both = running("both", product="p", agent_type="t")
    assert victim(queue_of(CRITICAL), config_of(9, {"t": 1}, {"p": 1}), both) == "both"


def test_after_a_limit_was_lowered_one_slot_may_not_be_enough() -> None:
    assert victim(queue_of(CRITICAL), config_of(1), running("a"), running("b")) is None


def test_who_was_aged_when_it_was_admitted_is_safe() -> None:
    assert victim(queue_of(CRITICAL), config_of(1), running("a", "low", aged=True)) is None


def test_who_was_preempted_is_safe_until_the_cooldown_is_over() -> None:
    assert victim(queue_of(CRITICAL), config_of(1), running("a", preempted=9.99)) is None
    assert victim(queue_of(CRITICAL), config_of(1), running("a", preempted=10)) == "a"
    assert victim(queue_of(CRITICAL), config_of(1, preemption_cooldown_minutes=30), running("a", preempted=10)) is None


def test_when_to_look_again_is_when_the_next_cooldown_ends() -> None:
    tasks = [running("a", preempted=9), running("b", preempted=4), running("c", preempted=11), running("d")]
    assert next_victim_at(tasks, START, Config()) == START + MINUTE
    assert next_victim_at([running("a", preempted=9, aged=True), *tasks[2:]], START, Config()) is None


def test_who_waits_for_something_else_than_a_slot_takes_none() -> None:
    slots = Slots(Limits(1, {}, {}))
    slots.take(running("a").kind)
    assert preempt(queue_of(CRITICAL), slots, [running("a")], Moment(START, 2), lambda task: False, Config()) is None


def test_of_those_that_preempt_the_best_goes_first() -> None:
    queue = queue_of(
        waiting("younger", "critical", 1, number=1), waiting("older", "critical", 2, number=2, agent_type="u")
    )
    slots = Slots(Limits(1, {}, {}))
    slots.take(running("a").kind)
    found = preempt(queue, slots, [running("a")], Moment(START, 9), may_start, Config())
    assert found is not None
    assert (found.ranked.waiting.task, found.ranked.aged) == ("older", True)


def test_a_slot_that_an_aged_task_waits_for_is_not_taken_past_it() -> None:
    """The aged task lacks a slot of the total only; a critical one that came later may not fill its type meanwhile."""
    aged = waiting("aged", "low", 600)
    queue = queue_of(aged, waiting("critical", "critical", number=1))
    config = config_of(2, {"t": 1})
    assert victim(queue, config, running("a"), running("b")) is None
    config = config_of(2, {"t": 2})
    assert victim(queue, config, running("a"), running("same type", agent_type="t")) == "same type"
    assert victim(queue_of(CRITICAL), config_of(2, {"t": 1}), running("a"), running("b", minutes=9)) == "a"


# --- over time --------------------------------------------------------------------------------------------------------


def test_a_preempted_task_keeps_its_place_and_runs_again_when_there_is_room() -> None:
    jobs = [
        Job("low", priority="low", lasts=100),
        Job("next", priority="low", arrives=10),
        Job("c", priority="critical", arrives=20),
    ]
    machine = Machine(config_of(1), jobs).run()
    assert [(start.task, start.at) for start in machine.starts] == [("low", 0), ("c", 20), ("low", 80), ("next", 180)]
    assert [tuple(loss) for loss in machine.losses] == [("low", "c", 20)]


def test_a_critical_task_looks_again_when_a_cooldown_ends() -> None:
    hour = 3_600.0
    jobs = [
        Job("low", priority="low", lasts=hour),
        Job("c1", priority="critical", arrives=60),
        Job("c2", priority="critical", arrives=180, lasts=30),
    ]
    machine = Machine(config_of(1), jobs).run()
    assert [(loss.by, loss.at) for loss in machine.losses] == [("c1", 60), ("c2", 660)]


@st.composite
def contests(draw: st.DrawFn) -> tuple[Config, list[Job]]:
    """Tasks of all priorities that may preempt one another, as the priorities say, with any cooldown."""
    levels: dict[str, Any] = {}
    for priority, weight in zip(PRIORITIES, ("1.0", "0.75", "0.5", "0.25"), strict=True):
        wait = draw(st.sampled_from([0, 1, 15, 1_000]))
        levels[priority] = {"weight": weight, "max_wait_time_minutes": wait, "preempt_lower": draw(st.booleans())}
    limits = st.dictionaries(st.sampled_from("tu"), st.integers(1, 3))
    products = st.dictionaries(st.sampled_from("pq"), st.integers(1, 3))
    config = config_of(
        draw(st.integers(1, 4)),
        draw(limits),
        draw(products),
        priority_levels=levels,
        preemption_cooldown_minutes=draw(st.sampled_from([0, 1, 10])),
    )
    job = st.builds(
        Job,
        task=st.just(""),
        product=st.sampled_from("pq"),
        agent_type=st.sampled_from("tu"),
        priority=st.sampled_from(PRIORITIES),
        arrives=st.integers(0, 1_000),
        lasts=st.integers(1, 1_000),
        depends_on=st.just(()),
        blocks=st.integers(0, 2),
    )
    jobs = draw(st.lists(job, min_size=1, max_size=30))
    return config, [job._replace(task=f"{number}") for number, job in enumerate(jobs)]


@settings(deadline=None)
@given(contests())
def test_any_number_of_tasks_that_may_preempt_one_another_make_progress(contest: tuple[Config, list[Job]]) -> None:
    config, jobs = contest
    machine = Machine(config, jobs).run()
    assert set(machine.done) == {job.task for job in jobs}, "all are done in the end"
    levels = {job.task: LEVEL[job.priority] for job in jobs}
    assert all(levels[loss.by] < levels[loss.victim] for loss in machine.losses)
    for loss in machine.losses:
        lost = [start for start in machine.starts if start.task == loss.victim and start.at <= loss.at][-1]
        assert not lost.aged, "who was admitted aged runs to its end"
    # Between two completions a slot changes hands at most once per level that preempts.
    preempting = sum(config.priority_levels.of(priority).preempt_lower for priority in PRIORITIES[:3])
    marks = sorted([0.0, *machine.done.values()])
    for before, after in pairwise([*marks, float("inf")]):
        losses = sum(before <= loss.at < after for loss in machine.losses)
        assert losses <= preempting * (config.max_concurrent.total or 0)


@settings(deadline=None)
@given(contests())
def test_no_run_is_preempted_again_within_the_cooldown(contest: tuple[Config, list[Job]]) -> None:
    config, jobs = contest
    machine = Machine(config, jobs).run()
    cooldown = float(config.preemption_cooldown_minutes) * 60
    for job in jobs:
        moments = [loss.at for loss in machine.losses if loss.victim == job.task]
        assert all(later - earlier >= cooldown for earlier, later in pairwise(moments))
