"""How one account's usage grows from step to step, in 76 bytes.

A *step* is one usage report (`ReportUsage` or `Settle`). An agent that sends its context again with every request uses
more with each step, about linearly. What tells that growth are the moments of a regression of usage on the step's
number, and of cost on tokens; and of the tokens, whose growth adds up, the first and last step and how far one step
leaps from the one before. They are kept as running means, which neither overflow nor cancel (Welford: Note on a Method
for Calculating Corrected Sums of Squares and Products, Technometrics 4, 1962), in single precision: usage is never
known to seven digits in advance. The tokens and the cost of the first three steps are kept by themselves: they may cost
otherwise than all later ones, where they write a provider's cache or are made before there is one.

Every open account has them, and so have read models, so they are plain immutable bytes: `observed` makes the
next ones of the last in constant time, `observed_all` those after several steps, and `Growth.read` says what they mean.
"""

from collections.abc import Sequence
from itertools import count
from struct import Struct

import msgspec
from msgspec.structs import replace

from tallystick.config.amounts import COST, TOKENS

_KEPT = Struct("<19f")
_pack, _unpack = _KEPT.pack, _KEPT.unpack
_MOVING = Struct("<11f")
"""Those that change with every step, but for what is an integer."""

_VARIES = slice(16, 44)
"""Their covariances and variances."""

HEAD = 3
"""So many first steps are kept by themselves."""
NO_STEPS = _pack(*[0.0] * 19)
"""Before the first report; all accounts share it."""
_STEPS_MAX = 2**24
"""Single precision counts no further."""


class Moments(msgspec.Struct, frozen=True, gc=False):
    """What a regression of y on x needs of n points: means, and variances and covariance about them."""

    n: float
    x: float
    y: float
    xx: float
    xy: float
    yy: float


NO_POINTS = Moments(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


class Growth(msgspec.Struct, frozen=True, gc=False):
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
    head: tuple[float, ...]
    """Tokens and cost of the first step, the second and the third; empty where they are not known."""

    @classmethod
    def read(cls, kept: bytes) -> "Growth":
        steps, t, m, c, it, im, ic, tt, mm, cc, tc, t1, last, leap, c1, t2, c2, t3, c3 = _unpack(kept)
        return cls(steps, (t, m, c), (it, im, ic), (tt, mm, cc), tc, t1, last, leap, (t1, c1, t2, c2, t3, c3))

    @classmethod
    def of(cls, numbers: Sequence[float], head: Sequence[float]) -> "Growth":
        """From what `numbers` and `head_numbers` say, as a `RunLearned` carries them."""
        return replace(cls.read(_pack(*numbers, *(head[1:] or [0.0] * 5))), head=tuple(head))

    def numbers(self) -> list[float]:
        """All of it but the first steps, to seven digits, in the order of the fields."""
        dimensions = (*self.mean, *self.growing, *self.variance)
        return _digits(self.steps, *dimensions, self.tokens_cost, self.first, self.last, self.leap)

    def head_numbers(self) -> list[float]:
        """The first steps, to seven digits."""
        return _digits(*self.head)

    def on_steps(self, d: int) -> Moments:
        """Usage in dimension ``d`` against the step's number."""
        n = self.steps
        return Moments(n, (n + 1) / 2, self.mean[d], (n * n - 1) / 12, self.growing[d], self.variance[d])

    def cost_on_tokens(self) -> Moments:
        """A step's cost against its tokens."""
        mean, variance = self.mean, self.variance
        return Moments(self.steps, mean[TOKENS], mean[COST], variance[TOKENS], self.tokens_cost, variance[COST])

    def later_cost_on_tokens(self) -> Moments:
        """A step's cost against its tokens, without the first steps; no points where those are not known."""
        rest = self.steps - HEAD
        if rest <= 0 or not self.head:
            return NO_POINTS
        mean, variance = self.mean, self.variance
        tokens, cost, share = mean[TOKENS], mean[COST], 1.0 / rest
        t1, c1, t2, c2, t3, c3 = self.head
        # All distances are from the mean of all steps: what the first ones are above it, the others are below.
        t1, t2, t3, c1, c2, c3 = t1 - tokens, t2 - tokens, t3 - tokens, c1 - cost, c2 - cost, c3 - cost
        below_t, below_c = (t1 + t2 + t3) * share, (c1 + c2 + c3) * share
        n = self.steps
        return Moments(
            rest,
            tokens - below_t,
            cost - below_c,
            max(0.0, (n * variance[TOKENS] - t1 * t1 - t2 * t2 - t3 * t3) * share - below_t * below_t),
            (n * self.tokens_cost - t1 * c1 - t2 * c2 - t3 * c3) * share - below_t * below_c,
            max(0.0, (n * variance[COST] - c1 * c1 - c2 * c2 - c3 * c3) * share - below_c * below_c),
        )

    def drift(self) -> Moments:
        """By how much a step's tokens exceed those of the step before: moments of a mean alone."""
        n = self.steps - 1
        if n <= 0:
            return NO_POINTS
        mean = (self.last - self.first) / n
        return Moments(n, 0.0, mean, 0.0, 0.0, max(0.0, self.leap - mean * mean))


def observed(kept: bytes, used: tuple[int, int, int]) -> bytes:
    """The growth of an account after one more step that used ``used``."""
    n, t, m, c, it, im, ic, tt, mm, cc, tc, t1, last, leap, c1, t2, c2, t3, c3 = _unpack(kept)
    tokens = used[0]
    if n:
        leapt = tokens - last
        leap += (leapt * leapt - leap) / n
    if n < HEAD:
        if not n:
            t1, c1 = tokens, used[2]
        elif n == 1.0:
            t2, c2 = tokens, used[2]
        else:
            t3, c3 = tokens, used[2]
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
        t1,
        tokens,
        leap,
        c1,
        t2,
        c2,
        t3,
        c3,
    )


def observed_all(kept: bytes, tokens: Sequence[int], times: Sequence[int], nanos: Sequence[int]) -> bytes:
    """The growth of an account after more steps, as `observed` makes it step by step; what each of them used."""
    steps, more = _unpack(kept)[0], len(tokens)
    first = more if steps + more > _STEPS_MAX else min(more, max(0, HEAD - int(steps)))
    for used in zip(tokens[:first], times[:first], nanos[:first], strict=True):
        kept = observed(kept, used)
    return kept if first == more else _moved(kept, tokens[first:], times[first:], nanos[first:])


def _moved(kept: bytes, tokens: Sequence[int], times: Sequence[int], nanos: Sequence[int]) -> bytes:
    """`observed_all`, behind the first steps."""
    n, t, m, c, it, im, ic, tt, mm, cc, tc, t1, last, leap, c1, t2, c2, t3, c3 = _unpack(kept)
    more = len(tokens)
    alike = tokens.count(tokens[0]) == times.count(times[0]) == nanos.count(nanos[0]) == more
    if alike and not kept[_VARIES].strip(b"\0") and (tokens[0], times[0], nanos[0]) == (t, m, c):
        return _pack(n + more, *_unpack(kept)[1:])  # each step so far has used the same
    single = Struct(f"<{more}f")
    floats = list(map(float, tokens))
    lasts = single.unpack(single.pack(*floats))
    pack, unpack = _MOVING.pack, _MOVING.unpack
    # As in `observed`, operation by operation: each is rounded, and all of them to single precision after each step.
    for before, now_t, now_m, now_c, now_last in zip(
        count(n), floats, map(float, times), map(float, nanos), lasts, strict=False
    ):
        leapt, last, n = now_t - last, now_last, before + 1.0
        share = 1.0 / n
        ahead, rest = before * 0.5, before * share
        dt, dm, dc = now_t - t, now_m - m, now_c - c
        t, m, c, it, im, ic, tt, mm, cc, tc, leap = unpack(
            pack(
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
                leap + (leapt * leapt - leap) / before,
            )
        )
    return _pack(n, t, m, c, it, im, ic, tt, mm, cc, tc, t1, last, leap, c1, t2, c2, t3, c3)


def _digits(*numbers: float) -> list[float]:
    return [float(f"{number:.7g}") for number in numbers]
