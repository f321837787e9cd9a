"""What the tasks of one history came to: how they ended, how long they waited, and how much of the slots was used.

`projections/reports/work.py` has the same of one day, out of the view of tasks; this is of a whole history that no
view is kept of.
"""

import datetime as dt
from collections import Counter
from collections.abc import Sequence

from tallystick.events import catalog as e
from tallystick.events.state.ledger import Ledger

_MILLISECOND = dt.timedelta(milliseconds=1)


class Waits:
    """How long tasks waited, in milliseconds since their dependencies were met: those that started, and those that did
    not yet.
    """

    __slots__ = ("longest_ms", "started", "total_ms", "waiting")

    def __init__(self) -> None:
        self.started = 0
        self.total_ms = 0
        """Of those that started, until their first start."""
        self.waiting = 0
        self.longest_ms = 0

    @property
    def average_ms(self) -> int | None:
        """Of those that started, to the millisecond below; None where none did."""
        return self.total_ms // self.started if self.started else None

    def count_start(self, waited_ms: int) -> None:
        self.started += 1
        self.total_ms += waited_ms
        self.longest_ms = max(self.longest_ms, waited_ms)

    def count_waiting(self, waited_ms: int) -> None:
        self.waiting += 1
        self.longest_ms = max(self.longest_ms, waited_ms)


class TaskStatistics:
    """The tasks of one history, followed batch by batch behind its ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.counts: Counter[str] = Counter()
        """How often each thing happened to a task, by the words of `COUNTED`."""
        self.waits = Waits()
        self.by_product: dict[str, Waits] = {}
        self.busy_ms = 0
        """Slot-time that was used."""
        self.available_ms = 0
        """Slot-time that there was, under the limit in all; what ran while there was no limit is not in ``busy_ms``."""
        self._until: dt.datetime | None = None
        self._running = 0
        self._slots: int | None = None

    def follow(self, events: Sequence[e.Event]) -> None:
        """Take in what has just happened, all at one moment; the ledger has followed it already."""
        self._pass_time(events[-1].at)
        for event in events:
            match event:
                case e.TaskStarted():
                    self._start(event)
                case e.TaskCompleted():
                    self.counts[event.outcome] += 1
                case e.LeaseLost():
                    self.counts["lease_lost"] += 1
                    self.counts["failed"] += event.then == "failed"
                case _ if type(event) in COUNTED:
                    self.counts[COUNTED[type(event)]] += 1
        self._running = len(self._ledger.tasks.running)
        self._slots = self._ledger.rules.config.max_concurrent.total if self._ledger.configured else None

    def finish(self, until: dt.datetime) -> None:
        """Read off what still runs and waits."""
        self._pass_time(until)
        tasks = self._ledger.tasks
        self.counts["running"], self.counts["waiting"] = len(tasks.running), tasks.open - len(tasks.running)
        for task in tasks.known.values():
            if task.state == "queued" and not task.runs:
                waited_ms = max(0, (until - task.queued_at) // _MILLISECOND)
                for waits in (self.waits, self._of(task.product)):
                    waits.count_waiting(waited_ms)

    @property
    def utilization(self) -> float | None:
        """Slot-time used ÷ slot-time that there was; None where nothing limited it."""
        return self.busy_ms / self.available_ms if self.available_ms else None

    def _pass_time(self, now: dt.datetime) -> None:
        if self._until is not None and self._slots is not None:
            passed_ms = max(0, (now - self._until) // _MILLISECOND)
            self.busy_ms += self._running * passed_ms
            self.available_ms += self._slots * passed_ms
        self._until = now

    def _of(self, product: str) -> Waits:
        return self.by_product.setdefault(product, Waits())

    def _start(self, event: e.TaskStarted) -> None:
        task = self._ledger.tasks.known[event.task]
        if task.runs == 1:
            waited_ms = max(0, (event.at - event.queued_at) // _MILLISECOND)
            for waits in (self.waits, self._of(task.product)):
                waits.count_start(waited_ms)


COUNTED: dict[type[e.Event], str] = {
    e.TaskSubmitted: "submitted",
    e.TaskRejected: "rejected",
    e.TaskPreempted: "preempted",
    e.TaskCancelled: "cancelled",
    e.TaskGivenUp: "cancelled",
    e.TaskOverdue: "overdue",
    e.BreakerTripped: "breaker_tripped",
    e.DayBegan: "days",
}
"""What is counted as it comes; ``completed``, ``failed`` and ``lease_lost`` are counted beside them, and at the end
what is still ``running`` and ``waiting``."""
