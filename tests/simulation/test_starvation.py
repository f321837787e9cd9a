"""Nobody waits for ever, and whoever may take slots makes progress: through core and allocator, for any mix of tasks.

The same mixes and the same published bound (docs/explanation/scheduling.md) as for the policies alone
(`tests/policies/test_starvation.py`); here the fleet submits, starts, preempts and completes, and the log says when.
"""

import datetime as dt
import heapq
from collections import Counter
from decimal import Decimal

import msgspec
from hypothesis import given, settings

from tallystick.config.settings import Config, Leases, Reallocation
from tallystick.demo.campaign import Starts
from tallystick.demo.stage import Stage
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.log.codec import decode_event
from tallystick.events.log.store_memory import MemoryStore
from tallystick.events.messages import PRIORITIES
from tallystick.events.state.conservation import check_conserved
from tests.support.core import START
from tests.support.examples import examples
from tests.support.queue_machine import Job, Loss, Machine, Start, config_of
from tests.support.starvation import check, mixes

ENDS, COMES = 0, 1
CHANCE = settings(max_examples=examples(40), deadline=None)


def seconds(at: dt.datetime) -> float:
    return (at - START).total_seconds()


def through_the_house(config: Config, jobs: list[Job]) -> Machine:
    """What a `Machine` would have seen, as the log of the fleet says it: one that loses its slot starts over."""
    config = msgspec.structs.replace(
        config, leases=Leases(seconds=Decimal(1_000_000)), reallocation=Reallocation(enabled=False)
    )
    jobs = in_order(jobs)
    store, starts = MemoryStore(), Starts()
    stage = Stage.opened(store, config, None, START, [starts.note])
    lasts = {job.task: job.lasts for job in jobs}
    agenda: list[tuple[float, int, int, str, str]] = [(job.arrives, COMES, i, "", "") for i, job in enumerate(jobs)]
    heapq.heapify(agenda)
    while agenda:
        at, what, i, task, lease = heapq.heappop(agenda)
        now = START + dt.timedelta(seconds=at)
        if what == COMES:
            (answer,) = stage.say([submission(jobs[i])], "test", now)
            assert "ok" in answer, answer
        else:
            stage.pass_time(now)
            run = stage.ledger.tasks.running.get(task)
            if run is not None and run.lease == lease:
                done = c.CompleteTask(id=f"done-{task}", task=task, outcome="completed", lease=lease)
                stage.say([done], "test", now)
        for event in starts.heard():
            over = seconds(event.at) + lasts[event.task]
            heapq.heappush(agenda, (over, ENDS, event.position, event.task, event.lease))
    check_conserved(stage.ledger)
    return as_seen(store, config, jobs)


def in_order(jobs: list[Job]) -> list[Job]:
    """The jobs in the order of submission, each after those that it depends on."""
    arrives: dict[str, float] = {}
    for job in jobs:
        arrives[job.task] = max([job.arrives, *(arrives[name] for name in job.depends_on)])
    moved = [job._replace(arrives=arrives[job.task]) for job in jobs]
    return sorted(moved, key=lambda job: (job.arrives, int(job.task)))


def submission(job: Job) -> c.SubmitTask:
    return c.SubmitTask(
        id=f"new-{job.task}",
        task=job.task,
        agent_type=job.agent_type,
        product=job.product,
        priority=job.priority,
        depends_on=list(job.depends_on),
        blocks=job.blocks,
    )


def as_seen(store: MemoryStore, config: Config, jobs: list[Job]) -> Machine:
    """A machine with what happened, without its having run."""
    machine = Machine(config, jobs)
    since: dict[str, float] = {}
    for record in store.read():
        event = decode_event(record.data, record.name)
        now = seconds(event.at)
        match event:
            case e.TaskSubmitted():
                since[event.task] = now
            case e.TaskQueued():
                since[event.task] = now
            case e.TaskStarted():
                machine.queued[event.task] = seconds(event.queued_at)
                start = Start(event.task, now, max(since[event.task], seconds(event.queued_at)), 0.0, event.aged)
                machine.starts.append(start._replace(queued=seconds(event.queued_at)))
            case e.TaskPreempted():
                machine.losses.append(Loss(event.task, event.beneficiary, now))
                since[event.task] = now
            case e.TaskCompleted():
                machine.done[event.task] = now
    return machine


@CHANCE
@given(mixes(crossing=False, preemption=False))
def test_nobody_waits_longer_than_the_bound(mix: tuple[Config, list[Job]]) -> None:
    check(through_the_house(*mix))


@CHANCE
@given(mixes(crossing=False, preemption=True))
def test_nobody_waits_longer_than_the_bound_where_slots_are_taken(mix: tuple[Config, list[Job]]) -> None:
    check(through_the_house(*mix))


@CHANCE
@given(mixes(crossing=True, preemption=True))
def test_nobody_waits_longer_than_the_bound_where_limits_cross_and_slots_are_taken(
    mix: tuple[Config, list[Job]],
) -> None:
    check(through_the_house(*mix))


@CHANCE
@given(mixes(crossing=True, preemption=True))
def test_whoever_may_take_slots_makes_progress(mix: tuple[Config, list[Job]]) -> None:
    """Everybody ends, and between two ends no slot changes hands more often than there are levels that may take one."""
    machine = through_the_house(*mix)
    assert machine.done.keys() == machine.jobs.keys()
    levels = machine.config.priority_levels
    preempting = sum(levels.of(priority).preempt_lower for priority in PRIORITIES[:-1])
    slots = machine.config.max_concurrent.total or len(machine.jobs)
    ends = sorted(set(machine.done.values()))
    between = Counter(sum(end <= loss.at for end in ends) for loss in machine.losses)
    assert max(between.values(), default=0) <= preempting * slots


def test_a_hundred_tasks_of_three_levels_that_all_may_take_slots_all_end() -> None:
    levels = {"preempt_lower": True, "weight": "0.5", "max_wait_time_minutes": 600}
    named = dict.fromkeys(("critical", "high", "normal"), levels)
    config = config_of(3, priority_levels=named, preemption_cooldown_minutes=0)
    jobs = [
        Job(f"{i}", f"p{i % 3}", priority=PRIORITIES[3 - i * 4 // 100], arrives=float(i), lasts=50.0)
        for i in range(100)
    ]
    machine = through_the_house(config, jobs)
    assert machine.done.keys() == machine.jobs.keys()
    assert machine.losses
