"""When an agent's budgets will be used up, what it will have used in the end, and how sure that is.

A forecast is made of the agent's own steps, of the runs of its kind before it, and of how far off earlier forecasts of
its stage were. All of it is arithmetic on a few numbers: the same time however long the agent runs.
"""

from datetime import datetime
from math import exp, hypot, log
from typing import NamedTuple

from tallystick.actors.policies.growth_forecast import AVERAGE_RATE, Course, courses
from tallystick.actors.policies.intervals import Z
from tallystick.events.accounts import Money
from tallystick.events.amounts import DIMENSIONS, EDGE_NAMES, Triple
from tallystick.events.foretold import Prediction
from tallystick.events.growth import Growth
from tallystick.events.history import Errors, Known
from tallystick.events.standing import Standing

METHOD = AVERAGE_RATE
STAGES = 10
PACE_STEPS = 5
"""History's time per step counts as so many steps of the agent's own. (Errors were least at 2 to 5 on the studied runs.)"""
PACE_SPREAD = 1.0
"""The standard deviation of a step's duration over its mean, as if durations were exponential."""
_NEVER = 1e12
"""Steps and seconds beyond this are this many."""


class Subject(NamedTuple):
    """Whose budgets' end is to be foretold; amounts by dimension in internal units.

    ``marks`` is the consumption at which each budget is used up, None where there is none; ``elapsed_ms`` lasts from
    the opening to the last report.
    """

    growth: Growth
    consumed: Money
    marks: Triple
    elapsed_ms: int


class Foreseen(NamedTuple):
    """What is foretold of one budget. The seconds, from the last report on, are None where no time has passed yet."""

    prediction: Prediction
    seconds: float | None
    seconds_low: float | None
    seconds_high: float | None


def forecast(subject: Subject, known: Known) -> list[Foreseen]:
    """One entry for each budget that usage will exhaust: none where nothing is used and nothing is known."""
    growth, pace = subject.growth, _pace(subject, known)
    if not growth.steps:
        return []
    found = []
    for d, course in zip(DIMENSIONS, courses(growth, known), strict=True):
        mark = subject.marks[d]
        if mark is not None and course is not None:
            found.append(_foreseen(subject, d, mark, course, known, pace))
    return found


def _foreseen(subject: Subject, d: int, mark: int, course: Course, known: Known, pace: float | None) -> Foreseen:
    step, mean = subject.growth.steps, subject.growth.mean[d]
    left = mark - subject.consumed[d]
    if left <= 0:
        stage, steps, low, high, average = STAGES - 1, 0.0, 0.0, 0.0, 0.0
        errors = None
    else:
        stage = min(STAGES - 1, max(0, STAGES * subject.consumed[d] // mark))
        errors = known.errors(d, stage)
        steps = min(_NEVER, course.steps_until(left))
        low, high = interval(course, steps, errors)
        average = min(_NEVER, left / mean) if mean > 0 else steps
    prediction = Prediction(
        dimension=EDGE_NAMES[d],
        stage=stage,
        mark=mark,
        step=int(step),
        predicted=step + steps,
        low=step + low,
        high=step + high,
        baseline=step + average,
        confidence=None if errors is None else errors.hits,
        method=course.method,
    )
    return Foreseen(prediction, *_seconds(subject, steps, low, high, pace))


def interval(course: Course, steps: float, errors: Errors | None) -> tuple[float, float]:
    """The 80 % interval of the steps still to come: by past errors, or else by what the course itself is unsure of."""
    if errors is None:
        spread = min(_NEVER, course.spread(steps))
        return max(0.0, steps - Z * spread), min(_NEVER, steps + Z * spread)
    return steps * max(0.0, min(1.0, errors.low)), min(_NEVER, steps * max(1.0, errors.high))


def _pace(subject: Subject, known: Known) -> float | None:
    """Milliseconds a step: the agent's own, drawn towards history's while it has made few."""
    usual, steps = known.pace_ms(), subject.growth.steps
    if usual is None:
        return subject.elapsed_ms / steps if steps and subject.elapsed_ms > 0 else None
    return (subject.elapsed_ms + PACE_STEPS * usual) / (steps + PACE_STEPS) or None


def _seconds(
    subject: Subject, steps: float, low: float, high: float, pace: float | None
) -> tuple[float | None, float | None, float | None]:
    """The same in seconds; that durations vary too widens the interval, as independent factors do (in logarithms)."""
    if pace is None:
        return None, None, None
    seconds = min(_NEVER, steps * pace / 1_000)
    if steps <= 0:
        return 0.0, 0.0, 0.0
    varies = Z * PACE_SPREAD * hypot(steps**-0.5, (subject.growth.steps + PACE_STEPS) ** -0.5)
    shorter = seconds * exp(-hypot(log(steps / low), varies)) if low > 0 else 0.0
    longer = seconds * exp(min(50.0, hypot(log(high / steps), varies)))
    return seconds, shorter, min(_NEVER, longer)


# --- the average rate: what other ways are measured against -----------------------------------------------------------


def rates(standing: Standing) -> tuple[float, float, float] | None:
    """Units per second by dimension, or None before there are two reports to tell a rate by."""
    if standing.reports < 2 or standing.last_report_at is None:
        return None
    elapsed = (standing.last_report_at - standing.opened_at).total_seconds()
    if elapsed <= 0:
        return None
    consumed = standing.consumed
    return (consumed[0] / elapsed, consumed[1] / elapsed, consumed[2] / elapsed)


def exhausted_in_seconds(standing: Standing, now: datetime) -> float | None:
    """Seconds until the first limited dimension is used up at the average rate; None where no rate tells, or it is."""
    rate = rates(standing)
    if rate is None:
        return None
    soonest: float | None = None
    for d in DIMENSIONS:
        if standing.allocated[d] is None or rate[d] <= 0:
            continue
        remaining = standing.remaining(d)
        if remaining <= 0:
            return None
        seconds = remaining / rate[d]
        if soonest is None or seconds < soonest:
            soonest = seconds
    if soonest is None or standing.last_report_at is None:
        return None
    return max(0.0, soonest - (now - standing.last_report_at).total_seconds())
