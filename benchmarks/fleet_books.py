"""A second set of books for a fleet of tasks, kept from the recorded events alone: the day, the slots, the waits.

It shares no arithmetic with the core. Money is in nano-dollars, times are seconds. All tasks need the same, so that
where one that waits could start, any of them could.
"""

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterable
from statistics import fmean
from typing import Any

import msgspec

from tallystick.config.amounts import NANOS_PER_DOLLAR
from tallystick.config.prices import ModelPrice
from tallystick.events import catalog as e


class Crossing(msgspec.Struct):
    """The event after which more was used in a day than its limit then was, and the tasks that ran then.

    ``after`` is what each task used from that event on, as long as the limit stood.
    """

    date: dt.date
    position: int
    id: str
    used: int
    limit: int
    running: frozenset[str]
    after: Counter[str]
    stands: bool = True


class Trip(msgspec.Struct, frozen=True):
    """The breaker opened."""

    date: dt.date
    position: int
    id: str


class _Run:
    """A run that goes on: what it may use before its soft mark, and what it has used and set aside."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.spent = 0
        self.holds: dict[str, tuple[int, int]] = {}

    @property
    def rest(self) -> int:
        """Tokens that it may still use, and whose cost no hold counts."""
        return max(0, self.budget - self.spent - sum(tokens for tokens, cost in self.holds.values() if cost))


class Books:
    """What happened, by `keep` of every event in order. ``price`` is that of the model that all runs use."""

    def __init__(self, slots: int, limit: int, budget: int, price: ModelPrice) -> None:
        self.slots, self.budget = slots, budget
        self.used: Counter[dt.date] = Counter()
        self.by_task: Counter[str] = Counter()
        """Tokens by task, each report and settlement once."""
        self.crossings: list[Crossing] = []
        self.trips: list[Trip] = []
        self.alerts: dict[dt.date, list[tuple[str, str]]] = defaultdict(list)
        """By day: the code of each alert of the day's cost, and the id of the command that caused it."""
        self.lines: dict[dt.date, dict[str, str]] = defaultdict(dict)
        """By day and code: the id of the command after which the alert was due."""
        self.started_while_open = 0
        """Tasks that started while the breaker was open, or while the day's limit was passed."""
        self.days_begun: list[dt.date] = []
        self.running: dict[str, _Run] = {}
        self.waited: defaultdict[str, float] = defaultdict(float)
        self.ends: Counter[str] = Counter()
        self.learnt = 0
        self.busiest = 0
        self._product: dict[str, str] = {}
        self._waits_since: dict[str, dt.datetime] = {}
        self._configured = self._limit = limit
        self._price = price
        self._mix = [0, 0, 0]
        self._open = False
        self._now: dt.datetime | None = None
        self._slot_seconds = [0.0, 0.0]
        """Of slots that were taken, and of all, while something waited that could start."""

    # --- what they say ------------------------------------------------------------------------------------------------

    @property
    def utilization(self) -> float | None:
        """The part of all slots that was taken while something waited that could start; None where nothing did."""
        busy, there = self._slot_seconds
        return busy / there if there else None

    @property
    def waiting_hours(self) -> float:
        """How long something waited that could start."""
        return self._slot_seconds[1] / self.slots / 3600

    def over(self) -> list[tuple[int, int]]:
        """By crossing: by how much its limit was passed at the most, and what of that those used that ran then."""
        found = []
        for crossing in self.crossings:
            after = sum(crossing.after.values())
            ran = sum(used for task, used in crossing.after.items() if task in crossing.running)
            found.append((crossing.used + after - crossing.limit, crossing.used - crossing.limit + ran))
        return found

    def waits(self) -> dict[str, tuple[int, float, float]]:
        """By product: its tasks, and the mean and longest minutes that they waited for slots in all."""
        minutes: dict[str, list[float]] = defaultdict(list)
        for task, product in self._product.items():
            minutes[product].append(self.waited[task] / 60)
        return {name: (len(all_), fmean(all_), max(all_)) for name, all_ in sorted(minutes.items())}

    # --- keeping ------------------------------------------------------------------------------------------------------

    def keep_all(self, events: Iterable[e.Event]) -> "Books":
        for event in events:
            self.keep(event)
        return self

    def keep(self, event: e.Event) -> None:
        """Follow one event."""
        self._pass_time(event.at)
        match event:
            case e.UsageReported() | e.HoldSettled():
                self._use(event)
            case e.HoldPlaced():
                self.running[event.agent].holds[event.hold] = (event.amount.tokens or 0, event.amount.cost_nanos or 0)
            case e.HoldEnded():
                self._unhold(event.agent, event.hold)
            case e.DayBegan():
                self.days_begun.append(event.at.date())
                self._limit_is(self._configured)
                self._open = False
            case e.LimitApproved():
                self._limit_is(event.limits.cost_nanos or self._limit)
            case e.BreakerTripped():
                self._open = True
                self.trips.append(Trip(event.at.date(), event.position, event.id))
            case e.BreakerClosed():
                self._open = False
            case e.AlertRaised() if event.code.startswith("daily_cost"):
                self.alerts[event.at.date()].append((event.code, event.id))
            case _:
                self._task(event)

    def _limit_is(self, limit: int) -> None:
        self._limit = limit
        for crossing in self.crossings:
            crossing.stands = False

    def _pass_time(self, at: dt.datetime) -> None:
        if self._now is not None and at > self._now and self._waits_since and self._could_start():
            seconds = (at - self._now).total_seconds()
            self._slot_seconds[0] += seconds * len(self.running)
            self._slot_seconds[1] += seconds * self.slots
        self._now = at

    def _could_start(self) -> bool:
        """Whether nothing but slots is in the way: the breaker is closed, and the day has room for one more run."""
        assert self._now is not None
        used = self.used[self._now.date()]
        held = sum(cost for run in self.running.values() for _, cost in run.holds.values())
        committed = self._cost(sum(run.rest for run in self.running.values())) + held
        return not self._open and used < self._limit and used + committed + self._cost(self.budget) <= self._limit

    def _cost(self, tokens: int) -> int:
        """What so many tokens cost in the mix of all that were reported so far."""
        sent, written, cached = self._mix
        whole = sent + written
        if not whole:
            return self._price.cost(tokens, 0, 0)
        given = tokens * sent // whole
        return self._price.cost(given, tokens - given, tokens * cached // whole)

    def _use(self, event: "e.UsageReported | e.HoldSettled") -> None:
        date, used = event.at.date(), event.cost_nanos
        before = self.used[date]
        self.used[date] += used
        self.by_task[event.agent] += event.tokens
        if isinstance(event, e.UsageReported):
            for i, tokens in enumerate((event.input_tokens, event.output_tokens, event.cached_tokens)):
                self._mix[i] += tokens or 0
        else:
            self._unhold(event.agent, event.hold)
        if event.agent in self.running:
            self.running[event.agent].spent += event.tokens
        for code, part in (("daily_cost_near", 80), ("daily_cost_reached", 100)):
            if code not in self.lines[date] and self.used[date] * 100 >= part * self._limit:
                self.lines[date][code] = event.id
        for crossing in self.crossings:
            if crossing.stands:
                crossing.after[event.agent] += used
        if before <= self._limit < self.used[date]:
            running = frozenset(self.running)
            self.crossings.append(
                Crossing(date, event.position, event.id, self.used[date], self._limit, running, Counter())
            )

    def _unhold(self, task: str, hold: str) -> None:
        if task in self.running:
            self.running[task].holds.pop(hold, None)

    def _task(self, event: Any) -> None:
        match event:
            case e.TaskSubmitted():
                self._product[event.task] = event.product
                self.learnt += event.learnt
            case e.TaskQueued():
                self._waits_since[event.task] = event.at
            case e.TaskStarted():
                since = self._waits_since.pop(event.task, event.at)
                self.waited[event.task] += (event.at - since).total_seconds()
                self.started_while_open += self._open or self.used[event.at.date()] > self._limit
                self.running[event.task] = _Run(event.token_budget)
                self.busiest = max(self.busiest, len(self.running))
            case e.LeaseLost() if event.then == "failed":
                del self.running[event.task]
                self.ends["failed"] += 1
            case e.TaskPreempted() | e.LeaseLost():
                del self.running[event.task]
                self._waits_since[event.task] = event.at
            case e.TaskCompleted():
                del self.running[event.task]
                self.ends[event.outcome] += 1


def dollars(nanos: int) -> float:
    """For people."""
    return nanos / NANOS_PER_DOLLAR
