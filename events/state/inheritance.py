"""Inherited priorities: a task ranks by the highest among its own and those of the tasks that wait for it (spec 3).

It holds along chains: what waits for a waiting task counts for what that one waits for. Levels are indexes of
`PRIORITIES`, so the least is the highest. Each task counts the tasks that wait for it by their level, and a change
goes on only as long as levels change: a task is passed three times at most. All of it follows from who waits for
whom and from the priorities in force, so a snapshot keeps none of it.
"""

from collections.abc import Callable, Iterator, Mapping

from tallystick.config.kinds import Priority
from tallystick.events.messages.command import PRIORITIES
from tallystick.events.state.tasks import Task, Tasks

Known = Mapping[str, Task]
"""Tasks by id."""


def own_priority(task: Task) -> Priority:
    """The priority that a task has by itself now."""
    return PRIORITIES[task.own_level]


def effective_priority(task: Task) -> Priority:
    """The priority by which a task is ranked, aged and preempted now: its own, or a higher one that it inherits."""
    return PRIORITIES[task.level]


def inherited_from(known: Known, task: Task) -> Task | None:
    """The waiting task whose own priority a task inherits, the earliest of several; None where it ranks by its own."""
    at = task
    for _ in known:
        if at.own_level == task.level:
            break
        waiting = (known[name] for name in at.dependents or ())
        at = min((one for one in waiting if one.level == task.level), key=lambda one: one.number, default=task)
    return None if at is task else at


def relevel(tasks: Tasks, own: Callable[[Task], Priority]) -> None:
    """Find all levels anew: the priorities that tasks have by themselves have changed, or were not known yet."""
    known = tasks.known
    for task in known.values():
        task.own_level = task.level = PRIORITIES.index(own(task))
        task.waiting_levels = None
    for task in known.values():
        for name in task.unmet:
            known[name].count_waiting(task.level, 1)
    for task in known.values():
        tasks.pass_on(task)


def wrong(known: Known) -> Iterator[str]:
    """The open tasks whose level is not the highest of their own and of those that wait for them."""
    for task in known.values():
        if task.is_open:
            waiting = (known[name].level for name in task.dependents or ())
            if task.level != min((task.own_level, *waiting)):
                yield f"{task.id} is ranked as {effective_priority(task)}, and {own_priority(task)} is its own"
