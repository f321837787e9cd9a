"""Forecasts on real runs, beside the average rate: when a budget is used up, what pools and days will use, how sure.

Protocol: runs of at least 8 steps; a run's budget is 0.8 of its own total; at each decile of it consumed, predict the
step at which it will be used up. A hit is off by at most 10 % of that step. 5 folds by run, in three shuffles: history
learns from the runs of four folds, one after the other, as in production (forecasts are made, scored, the run learnt),
and forecasts those of the fifth, of which it has seen nothing.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from statistics import fmean, median
from typing import NamedTuple

from benchmarks import cache_reads, days, final_usage, first_steps, pools
from benchmarks.cases import DECILES, LABELS, Case, Point, Task, case_of, folds, known, scored, services, share
from benchmarks.data import found
from benchmarks.result import Result
from tallystick.actors.policies.forecasting.durations import in_seconds, pace
from tallystick.actors.policies.forecasting.exhaustion import Exhaustion, foresee
from tallystick.actors.policies.forecasting.growth_forecast import growth_by_dimension
from tallystick.actors.policies.forecasting.intervals import Range
from tallystick.config.amounts import COST, EDGE_NAMES, TIME, TOKENS
from tallystick.demo.trace import read_trace
from tallystick.events.catalog.forecasts import Outcome
from tallystick.events.state.growth import NO_STEPS, Growth, observed
from tallystick.events.state.history import History, conformal, is_hit

AGENTS, REQUESTS = "agents-swebench-gemini3-public.csv.gz", "requests-azure2023.csv.gz"
ERRORS_MAX = 100


class Forecasted(NamedTuple):
    """One forecast and the truth, in steps; the interval also of the average rate, by its own past errors.

    ``in_time``: whether the interval in seconds held the truth.
    """

    decile: int
    step: int
    actual: float
    predicted: float
    low: float
    high: float
    baseline: float
    baseline_low: float
    baseline_high: float
    in_time: bool


def forecast(case: Case, d: int, point: Point, history: History) -> Exhaustion | None:
    """What the product says at a point; None where the budget is used up already."""
    mark, there = case.tasks[d].mark, known(history)
    course = growth_by_dimension(Growth.read(case.grown[point.step]), there)[d]
    if course is None or point.used >= mark:
        return None
    return foresee(course, there, d, point.used, mark, point.step)


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
        self.baseline = {decile: conformal(sorted(seen[-ERRORS_MAX:])) for decile, seen in errors.items() if seen}

    def _score(self, case: Case, d: int, task: Task, errors: dict[int, list[float]]) -> None:
        outcomes = []
        for point in task.points:
            seen = forecast(case, d, point, self.history)
            if seen is not None:
                p = seen.prediction()
                outcomes.append(Outcome.of(p))
                errors[point.decile].append(task.actual / p.baseline)
        self.history.fold(scored(LABELS, d, task.actual, outcomes))


def protocol(cases: Sequence[Case], d: int) -> list[Forecasted]:
    """Every forecast of a dimension under the protocol."""
    made = []
    for learnt, present in folds(cases):
        past = Past(learnt, d)
        for case in present:
            made += _forecast_at(case, d, past)
    return made


def _forecast_at(case: Case, d: int, past: Past) -> Iterator[Forecasted]:
    task = case.tasks.get(d)
    if task is None:
        return
    for point in task.points:
        seen, (low, high) = forecast(case, d, point, past.history), past.baseline[point.decile]
        if seen is None:
            # Nothing is left of the budget, and all know it.
            n = float(point.step)
            yield Forecasted(point.decile, point.step, n, n, n, n, n, n, n, in_time=True)
        else:
            steps = (task.actual, seen.predicted, seen.low, seen.high, seen.baseline)
            ends, in_time = (seen.baseline * low, seen.baseline * high), _in_time(case, point.step, task, seen, past)
            yield Forecasted(point.decile, point.step, *steps, *ends, in_time=in_time)


def _in_time(case: Case, step: int, task: Task, seen: Exhaustion, past: Past) -> bool:
    elapsed_ms = case.elapsed_ms[step]
    seconds_a_step = pace(elapsed_ms, step, known(past.history))
    if seconds_a_step is None:
        return False
    left = Range(seen.predicted - step, seen.low - step, seen.high - step)
    found = in_seconds(left, step, seconds_a_step)
    return found.low <= case.seconds_at(task.actual) - elapsed_ms / 1_000 <= found.high


# --- shares -----------------------------------------------------------------------------------------------------------


def _hits(made: Sequence[Forecasted]) -> tuple[float, float]:
    """The share of hits, and that of the average rate."""
    return fmean(is_hit(t.predicted, t.actual) for t in made), fmean(is_hit(t.baseline, t.actual) for t in made)


def _remaining(made: Sequence[Forecasted]) -> tuple[float, float]:
    """The median error as a share of the steps that were still to come, and that of the average rate."""
    late = [t for t in made if t.actual > t.step]
    errors = [(abs(t.predicted - t.actual), abs(t.baseline - t.actual), t.actual - t.step) for t in late]
    return median(ours / left for ours, _, left in errors), median(theirs / left for _, theirs, left in errors)


def exhaustion(
    name: str, made: Sequence[Forecasted], since: int, goals: tuple[float | None, float | None]
) -> Iterator[Result]:
    """By decile, from ``since`` tenths on, the mean, and how far off on the remaining steps."""
    by_decile = {decile: _hits([t for t in made if t.decile == decile]) for decile in DECILES}
    for decile, hits in by_decile.items():
        yield share(f"{name}.at_{decile}0", *hits)
    for label, deciles, goal in ((f"from_{since}0", range(since, 10), goals[0]), ("mean", DECILES, goals[1])):
        ours, theirs = (fmean(by_decile[decile][whose] for decile in deciles) for whose in (0, 1))
        yield share(f"{name}.{label}", ours, theirs, None if goal is None else (">=", goal))
    ours, theirs = _remaining(made)
    yield Result(f"{name}.remaining", 100 * ours, "% off (median)", f"average rate {100 * theirs:.1f} %", ours / theirs)


def intervals(name: str, made: Sequence[Forecasted]) -> Iterator[Result]:
    """Coverage, and width beside that of the average rate's own intervals by past errors."""
    inside = fmean(t.low <= t.actual <= t.high for t in made)
    theirs = fmean(t.baseline_low <= t.actual <= t.baseline_high for t in made)
    against = f"all; average rate's {100 * theirs:.1f} %"
    yield Result(f"{name}.coverage", 100 * inside, "% held", against, inside, ("in", 0.77, 0.88))
    width = fmean(t.high - t.low for t in made)
    baseline = fmean(t.baseline_high - max(t.step, t.baseline_low) for t in made)
    yield Result(f"{name}.width", width, "steps", f"average rate's {baseline:.2f}", width / baseline, ("<=", 1.0))


# --- speed ------------------------------------------------------------------------------------------------------------


def speed(cases: Sequence[Case]) -> Iterator[Result]:
    """One report taken in and all three dimensions forecast anew, with a full history; early and late in a long run."""
    past = Past(cases, TOKENS)
    early, late = _update_us(cases[0], past.history, 10), _update_us(cases[0], past.history, 10_000)
    yield Result("forecast.update", late, "us", "20 us", late / 20, ("<=", 1.0))
    yield Result(
        "forecast.update.after_10k_steps", late, "us", f"after 10 steps {early:.1f} us", late / early, ("<=", 1.5)
    )


def _update_us(case: Case, history: History, steps: int) -> float:
    kept = NO_STEPS
    for n in range(steps):
        kept = observed(kept, case.steps[n % len(case.steps)])
    marks, seen = [2 * amount for amount in case.total], []

    def update() -> None:
        there, growth = known(history), Growth.read(observed(kept, case.steps[0]))
        for d, course in enumerate(growth_by_dimension(growth, there)):
            if course is not None:
                foresee(course, there, d, case.total[d], marks[d], growth.steps)

    for _ in range(50):
        # Processor time, and the best of many: what else the machine does is not this forecast's cost.
        began = time.process_time()
        for _ in range(100):
            update()
        seen.append((time.process_time() - began) / 100)
    return 1e6 * min(seen)


# --- all --------------------------------------------------------------------------------------------------------------


def results(say: Callable[[str], None]) -> Iterator[Result]:
    """All of them; ``say`` is called where data is absent."""
    agents, requests = found(AGENTS), found(REQUESTS)
    if agents is None:
        say(f"forecasts on real runs are left out: there is no {AGENTS} in shared/data beside the checkout")
    else:
        runs = read_trace(agents).runs
        cases = [case_of(run) for run in runs]
        for d, since, goals in ((TOKENS, 3, (0.90, 0.92)), (COST, 8, (0.90, 0.68)), (TIME, 8, (None, None))):
            name, made = f"forecast.{EDGE_NAMES[d]}", protocol(cases, d)
            yield from exhaustion(name, made, since, goals)
            yield from intervals(name, made)
            if d != TIME:
                in_time = fmean(t.in_time for t in made)
                yield Result(f"{name}.seconds.coverage", 100 * in_time, "% held", "all", in_time)
            yield from final_usage.single(cases, d, name)
        yield from pools.results(cases)
        yield from first_steps.results(cases)
        yield from cache_reads.results(runs)
        yield from speed(cases)
    if requests is None:
        say(f"forecasts where usage does not grow are left out: there is no {REQUESTS} in shared/data")
    else:
        made = protocol(services(read_trace(requests).runs), TOKENS)
        yield from exhaustion("forecast.requests", made, 3, (None, None))
        yield from intervals("forecast.requests", made)
    yield from days.results(say)
