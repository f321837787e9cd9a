"""What a `Machine` would have seen of tasks that went through a whole fleet, as its log says it."""

import datetime as dt
import heapq
from decimal import Decimal

import msgspec

from tallystick.config.settings import Config, Leases, Reallocation
from tallystick.demo.campaign import Starts
from tallystick.demo.stage import Stage
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.log.codec import decode_event
from tallystick.events.log.store_memory import MemoryStore
from tallystick.events.state.conservation import check_conserved
from tests.support.core import START
from tests.support.demand import Demand
from tests.support.queue_machine import Job, Loss, Machine, Start

ENDS, COMES, DEMAND = 0, 1, 2
LATEST = 50_000


def seconds(at: dt.datetime) -> float:
    return (at - START).total_seconds()


def through_the_fleet(config: Config, jobs: list[Job], demand: Demand | None = None) -> Machine:
    """What a `Machine` would have seen, as the log of the fleet says it: one that loses its slot starts over.

    ``demand`` are agents that are given what is free as long as tasks are open.
    """
    config = msgspec.structs.replace(
        config, leases=Leases(seconds=Decimal(1_000_000)), reallocation=Reallocation(enabled=False)
    )
    jobs = in_order(jobs)
    store, starts = MemoryStore(), Starts()
    stage = Stage.opened(store, config, None, START, [starts.note])
    lasts = {job.task: job.lasts for job in jobs}
    agenda: list[tuple[float, int, int, str, str]] = [(job.arrives, COMES, i, "", "") for i, job in enumerate(jobs)]
    heapq.heapify(agenda)
    if demand is not None:
        demand.open(stage, START)
        heapq.heappush(agenda, (0.0, DEMAND, 0, "", ""))
    left = len(jobs)
    while agenda and left:
        at, what, i, task, lease = heapq.heappop(agenda)
        now = START + dt.timedelta(seconds=at)
        if demand is not None and what == DEMAND:
            assert at < LATEST, "some task never starts"
            stage.pass_time(now)
            demand.take_turn(stage, now)
            heapq.heappush(agenda, (at + demand.every, DEMAND, 0, "", ""))
        elif what == COMES:
            (answer,) = stage.say([submission(jobs[i])], "test", now)
            assert "ok" in answer, answer
        else:
            stage.pass_time(now)
            run = stage.ledger.tasks.running.get(task)
            if run is not None and run.lease == lease:
                done = c.CompleteTask(id=f"done-{task}", task=task, outcome="completed", lease=lease)
                stage.say([done], "test", now)
                left -= 1
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
