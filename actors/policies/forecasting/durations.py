"""How long a step of an agent takes, and so how many seconds away is what was forecast in steps."""

from math import exp, hypot, log

from tallystick.actors.policies.forecasting.growth_forecast import Z_80
from tallystick.actors.policies.forecasting.intervals import Range
from tallystick.events.state.history import Known

PACE_STEPS = 5
"""History's time per step counts as so many of the agent's own steps (errors were least at 2 to 5 on studied runs)."""
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
    """Steps still to come, forecast after ``steps``, as seconds from the last report on.

    That durations vary too widens the interval: deviations of independent factors add up in squares, in logarithms.
    """
    seconds = left.estimate * pace
    if left.estimate <= 0:
        return Range(0.0, 0.0, left.high * pace)
    varies = Z_80 * PACE_SPREAD * hypot(left.estimate**-0.5, (steps + PACE_STEPS) ** -0.5)
    shorter = exp(-hypot(log(left.estimate / left.low), varies)) if left.low > 0 else 0.0
    longer = exp(hypot(log(left.high / left.estimate), min(varies, log(_LONGER_AT_MOST))))
    return Range(seconds, seconds * shorter, seconds * longer)
