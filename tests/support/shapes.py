"""Fleets of extreme shapes: a deep chain of sub-agents, a wide fan of children, a task with many dependencies."""

import datetime as dt
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import structlog

from tallystick.actors.runtime.messages import Envelope
from tallystick.actors.runtime.simulation import SimulatedFleet
from tallystick.config.loader import from_mapping
from tallystick.config.prices import PriceList
from tallystick.events.log.codec import decode_answer, encode_command, read_message
from tallystick.events.log.store import open_store
from tallystick.events.messages.replies import Refusal
from tallystick.reports.reporter import Reporter
from tests.support.core import START

Step = tuple[int, list[dict[str, Any]]]
"""Seconds from the start, and messages."""

CONFIG: dict[str, Any] = {
    "daily_limits": {"max_tokens_total": None, "max_cost_usd": None},
    "circuit_breaker": {"trip_conditions": []},
    "total_budget": {"tokens": 10**12, "cost_usd": 10**6, "period": "none"},
    "max_concurrent": {"total": 3},
    "emergency_reserve_percent": 0,
}
PAGES: tuple[tuple[str, ...], ...] = (
    ("status",),
    ("status", "--json"),
    ("forecast",),
    ("report",),
    ("queue",),
    ("cost", "--by", "agent"),
    ("dashboard",),
    ("metrics",),
    ("audit", "verify"),
    ("audit", "export", "--format", "csv", "--out", "log.csv"),
    ("projections", "rebuild"),
    ("whatif",),
)
"""What shows or proves a whole log."""


def chain(n: int) -> Iterator[Step]:
    """Each agent is a sub-agent of the one before. All report and hold, some holds expire, a debt climbs up, and the
    release of the first ends all.
    """
    tree = [{"agent": "d0", "budget": {"tokens": 100 * n, "cost_usd": 100}, "workflow": "w", "product": "p"}]
    tree += [{"agent": f"d{i}", "parent": f"d{i - 1}", "budget": {"tokens": 100 * (n - i)}} for i in range(1, n)]
    yield 0, [{"type": "AllocateBudget", **one} for one in tree]
    yield from _used(n, range(n))
    yield 102, [{"type": "ReportUsage", "agent": f"d{n - 1}", "usage": {"tokens": 10_000_000}}]
    yield 103, [{"type": "ReportUsage", "agent": f"d{n // 2}", "usage": {"tokens": 1_000}}]
    yield from _released(n)


def fan(n: int) -> Iterator[Step]:
    """All agents are sub-agents of the first; every tenth of them reports and holds."""
    tree = [{"agent": "d0", "budget": {"tokens": 100 * n, "cost_usd": 100}, "workflow": "w", "product": "p"}]
    tree += [{"agent": f"d{i}", "parent": "d0", "budget": {"tokens": 50}} for i in range(1, n)]
    yield 0, [{"type": "AllocateBudget", **one} for one in tree]
    yield from _used(n, range(0, n, 10))
    yield from _released(n)


def _used(n: int, agents: Sequence[int]) -> Iterator[Step]:
    used = {"tokens": 3, "cost_usd": "0.001"}
    yield 1, [{"type": "ReportUsage", "agent": f"d{i}", "usage": used, "operation": "op"} for i in agents]
    holds: list[dict[str, Any]] = [{"type": "Reserve", "agent": f"d{i}", "estimate": {"tokens": 1}} for i in agents]
    yield 2, [hold | {"ttl_seconds": 90 if i % 2 else 10_000, "id": f"h{i}"} for i, hold in enumerate(holds)]
    yield 3, [{"type": "Settle", "hold": f"h{i}", "usage": {"tokens": 2}} for i in range(0, len(agents), 4)]
    yield 4, [{"type": "Stop", "agent": "d0", "reason": "enough"}]
    yield 5, [{"type": "CheckEnforcement", "agent": f"d{i}"} for i in agents]
    yield 5, [{"type": "GetStatus", "agent": f"d{i}"} for i in agents]
    yield 6, [{"type": "Resume", "agent": "d0"}]
    yield 7, [{"type": "Rebalance"}]
    yield 8, [{"type": "GenerateReport", "workflow": "w"}]
    yield 9, [{"type": kind, "agent": f"d{n - 1}"} for kind in ("Forecast", "GetEfficiency", "GetStatus")]
    yield 100, [{"type": "GetGlobalStatus"}]


def _released(n: int) -> Iterator[Step]:
    yield 110, [{"type": "ReleaseBudget", "agent": "d0", "id": "release"}]
    yield 111, [{"type": "ReportUsage", "agent": f"d{n - 1}", "usage": {"tokens": 5}}]
    yield 112, [{"type": "GetGlobalStatus"}, {"type": "GenerateReport", "workflow": "w"}]


def dependencies(n: int) -> Iterator[Step]:
    """A task that waits for n others, a chain of n and a fan of n that wait for it; it is cancelled."""
    task = {"type": "SubmitTask", "agent_type": "x", "product": "p"}
    yield 0, [task | {"task": f"t{i}"} for i in range(n)]
    yield 1, [task | {"task": "all", "depends_on": [f"t{i}" for i in range(n)]}]
    yield 2, [{"type": "GetTask", "task": "all"}, {"type": "GetQueue"}]
    yield 3, [{"type": "CompleteTask", "task": f"t{i}", "outcome": "completed"} for i in range(n)]
    yield 4, [task | {"task": f"c{i}", "depends_on": [f"c{i - 1}" if i else "all"]} for i in range(n)]
    yield 5, [task | {"task": f"f{i}", "depends_on": ["all"]} for i in range(n)]
    yield 6, [{"type": "GetTask", "task": f"c{n - 1}"}, {"type": "GetQueue"}]
    yield 7, [{"type": "CancelTask", "task": "all"}]
    yield 8, [{"type": "GetTask", "task": f"c{n - 1}"}, {"type": "GetQueue"}, {"type": "GetGlobalStatus"}]


def played(path: Path, steps: Iterator[Step], config: dict[str, Any] = CONFIG) -> list[dict[str, Any]]:
    """Let a fleet that is kept at ``path`` take the messages, up to 1,000 together; its answers."""
    store = open_store(f"sqlite:///{path}", writer=True)
    try:
        structlog.configure(processors=[_drop])
        fleet = SimulatedFleet.open(store, from_mapping(config), PriceList(), START, reporter=Reporter)
        answers = []
        for seconds, messages in steps:
            # Timers have their turn between any two envelopes, and a task starts in the commit that frees its slot.
            for at in range(0, len(messages), 1_000):
                envelope = _envelope(messages[at : at + 1_000], f"{seconds}-{at}")
                answers += map(decode_answer, fleet.ask(envelope, START + dt.timedelta(seconds=seconds)))
        return answers
    finally:
        structlog.reset_defaults()
        store.close()


def _drop(logger: object, method: str, event: object) -> str:
    raise structlog.DropEvent


def _envelope(messages: Sequence[dict[str, Any]], name: str) -> Envelope:
    commands = []
    for number, message in enumerate(messages):
        read = read_message(message, lambda number=number: f"{name}-{number}")  # type: ignore[misc]
        assert not isinstance(read, Refusal), read
        commands.append(read[0])
    return Envelope(commands, [encode_command(command) for command in commands], "tester", None)


def timed(name: str, work: Callable[[], Any]) -> Any:
    """Do something, and say how many seconds it took."""
    began = time.perf_counter()
    result = work()
    sys.stderr.write(f"{name:<40} {time.perf_counter() - began:8.2f} s\n")
    return result
