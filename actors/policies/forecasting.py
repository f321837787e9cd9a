"""How long a step of an agent takes, and so how many seconds a forecast in steps is away.

And the average rate: what other ways of forecasting are measured against.
"""

from datetime import datetime
from math import exp, hypot, log

from tallystick.actors.policies.growth_forecast import AVERAGE_RATE
from tallystick.actors.policies.intervals import Range, Z
from tallystick.events.amounts import DIMENSIONS
from tallystick.events.history import Known
from tallystick.events.standing import Standing

METHOD = AVERAGE_RATE
PACE_STEPS = 5
"""History's time per step counts as so many steps of the agent's own (errors were least at 2 to 5 on the studied runs)."""
PACE_SPREAD = 1.0
"""The standard deviation of a step's duration over its mean, as if durations were exponential: intervals in seconds
then held the truth in 80 to 93 % of cases on the studied runs, and without it in 2 to 72 %."""
_LONGER_AT_MOST = 1e3
"""No interval ends at more than so many times its estimate."""


def pace(elapsed_ms: float, steps: float, known: Known) -> float | None:
    """Seconds a step, from ``steps`` that took ``elapsed_ms``: the agent's own, drawn towards history's while few.

    None where no time has passed and nothing is known.
    """
    usual = known.pace_ms()
    own, weight = (0.0, 0) if usual is None else (usual * PACE_STEPS, PACE_STEPS)
    if steps + weight <= 0 or elapsed_ms + own <= 0:
        return None
    return (elapsed_ms + own) / (steps + weight) / 1_000


def in_seconds(left: Range, steps: float, pace: float) -> Range:
    """Steps still to come, foretold after ``steps``, as seconds from the last report on.

    That durations vary too widens the interval: deviations of independent factors add up in squares, in logarithms.
    """
    seconds = left.estimate * pace
    if left.estimate <= 0:
        return Range(0.0, 0.0, left.high * pace)
    varies = Z * PACE_SPREAD * hypot(left.estimate**-0.5, (steps + PACE_STEPS) ** -0.5)
    shorter = exp(-hypot(log(left.estimate / left.low), varies)) if left.low > 0 else 0.0
    longer = exp(hypot(log(left.high / left.estimate), min(varies, log(_LONGER_AT_MOST))))
    return Range(seconds, seconds * shorter, seconds * longer)


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
