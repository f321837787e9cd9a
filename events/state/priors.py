"""What finished runs taught of the next one: a Gaussian prior of level and growth, learnt run by run.

Usage of step i is ``level + growth × i + noise`` (or cost is that of tokens in place of i); each run has its own level
and growth, which are drawn from one Gaussian for all runs of a kind, and all have the same variance of noise. The
Gaussian is estimated by expectation maximization for such random coefficients (Laird, Ware: Random-Effects Models for
Longitudinal Data, Biometrics 38, 1982), one step for each run as it ends (Cappé, Moulines: On-line EM algorithm for
latent data models, JRSS B 71, 2009): constant in time and memory however many runs there were, and older runs are
forgotten slowly.
"""

from collections.abc import Sequence
from math import inf

import msgspec
from msgspec.structs import astuple

from tallystick.events.state.growth import Moments

RUNS_REMEMBERED = 256
"""About so many of the last runs shape the prior: each weighs at least 1 / this."""
KINDS_MIN = 2
"""How much kinds differ is not known of fewer."""
_TINY = 1e-9
"""What counts as nothing beside the size of the numbers at hand; keeps matrices invertible."""


class Line(msgspec.Struct, frozen=True, gc=False):
    """A Gaussian of a line ``level + growth × x``, and the variance of the noise about it."""

    level: float
    growth: float
    level_var: float
    covar: float
    growth_var: float
    noise: float


def updated(line: Line, seen: Moments, at: float = 0.0) -> Line:
    """What ``line`` becomes once these points were seen: Bayes' rule for a line with Gaussian noise, in closed form.

    The level of what it becomes is that at x = ``at``.

    With X'X = G and X'y = h: covariance P = C (I + G C / s)⁻¹, mean m + P (h - G m) / s. This form needs no inverse of
    C and stays true where the prior is certain (Bishop: Pattern Recognition and Machine Learning, 3.3).
    """
    n, x, y, xx, xy = seen.n, seen.x, seen.y, seen.xx, seen.xy
    level, growth, c0, c1, c2, s = line.level, line.growth, line.level_var, line.covar, line.growth_var, line.noise
    # X'X = n (1, x; x, xx + x²), and what of X'y the prior's line does not explain.
    gap = y - level - growth * x
    g1, g2 = n * x, n * (xx + x * x)
    r0, r1 = n * gap, n * (xy - growth * xx + gap * x)
    # K = s I + G C, so that P / s = C K⁻¹.
    k00, k01 = s + n * c0 + g1 * c1, n * c1 + g1 * c2
    k10, k11 = g1 * c0 + g2 * c1, s + g1 * c1 + g2 * c2
    det = k00 * k11 - k01 * k10
    if n > 0 and det > 0:
        p00, p01, p11 = (c0 * k11 - c1 * k10) / det, (c1 * k00 - c0 * k01) / det, (c2 * k00 - c1 * k01) / det
        level, growth = level + p00 * r0 + p01 * r1, growth + p01 * r0 + p11 * r1
        # Rounding may leave a variance that is nothing a little below it.
        c0, c1, c2 = s * p00 if p00 > 0 else 0.0, s * p01, s * p11 if p11 > 0 else 0.0
    there = c1 + at * c2
    return Line(level + at * growth, growth, c0 + at * (c1 + there), there, c2, s)


class Prior:
    """The prior of one dimension for runs of one kind, as the runs so far taught it."""

    __slots__ = ("line", "mean", "noise", "second", "steps", "weight")

    def __init__(self) -> None:
        self.line = Line(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        """The prior for the next run; it says nothing before the first one."""
        self.weight = 0.0
        """How many runs taught it, as far as that matters."""
        self.mean = (0.0, 0.0)
        self.second = (0.0, 0.0, 0.0)
        """The mean of level², level × growth and growth²."""
        self.noise = 0.0
        """The sum of squared residuals of an average run."""
        self.steps = 0.0

    def _drawn(self) -> Line:
        level, growth = self.mean
        aa, ab, bb = self.second
        noise = self.noise / self.steps
        level_var = max(aa - level * level, _TINY * aa)
        growth_var = max(bb - growth * growth, _TINY * bb)
        bound = (level_var * growth_var) ** 0.5 * (1 - _TINY)
        covar = min(bound, max(-bound, ab - level * growth))
        return Line(level, growth, level_var, covar, growth_var, noise)

    def dump(self) -> list[float]:
        return [self.weight, *self.mean, *self.second, self.noise, self.steps]

    @classmethod
    def load(cls, dumped: "list[float]") -> "Prior":
        prior = cls()
        prior.weight, level, growth, aa, ab, bb, prior.noise, prior.steps = dumped
        prior.mean, prior.second = (level, growth), (aa, ab, bb)
        if prior.weight:
            prior.line = prior._drawn()
        return prior

    def learn(self, seen: Moments) -> None:
        """Take in one finished run."""
        if seen.n <= 0:
            return
        run = updated(self.line, seen) if self.weight else _alone(seen)
        self.weight = min(self.weight + 1, 2 * RUNS_REMEMBERED - 1)
        # Twice the share of a plain average: what was believed before the first runs is soon outgrown.
        share = 2 / (self.weight + 1)
        level, growth = run.level, run.growth
        self.mean = (_toward(self.mean[0], level, share), _toward(self.mean[1], growth, share))
        self.second = (
            _toward(self.second[0], level * level + run.level_var, share),
            _toward(self.second[1], level * growth + run.covar, share),
            _toward(self.second[2], growth * growth + run.growth_var, share),
        )
        self.noise = _toward(self.noise, _residual(run, seen), share)
        self.steps = _toward(self.steps, seen.n, share)
        self.line = self._drawn()


def _alone(seen: Moments) -> Line:
    """The first run of a kind: its own line by least squares, as uncertain as it is large."""
    growth = seen.xy / seen.xx if seen.xx > 0 else 0.0
    level = seen.y - growth * seen.x
    spread = seen.y * seen.y + seen.yy
    return Line(level, growth, spread, 0.0, spread / (seen.x * seen.x) if seen.x else 0.0, seen.yy)


def _residual(run: Line, seen: Moments) -> float:
    """The expected sum of squared distances of a run's points from its line, of which only ``run`` is known."""
    n, x, y, xx, xy, yy = seen.n, seen.x, seen.y, seen.xx, seen.xy, seen.yy
    gap = y - run.level - run.growth * x
    about = yy - 2 * run.growth * xy + run.growth * run.growth * xx
    unknown = run.level_var + 2 * x * run.covar + (xx + x * x) * run.growth_var
    return max(n * (about + gap * gap + unknown), _TINY * n * (yy + y * y))


def _toward(old: float, new: float, share: float) -> float:
    return old + (new - old) * share


def between(kinds: Sequence[Prior]) -> Line | None:
    """The prior of a kind that was never seen, from those of others; None where they tell nothing of it.

    They do where kinds are alike: where, in level and in growth, the mean squared distance of a kind's mean from that
    of all, beside the variance within that kind, is at most 1: kinds differ no more than the runs of one kind do. (Both
    are counted in each kind's own variance: with kinds of very different sizes, the largest would hide the others.) The
    prior's variance is that within an average kind plus that between kinds, (1 + 1 / kinds) times the sample's, since
    their mean is known by so many only (Gelman, Hill: Data Analysis Using Regression and Multilevel Models, 2006, 12).
    """
    count = len(kinds)
    if count < KINDS_MIN:
        return None
    level, growth = sum(kind.mean[0] for kind in kinds) / count, sum(kind.mean[1] for kind in kinds) / count
    aa = ab = bb = far_in_level = far_in_growth = 0.0
    for kind in kinds:
        a, b = kind.mean[0] - level, kind.mean[1] - growth
        aa, ab, bb = aa + a * a, ab + a * b, bb + b * b
        far_in_level += _beside(a * a, kind.line.level_var)
        far_in_growth += _beside(b * b, kind.line.growth_var)
    if max(far_in_level, far_in_growth) > count - 1:
        return None
    share = (1 + 1 / count) / (count - 1)
    within = [sum(column) / count for column in zip(*(astuple(kind.line)[2:] for kind in kinds), strict=True)]
    return Line(level, growth, within[0] + aa * share, within[1] + ab * share, within[2] + bb * share, within[3])


def _beside(distance: float, variance: float) -> float:
    """A squared distance in units of a variance."""
    return distance / variance if variance > 0 else inf if distance > 0 else 0.0
