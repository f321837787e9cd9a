"""When a waiting task will start, as far as that is known (`expected_start`)."""

import datetime as dt
import heapq
import itertools
from collections import deque
from collections.abc import Callable, Iterable

from tallystick.actors.policies.scheduling.dispatch import MayStart
from tallystick.actors.policies.scheduling.queue import Queue
from tallystick.actors.policies.scheduling.ranking import Moment
from tallystick.actors.policies.scheduling.slots import Slots
from tallystick.actors.policies.scheduling.tasks import Kind, Running, Waiting
from tallystick.events.catalog.tasks import WhyUnknown
from tallystick.events.state.calendar import NEVER, later

FOREMOST = 100
"""How many of the queue are looked at: the work is bounded, and what is farther off is a guess."""


Lasts = Callable[[str], dt.timedelta | None]
"""How long a task is expected to run, by its name; None where it is not known."""


Expectation = dt.datetime | WhyUnknown
"""When a task is expected to start, or why that is not known."""


def expected_starts(
    queue: Queue,
    slots: Slots,
    running: Iterable[Running],
    moment: Moment,
    may_start: MayStart,
    lasts: Lasts,
    pays: MayStart = lambda waiting: True,
) -> dict[str, Expectation]:
    """When each of the foremost tasks of the queue is expected to start, by task.

    The queue is played through as it stands now: each running task ends when it is expected to (at once, if that time
    has passed), and then the first in order starts that fits under the limits. Not expected: newcomers, changes of
    rank, preemption, money that comes back. Where a start is not known, there is a word for it: something other than
    slots is in the task's way, or it would need the slot of a task of which the end is not known. A task that is not
    among the `FOREMOST` is left out. ``lasts`` is asked about each task, and ``pays`` in the order of the starts:
    whether what was free before is enough for one more.
    """
    now = moment.now
    starts: dict[str, Expectation] = {}
    ready = []
    for ranked in itertools.islice(queue.ranked(moment), FOREMOST):
        if may_start(ranked.waiting):
            ready.append(ranked.waiting)
        else:
            starts[ranked.waiting.task] = "held_up"
    trial, number = slots.copy(), itertools.count()
    lines = _Lines(ready, trial)
    # Of equal moments the one that was put in first: kinds have no order.
    ends = [(max(task.ends_at, now), next(number), task.kind) for task in running if task.ends_at is not None]
    heapq.heapify(ends)
    while True:
        while (waiting := lines.next()) is not None:
            if not pays(waiting):
                starts[waiting.task] = "behind_others"
                continue
            starts[waiting.task] = now
            trial.take(waiting.kind)
            for_so_long = lasts(waiting.task)
            if for_so_long is not None:
                heapq.heappush(ends, (later(now, for_so_long), next(number), waiting.kind))
        if not (lines and ends) or ends[0][0] == NEVER:
            unknown: WhyUnknown = "beyond_calendar" if ends else "end_unknown"
            return {**dict.fromkeys((one.task for one in ready), unknown), **starts}
        now = ends[0][0]
        while ends and ends[0][0] == now:
            kind = heapq.heappop(ends)[2]
            trial.give_back(kind)
            lines.freed(kind)


_Name = tuple[str, str]
"""Product and agent type: what the limits tell apart."""


class _Lines:
    """Tasks that wait, those of one product and agent type in one line. A line that does not fit is not looked at again
    before a slot of its product or its type is free.
    """

    def __init__(self, waiting: Iterable[Waiting], slots: Slots) -> None:
        self._slots = slots
        self._lines: dict[_Name, deque[tuple[int, Waiting]]] = {}
        for place, task in enumerate(waiting):
            self._lines.setdefault((task.kind.product, task.kind.agent_type), deque()).append((place, task))
        self._ready = [(line[0][0], name) for name, line in self._lines.items()]
        """A heap of the lines that may fit, by the place of their first."""
        self._aside: set[_Name] = set()

    def __len__(self) -> int:
        return len(self._lines)

    def next(self) -> Waiting | None:
        """Take the first task out of its line that fits under the limits."""
        while self._ready and not self._slots.full:
            name = heapq.heappop(self._ready)[1]
            line = self._lines[name]
            if not _fits(line[0][1].kind, self._slots):
                self._aside.add(name)
                continue
            _, waiting = line.popleft()
            if line:
                heapq.heappush(self._ready, (line[0][0], name))
            else:
                del self._lines[name]
            return waiting
        return None

    def freed(self, kind: Kind) -> None:
        """A slot of this kind is free."""
        for name in [one for one in self._aside if one[0] == kind.product or one[1] == kind.agent_type]:
            self._aside.remove(name)
            heapq.heappush(self._ready, (self._lines[name][0][0], name))


def _fits(kind: Kind, slots: Slots) -> bool:
    return all(left is None or left > 0 for left in slots.left(kind))
