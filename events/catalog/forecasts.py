"""Forecasts, what really happened, and what both carry."""

from typing import ClassVar, Literal, Self

import msgspec

from tallystick.config.amounts import Amounts
from tallystick.events.catalog.event import Event, Kind

WhyForecast = Literal["shown", "warning", "demand", "stage"]
Anomaly = Literal["outlier", "loop"]


class Prediction(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """When one budget of an agent will be used up, as it was forecast after ``step`` reports.

    ``mark`` is the consumption, in internal units, at which it is used up. ``predicted``, the ends of the 80 % interval
    ``low`` and ``high``, and the average rate's ``baseline`` are steps, counted from the agent's first report.
    ``stage`` is the decile of the mark that was consumed, 0 to 9. ``raw`` is what was predicted before past forecasts
    of that stage recentred it; None where they did not. ``widened`` is the power to which the ends of an interval were
    raised that past errors of its kind did not make; None where they did.
    """

    dimension: str
    stage: int
    mark: int
    step: int
    predicted: float
    low: float
    high: float
    baseline: float
    confidence: float | None
    method: str
    raw: float | None = None
    widened: float | None = None


class Outcome(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One forecast beside which the truth is now known; fields as in `Prediction`."""

    stage: int
    step: int
    predicted: float
    low: float
    high: float
    baseline: float
    raw: float | None = None
    widened: float | None = None

    @classmethod
    def of(cls, made: Prediction) -> Self:
        """That of a forecast, as it had been made."""
        return cls(
            stage=made.stage,
            step=made.step,
            predicted=made.predicted,
            low=made.low,
            high=made.high,
            baseline=made.baseline,
            raw=made.raw,
            widened=made.widened,
        )


OPEN_MAX = 120
"""Of each agent, so many of the newest predictions wait for the truth; beyond, the oldest are never scored."""


class ForecastMade(Event, kw_only=True, tag="forecast-made.v1"):
    """A forecast that was shown or acted on, or one of a new stage: it will be scored when the truth is known."""

    kind: ClassVar[Kind] = "decision"
    agent: str
    why: WhyForecast
    predictions: list[Prediction]


class ForecastScored(Event, kw_only=True, tag="forecast-scored.v1"):
    """An agent consumed what earlier forecasts had spoken of. ``actual`` is the step at which it did.

    A mark that a step passes on its way counts as reached in the corresponding part of that step.
    """

    kind: ClassVar[Kind] = "decision"
    agent: str
    agent_type: str | None = None
    model: str | None = None
    dimension: str
    actual: float
    forecasts: list[Outcome]


class RunLearned(Event, kw_only=True, tag="run-learned.v1"):
    """One finished or released run, for the forecasts of later ones.

    ``growth`` is what `growth.Growth` keeps of its steps, ``head`` what of the first ones; it is empty where not known.
    ``elapsed_ms`` is from its opening to its last report. One that was ``exhausted`` did not end by itself: what it
    would have used in all is not known.
    """

    kind: ClassVar[Kind] = "decision"
    agent: str
    agent_type: str | None = None
    model: str | None = None
    steps: int
    consumed: Amounts
    elapsed_ms: int
    growth: list[float]
    head: list[float] = []
    exhausted: bool = False


class AnomalyFound(Event, kw_only=True, tag="anomaly-found.v1"):
    """A step far outside what was to be expected, or the same amount burnt again and again.

    ``low`` and ``high`` are the ends of what was expected of the step, in internal units.
    """

    kind: ClassVar[Kind] = "decision"
    agent: str
    anomaly: Anomaly
    dimension: str
    step: int
    amount: int
    low: int | None = None
    high: int | None = None
    message: str


def still_open(predictions: list[Prediction]) -> list[Prediction]:
    """The predictions that wait to be scored, bounded."""
    return predictions[-OPEN_MAX:]


def without_scored(predictions: list[Prediction], event: ForecastScored) -> list[Prediction]:
    """The predictions that still wait, once those that an event scores are gone."""
    scored = {(outcome.stage, outcome.step, outcome.predicted) for outcome in event.forecasts}
    return [p for p in predictions if p.dimension != event.dimension or (p.stage, p.step, p.predicted) not in scored]
