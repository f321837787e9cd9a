"""Forecasts on real runs, beside the average rate: when a budget is used up, what pools and days will use, how sure.

Protocol: runs of at least 8 steps; a run's budget is 0.8 of its own total; at each decile of it consumed, predict the
step at which it will be used up. A hit is off by at most 10 % of that step. 5 folds by run, in three shuffles: history
learns from the runs of four folds, one after the other, as in production (forecasts are made, scored, the run learnt),
and foretells those of the fifth, of which it has seen nothing.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from statistics import fmean, median
from typing import NamedTuple

from benchmarks import days
from benchmarks.data import found
from benchmarks.result import Result
from tallystick.actors.policies.growth_forecast import courses
from tallystick.actors.policies.intervals import shrunk
from tallystick.actors.policies.outlook import Outlook, foresee
from tallystick.actors.policies.pools import RATIO_RUNS, Pool, pool_total
from tallystick.demo.trace import read_trace
from tallystick.demo.workload import Run
from tallystick.events import catalog as e
from tallystick.events.accounts import Money
from tallystick.events.amounts import COST, DIMENSIONS, EDGE_NAMES, TIME, TOKENS, Amounts
from tallystick.events.foretold import Outcome
from tallystick.events.growth import NO_STEPS, Growth, observed
from tallystick.events.history import History, conformal, is_hit

AGENTS, REQUESTS = "agents-swebench-gemini3-public.csv.gz", "requests-azure2023.csv.gz"
STEPS_MIN, SHARE_OF_TOTAL, FOLDS, SHUFFLES = 8, 0.8, 5, 3
DECILES = range(1, 10)
REQUESTS_A_RUN = 40
"""Requests of one service know nothing of one another: so many in a row stand for an agent whose usage does not grow."""
POOLS, DRAWS = (50, 100), 400
LABELS = ("agent", "model")


class Point(NamedTuple):
    """A run at a decile of its budget: after ``step`` steps."""

    decile: int
    step: int
    used: int


class Task(NamedTuple):
    """What is to be foretold of a run in one dimension: when ``mark`` is reached; the truth is ``actual``."""

    mark: int
    actual: float
    points: tuple[Point, ...]


class Case:
    """A real run: after each step its growth, its tasks by dimension, and what it teaches once it is over."""

    def __init__(self, steps: Sequence[Money]) -> None:
        self.steps = steps
        self.grown = [NO_STEPS]
        for used in steps:
            self.grown.append(observed(self.grown[-1], used))
        self.total: Money = tuple(sum(used[d] for used in steps) for d in DIMENSIONS)  # type: ignore[assignment]
        self.tasks = {d: _task(steps, d, self.total[d]) for d in DIMENSIONS if self.total[d]}
        self.lesson = e.RunLearned(
            agent="run",
            agent_type=LABELS[0],
            model=LABELS[1],
            steps=len(steps),
            consumed=Amounts(*self.total),
            elapsed_ms=0,
            growth=Growth.read(self.grown[-1]).numbers(),
        )


def _task(steps: Sequence[Money], d: int, total: int) -> Task:
    mark, used, actual, points = int(SHARE_OF_TOTAL * total), 0, 0.0, []
    for n, step in enumerate(steps, start=1):
        before, used = used, used + step[d]
        if before < mark <= used:
            # A mark that a step passes on its way counts as reached in the corresponding part of that step.
            actual = n - 1 + (mark - before) / step[d]
        passed = [decile for decile in DECILES if before < decile * mark / 10 <= used]
        points += [Point(decile, n, used) for decile in passed]
    return Task(mark, actual, tuple(points))


class Told(NamedTuple):
    """One forecast and the truth, all in steps; ``low`` and ``high`` also by past errors of the average rate."""

    decile: int
    step: int
    actual: float
    predicted: float
    low: float
    high: float
    baseline: float
    baseline_low: float
    baseline_high: float


def foretold(case: Case, d: int, point: Point, history: History) -> Outlook | None:
    """What the product says at a point; None where the budget is used up already."""
    mark = case.tasks[d].mark
    known = history.known(*LABELS)
    course = courses(Growth.read(case.grown[point.step]), known)[d]
    if course is None or point.used >= mark:
        return None
    return foresee(course, known, d, point.used, mark, point.step)


class Past:
    """What is learnt from runs one after the other, with the average rate's errors beside."""

    def __init__(self, cases: Sequence[Case], d: int) -> None:
        self.history = History()
        errors: dict[int, list[float]] = {decile: [] for decile in DECILES}
        for case in cases:
            task = case.tasks.get(d)
            if task is not None:
                self._score(case, d, task, errors)
            self.history.fold(case.lesson)
        self.baseline = {decile: conformal(sorted(seen[-100:])) for decile, seen in errors.items() if seen}

    def _score(self, case: Case, d: int, task: Task, errors: dict[int, list[float]]) -> None:
        outcomes = []
        for point in task.points:
            seen = foretold(case, d, point, self.history)
            if seen is not None:
                p = seen.prediction()
                outcomes.append(Outcome(p.stage, p.step, p.predicted, p.low, p.high, p.baseline))
                errors[point.decile].append(task.actual / p.baseline)
        scored = e.ForecastScored(
            agent="run",
            agent_type=LABELS[0],
            model=LABELS[1],
            dimension=EDGE_NAMES[d],
            actual=task.actual,
            forecasts=outcomes,
        )
        self.history.fold(scored)


def protocol(cases: Sequence[Case], d: int) -> list[Told]:
    """Every forecast of a dimension under the protocol."""
    told = []
    for shuffle in range(SHUFFLES):
        order = [case for case in cases if len(case.steps) >= STEPS_MIN]
        random.Random(shuffle).shuffle(order)
        for fold in range(FOLDS):
            past = Past([case for i, case in enumerate(order) if i % FOLDS != fold], d)
            for case in order[fold::FOLDS]:
                told += _told(case, d, past)
    return told


def _told(case: Case, d: int, past: Past) -> Iterator[Told]:
    task = case.tasks.get(d)
    for point in task.points if task is not None else ():
        seen = foretold(case, d, point, past.history)
        low, high = past.baseline[point.decile]
        if seen is None:
            # Nothing is left of the budget, and all know it.
            n = float(point.step)
            yield Told(point.decile, point.step, n, n, n, n, n, n, n)
        elif task is not None:
            ends = seen.baseline * low, seen.baseline * high
            yield Told(point.decile, point.step, task.actual, seen.predicted, seen.low, seen.high, seen.baseline, *ends)


# --- shares -----------------------------------------------------------------------------------------------------------


def _hits(told: Sequence[Told]) -> tuple[float, float]:
    """The share of hits, and that of the average rate."""
    return fmean(is_hit(t.predicted, t.actual) for t in told), fmean(is_hit(t.baseline, t.actual) for t in told)


def _remaining(told: Sequence[Told]) -> tuple[float, float]:
    """The median error as a share of the steps that were still to come, and that of the average rate."""
    late = [t for t in told if t.actual > t.step]
    errors = [(abs(t.predicted - t.actual), abs(t.baseline - t.actual), t.actual - t.step) for t in late]
    return median(ours / left for ours, _, left in errors), median(theirs / left for _, theirs, left in errors)


def _share(name: str, value: float, baseline: float, goal: tuple[str, float] | None = None) -> Result:
    return Result(name, 100 * value, "% hits", f"all; average rate {100 * baseline:.1f} %", value, goal)


def exhaustion(
    name: str, told: Sequence[Told], since: int, goals: tuple[float | None, float | None]
) -> Iterator[Result]:
    """By decile, from ``since`` tenths on, the mean, and how far off on the remaining steps."""
    by_decile = {decile: _hits([t for t in told if t.decile == decile]) for decile in DECILES}
    for decile, hits in by_decile.items():
        yield _share(f"{name}.at_{decile}0", *hits)
    for label, deciles, goal in ((f"from_{since}0", range(since, 10), goals[0]), ("mean", DECILES, goals[1])):
        ours, theirs = (fmean(by_decile[decile][whose] for decile in deciles) for whose in (0, 1))
        yield _share(f"{name}.{label}", ours, theirs, None if goal is None else (">=", goal))
    ours, theirs = _remaining(told)
    yield Result(f"{name}.remaining", 100 * ours, "% off (median)", f"average rate {100 * theirs:.1f} %", ours / theirs)


def intervals(name: str, told: Sequence[Told]) -> Iterator[Result]:
    """Coverage, and width beside that of the average rate's own intervals by past errors."""
    inside = fmean(t.low <= t.actual <= t.high for t in told)
    theirs = fmean(t.baseline_low <= t.actual <= t.baseline_high for t in told)
    against = f"all; average rate's {100 * theirs:.1f} %"
    yield Result(f"{name}.coverage", 100 * inside, "% held", against, inside, ("in", 0.77, 0.88))
    width = fmean(t.high - t.low for t in told)
    baseline = fmean(t.baseline_high - max(t.step, t.baseline_low) for t in told)
    yield Result(f"{name}.width", width, "steps", f"average rate's {baseline:.2f}", width / baseline, ("<=", 1.0))


# --- pools ------------------------------------------------------------------------------------------------------------


def pools(cases: Sequence[Case], d: int) -> Iterator[Result]:
    """Runs drawn at random, foretold from those that were not drawn.

    Half through: each run has made half of its steps, and what runs had used by then is known of history. Half ended:
    half of the runs are over, the others have not begun; nothing is known of them.
    """
    for size in POOLS:
        rng = random.Random(size)
        through, ended, doubled, scaled = [], [], [], []
        for _ in range(DRAWS):
            order = list(cases)
            rng.shuffle(order)
            pool, past = order[:size], order[size:]
            truth = sum(case.total[d] for case in pool)
            halves = [sum(step[d] for step in case.steps[: len(case.steps) // 2]) for case in pool]
            before = [sum(step[d] for step in case.steps[: len(case.steps) // 2]) for case in past]
            totals = [float(case.total[d]) for case in past]
            so_far, expected = sum(halves), size * fmean(before)
            rest = size * (fmean(totals) - fmean(before))
            through.append(is_hit(so_far + rest * shrunk(so_far, expected, size / (size + RATIO_RUNS)), truth))
            doubled.append(is_hit(2 * so_far, truth))
            over = sum(case.total[d] for case in pool[: size // 2])
            seen = pool_total(Pool(size // 2, over, (), size - size // 2), totals)
            ended.append(seen is not None and is_hit(seen.estimate, truth))
            scaled.append(is_hit(2 * over, truth))
        yield _share(f"forecast.pool_{size}.half_through", fmean(through), fmean(doubled), (">=", 0.87))
        yield _share(f"forecast.pool_{size}.half_ended", fmean(ended), fmean(scaled), (">=", 0.87))


# --- speed ------------------------------------------------------------------------------------------------------------


def speed(cases: Sequence[Case]) -> Iterator[Result]:
    """One report taken in and all three dimensions foretold anew, with a full history; early and late in a long run."""
    past = Past(cases, TOKENS)
    early, late = _update_us(cases[0], past.history, 10), _update_us(cases[0], past.history, 10_000)
    yield Result("forecast.update", late, "us", "20 us", late / 20, ("<=", 1.0))
    yield Result(
        "forecast.update.after_10k_steps", late, "us", f"after 10 steps {early:.1f} us", late / early, ("<=", 1.5)
    )


def _update_us(case: Case, history: History, steps: int) -> float:
    kept, used = NO_STEPS, [0, 0, 0]
    for n in range(steps):
        step = case.steps[n % len(case.steps)]
        kept, used = observed(kept, step), [used[d] + step[d] for d in DIMENSIONS]
    marks, seen = [2 * amount for amount in used], []

    def update() -> None:
        known = history.known(*LABELS)
        growth = Growth.read(observed(kept, case.steps[0]))
        for d, course in enumerate(courses(growth, known)):
            if course is not None:
                foresee(course, known, d, used[d], marks[d], growth.steps)

    for _ in range(50):
        # Processor time: what else the machine does is not this forecast's cost.
        began = time.process_time()
        for _ in range(100):
            update()
        seen.append((time.process_time() - began) / 100)
    return 1e6 * median(seen)


# --- all --------------------------------------------------------------------------------------------------------------


def results(say: Callable[[str], None]) -> Iterator[Result]:
    """All of them; ``say`` is told where data is absent."""
    agents, requests = found(AGENTS), found(REQUESTS)
    if agents is None:
        say(f"forecasts on real runs are left out: there is no {AGENTS} in shared/data beside the checkout")
    else:
        cases = [Case([step.used for step in run.steps]) for run in read_trace(agents).runs]
        for d, since, goals in ((TOKENS, 3, (0.90, 0.92)), (COST, 8, (0.90, 0.68)), (TIME, 8, (None, None))):
            told = protocol(cases, d)
            yield from exhaustion(f"forecast.{EDGE_NAMES[d]}", told, since, goals)
            yield from intervals(f"forecast.{EDGE_NAMES[d]}", told)
        yield from pools(cases, COST)
        yield from speed(cases)
    if requests is None:
        say(f"forecasts where usage does not grow are left out: there is no {REQUESTS} in shared/data")
    else:
        told = protocol(_services(read_trace(requests).runs), TOKENS)
        yield from exhaustion("forecast.requests", told, 3, (None, None))
        yield from intervals("forecast.requests", told)
    yield from days.results(say)


def _services(requests: Sequence[Run]) -> list[Case]:
    """The requests of each service in the order of their arrival, in runs of `REQUESTS_A_RUN`."""
    services: dict[str, list[Money]] = {}
    for request in sorted(requests, key=lambda request: request.starts_ms):
        services.setdefault(request.agent_type or "", []).append(request.steps[0].used)
    return [
        Case(steps[start : start + REQUESTS_A_RUN])
        for steps in services.values()
        for start in range(0, len(steps) - REQUESTS_A_RUN, REQUESTS_A_RUN)
    ]
