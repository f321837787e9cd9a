"""When a waiting task will start, as far as that can be told (`expected_start`)."""

import datetime as dt
import heapq
import itertools
from collections import deque
from collections.abc import Iterable

from tallystick.actors.policies.dispatch import MayStart
from tallystick.actors.policies.queue import Queue
from tallystick.actors.policies.ranking import Moment
from tallystick.actors.policies.slots import Slots
from tallystick.actors.policies.tasks import Kind, Running, Waiting

FOREMOST = 100
"""How many of the queue are looked at: the work is bounded, and what is farther off is anybody's guess."""


def expected_starts(
    queue: Queue, slots: Slots, running: Iterable[Running], moment: Moment, may_start: MayStart
) -> dict[str, dt.datetime]:
    """When each of the foremost tasks of the queue is expected to start, by task.

    The queue is played through as it stands now: whoever runs ends when it is expected to (at once, if that time has
    passed), and then the first in order starts that fits under the limits. Not foreseen: newcomers, changes of rank,
    preemption. A task is left out where nothing tells: it is not among the `FOREMOST`, something other than slots is in
    its way, or it would need the slot of a task of which nobody knows when it ends.
    """
    now = moment.now
    foremost = (ranked.waiting for ranked in itertools.islice(queue.ranked(moment), FOREMOST))
    lines = _lines(waiting for waiting in foremost if may_start(waiting))
    trial = slots.copy()
    ends = [(max(task.ends_at, now), task.kind) for task in running if task.ends_at is not None]
    heapq.heapify(ends)
    starts: dict[str, dt.datetime] = {}
    while True:
        while (waiting := _next(lines, trial)) is not None:
            starts[waiting.task] = now
            trial.take(waiting.kind)
            if waiting.lasts is not None:
                heapq.heappush(ends, (now + waiting.lasts, waiting.kind))
        if not (lines and ends):
            return starts
        now = ends[0][0]
        while ends and ends[0][0] == now:
            trial.give_back(heapq.heappop(ends)[1])


_Lines = dict[tuple[str, str], deque[tuple[int, Waiting]]]
"""Tasks with their place, by what the limits tell apart: product and agent type."""


def _lines(waiting: Iterable[Waiting]) -> _Lines:
    lines: _Lines = {}
    for place, task in enumerate(waiting):
        lines.setdefault((task.kind.product, task.kind.agent_type), deque()).append((place, task))
    return lines


def _next(lines: _Lines, slots: Slots) -> Waiting | None:
    """Take the first task out of its line that fits under the limits."""
    if slots.full:
        return None
    fitting = [line for line in lines.values() if _fits(line[0][1].kind, slots)]
    if not fitting:
        return None
    line = min(fitting, key=lambda line: line[0][0])
    _, waiting = line.popleft()
    if not line:
        del lines[waiting.kind.product, waiting.kind.agent_type]
    return waiting


def _fits(kind: Kind, slots: Slots) -> bool:
    return all(left is None or left > 0 for left in slots.left(kind))
