"""An estimate and its 80 % interval."""

from math import exp, log
from typing import NamedTuple

from tallystick.actors.policies.forecasting.growth_forecast import Z_80

_LONGEST = log(1e3)
"""No interval ends at more than so many times its estimate."""


class Range(NamedTuple):
    """``low <= estimate <= high``, in the unit of what is estimated."""

    estimate: float
    low: float
    high: float


def gaussian(estimate: float, deviation: float, least: float = 0.0) -> Range:
    """The interval of a Gaussian that cannot fall below ``least``."""
    return Range(estimate, max(least, estimate - Z_80 * deviation), estimate + Z_80 * deviation)


def raised(estimate: float, low: float, high: float, power: float) -> tuple[float, float]:
    """The ends of an interval, as ratios to the estimate raised to ``power``: wider above 1, narrower below."""
    if low <= 0 or estimate <= 0:
        return low, high
    return estimate * (low / estimate) ** power, estimate * exp(min(power * log(high / estimate), _LONGEST))


def shrunk(actual: float, expected: float, weight: float) -> float:
    """The ratio of what came to what was expected, drawn towards 1: ``weight`` 0 believes none of it, 1 all of it."""
    return 1.0 + weight * (actual / expected - 1.0) if expected > 0 else 1.0
