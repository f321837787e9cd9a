"""What limits cost: a report that three of 1,000 limits match beside one without limits; and the memory of counters."""

import datetime as dt
import gc
import statistics
import time
import tracemalloc
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from typing import Any

from benchmarks.result import Result, alternating
from tallystick.config.amounts import Budget
from tallystick.events import messages as c
from tallystick.events.decide import decide
from tallystick.events.messages.replies import Refusal
from tallystick.events.state.counters import OPENS
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.limit_rules import LimitRule
from tallystick.events.state.limits import LimitState

AGENTS = 100_000
REPORTS = 5_000
LIMITS = 1_000
_START = dt.datetime(2026, 1, 26, tzinfo=dt.UTC)
_STEP = dt.timedelta(milliseconds=1)
_USAGE = Budget(tokens=450, time_seconds=Decimal("2.3"), cost_usd=Decimal("0.011"))
_FAR = 10**15
MATCHING: list[dict[str, Any]] = [
    {"name": "user-day", "per": "label:user", "window": "day", "max": {"tokens": _FAR, "requests": _FAR}},
    {"name": "plan", "match": {"product": "shop"}, "window": {"hours": 5, "from": "first_use"},
     "max": {"tokens": _FAR}},
    {"name": "rpm", "per": "provider", "match": {"provider": "anthropic"}, "window": {"seconds": 60},
     "max": {"requests": _FAR, "input_tokens": _FAR}, "then": "wait"},
]  # fmt: skip
"""A cap per user, a window of a subscription, and the pace of a provider."""


class Reports:
    """A fleet in memory, in one thread and without a disk, and reports of its agents in turn."""

    def __init__(self, limits: list[dict[str, Any]], agents: int = AGENTS) -> None:
        self.ledger = Ledger()
        self._agents = [f"agent-{n:06d}" for n in range(agents)]
        self._now, self._count = _START, 0
        none = {"max_tokens_total": None, "max_cost_usd": None}
        total = {"tokens": _FAR, "cost_usd": "1000000000"}
        self._take(c.LoadConfig(config={"total_budget": total, "daily_limits": none, "limits": limits}))
        budget = Budget(tokens=10**9, cost_usd=Decimal(1_000))
        for n, agent in enumerate(self._agents):
            labels = {"user": f"user-{n % 1_000}"}
            self._take(c.AllocateBudget(agent=agent, budget=budget, product="shop", labels=labels))

    def _take(self, command: c.Command) -> None:
        self._count += 1
        self._now += _STEP
        answer = decide(self.ledger, command, self._now, f"id-{self._count}", "bench").answer
        assert not isinstance(answer, Refusal), answer

    def seconds(self, reports: int = REPORTS) -> float:
        """The median of single reports: where other programs take the processor in between, few of them are slow."""
        agents = self._agents
        commands = [
            c.ReportUsage(
                agent=agents[(self._count + n * 7_919) % len(agents)], usage=_USAGE, model="claude-sonnet-5-5"
            )
            for n in range(reports)
        ]
        spent = []
        gc.collect()
        gc.disable()
        for command in commands:
            began = time.perf_counter()
            self._take(command)
            spent.append(time.perf_counter() - began)
        gc.enable()
        return statistics.median(spent)


def thousand() -> list[dict[str, Any]]:
    """The three that a report matches, among those of other products."""
    others = [
        {"name": f"other-{n}", "per": "account", "match": {"product": f"product-{n}"}, "window": "day",
         "max": {"tokens": _FAR}}
        for n in range(LIMITS - len(MATCHING))
    ]  # fmt: skip
    return [*others[:500], *MATCHING, *others[500:]]


def counter_bytes(window: Any, measure: str, amount: int, counters: int = 2_000) -> float:
    """What a counter takes that was used in all parts of its window, with its place among the others."""
    ledger = Ledger()
    most = {"cost_usd": "1000000000"} if measure == "cost_usd" else {measure: _FAR}
    limit = {"name": "user", "per": "label:user", "window": window, "max": most}
    decide(ledger, c.LoadConfig(config={"limits": [limit]}), _START, "config", "bench")
    state = ledger.limits.states["user"]
    names, units = [f"user-{n}" for n in range(counters)], (amount,) * 7
    tracemalloc.start()
    for name in names:
        _fill(ledger, state, state.rule, name, units)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size / counters


def _fill(ledger: Ledger, state: LimitState, rule: LimitRule, name: str, units: tuple[int, ...]) -> None:
    counter, limits = ledger.limits.counter(state, name), ledger.limits
    began = limits.began_at(rule)
    for part in range(60 if rule.kind == "rolling" else 1):
        if counter.count(rule, units, began, 10**15 + part * rule.bucket_us) & OPENS:
            limits.opened(state, name, counter)


def results() -> Iterator[Result]:
    """The cost of three of 1,000 limits, and the memory of counters."""
    without, limited = Reports([]), Reports(thousand())
    for fleet in (without, limited):
        fleet.seconds()
    value, _, ratio = alternating(partial(limited.seconds), partial(without.seconds), 9)
    yield Result("limits.report", value * 1e6, "us/report", "no limits, 100,000 agents", ratio, ("<=", 1.3))
    for name, window, measure, amount, most in (
        ("calendar", "day", "tokens", 10**9, 450),
        ("first_use", {"hours": 5, "from": "first_use"}, "tokens", 10**9, 450),
        ("rolling", {"hours": 5}, "tokens", 10**6, 1_000),
        ("rolling.large", {"hours": 5}, "cost_usd", 10**12, 1_000),
    ):
        size = counter_bytes(window, measure, amount)
        yield Result(f"limits.counter.{name}", size, "bytes", f"{most} bytes", size / most, ("<=", 1.0))


if __name__ == "__main__":
    for result in results():
        print(f"{result.name}: {result.value:,.1f} {result.unit}, ratio {result.ratio:.3f}, met: {result.met}")
