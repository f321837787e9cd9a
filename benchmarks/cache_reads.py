"""What it would gain to foresee which steps read a provider's cache and which miss it. The product does not.

A *miss* is a step after the third that reads less than half of the prompt before from the cache. Reports say how many
tokens were read. *Foreseen*: cost is forecast in its parts (tokens by the product; misses, new tokens and output as the
kind has them, drawn towards the run's own as far as it has shown them). *Known*: the same, if the reads to come were
known. Both are put in the middle of what they would have said of the runs learnt from. Protocol: `forecasts`.
"""

from collections.abc import Iterator, Sequence
from statistics import fmean, median
from typing import NamedTuple

from benchmarks.cases import DECILES, Case, Point, case_of, folds, known
from benchmarks.result import Result
from tallystick.actors.policies.forecasting.growth_forecast import Course, growth_by_dimension
from tallystick.config.amounts import COST, TOKENS
from tallystick.demo.workload import Run, Step
from tallystick.events.state.growth import HEAD, Growth
from tallystick.events.state.history import History, Known, is_hit

LIFETIME_MS = 5 * 60 * 1_000
"""A provider's cache keeps a prompt for so long after it was last read."""
MISSES, FRESH, ANSWERS = 76, 35, 20
"""What a kind says of misses, new tokens and output counts as so many of the run's own steps; the best of some values
that were tried on these same runs, so that *foreseen* is rather flattered."""
STEPS_MAX = 2_000


class Parts(NamedTuple):
    """What a step is billed for, in tokens, and whether it missed the cache."""

    fresh: int
    read: int
    answer: int
    missed: bool


def parts_of(run: Run) -> list[Parts]:
    parts, before = [], 0
    for number, step in enumerate(run.steps):
        sent, read = step.input_tokens or 0, step.cached_tokens or 0
        parts.append(Parts(sent - read, read, step.output_tokens or 0, number >= HEAD and 2 * read < before))
        before = sent
    return parts


class Usual:
    """What the runs learnt from say of prices, misses, new tokens and output."""

    def __init__(self, learnt: Sequence[tuple[Case, list[Parts]]]) -> None:
        history, steps = History(), []
        for case, own in learnt:
            history.fold(case.lesson)
            steps += [(one, step[COST]) for one, step in zip(own, case.steps, strict=True)]
        self.known: Known = known(history)
        self.prices = _prices(steps)
        later = [one for _, own in learnt for one in own[HEAD:]]
        self.missed = fmean(one.missed for one in later)
        self.fresh = fmean(one.fresh for one in later if not one.missed)
        self.answer = fmean(one.answer for one, _ in steps)

    def until(self, case: Case, own: Sequence[Parts], point: Point, *, reads_known: bool) -> float:
        """After how many steps the budget is used up, from a point on."""
        tokens = growth_by_dimension(Growth.read(case.grown[point.step]), self.known)[TOKENS]
        n, left = point.step, float(case.tasks[COST].mark - point.used)
        if tokens is None:
            return float(n)
        later = own[HEAD:n]
        hits = [one.fresh for one in later if not one.missed]
        missed = _towards(self.missed, MISSES, [one.missed for one in later])
        fresh = _towards(self.fresh, FRESH, hits)
        answer = _towards(self.answer, ANSWERS, [one.answer for one in own[:n]])
        for ahead in range(1, STEPS_MAX):
            sent = max(1.0, tokens.rate + tokens.growth * ahead - answer)
            new = missed * sent + (1 - missed) * fresh
            if reads_known and n + ahead <= len(own):
                new = own[n + ahead - 1].fresh
            new = min(new, sent)
            cost = new * self.prices[0] + (sent - new) * self.prices[1] + answer * self.prices[2]
            if cost >= left:
                return n + ahead - 1 + left / cost
            left -= cost
        return float(n + STEPS_MAX)


def _towards(usual: float, weight: float, seen: Sequence[float]) -> float:
    return (usual * weight + sum(seen)) / (weight + len(seen))


def _prices(steps: Sequence[tuple[Parts, int]]) -> tuple[float, float, float]:
    """What a new token costs, one that is read from the cache and one of output: least squares, by Cramer's rule."""
    rows = [(one.fresh, one.read, one.answer) for one, _ in steps]
    square = [[float(sum(row[i] * row[j] for row in rows)) for j in range(3)] for i in range(3)]
    right = [float(sum(row[i] * cost for row, (_, cost) in zip(rows, steps, strict=True))) for i in range(3)]
    whole = _determinant(square)
    found = [
        _determinant([[right[i] if j == column else square[i][j] for j in range(3)] for i in range(3)]) / whole
        for column in range(3)
    ]
    return found[0], found[1], found[2]


def _determinant(m: Sequence[Sequence[float]]) -> float:
    (a, b, c), (d, e, f), (g, h, i) = m
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)


def results(runs: Sequence[Run]) -> Iterator[Result]:
    """How often the cache is missed and when, and what foreseeing it would gain, in the mean of the nine tenths."""
    yield _misses(runs)
    cases = [case_of(run) for run in runs]
    parts = {id(case): parts_of(run) for case, run in zip(cases, runs, strict=True)}
    hits: dict[int, list[tuple[bool, bool, bool]]] = {decile: [] for decile in DECILES}
    for learnt, present in folds(cases):
        usual = Usual([(case, parts[id(case)]) for case in learnt])
        middles = [_middles(usual, learnt, parts, reads_known) for reads_known in (False, True)]
        for case in present:
            for point in case.tasks[COST].points:
                hits[point.decile].append(_judged(usual, case, parts[id(case)], point, middles))
    product, foreseen, all_known = (
        fmean(fmean(one[who] for one in made) for made in hits.values()) for who in range(3)
    )
    against = f"the product {100 * product:.1f} %"
    yield Result("forecast.cache.foreseen", 100 * foreseen, "% hits", against, foreseen / product)
    yield Result("forecast.cache.known", 100 * all_known, "% hits", against, all_known / product)


def _misses(runs: Sequence[Run]) -> Result:
    steps: list[tuple[Step, Parts]] = [
        pair for run in runs for pair in list(zip(run.steps, parts_of(run), strict=True))[HEAD:]
    ]
    late = [one.missed for step, one in steps if step.gap_ms + (step.duration_ms or 0) > LIFETIME_MS]
    missed = [one.missed for _, one in steps]
    against = f"{sum(late)} of {sum(missed)} misses came later than five minutes after the step before"
    return Result("forecast.cache.missed", 100 * fmean(missed), "% of steps", against, sum(late) / sum(missed))


def _middles(
    usual: Usual, learnt: Sequence[Case], parts: dict[int, list[Parts]], reads_known: bool
) -> dict[int, float]:
    """By tenth, the median of the steps that came as a share of those that would have been forecast."""
    ratios: dict[int, list[float]] = {decile: [] for decile in DECILES}
    for case in learnt:
        for point in case.tasks[COST].points:
            ahead = usual.until(case, parts[id(case)], point, reads_known=reads_known) - point.step
            if ahead > 0:
                ratios[point.decile].append((case.tasks[COST].actual - point.step) / ahead)
    return {decile: median(found) for decile, found in ratios.items()}


def _judged(
    usual: Usual, case: Case, own: list[Parts], point: Point, middles: Sequence[dict[int, float]]
) -> tuple[bool, bool, bool]:
    left, actual = case.tasks[COST].mark - point.used, case.tasks[COST].actual
    if left <= 0:
        return True, True, True
    course: Course | None = growth_by_dimension(Growth.read(case.grown[point.step]), usual.known)[COST]
    ahead = [usual.until(case, own, point, reads_known=reads_known) - point.step for reads_known in (False, True)]
    found = [point.step + steps * middle[point.decile] for steps, middle in zip(ahead, middles, strict=True)]
    product = course is not None and is_hit(point.step + course.steps_until(left), actual)
    return product, is_hit(found[0], actual), is_hit(found[1], actual)
