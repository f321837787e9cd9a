"""What many runs together will use: history's mean × the shrunk ratio of what came to what was expected so far.

One run's total is not to be known in advance. Many runs' sum is, as far as they are like those of history; whether they
are, their finished ones tell. The mean error falls with the root of the number of runs still to come.
"""

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

from tallystick.actors.policies.forecasting.final_usage import BEYOND
from tallystick.actors.policies.forecasting.intervals import Range, gaussian, shrunk
from tallystick.events.state.history import RUNS_MIN

RATIO_RUNS = 50
"""How many finished runs it takes to believe half of what they say about the others: a run's total scatters by 0.75 of
its mean, while products used 0.8 to 1.3 times the mean of all others (on studied runs); 0.75² / 0.11² is about 50."""


class Pool(NamedTuple):
    """A pool's runs so far, in one dimension.

    How many have finished and what they used in all, what each open one has used, and how many have not begun.
    """

    finished: int
    finished_used: float
    open_used: Sequence[float]
    to_come: int


def pool_total(pool: Pool, history: Sequence[float]) -> Range | None:
    """What the whole pool will have used; ``history``: totals of earlier runs. None where there are too few of them."""
    if len(history) < RUNS_MIN:
        return None
    mean = sum(history) / len(history)
    variance = sum((total - mean) ** 2 for total in history) / (len(history) - 1)
    so_far = pool.finished_used + sum(pool.open_used)
    rest, unsure = pool.to_come * mean, pool.to_come * variance
    for used in pool.open_used:
        more, scatter = _still_to_come(used, history)
        rest, unsure = rest + more, unsure + scatter
    ratio = shrunk(pool.finished_used, pool.finished * mean, pool.finished / (pool.finished + RATIO_RUNS))
    if mean > 0:
        # How well history's mean is known, and how well the ratio.
        known = variance / (mean * mean) * (1 / len(history) + 1 / (pool.finished + RATIO_RUNS))
        unsure += rest * rest * known
    return gaussian(so_far + rest * ratio, ratio * sqrt(unsure), least=so_far)


def _still_to_come(used: float, history: Sequence[float]) -> tuple[float, float]:
    """Mean and variance of what runs used beyond ``used`` that came so far."""
    beyond = [total - used for total in history if total > used]
    if not beyond:
        return BEYOND * used, (BEYOND * used) ** 2
    mean = sum(beyond) / len(beyond)
    return mean, sum((more - mean) ** 2 for more in beyond) / len(beyond)
