"""No task waits for ever, and one that may take slots makes progress: through core and allocator, for any mix of tasks.

The same mixes and the same published bound (docs/explanation/scheduling.md) as for the policies alone
(`tests/policies/test_starvation.py`); here the fleet submits, starts, preempts and completes, and the log says when.
"""

from collections import Counter

from hypothesis import given, settings

from tallystick.config.settings import Config
from tallystick.events.messages import PRIORITIES
from tests.support.examples import examples
from tests.support.fleet_machine import through_the_fleet
from tests.support.queue_machine import Job, config_of
from tests.support.starvation import check, mixes

CHANCE = settings(max_examples=examples(40), deadline=None)


@CHANCE
@given(mixes(crossing=False, preemption=False))
def test_no_task_waits_longer_than_the_bound(mix: tuple[Config, list[Job]]) -> None:
    check(through_the_fleet(*mix))


@CHANCE
@given(mixes(crossing=False, preemption=True))
def test_no_task_waits_longer_than_the_bound_where_slots_are_taken(mix: tuple[Config, list[Job]]) -> None:
    check(through_the_fleet(*mix))


@CHANCE
@given(mixes(crossing=True, preemption=True))
def test_no_task_waits_longer_than_the_bound_where_limits_cross_and_slots_are_taken(
    mix: tuple[Config, list[Job]],
) -> None:
    check(through_the_fleet(*mix))


@CHANCE
@given(mixes(crossing=True, preemption=True))
def test_a_task_that_may_take_slots_makes_progress(mix: tuple[Config, list[Job]]) -> None:
    """Everybody ends, and between two ends no slot changes hands more often than there are priorities that take one."""
    machine = through_the_fleet(*mix)
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
    machine = through_the_fleet(config, jobs)
    assert machine.done.keys() == machine.jobs.keys()
    assert machine.losses
