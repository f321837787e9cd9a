"""Costs of agents whose first steps cost otherwise than later ones: forecast without them, with them, and by a profile.

The kinds are generated: an agent sends a long system prompt and its context again with each step. With *writes*, the
provider bills what a step adds to its cache at 1.25 of the price and reads it at 0.1, so that the first step costs
most; with *warms*, the cache is there from the fourth step on; with *plain*, there is none. Beside them *real* runs.
A run's budget, its points and the folds are those of `forecasts`.

*All steps* is the product without what it keeps of first steps. *Profile*: history's mean costs of the first three
steps and a line after, m_j, scaled by the run's own level: y_j = m_j (Σy + k m̄) / (Σm + k m̄) with k = 5.
"""

import random
from collections.abc import Iterator, Sequence
from statistics import fmean

from msgspec.structs import replace

from benchmarks.cases import DECILES, Case, Point, folds, known
from benchmarks.result import Result
from tallystick.actors.policies.forecasting.growth_forecast import LINEAR_GROWTH, Course, growth_by_dimension
from tallystick.config.amounts import COST
from tallystick.events.state.growth import HEAD, Growth, Moments
from tallystick.events.state.history import History, Known, is_hit
from tallystick.events.state.money import Money
from tallystick.events.state.priors import Prior

RUNS, OWN = 150, 5
INPUT, OUTPUT = 3_000, 15_000
"""Nano-dollars a token."""
READ, WRITE = 0.1, 1.25
"""Times the price of input."""
KINDS = ("writes", "warms", "plain")


def generated(kind: str) -> list[Case]:
    """Runs of one kind; equal kinds are equal runs."""
    dice = random.Random(kind)
    return [Case(_steps(kind, dice), [0] * 60) for _ in range(RUNS)]


def _steps(kind: str, dice: random.Random) -> list[Money]:
    prompt, cached, steps = dice.gauss(20_000, 3_000) + dice.lognormvariate(7, 0.6), 0.0, []
    own = dice.lognormvariate(0, 0.25)
    for number in range(dice.randrange(10, 60)):
        answer = dice.lognormvariate(5.3, 1.0) * own
        if kind == "writes":
            sent, cached = cached * READ + (prompt - cached) * WRITE, prompt
        else:
            sent = prompt * (0.05 + 0.95 * READ) if kind == "warms" and number >= HEAD else prompt
        steps.append((int(prompt + answer), 5_000, int(sent * INPUT + answer * OUTPUT)))
        prompt += answer + dice.lognormvariate(6.3, 0.8) * own
    return steps


class Profile:
    """Mean costs of the first steps, and a line after, as finished runs taught them."""

    def __init__(self, runs: Sequence[Case]) -> None:
        self._first = [fmean(run.steps[number][COST] for run in runs) for number in range(HEAD)]
        later = Prior()
        for run in runs:
            later.learn(_moments(run))
        self._level, self._growth = later.line.level, max(0.0, later.line.growth)
        self._noise = later.line.noise

    def course(self, n: int, used: int) -> Course:
        """How cost goes on after ``n`` steps that cost ``used``."""
        usual = sum(self._first[:n]) + sum(self._level + self._growth * j for j in range(HEAD + 1, n + 1))
        more = OWN * usual / n
        scale = (used + more) / (usual + more)
        rate = max(1.0, scale * (self._level + self._growth * n))
        return Course(rate, scale * self._growth, 0.0, 0.0, 0.0, scale * scale * self._noise, 0.0, LINEAR_GROWTH)


def _moments(run: Case) -> Moments:
    points = [(float(number), step[COST]) for number, step in enumerate(run.steps, start=1) if number > HEAD]
    x, y = fmean(number for number, _ in points), fmean(cost for _, cost in points)
    return Moments(
        len(points),
        x,
        y,
        fmean((number - x) ** 2 for number, _ in points),
        fmean((number - x) * (cost - y) for number, cost in points),
        fmean((cost - y) ** 2 for _, cost in points),
    )


def results(real: Sequence[Case]) -> Iterator[Result]:
    """By kind, the mean of the hits at the nine tenths."""
    for kind, cases in (("real", real), *((kind, generated(kind)) for kind in KINDS)):
        ours, all_steps, profile = _hits(cases)
        against = f"all steps {100 * all_steps:.1f} %, profile {100 * profile:.1f} %"
        yield Result(f"forecast.first_steps.{kind}", 100 * ours, "% hits", against, ours / all_steps, (">=", 0.99))


def _hits(cases: Sequence[Case]) -> tuple[float, float, float]:
    hits: dict[int, list[tuple[bool, bool, bool]]] = {decile: [] for decile in DECILES}
    for learnt, present in folds(cases):
        with_head, without, profile = _taught(learnt, head=True), _taught(learnt, head=False), Profile(learnt)
        for case in present:
            for point in case.tasks[COST].points:
                courses = _course(case, point, with_head), _course(case, point, without)
                found = (*courses, profile.course(point.step, point.used))
                hits[point.decile].append(tuple(_is_hit(case, point, course) for course in found))  # type: ignore[arg-type]
    ours, all_steps, profiled = (fmean(fmean(hit[who] for hit in made) for made in hits.values()) for who in range(3))
    return ours, all_steps, profiled


def _taught(runs: Sequence[Case], *, head: bool) -> Known:
    history = History()
    for run in runs:
        history.fold(run.lesson if head else replace(run.lesson, head=[]))
    return known(history)


def _course(case: Case, point: Point, there: Known) -> Course | None:
    return growth_by_dimension(Growth.read(case.grown[point.step]), there)[COST]


def _is_hit(case: Case, point: Point, course: Course | None) -> bool:
    left = case.tasks[COST].mark - point.used
    return left <= 0 or (course is not None and is_hit(point.step + course.steps_until(left), case.tasks[COST].actual))
