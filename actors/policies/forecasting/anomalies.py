"""What stands out in an agent's usage: a step far beyond its interval, and the same amount burnt again and again."""

from collections.abc import Iterable, Sequence
from math import sqrt
from typing import NamedTuple

import msgspec

from tallystick.actors.policies.forecasting.growth_forecast import Course
from tallystick.config.amounts import COST, DIMENSIONS, EDGE_NAMES, TIME, TOKENS, dollars, seconds
from tallystick.events.catalog.forecasts import Anomaly
from tallystick.events.state.growth import Growth
from tallystick.events.state.money import Money

FAR = 8.0
"""A step this many standard deviations above what was expected stands out. Steps are no Gaussians: of the 14,000 steps
that were studied 1 in 900 goes as far with history, and 1 in 100 where an agent has only its own steps to go by."""
TIMES = 3.0
"""And it must be this many times what was expected: where steps are all alike, small differences mean nothing."""
STEPS_MIN = 8
"""Before so many steps it is not known what is usual."""
LOOP_STEPS = 10
"""So many steps in a row that use the same are a loop."""
SAME = 0.01
"""Amounts within this share of one another are the same."""
VARIED = 0.10
"""Where the agent's steps scatter by less than this share of their mean, equal steps are its way of working."""


class Found(NamedTuple):
    """An anomaly, as `AnomalyFound` records it."""

    anomaly: Anomaly
    dimension: str
    step: int
    amount: int
    low: int | None
    high: int | None
    message: str


class Streak(msgspec.Struct, frozen=True, gc=False):
    """How many steps in a row used about the same tokens as the first of them."""

    amount: int = 0
    steps: int = 0

    def after(self, used: Money) -> "Streak":
        """The streak after one more step."""
        return self.after_all((used[TOKENS],))[0]

    def after_all(self, steps: Iterable[int]) -> "tuple[Streak, bool]":
        """The streak after more steps of so many tokens each, and whether one of them made it as long as a loop."""
        # Every report passes here, most with others of its agent.
        amount, count, loops = self.amount, self.steps, False
        for tokens in steps:
            if count and tokens and abs(tokens - amount) <= SAME * amount:
                count += 1
                if count == LOOP_STEPS:
                    loops = True
            else:
                amount, count = tokens, 1
        return Streak(amount, count), loops


def outlier(growth: Growth, expected: Sequence[Course | None], used: Money) -> Found | None:
    """A step that used far more than was to be expected; ``growth`` and ``expected`` are from before it."""
    if growth.steps < STEPS_MIN:
        return None
    worst: Found | None = None
    furthest = 1.0
    for d in DIMENSIONS:
        course = expected[d]
        if course is None or not used[d]:
            continue
        usual = course.rate + course.growth
        reach = max(FAR * sqrt(course.step_variance()), (TIMES - 1) * usual)
        how_far = (used[d] - usual) / reach if reach > 0 else 0.0
        if how_far > furthest:
            furthest = how_far
            low, high, step = max(0, int(usual - reach)), int(usual + reach), int(growth.steps) + 1
            times = f"{used[d] / usual:.1f} times the {_worded(round(usual), d, short=True)}"
            message = f"{_worded(used[d], d)}, {times} that were to be expected"
            worst = Found("outlier", EDGE_NAMES[d], step, used[d], low, high, message)
    return worst


def loop(growth: Growth, streak: Streak) -> Found | None:
    """The same tokens again and again, from an agent whose steps differ otherwise; said once per streak.

    ``growth`` and ``streak`` are from after the newest step.
    """
    if streak.steps != LOOP_STEPS or growth.variance[TOKENS] < (VARIED * growth.mean[TOKENS]) ** 2:
        return None
    message = f"{streak.steps} steps in a row used {_worded(streak.amount, TOKENS)} each"
    low, high = int(streak.amount * (1 - SAME)), int(streak.amount * (1 + SAME)) + 1
    return Found("loop", EDGE_NAMES[TOKENS], int(growth.steps), streak.amount, low, high, message)


def _worded(units: int, d: int, *, short: bool = False) -> str:
    """An amount for people; in ``short``, tokens are known to be tokens."""
    if d == COST:
        return f"${dollars(units)}"
    if d == TIME:
        return f"{seconds(units)} s"
    return f"{units:,}" if short else f"{units:,} tokens"
