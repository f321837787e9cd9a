"""Agent memory: what tasks of a kind were estimated at, and what they took (spec 3, "Agent memory").

A *kind* is an agent type with a product and a model, and one without a model for tasks that name none. When the last
tasks of a kind (`estimates.over_tasks` of them) are over their estimates by more than ``estimates.over_by_percent`` at
the median, the estimate becomes the ``estimates.percentile``-th percentile of what they took. Tasks count once: after
an adjustment, the next looks at those that ended since. The least recently taught kind is forgotten first.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from math import ceil
from typing import Any, Literal, NamedTuple

from tallystick.config.settings import Estimates as Settings
from tallystick.events.catalog.tasks import EstimateAdjusted, TaskCompleted
from tallystick.events.state.money import money

KINDS_MAX = 1_000
TASKS_MAX = 100
"""Of each kind, so many last tasks are remembered; where more are configured, these are used."""
GOOD = Fraction(1, 10)
"""An actual this close to its estimate, as a part of it, is called good."""

Kind = tuple[str, str, str | None]
"""Agent type, product, and model; None for tasks of all models."""
Accuracy = Literal["good", "over", "under"]


class Done(NamedTuple):
    """One completed task: what it took, and what it had been estimated at (None: at nothing)."""

    tokens: int
    elapsed_ms: int
    cost_nanos: int
    estimated_tokens: int
    estimated_ms: int | None


class Estimate(NamedTuple):
    """What a kind is estimated at since it was adjusted; None where it was not."""

    tokens: int | None = None
    elapsed_ms: int | None = None


class _Memory:
    __slots__ = ("done", "estimate", "since", "usual_ms")

    def __init__(self) -> None:
        self.done: deque[Done] = deque(maxlen=TASKS_MAX)
        self.since = 0
        """How many were done since the estimate was adjusted."""
        self.estimate = Estimate()
        self.usual_ms: int | None = None
        """The median of those that are done, once it was asked for."""


class Estimates:
    """The memory of all kinds. It holds no more than its bounds say, and equal events make equal memories."""

    def __init__(self) -> None:
        self._kinds: dict[Kind, _Memory] = {}

    # --- folding ------------------------------------------------------------------------------------------------------

    def completed(self, event: TaskCompleted) -> None:
        """A task has ended. One that failed says nothing about how long such tasks take."""
        if event.outcome != "completed":
            return
        tokens, _, cost_nanos = money(event.consumed.triple)
        done = Done(tokens, event.elapsed_ms, cost_nanos, event.estimated_tokens, event.estimated_ms)
        for kind in kinds(event.agent_type, event.product, event.model):
            memory = self._touch(kind)
            memory.done.append(done)
            memory.usual_ms = None
            memory.since += 1

    def adjusted(self, event: EstimateAdjusted) -> None:
        """An estimate was adjusted, in one of its parts or both."""
        memory = self._touch((event.agent_type, event.product, event.model))
        before = memory.estimate
        memory.estimate = Estimate(
            before.tokens if event.tokens is None else event.tokens,
            before.elapsed_ms if event.elapsed_ms is None else event.elapsed_ms,
        )
        memory.since = 0

    def _touch(self, kind: Kind) -> _Memory:
        """What is known of a kind, as the last one to be forgotten."""
        memory = self._kinds.pop(kind, None) or _Memory()
        self._kinds[kind] = memory
        if len(self._kinds) > KINDS_MAX:
            del self._kinds[next(iter(self._kinds))]
        return memory

    # --- asking -------------------------------------------------------------------------------------------------------

    def estimate(self, agent_type: str, product: str, model: str | None) -> Estimate:
        """What the next task of a kind is estimated at."""
        memory = self._kinds.get((agent_type, product, model))
        return Estimate() if memory is None else memory.estimate

    def usual_ms(self, agent_type: str, product: str, model: str | None) -> int | None:
        """How long tasks of a kind take at the median, whatever was estimated; None where none is known."""
        memory = self._kinds.get((agent_type, product, model))
        if memory is None or not memory.done:
            return None
        if memory.usual_ms is None:
            ordered = sorted(done.elapsed_ms for done in memory.done)
            middle = len(ordered) // 2
            memory.usual_ms = (ordered[middle] + ordered[~middle]) // 2
        return memory.usual_ms

    def cost_nanos(self, agent_type: str, product: str, model: str, tokens: int) -> int | None:
        """What so many tokens cost at the rate of the kind's last tasks; None where there were none."""
        memory = self._kinds.get((agent_type, product, model))
        used = 0 if memory is None else sum(done.tokens for done in memory.done)
        if memory is None or not used:
            return None
        return sum(done.cost_nanos for done in memory.done) * tokens // used

    def adjustments(self, agent_type: str, product: str, model: str, settings: Settings) -> Iterator[EstimateAdjusted]:
        """What must be adjusted after a task of these labels was completed."""
        count = min(settings.over_tasks, TASKS_MAX)
        for kind in kinds(agent_type, product, model):
            memory = self._kinds[kind]
            if memory.since < count:
                continue
            line = _line(settings.over_by_percent)
            last = list(memory.done)[-count:]
            tokens = _over([(done.tokens, done.estimated_tokens) for done in last], line)
            elapsed = _over([(done.elapsed_ms, done.estimated_ms) for done in last], line)
            if tokens is None and elapsed is None:
                continue
            yield EstimateAdjusted(
                agent_type=agent_type,
                product=product,
                model=kind[2],
                tokens=None if tokens is None else _percentile([done.tokens for done in last], settings),
                elapsed_ms=None if elapsed is None else _percentile([done.elapsed_ms for done in last], settings),
                over=round(float(max(over for over in (tokens, elapsed) if over is not None) - 1), 6),
                tasks=count,
            )

    # --- the snapshot -------------------------------------------------------------------------------------------------

    def dump(self) -> list[Any]:
        """All of it as lists and numbers, equal for equal memories."""
        return [
            [list(kind), [list(done) for done in memory.done], memory.since, list(memory.estimate)]
            for kind, memory in self._kinds.items()
        ]

    @classmethod
    def load(cls, dumped: list[Any]) -> "Estimates":
        estimates = cls()
        for (agent_type, product, model), done, since, estimate in dumped:
            memory = estimates._kinds[agent_type, product, model] = _Memory()
            memory.done.extend(Done(*one) for one in done)
            memory.since, memory.estimate = since, Estimate(*estimate)
        return estimates


def kinds(agent_type: str, product: str, model: str) -> tuple[Kind, Kind]:
    """The kinds that a task teaches: its own, and that of all models."""
    return (agent_type, product, model), (agent_type, product, None)


def is_good(estimated: int, actual: int) -> bool:
    """Whether an actual is within 10 % of its estimate."""
    return abs(actual - estimated) <= GOOD * estimated


def accuracy(estimated: int, actual: int) -> Accuracy:
    """How an actual compares with its estimate, in the words of replies."""
    if is_good(estimated, actual):
        return "good"
    return "over" if actual > estimated else "under"


@lru_cache(maxsize=8)
def _line(over_by_percent: Decimal) -> Fraction:
    """What of an estimate is over it by so many per cent."""
    return 1 + Fraction(over_by_percent) / 100


def _over(pairs: Sequence[tuple[int, int | None]], line: Fraction) -> Fraction | None:
    """Actual / estimate at the median, where that is above ``line``; None where it is not, or some had no estimate."""
    above = 0
    for actual, estimated in pairs:
        if not estimated:
            return None
        above += actual * line.denominator > line.numerator * estimated
    # Where fewer than half are above the line, so is not their median.
    if 2 * above < len(pairs):
        return None
    median = _median([Fraction(actual, estimated) for actual, estimated in pairs if estimated])
    return median if median > line else None


def _median(values: Sequence[Fraction]) -> Fraction:
    """The middle value; of two, their mean."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def _percentile(values: Sequence[int], settings: Settings) -> int:
    """The smallest value that at least so many per cent of the values are not above (nearest rank)."""
    rank = ceil(Fraction(settings.percentile) / 100 * len(values))
    return sorted(values)[max(rank, 1) - 1]
