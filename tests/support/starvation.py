"""Random mixes of tasks, and the bound that each of them keeps."""

from typing import Any

from hypothesis import strategies as st

from tallystick.actors.policies.scheduling.ranking import Ranking
from tallystick.config.kinds import Priority
from tallystick.config.settings import Config
from tallystick.events.messages import PRIORITIES
from tests.support.queue_machine import Job, Machine, Start, config_of


def bound(machine: Machine, start: Start, waits_from: float) -> float:
    """Seconds from ``waits_from``, when the task was aged and waited, within which it must have started."""
    config, job = machine.config, machine.jobs[start.task]
    longest = max(other.lasts for other in machine.jobs.values())
    # No task is below the lowest priority, so that it never preempts.
    preempting = sum(config.priority_levels.of(priority).preempt_lower for priority in PRIORITIES[:-1])
    place = (start.queued, machine.numbers[start.task])
    earlier = [
        machine.jobs[task].lasts
        for task, queued in machine.queued.items()
        if (queued, machine.numbers[task]) < place and machine.done[task] > waits_from
    ]
    if any(crossed(config, other) for other in machine.jobs.values()):
        turn = 2 * (1 + preempting) * longest if preempting else longest
        return (2 * len(earlier) + 1) * turn
    limits = [limit for limit in limits_of(config, job) if limit is not None]
    return (1 + preempting) * longest + sum(earlier) / min(limits) if limits else 0.0


def limits_of(config: Config, job: Job) -> tuple[int | None, int | None, int | None]:
    product = config.products.get(job.product)
    return (
        config.max_concurrent.total,
        config.max_concurrent.per_type.get(job.agent_type),
        None if product is None else product.max_concurrent_agents,
    )


def crossed(config: Config, job: Job) -> bool:
    return None not in limits_of(config, job)[1:]


def ranked_as(machine: Machine, task: str) -> set[Priority]:
    """The priorities by which a task may rank: its own, and those of the tasks that wait for it, along chains.

    The levels of these mixes are of any shape: a higher one may age later than a lower one.
    """
    reached, left = {task}, [task]
    while left:
        at = left.pop()
        waiting = [job.task for job in machine.jobs.values() if at in job.depends_on and job.task not in reached]
        reached.update(waiting)
        left += waiting
    return {machine.jobs[name].priority for name in reached}


def check(machine: Machine) -> None:
    ranking = Ranking(machine.config)
    for start in machine.starts:
        ages = [ranking.aged_after(priority) for priority in ranked_as(machine, start.task)]
        waits_from = max(start.since, start.queued + max(age.total_seconds() for age in ages if age is not None))
        if start.at > waits_from:
            assert start.at - waits_from <= bound(machine, start, waits_from) + 1e-6, start


@st.composite
def mixes(draw: st.DrawFn, *, crossing: bool, preemption: bool) -> tuple[Config, list[Job]]:
    """Levels that age in seconds or minutes, any limits, any service times, any order of arrival."""
    levels: dict[str, Any] = {}
    for priority in PRIORITIES:
        levels[priority] = {
            "weight": draw(st.sampled_from(["0", "0.25", "0.5", "1"])),
            "max_wait_time_minutes": draw(st.sampled_from([0, "0.1", 1, 5])),
            "preempt_lower": preemption and draw(st.booleans()),
        }
    names = st.integers(1, 3)
    per_type = {name: draw(names) for name in "tuv" if draw(st.booleans())}
    per_product = {name: draw(names) for name in "pqr" if (crossing or not per_type) and draw(st.booleans())}
    config = config_of(
        draw(st.one_of(st.none(), st.integers(1, 5))),
        per_type,
        per_product,
        priority_levels=levels,
        scoring={name: draw(st.sampled_from(["0.1", "0.3", "1"])) for name in ("priority", "wait", "blocking")},
        products={"p": {"weight": draw(st.sampled_from(["0.1", "1", "7"]))}},
        preemption_cooldown_minutes=draw(st.sampled_from([0, "0.5", 10])),
    )
    count = draw(st.integers(2, 40))
    jobs = []
    for number in range(count):
        depends_on = draw(st.sets(st.integers(0, number - 1), max_size=1)) if number else set()
        jobs.append(
            Job(
                f"{number}",
                draw(st.sampled_from("pqr")),
                draw(st.sampled_from("tuv")),
                draw(st.sampled_from(PRIORITIES)),
                draw(st.integers(0, 600)),
                draw(st.integers(1, 120)),
                tuple(f"{other}" for other in depends_on),
                draw(st.integers(0, 3)),
            )
        )
    return config, jobs
