"""Slots, queue and day as the events tell of them: who waits for how long and why, and what the day has cost."""

import datetime as dt
from collections import Counter
from decimal import Decimal
from typing import Any

import msgspec

from tallystick.config.amounts import COST, exact_units
from tallystick.config.kinds import Priority
from tallystick.events import catalog as e
from tallystick.events.state.accounts import ZERO, Money, plus

_MILLISECOND = dt.timedelta(milliseconds=1)


class Waiting(msgspec.Struct):
    """A task that waits for a slot: since when, and what was last said to be in its way."""

    task: str
    product: str
    priority: Priority
    since: dt.datetime
    why: str


class Slots:
    """Follows all events in order. Times are of the events' clock, waits in milliseconds."""

    def __init__(self) -> None:
        self.total: int | None = None
        """How many slots there are; None where nothing limits them."""
        self.running: dict[str, dt.datetime] = {}
        self.waiting: dict[str, Waiting] = {}
        self.ended: Counter[str] = Counter()
        """Tasks by how they ended: completed, failed, cancelled, rejected."""
        self.waited_ms: Counter[str] = Counter()
        """How long each task that had a slot waited for it, in all."""
        self.preempted = 0
        self.alerts: Counter[str] = Counter()
        self.used_today: Money = ZERO
        self.limits: tuple[int | None, int | None] = (None, None)
        """Of the day: tokens, and nano-dollars."""
        self.tripped = False
        self._labels: dict[str, tuple[str, Priority]] = {}
        self._busy_ms = 0
        self._open_ms = 0
        self._at: dt.datetime | None = None
        self._began: dt.datetime | None = None

    @property
    def utilization(self) -> float | None:
        """The part of all slots that was taken from the first task's start to the last event; None where none are."""
        return self._busy_ms / (self._open_ms * self.total) if self._open_ms and self.total else None

    @property
    def average_wait_ms(self) -> int:
        """Over the tasks that had to wait for their slot, as the metrics of the day have it."""
        return sum(self.waited_ms.values()) // self.that_waited if self.that_waited else 0

    @property
    def longest_wait_ms(self) -> int:
        return max(self.waited_ms.values(), default=0)

    @property
    def that_waited(self) -> int:
        """How many tasks had to wait for their slot."""
        return sum(ms > 0 for ms in self.waited_ms.values())

    def seconds_waiting(self, task: Waiting) -> float:
        """How long a task has been waiting by now."""
        return 0.0 if self._at is None else (self._at - task.since).total_seconds()

    def keep(self, event: e.Event) -> None:
        """Follow one event."""
        self._pass_time(event.at)
        match event:
            case e.ConfigLoaded():
                self.total = event.config["max_concurrent"]["total"]
                limits = event.config["daily_limits"]
                self._limit(limits["max_tokens_total"], limits["max_cost_usd"])
            case e.UsageReported() | e.HoldSettled():
                self.used_today = plus(self.used_today, (event.tokens, event.time_ms, event.cost_nanos))
            case e.DayBegan():
                self.used_today, self.tripped = ZERO, False
            case e.BreakerTripped() | e.BreakerClosed():
                self.tripped = isinstance(event, e.BreakerTripped)
            case e.AlertRaised():
                self.alerts[event.code] += 1
            case _:
                self._task(event)

    def _limit(self, tokens: int | None, dollars: Any) -> None:
        self.limits = (tokens, None if dollars is None else exact_units(Decimal(str(dollars)), COST, "max_cost_usd"))

    def _pass_time(self, at: dt.datetime) -> None:
        if self._at is not None and at > self._at and self._began is not None:
            passed = (at - self._at) // _MILLISECOND
            self._open_ms += passed
            self._busy_ms += passed * len(self.running)
        self._at = at

    def _task(self, event: e.Event) -> None:
        match event:
            case e.TaskSubmitted():
                self._labels[event.task] = (event.product, event.priority or "normal")
            case e.TaskQueued():
                self._wait(event.task, event.at, event.message or "")
            case e.TaskStarted():
                waiting = self.waiting.pop(event.task, None)
                if waiting is not None:
                    self.waited_ms[event.task] += (event.at - waiting.since) // _MILLISECOND
                else:
                    self.waited_ms[event.task] += 0
                self.running[event.task] = event.at
                self._began = self._began or event.at
            case e.TaskPreempted():
                self.preempted += 1
                self._end_run(event.task)
                self._wait(event.task, event.at, f"its slot went to {event.beneficiary}")
            case e.LeaseLost():
                self._end_run(event.task)
                if event.then == "queued":
                    self._wait(event.task, event.at, "its lease was lost")
                else:
                    self.ended[event.then] += 1
            case e.TaskCompleted():
                self._end_run(event.task)
                self.ended[event.outcome] += 1
            case e.TaskCancelled() | e.TaskGivenUp():
                self._end_run(event.task)
                self.waiting.pop(event.task, None)
                self.ended["cancelled"] += 1
            case e.TaskRejected():
                self.ended["rejected"] += 1

    def _wait(self, task: str, since: dt.datetime, why: str) -> None:
        product, priority = self._labels[task]
        self.waiting[task] = Waiting(task, product, priority, since, why)

    def _end_run(self, task: str) -> None:
        self.running.pop(task, None)
