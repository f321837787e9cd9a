"""Tasks as a snapshot keeps them."""

import heapq
from operator import attrgetter
from typing import Any

import msgspec

from tallystick.events.state.tasks import Task, Tasks


class PackedTasks(msgspec.Struct, array_like=True, gc=False):
    """All tasks, in the order in which they are known; those that run, in the order in which they started.

    What other tasks say about a task (which ones wait for it, what it is counted under) is found again.
    """

    known: list[Task]
    running: list[str]
    submitted: int
    finished: list[tuple[int, str]]


def kept(kind: type[msgspec.Struct]) -> "attrgetter[Any]":
    """A function that reads off an object what a snapshot keeps of it: its fields without a default, in their order."""
    return attrgetter(*(field.name for field in msgspec.structs.fields(kind) if field.required))


_FIELDS = Task.__struct_fields__
_kept = attrgetter(*_FIELDS[: _FIELDS.index("dependents")])


def pack(tasks: Tasks) -> PackedTasks:
    """The tasks as plain values, equal for equal states."""
    known: list[Any] = [_kept(task) for task in tasks.known.values()]
    return PackedTasks(known, list(tasks.running), tasks.submitted, list(tasks.finished))


def unpack(packed: PackedTasks) -> Tasks:
    """The tasks that `pack` was given."""
    tasks = Tasks()
    tasks.submitted = packed.submitted
    tasks.known = {task.id: task for task in packed.known}
    for task in sorted(tasks.known.values(), key=lambda task: task.number):
        if not task.is_open:
            if task.because is not None:
                tasks.fell_with(task, task.because)
            continue
        tasks.open += 1
        tasks.queued += task.state == "queued"
        if task.parent is not None:
            tasks.by_account.setdefault(task.parent, {})[task.id] = task
        for name in task.unmet:
            needed = tasks.known[name]
            needed.dependents = {} if needed.dependents is None else needed.dependents
            needed.dependents[task.id] = None
    for name in packed.running:
        task = tasks.running[name] = tasks.known[name]
        tasks.by_type[task.agent_type] += 1
        tasks.by_product[task.product] += 1
        assert task.lease_expires_at is not None
        heapq.heappush(tasks.leases, (task.lease_expires_at, name))
    tasks.finished.extend(packed.finished)
    return tasks
