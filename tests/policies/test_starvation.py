"""No task waits for ever: the published bound (docs/explanation/scheduling.md) holds for any mix of tasks.

The bound of a task that nothing but slots keeps from running, counted from when it is aged and waits:

- where no task is under both a type's and a product's limit: (1 + h) S + E / m
- else: (2 n + 1) T, where T = S without preemption, and 2 (1 + h) S with it

S is the longest that any task runs, h how many levels may preempt, m the least of the limits that the task is under, n
the number of unfinished tasks that were queued earlier, and E the time that those run.
"""

from hypothesis import given, settings

from tallystick.config.settings import Config
from tests.support.queue_machine import Job, Machine, config_of
from tests.support.starvation import check, mixes

HOUR = 3_600.0


# --- any mix ----------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(mixes(crossing=False, preemption=False))
def test_no_task_waits_longer_than_the_bound(mix: tuple[Config, list[Job]]) -> None:
    check(Machine(*mix).run())


@settings(deadline=None)
@given(mixes(crossing=False, preemption=True))
def test_no_task_waits_longer_than_the_bound_where_slots_are_taken(mix: tuple[Config, list[Job]]) -> None:
    check(Machine(*mix).run())


@settings(deadline=None)
@given(mixes(crossing=True, preemption=False))
def test_no_task_waits_longer_than_the_bound_where_limits_cross(mix: tuple[Config, list[Job]]) -> None:
    check(Machine(*mix).run())


@settings(deadline=None)
@given(mixes(crossing=True, preemption=True))
def test_no_task_waits_longer_than_the_bound_where_limits_cross_and_slots_are_taken(
    mix: tuple[Config, list[Job]],
) -> None:
    check(Machine(*mix).run())


# --- what would starve ------------------------------------------------------------------------------------------------


def test_a_low_task_passes_a_steady_surplus_of_high_ones_after_nine_hours() -> None:
    """One slot, and every ten minutes one more high task than it can serve: by score the low one would never run."""
    surplus = [Job(f"high-{i}", priority="high", arrives=i * 600, lasts=1_200) for i in range(100)]
    machine = Machine(config_of(1), [Job("low", priority="low", arrives=1), *surplus]).run(until=100 * 600)
    start = next(start for start in machine.starts if start.task == "low")
    assert 9 * HOUR < start.at <= 1 + 9 * HOUR + 1_200, "it is the oldest by far: the next slot is its own"


def test_a_low_task_of_a_product_above_its_share_is_served_when_it_is_aged() -> None:
    poor = [Job(f"poor-{i}", "poor", priority="high", arrives=i * 600, lasts=700) for i in range(80)]
    rich = [Job("rich-0", "rich", lasts=600), Job("rich-1", "rich", priority="low", arrives=1)]
    config = config_of(1, products={"rich": {"weight": "0.001"}})
    machine = Machine(config, [*rich, *poor]).run(until=80 * 600)
    assert 9 * HOUR < machine.first_start("rich-1") <= 1 + 9 * HOUR + 700


def test_a_task_is_not_kept_out_for_ever_by_others_that_take_turns_at_its_two_limits() -> None:
    """One slot for the product p, one for the type t. Whenever one of them is free, the other is not."""
    turns = [Job(f"p-{i}", "p", "u", "critical", i * 60, 70) for i in range(100)]
    turns += [Job(f"t-{i}", "q", "t", "critical", 30 + i * 60, 70) for i in range(100)]
    levels = {
        "critical": {"weight": 1, "max_wait_time_minutes": 0},
        "low": {"weight": "0.25", "max_wait_time_minutes": 1},
    }
    config = config_of(9, {"t": 1}, {"p": 1}, priority_levels=levels)
    machine = Machine(config, [Job("low", "p", "t", "low", 100), *turns]).run()
    # It is aged 135 s after it came; then the two that run end, and those that are older have their turns.
    assert machine.first_start("low") <= 100 + 135 + 3 * 70
    check(machine)


def test_a_critical_task_waits_no_longer_than_the_critical_ones_before_it_take() -> None:
    many = [Job(f"low-{i}", priority="low", lasts=HOUR) for i in range(50)]
    critical = [Job(f"critical-{i}", priority="critical", arrives=100, lasts=60) for i in range(12)]
    machine = Machine(config_of(4), [*many, *critical]).run()
    assert [machine.first_start(f"critical-{i}") for i in range(12)] == [100] * 4 + [160] * 4 + [220] * 4
