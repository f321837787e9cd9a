"""What many runs together will use: what they have used, and for each open one what such runs used that went further.

One run's total is not to be known in advance. Many runs' sum is, as far as they are like those of history and those of
their own that have ended: the mean error falls with the root of the number of runs still to come. How far an open run
has come is measured in two ways, by what it has used and by its time. Each alone is a little biased, as slow runs look
young by what they have used and old by their time; the mean of both is not.
"""

from collections.abc import Iterable, Sequence
from math import sqrt
from typing import NamedTuple

from tallystick.actors.policies.forecasting.growth_forecast import Z_80
from tallystick.actors.policies.forecasting.intervals import Range, gaussian
from tallystick.actors.policies.forecasting.survival import GO_ON, More, Seen, Survival
from tallystick.events.state.history import RUNS_MIN

HISTORY_RUNS = 200
"""The runs of history count as so many of the pool's own at most: kinds of work differ (products used 0.8 to 1.3 times
the mean of all others, on studied runs), so what the pool's own runs say soon counts as much. From 50 to all of 250,
pools were predicted about equally well."""
UNKNOWN_TIMES = 10.0
"""A run of a kind of which nothing is known uses less than so many times what it has used, with 90 % (Gott, as cited in
`survival`)."""


class Progress(NamedTuple):
    """How far a run came, in one dimension. ``ended``: by itself; otherwise it goes on, or was cut short."""

    steps: float
    used: float
    elapsed_ms: float
    ended: bool = True


class Pool(NamedTuple):
    """Runs of one kind in one dimension: those that are over, those that go on, and how many have not begun."""

    over: Sequence[Progress]
    going: Sequence[Progress]
    to_come: int = 0


class Rest(NamedTuple):
    """What some runs will still use, and the variance of that."""

    mean: float
    variance: float


def pool_rest(pool: Pool, history: Sequence[Progress]) -> Rest | None:
    """What a pool will still use; ``history``: other runs of the kind. None where too few runs are known to have ended.

    The scatter of single runs adds up in squares. That the mean is not known well makes all estimates wrong in the same
    direction: it adds up as it is.
    """
    if sum(run.ended for run in (*pool.over, *history)) < RUNS_MIN:
        return None
    share = min(1.0, HISTORY_RUNS / len(history)) if history else 1.0
    known = [(run, _ages(run), 1.0) for run in (*pool.going, *pool.over)]
    known += [(run, _ages(run), share) for run in history]
    rests = []
    for scale in range(2):
        curve = Survival(Seen(ages[scale], run.used, run.ended, weight) for run, ages, weight in known)
        if curve.says_something:
            mores = [curve.more(ages[scale], run.used) for run, ages, _ in known[: len(pool.going)]]
            rests.append(_sum(mores, curve.more(0.0, 0.0), pool.to_come))
    if not rests:
        return None
    mean = sum(rest.mean for rest in rests) / len(rests)
    apart = sum((rest.mean - mean) ** 2 for rest in rests) / len(rests)
    return Rest(mean, apart + sum(rest.variance for rest in rests) / len(rests))


def unknown_rest(pool: Pool) -> Rest:
    """What the open runs of a kind will still use of which too few have ended, by what they have used alone."""
    used = sum(run.used for run in pool.going)
    return Rest((GO_ON - 1) * used, ((UNKNOWN_TIMES - GO_ON) * used / Z_80) ** 2)


def pool_total(so_far: float, rests: Iterable[Rest]) -> Range:
    """What pools of several kinds will have used in all that have used ``so_far`` together."""
    mean = variance = 0.0
    for rest in rests:
        mean, variance = mean + rest.mean, variance + rest.variance
    return gaussian(so_far + mean, sqrt(variance), least=so_far)


def _sum(mores: Sequence[More], whole: More, to_come: int) -> Rest:
    mean, scatter = to_come * whole.mean, to_come * whole.variance
    unsure = to_come * sqrt(whole.variance / whole.runs)
    for more in mores:
        mean, scatter = mean + more.mean, scatter + more.variance
        unsure += sqrt(more.variance / more.runs)
    return Rest(mean, scatter + unsure * unsure)


def _ages(run: Progress) -> tuple[float, float]:
    """How far a run came by its use and by its time.

    One that goes on, or was cut short, makes another step at least, of about the size of its others.
    """
    another = 1.0 if run.ended or run.steps <= 0 else 1 + 1 / run.steps
    return run.used * another, run.elapsed_ms * another
