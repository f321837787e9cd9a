"""A day of tasks, played by agents that take up what is admitted: they report, give signs of life, complete, or die.

What they sent is kept with its moments, so that the same day can be a scenario, or a log to ask about.
"""

import datetime as dt
import heapq
import random
from collections.abc import Sequence
from typing import Any, NamedTuple

from tallystick.actors.runtime.messages import Envelope
from tallystick.actors.runtime.simulation import SimulatedFleet
from tallystick.config.loader import from_mapping
from tallystick.events import catalog as e
from tallystick.events.log.codec import decode_answer, decode_event, read_message
from tallystick.events.log.store import Record, Store
from tallystick.events.log.store_memory import MemoryStore
from tests.support.core import START

LEASE_SECONDS = 300
DAY: dict[str, Any] = {
    "total_budget": {"tokens": 10_000_000_000},
    "emergency_reserve_percent": 0,
    "max_concurrent": {"total": 6, "per_type": {"reviewer": 2}},
    "token_budgets": {"default": 20_000},
    "leases": {"seconds": LEASE_SECONDS, "max_attempts": 3},
    "daily_limits": {"max_tokens_total": None, "max_cost_usd": None},
    "circuit_breaker": {"trip_conditions": []},
    "reallocation": {"enabled": False},
}
"""A fleet in which only slots are scarce."""
SCARCE: dict[str, Any] = {
    "daily_limits": {"max_tokens_total": 150_000, "max_cost_usd": 4, "alert_at_percent": 50},
    "circuit_breaker": {"trip_conditions": ["cost_hourly_usd > 0.9"]},
    "estimates": {"over_tasks": 2},
    "notifications": {"ceo": ["json://localhost/one"], "ops": ["json://localhost/two"]},
    "products": {"shop": {"token_budget_daily": 60_000, "max_concurrent_agents": 3}},
    "enforcement": {"warn_before_exhaustion_seconds": 0},
}
"""Every limit of the day is reached: alerts, both totals, a product's, and the breaker."""

Message = dict[str, Any]


class Played(NamedTuple):
    """A day: its messages, each with its moment, and the store that the fleet kept."""

    messages: list[tuple[dt.datetime, Message]]
    store: Store
    until: dt.datetime


class _Day:
    def __init__(self, tasks: int, seed: int, config: dict[str, Any], deaths: float, hours: float) -> None:
        self.dice = random.Random(seed)
        self.deaths = deaths
        self.store = MemoryStore()
        self.fleet = SimulatedFleet.open(self.store, from_mapping(config), None, START)
        self.messages: list[tuple[dt.datetime, Message]] = []
        self.now = START
        self.todo: list[tuple[dt.datetime, int, Message, str]] = []
        self.known: set[str] = set()
        self.number = 0
        for number in range(tasks):
            self._later(START + dt.timedelta(hours=hours * self.dice.random()), self._task(number))

    def _task(self, number: int) -> Message:
        dice = self.dice
        minutes = dice.choice((2, 5, 10))
        wanted: Message = {
            "type": "SubmitTask",
            "task": f"T{number}",
            "agent_type": dice.choice(("writer", "writer", "reviewer")),
            "product": dice.choice(("shop", "site", "lab")),
            "priority": dice.choice(("critical", "high", "normal", "normal", "low")),
            "estimated_tokens": 1_000 * minutes,
            "estimated_minutes": minutes,
        }
        return wanted

    def _later(self, at: dt.datetime, message: Message, lease: str = "") -> None:
        self.number += 1
        heapq.heappush(self.todo, (at, self.number, message, lease))

    def run(self) -> Played:
        while self.todo or self.fleet.ledger.tasks.open:
            if not self.todo:
                # Only the dead hold slots, or all waits for another day.
                self.now += dt.timedelta(seconds=LEASE_SECONDS)
                self.fleet.pass_time(self.now)
            else:
                at, _, message, lease = heapq.heappop(self.todo)
                self.fleet.pass_time(at)
                self._take_up()
                self.now = at
                self._send(message, lease)
            self._take_up()
        return Played(self.messages, self.store, self.now)

    def _send(self, message: Message, lease: str) -> None:
        if lease:
            task = self.fleet.ledger.tasks.get(message["task"])
            if task is None or task.lease != lease:
                return
        message = {**message, "id": f"m-{len(self.messages)}"}
        self.messages.append((self.now, message))
        read = read_message(message, lambda: "unnamed")
        assert isinstance(read, tuple)
        (answer,) = self.fleet.ask(Envelope([read[0]], [read[1]], "local", None), self.now)
        decode_answer(answer)

    def _take_up(self) -> None:
        """An agent for each run that began."""
        for task in list(self.fleet.ledger.tasks.running.values()):
            if task.lease is None or task.lease in self.known or task.started_at is None:
                continue
            self.known.add(task.lease)
            start, lease, dice = task.started_at, task.lease, self.dice
            start = max(start, self.now)
            estimated_ms = task.estimated_ms or 60_000
            lasts = dt.timedelta(milliseconds=round(estimated_ms * dice.uniform(0.5, 1.6)))
            ends = start + (lasts / 3 if dice.random() < self.deaths else lasts * 2)
            tokens, beat = 0, start
            while (beat := beat + dt.timedelta(seconds=100)) < min(start + lasts, ends):
                used = dice.randint(100, 1_500)
                tokens += used
                report = {"type": "ReportUsage", "task": task.id, "lease": lease, "usage": {"tokens": used}}
                self._later(beat, report, lease)
                self._later(beat, {"type": "Heartbeat", "task": task.id, "lease": lease}, lease)
            if ends > start + lasts:
                usage = {"tokens": tokens + 200, "cost_usd": "0.05"}
                done = {"type": "CompleteTask", "task": task.id, "outcome": "completed", "lease": lease, "usage": usage}
                self._later(start + lasts, done, lease)


def day_of(tasks: int, seed: int = 1, deaths: float = 0.05, hours: float = 10, **config: Any) -> Played:
    """A day on which so many tasks are submitted within ``hours``, and a part of their agents die without a word."""
    return _Day(tasks, seed, {**DAY, **config}, deaths, hours).run()


def scarce_day(seed: int = 2) -> tuple[list[tuple[dt.datetime, Message]], dt.datetime]:
    day = day_of(70, seed, deaths=0.15, hours=3, **SCARCE)
    return day.messages, day.until


_JUDGED = (e.TaskStarted, e.TaskQueued, e.TaskPreempted, e.LeaseLost, e.TaskCompleted, e.DayBegan, e.BreakerTripped)


def decided(records: Sequence[Record]) -> list[tuple[Any, ...]]:
    """What happened to tasks, days and the breaker, and when."""
    events = (decode_event(record.data, record.name) for record in records)
    return [(event.at, type(event), getattr(event, "task", "")) for event in events if isinstance(event, _JUDGED)]


def submit(task: str) -> Message:
    return {"type": "SubmitTask", "task": task, "agent_type": "writer", "product": "lab"}
