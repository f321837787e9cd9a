"""When a waiting task is expected to start."""

import datetime as dt

from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.actors.policies.scheduling.dispatch import MayStart
from tallystick.actors.policies.scheduling.expected_starts import FOREMOST, expected_starts
from tallystick.actors.policies.scheduling.queue import Queue
from tallystick.actors.policies.scheduling.ranking import Moment
from tallystick.actors.policies.scheduling.slots import Limits, Slots
from tallystick.actors.policies.scheduling.tasks import Kind, Running, Waiting
from tallystick.config.settings import Config
from tests.support.core import START
from tests.support.queue_machine import Job, Machine, config_of, may_start
from tests.support.ranking import RANKING

MINUTE = dt.timedelta(minutes=1)
KIND = Kind("p", "t", "normal")


def running(task: str, ends: float | None, kind: Kind = KIND) -> Running:
    """A task that is expected to end so many minutes after `START`."""
    return Running(task, kind, START - MINUTE, ends_at=None if ends is None else START + ends * MINUTE)


class Line(Queue):
    """Tasks that wait, and how long each is expected to last."""

    def __init__(self) -> None:
        super().__init__(RANKING)
        self.lasts: dict[str, dt.timedelta] = {}


def lines(*lasts: float | None, kind: Kind = KIND) -> Line:
    """Tasks 0, 1, … that wait in this order and are expected to last so many minutes."""
    queue = Line()
    for number, minutes in enumerate(lasts):
        queue.add(Waiting(f"{number}", kind, START, number))
        if minutes is not None:
            queue.lasts[f"{number}"] = minutes * MINUTE
    return queue


def expected(queue: Line, limits: Limits, *tasks: Running, allowed: MayStart = may_start) -> dict[str, float]:
    """Minutes after `START`, by task."""
    slots = Slots(limits)
    for task in tasks:
        slots.take(task.kind)
    found = expected_starts(queue, slots, tasks, Moment(START, 1_000), allowed, queue.lasts.get)
    return {task: (at - START) / MINUTE for task, at in found.items() if isinstance(at, dt.datetime)}


def test_the_next_starts_when_the_current_task_finishes() -> None:
    """Seed 000: `"expected_start": "2026-01-26T15:00:00Z"  # When current task finishes`, half an hour from now."""
    one, two = running("one", 30), running("two", 50)
    assert expected(lines(20), Limits(2, {}, {}), one, two) == {"0": 30}


def test_those_behind_it_start_when_it_or_another_finishes() -> None:
    tasks = [running("one", 30), running("two", 50)]
    assert expected(lines(40, 5, 5), Limits(2, {}, {}), *tasks) == {"0": 30, "1": 50, "2": 55}


def test_a_task_that_is_overdue_is_expected_to_end_now() -> None:
    assert expected(lines(1), Limits(1, {}, {}), running("one", -20)) == {"0": 0}


def test_where_it_is_not_known_when_a_slot_is_free_nothing_is_said() -> None:
    assert expected(lines(1), Limits(1, {}, {}), running("one", None)) == {}
    assert expected(lines(None, 1), Limits(1, {}, {}), running("one", 30)) == {"0": 30}
    assert expected(lines(1), Limits(2, {}, {}), running("one", 30), running("two", None)) == {"0": 30}


def test_a_task_waits_for_its_own_limits_and_others_pass_it() -> None:
    queue = lines(10)
    queue.add(Waiting("other", Kind("q", "u", "low"), START, 9))
    tasks = [running("one", 30), running("two", 20, Kind("q", "u", "low"))]
    assert expected(queue, Limits(2, {"t": 1}, {}), *tasks) == {"0": 30, "other": 20}
    assert expected(queue, Limits(9, {}, {"p": 1}), *tasks) == {"0": 30, "other": 0}


def test_tasks_that_end_at_one_moment_need_no_order_of_their_kinds() -> None:
    paid = Kind("p", "t", "normal", "parent")
    assert expected(lines(5), Limits(2, {}, {}), running("one", 30), running("two", 30, paid)) == {"0": 30}


def test_of_a_task_in_whose_way_is_something_else_nothing_is_said() -> None:
    found = expected(lines(10, 10), Limits(1, {}, {}), running("one", 30), allowed=lambda task: task.task != "0")
    assert found == {"1": 30}


def test_only_the_foremost_of_the_queue_are_looked_at() -> None:
    found = expected(lines(*[1.0] * (FOREMOST + 50)), Limits(1, {}, {}), running("one", 30))
    assert list(found.values()) == [30 + i for i in range(FOREMOST)]


def test_who_is_over_the_limit_must_end_first() -> None:
    assert expected(lines(1), Limits(1, {}, {}), running("one", 30), running("two", 50)) == {"0": 50}


@st.composite
def queues(draw: st.DrawFn) -> tuple[Config, list[Job]]:
    """One level and one product, so that the order of the queue does not change while it is served."""
    config = config_of(draw(st.integers(1, 4)), {name: draw(st.integers(1, 3)) for name in "tu" if draw(st.booleans())})
    jobs = draw(
        st.lists(st.tuples(st.sampled_from("tu"), st.integers(1, 5_000), st.booleans()), min_size=1, max_size=40)
    )
    return config, [
        Job(f"{number}", agent_type=agent_type, arrives=100.0 if later else 0.0, lasts=lasts)
        for number, (agent_type, lasts, later) in enumerate(jobs)
    ]


@settings(deadline=None)
@given(queues())
def test_what_is_expected_happens_where_every_task_lasts_as_long_as_it_is_expected_to(
    scene: tuple[Config, list[Job]],
) -> None:
    machine = Machine(*scene).run(until=100)
    running = machine.running.values()
    found = expected_starts(
        machine.queue,
        machine.slots,
        running,
        machine.moment,
        may_start,
        lambda task: dt.timedelta(seconds=machine.jobs[task].lasts),
    )
    waited = {ranked.waiting.task for ranked in machine.queue.ranked(machine.moment)}
    assert found.keys() == waited
    machine.run()
    assert {task: machine.at(machine.first_start(task)) for task in waited} == found
