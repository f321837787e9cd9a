"""Real runs as cases: what is to be forecast of each, the truth, and what it teaches once it is over."""

import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from benchmarks.result import Result
from tallystick.config.amounts import DIMENSIONS, EDGE_NAMES, Amounts
from tallystick.demo.workload import Run
from tallystick.events import catalog as e
from tallystick.events.catalog.forecasts import Outcome
from tallystick.events.state.growth import NO_STEPS, Growth, observed
from tallystick.events.state.history import History, Kind, Known
from tallystick.events.state.money import Money

STEPS_MIN, SHARE_OF_TOTAL, FOLDS, SHUFFLES = 8, 0.8, 5, 3
DECILES = range(1, 10)
LABELS = ("agent", "model")
REQUESTS_A_RUN = 40
"""Requests of one service are independent: so many in a row stand for an agent whose usage does not grow."""


class Point(NamedTuple):
    """A run at a decile of its budget: after ``step`` steps it has used ``used``."""

    decile: int
    step: int
    used: int


class Task(NamedTuple):
    """What is to be forecast of a run in one dimension: at which step ``mark`` is reached. ``actual`` is the truth."""

    mark: int
    actual: float
    points: tuple[Point, ...]


class Case:
    """A real run. ``grown``, ``used`` and ``elapsed_ms`` are as they were after each step, the first before any."""

    def __init__(self, steps: Sequence[Money], ends_ms: Sequence[int]) -> None:
        self.steps = steps
        self.elapsed_ms = [0, *ends_ms]
        self.grown, self.used = [NO_STEPS], [(0, 0, 0)]
        for step in steps:
            before = self.used[-1]
            self.grown.append(observed(self.grown[-1], step))
            self.used.append((before[0] + step[0], before[1] + step[1], before[2] + step[2]))
        self.total = self.used[-1]
        self.tasks = {d: self._task(d) for d in DIMENSIONS if self.total[d]}
        self.lesson = e.RunLearned(
            agent="run",
            agent_type=LABELS[0],
            model=LABELS[1],
            steps=len(steps),
            consumed=Amounts(*self.total),
            elapsed_ms=self.elapsed_ms[-1],
            growth=Growth.read(self.grown[-1]).numbers(),
            head=Growth.read(self.grown[-1]).head_numbers(),
        )

    def _task(self, d: int) -> Task:
        mark, actual, points = int(SHARE_OF_TOTAL * self.total[d]), 0.0, []
        for n, step in enumerate(self.steps, start=1):
            before, used = self.used[n - 1][d], self.used[n][d]
            if before < mark <= used:
                # A mark that a step passes on its way counts as reached in the corresponding part of that step.
                actual = n - 1 + (mark - before) / step[d]
            points += [Point(decile, n, used) for decile in DECILES if before < decile * mark / 10 <= used]
        return Task(mark, actual, tuple(points))

    def seconds_at(self, step: float) -> float:
        """When it had made so many steps, the last one in part."""
        whole = min(int(step), len(self.steps))
        ends = self.elapsed_ms[whole], self.elapsed_ms[min(whole + 1, len(self.steps))]
        return (ends[0] + (step - whole) * (ends[1] - ends[0])) / 1_000


def case_of(run: Run) -> Case:
    clock, ends = 0, []
    for n, step in enumerate(run.steps):
        clock += (step.gap_ms if n else 0) + (step.duration_ms or 0)
        ends.append(clock)
    return Case([step.used for step in run.steps], ends)


def services(requests: Sequence[Run]) -> list[Case]:
    """The requests of each service in the order of their arrival, in runs of `REQUESTS_A_RUN`."""
    by_service: dict[str, list[Money]] = {}
    for request in sorted(requests, key=lambda request: request.starts_ms):
        by_service.setdefault(request.agent_type or "", []).append(request.steps[0].used)
    return [
        Case(steps[start : start + REQUESTS_A_RUN], [0] * REQUESTS_A_RUN)
        for steps in by_service.values()
        for start in range(0, len(steps) - REQUESTS_A_RUN, REQUESTS_A_RUN)
    ]


def folds(cases: Sequence[Case]) -> Iterator[tuple[list[Case], list[Case]]]:
    """Runs to learn from and runs to forecast, five times in each shuffle; no run is in both."""
    for shuffle in range(SHUFFLES):
        order = [case for case in cases if len(case.steps) >= STEPS_MIN]
        random.Random(shuffle).shuffle(order)
        for fold in range(FOLDS):
            yield [case for i, case in enumerate(order) if i % FOLDS != fold], order[fold::FOLDS]


def known(history: History) -> Known:
    return history.known(*LABELS)


def scored(kind: Kind, d: int, actual: float, outcomes: list[Outcome]) -> e.ForecastScored:
    """What is recorded once it is known when a budget was used up of which there were forecasts."""
    return e.ForecastScored(
        agent="run",
        agent_type=kind[0],
        model=kind[1],
        dimension=EDGE_NAMES[d],
        actual=actual,
        forecasts=outcomes,
    )


def share(name: str, value: float, baseline: float, goal: tuple[str, float] | None = None) -> Result:
    """A share of hits, with the average rate's beside it."""
    return Result(name, 100 * value, "% hits", f"all; average rate {100 * baseline:.1f} %", value, goal)
