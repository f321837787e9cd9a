"""The forecast for one agent in one dimension: when its budget is used up, and what it will have used in all."""

import msgspec

from tallystick.actors.policies.forecasting.final_usage import Finished
from tallystick.actors.policies.forecasting.growth_forecast import Z_80, Course
from tallystick.actors.policies.forecasting.intervals import Range, raised
from tallystick.config.amounts import EDGE_NAMES
from tallystick.events.catalog.forecasts import Prediction
from tallystick.events.state.history import Known


class Exhaustion(msgspec.Struct, frozen=True, gc=False):
    """``own`` was used, ``mark`` is where the budget is used up, after ``steps`` steps. All later figures in steps.

    ``predicted``, ``low``, ``high`` and ``baseline`` count from the first step; ``confidence`` is None where unknown,
    and ``widened`` where the kind's own past errors made the interval.
    """

    dimension: int
    own: int
    mark: int
    steps: float
    predicted: float
    low: float
    high: float
    baseline: float
    confidence: float | None
    raw: float | None
    """What was predicted before past forecasts recentred it; None where they did not."""
    widened: float | None
    course: Course
    learnt: bool
    """Earlier runs are behind it; without, the interval says little, and the estimate is all there is."""

    @property
    def left(self) -> Range:
        """The steps still to come."""
        return Range(self.predicted - self.steps, self.low - self.steps, self.high - self.steps)

    @property
    def stage(self) -> int:
        return stage_of(self.own, self.mark)

    def prediction(self) -> Prediction:
        """For the record."""
        return Prediction(
            dimension=EDGE_NAMES[self.dimension],
            stage=self.stage,
            mark=self.mark,
            step=int(self.steps),
            predicted=_short(self.predicted),
            low=_short(self.low),
            high=_short(self.high),
            baseline=_short(self.baseline),
            confidence=None if self.confidence is None else round(self.confidence, 4),
            method=self.course.method,
            raw=None if self.raw is None else _short(self.raw),
            widened=None if self.widened is None else round(self.widened, 4),
        )


def stage_of(own: int, mark: int) -> int:
    """How many whole tenths of a budget are used."""
    return min(9, own * 10 // mark) if mark > 0 else 9


def _short(steps: float) -> float:
    return round(steps, 3)


def total(finished: Finished, own: int) -> tuple[int, int, int] | None:
    """What the agent will have used at its end: median, and the ends of the 80 % interval; None without such runs."""
    median = finished.total(own, 0.5)
    low, high = finished.total(own, 0.1), finished.total(own, 0.9)
    return None if median is None or low is None or high is None else (median, low, high)


def foresee(course: Course, known: Known, d: int, own: int, mark: int, steps: float) -> Exhaustion:
    """When a budget that is not used up will be, if usage takes this course.

    The interval is what past errors of the kind at this stage say, and they put the forecast in their middle where it
    was early or late by more than chance; where too few are known, what the course's own spread does, as wide as it had
    to be for other new kinds.
    """
    left, raw = course.steps_until(mark - own), None
    errors = known.errors(d, stage_of(own, mark))
    if errors is None:
        apart = Z_80 * course.spread(left)
        low = left - apart if 2 * apart < left else course.steps_at_least(mark - own, left)
        confidence, widened = None, known.widening(d)
        low, high = raised(left, low, left + apart, widened)
    else:
        centre, confidence, widened = errors.centre, errors.hits, None
        low, high = left * min(centre, errors.low), left * max(centre, errors.high)
        if centre != 1.0:
            left, raw = left * centre, steps + left
    baseline = steps * mark / own if own else steps + left
    predicted, learnt = steps + left, errors is not None or known.line(d) is not None
    low, high = steps + low, steps + high
    return Exhaustion(d, own, mark, steps, predicted, low, high, baseline, confidence, raw, widened, course, learnt)
