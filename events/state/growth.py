"""How one account's usage grows from step to step, in 56 bytes.

A *step* is one usage report (`ReportUsage` or `Settle`). An agent that sends its context again with every request uses
more with each step, about linearly. What tells that growth are the moments of a regression of usage on the step's
number, and of cost on tokens; and of the tokens, whose growth adds up, the first and last step and how far one step
leaps from the one before. They are kept as running means, which neither overflow nor cancel (Welford: Note on a Method
for Calculating Corrected Sums of Squares and Products, Technometrics 4, 1962), in single precision: usage is never
known to seven digits in advance.

Every open account has them, and so have read models, so they are plain immutable bytes: `observed` makes the
next ones of the last in constant time, and `Growth.read` says what they mean.
"""

from struct import Struct
from typing import NamedTuple

from tallystick.config.amounts import COST, TOKENS

_KEPT = Struct("<14f")
_pack, _unpack = _KEPT.pack, _KEPT.unpack

NO_STEPS = _pack(*[0.0] * 14)
"""Before the first report; all accounts share it."""


class Moments(NamedTuple):
    """What a regression of y on x needs of n points: means, and variances and covariance about them."""

    n: float
    x: float
    y: float
    xx: float
    xy: float
    yy: float


class Growth(NamedTuple):
    """An account's steps so far; each mean, variance and covariance by dimension, in internal units.

    ``steps`` counts up to 2**24; beyond, the others turn into averages over about so many steps.
    """

    steps: float
    mean: tuple[float, float, float]
    growing: tuple[float, float, float]
    """The covariance with the step's number, from 1."""
    variance: tuple[float, float, float]
    tokens_cost: float
    """The covariance of a step's cost with its tokens."""
    first: float
    last: float
    leap: float
    """The mean squared difference of a step's tokens from those of the step before."""

    @classmethod
    def read(cls, kept: bytes) -> "Growth":
        steps, t, m, c, it, im, ic, tt, mm, cc, tc, first, last, leap = _unpack(kept)
        return cls(steps, (t, m, c), (it, im, ic), (tt, mm, cc), tc, first, last, leap)

    @classmethod
    def of(cls, numbers: "tuple[float, ...] | list[float]") -> "Growth":
        """From the numbers of `numbers`, as a `RunLearned` carries them."""
        return cls.read(_pack(*numbers))

    def numbers(self) -> list[float]:
        """All of it, to seven digits, in the order of the fields."""
        dimensions = (*self.mean, *self.growing, *self.variance)
        flat = (self.steps, *dimensions, self.tokens_cost, self.first, self.last, self.leap)
        return [float(f"{number:.7g}") for number in flat]

    def on_steps(self, d: int) -> Moments:
        """Usage in dimension ``d`` against the step's number."""
        n = self.steps
        return Moments(n, (n + 1) / 2, self.mean[d], (n * n - 1) / 12, self.growing[d], self.variance[d])

    def cost_on_tokens(self) -> Moments:
        """A step's cost against its tokens."""
        mean, variance = self.mean, self.variance
        return Moments(self.steps, mean[TOKENS], mean[COST], variance[TOKENS], self.tokens_cost, variance[COST])

    def drift(self) -> Moments:
        """By how much a step's tokens exceed those of the step before: moments of a mean alone."""
        n = self.steps - 1
        if n <= 0:
            return Moments(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        mean = (self.last - self.first) / n
        return Moments(n, 0.0, mean, 0.0, 0.0, max(0.0, self.leap - mean * mean))


def observed(kept: bytes, used: tuple[int, int, int]) -> bytes:
    """The growth of an account after one more step that used ``used``."""
    n, t, m, c, it, im, ic, tt, mm, cc, tc, first, last, leap = _unpack(kept)
    tokens = used[0]
    if n:
        leapt = tokens - last
        leap += (leapt * leapt - leap) / n
    else:
        first = tokens
    n += 1.0
    share = 1.0 / n
    # How far the step's number is from its mean so far, and what of a squared distance the new mean leaves.
    ahead, rest = (n - 1.0) * 0.5, (n - 1.0) * share
    dt, dm, dc = tokens - t, used[1] - m, used[2] - c
    return _pack(
        n,
        t + dt * share,
        m + dm * share,
        c + dc * share,
        it + (ahead * dt - it) * share,
        im + (ahead * dm - im) * share,
        ic + (ahead * dc - ic) * share,
        tt + (dt * dt * rest - tt) * share,
        mm + (dm * dm * rest - mm) * share,
        cc + (dc * dc * rest - cc) * share,
        tc + (dt * dc * rest - tc) * share,
        first,
        tokens,
        leap,
    )
