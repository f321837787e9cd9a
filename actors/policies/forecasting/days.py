"""What a day will have used at its end: the hourly profile of the last days × the shrunk ratio of today.

The profile is a mean of the last days in which newer ones weigh more. Today's ratio to it is believed as far as the day
has come: at a quarter of the usual day's usage by a quarter. How far off that would have been on each of the last days,
forecast at the same hour from the days before it, gives the interval.
"""

from collections.abc import Sequence
from math import sqrt

from tallystick.actors.policies.forecasting.growth_forecast import Z_80
from tallystick.actors.policies.forecasting.intervals import Range, shrunk

DAYS_MAX = 14
HALF_LIFE_DAYS = 3
ERRORS_MIN = 3
"""With fewer days to look back on there is an estimate whose interval runs from nothing more to twice the rest."""


def day_total(past: Sequence[Sequence[float]], today: Sequence[float], hours: float) -> Range | None:
    """Today's total, from usage by hour of the last days, the oldest first, and of today.

    ``hours`` have passed: whole ones are complete in ``today``, the last is in progress. Days are 24 hours long, but
    for those when clocks change. None without a past day or once today is over.
    """
    past = past[-DAYS_MAX:]
    length = len(past[-1]) if past else 0
    if not 0 <= hours < length:
        return None
    so_far = sum(today)
    estimate = _estimate(past, so_far, hours)
    ratios = []
    for i in range(1, len(past)):
        then = _upto(past[i], hours)
        expected = _estimate(past[:i], then, hours) - then
        if expected > 0:
            ratios.append((sum(past[i]) - then) / expected)
    apart = _apart(ratios) if len(ratios) >= ERRORS_MIN else 1.0
    rest = estimate - so_far
    return Range(estimate, so_far + rest * max(0.0, 1 - apart), so_far + rest * (1 + apart))


def _apart(ratios: Sequence[float]) -> float:
    """How far from 1 the next of these ratios lies at most, with 80 %.

    By Student's distribution: there are too few for ranks, of which the outermost of 5 hold the next with 67 %. Its
    90 % point for n of them is that of a Gaussian and two terms more (Abramowitz, Stegun: Handbook of Mathematical
    Functions, 26.7.5).
    """
    n, z = len(ratios), Z_80
    point = z + (z**3 + z) / (4 * n) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n * n)
    return point * sqrt(sum((ratio - 1) ** 2 for ratio in ratios) / n)


def _estimate(past: Sequence[Sequence[float]], so_far: float, hours: float) -> float:
    weights: list[float] = [0.5 ** ((len(past) - 1 - i) / HALF_LIFE_DAYS) for i in range(len(past))]
    whole = sum(w * sum(day) for w, day in zip(weights, past, strict=True)) / sum(weights)
    expected = sum(w * _upto(day, hours) for w, day in zip(weights, past, strict=True)) / sum(weights)
    if whole <= 0:
        return so_far
    return so_far + (whole - expected) * shrunk(so_far, expected, expected / whole)


def _upto(day: Sequence[float], hours: float) -> float:
    """What a day had used when ``hours`` had passed, the hour in progress in part."""
    full = int(hours)
    part = day[full] * (hours - full) if full < len(day) else 0.0
    return sum(day[:full]) + part
