"""What the tasks of a day came to, out of the rows of the view of tasks: slots, waits, what a task costs and takes.

Waits are of runs that started and of tasks that wait, with what they have waited so far: a queue that stands still
must not look like one in which nothing waits.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tallystick.projections.reports.status import Status
from tallystick.projections.store.view_store import ViewStore
from tallystick.projections.views.task_rows import AT_ONCE_MS, DayRow, LotRow, ModelRow, TaskRow, decode
from tallystick.projections.views.tasks import TasksView

Number = int | float
_MILLISECOND = dt.timedelta(milliseconds=1)
_MS_PER_MINUTE = 60_000


class Waits(NamedTuple):
    """How many runs there were, how many of them had waited, and how long: in all, and the longest."""

    runs: int = 0
    waited: int = 0
    waited_ms: int = 0
    longest_ms: int = 0

    def plus(self, runs: int, waited: int, waited_ms: int, longest_ms: int) -> "Waits":
        return Waits(
            self.runs + runs, self.waited + waited, self.waited_ms + waited_ms, max(self.longest_ms, longest_ms)
        )

    def plus_wait(self, waited_ms: int) -> "Waits":
        """One wait more; less than a second is none."""
        return self.plus(1, 1, waited_ms, waited_ms) if waited_ms >= AT_ONCE_MS else self.plus(1, 0, 0, 0)


class Slots(NamedTuple):
    """The slot-time of an agent type: how long slots were busy, and how long they were there (None: no limit)."""

    busy_ms: int
    available_ms: int | None
    limit: int | None
    """How many slots it may have now."""
    is_own: bool
    """The limit is the type's own."""

    @property
    def share(self) -> float | None:
        """Busy ÷ available; None where there is no limit, or no time has passed."""
        return self.busy_ms / self.available_ms if self.available_ms else None


class Done(NamedTuple):
    """Completed tasks, what they used in all their runs; how many were estimated, at what, and what these used."""

    tasks: int = 0
    tokens: int = 0
    cost_nanos: int = 0
    estimated: int = 0
    estimated_tokens: int = 0
    taken_tokens: int = 0


class TaskDay:
    """The rows of the newest day on record, as of ``now``: the open tasks, and the sums of the day.

    Raises:
        NotKept: the rows cannot be read.
    """

    def __init__(self, views: ViewStore, now: dt.datetime) -> None:
        self.day: DayRow | None = None
        self.tasks: list[TaskRow] = []
        self.lots: list[LotRow] = []
        self.models: list[ModelRow] = []
        for data in views.live().rows.get(TasksView.name, ()):
            match decode(data):
                case TaskRow() as task:
                    self.tasks.append(task)
                case DayRow() as day:
                    self.day = day
                case LotRow() as lot:
                    self.lots.append(lot)
                case ModelRow() as model:
                    self.models.append(model)
        ends_at = None if self.day is None else self.day.ends_at
        # A running fleet begins a new day: where none began, no slot was held after the last event of the log.
        self.now = now if ends_at is None or now < ends_at else Status(views).fleet.at

    @property
    def running(self) -> list[TaskRow]:
        return [task for task in self.tasks if task.state == "running"]

    @property
    def waiting(self) -> list[TaskRow]:
        return [task for task in self.tasks if task.state == "queued"]

    def waits(self, agent_type: str | None = None) -> Waits:
        """The waits of the day, of one agent type or of all."""
        found = Waits()
        for lot in self.lots:
            if agent_type in (None, lot.agent_type):
                found = found.plus(lot.starts, lot.waits, lot.waited_ms, lot.wait_max_ms)
        for task in self.waiting:
            if agent_type in (None, task.agent_type):
                found = found.plus_wait(self._since(task.since))
        return found

    def done(self, lots: Iterable[LotRow] | None = None) -> Done:
        """What was completed on the day."""
        found = Done()
        for lot in self.lots if lots is None else lots:
            found = Done(
                found.tasks + lot.completed,
                found.tokens + lot.completed_tokens,
                found.cost_nanos + lot.completed_cost_nanos,
                found.estimated + lot.estimated,
                found.estimated_tokens + lot.estimated_tokens,
                found.taken_tokens + lot.taken_tokens,
            )
        return found

    def slots(self) -> dict[str, Slots]:
        """The slot-time of each type since the day began: of those that ran, and of those with a limit of their own."""
        day = self.day
        if day is None or not day.limits:
            return {}
        newest = day.limits[-1]
        busy = dict.fromkeys(newest.per_type, 0)
        for lot in self.lots:
            if lot.busy_ms:
                busy[lot.agent_type] = busy.get(lot.agent_type, 0) + lot.busy_ms
        for task in self.running:
            held_ms = self._since(max(task.since, day.began_at))
            busy[task.agent_type] = busy.get(task.agent_type, 0) + held_ms
        return {
            agent_type: Slots(
                busy_ms=busy_ms,
                available_ms=self._available_ms([limits.of(agent_type) for limits in day.limits]),
                limit=newest.of(agent_type),
                is_own=agent_type in newest.per_type,
            )
            for agent_type, busy_ms in sorted(busy.items())
        }

    def all_slots(self) -> Slots:
        """The slot-time of all tasks, against the limit on all of them."""
        limits = [] if self.day is None else [limits.total for limits in self.day.limits]
        busy_ms = sum(slots.busy_ms for slots in self.slots().values())
        return Slots(busy_ms, self._available_ms(limits), limits[-1] if limits else None, is_own=True)

    def _available_ms(self, limits: Sequence[int | None]) -> int | None:
        """Limit × time, each limit for as long as it held; None where one of them was none."""
        began = [] if self.day is None else [one.since for one in self.day.limits]
        available_ms = 0
        for limit, since, until in zip(limits, began, [*began[1:], self.now], strict=True):
            if limit is None:
                return None
            available_ms += limit * max(0, (until - since) // _MILLISECOND)
        return available_ms

    def _since(self, at: dt.datetime) -> int:
        return max(0, (self.now - at) // _MILLISECOND)


def minutes(elapsed_ms: float) -> Number:
    """Milliseconds in minutes, to one place; whole where they are."""
    return whole(round(elapsed_ms / _MS_PER_MINUTE, 1))


def whole(value: float) -> Number:
    """A whole number as one: so it is in the seed's files."""
    return int(value) if value.is_integer() else value
