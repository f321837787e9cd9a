"""How wide intervals must be where a kind's own errors are not known yet.

The interval of such a forecast comes from the spread that the agent's few steps show (`Course.spread`), and they may
show too little. By how much, the scores of other kinds say, from when these were new: each end of an interval is a
ratio to the steps that were forecast, and the power to which both are raised is learnt so that 80 % of the intervals
hold the truth. It is followed score by score: the logarithm of the power rises by 0.8 of a rate where the truth was
outside, and falls by 0.2 of it where it was inside (adaptive conformal inference: Gibbs, Candès, NeurIPS 2021; the
quantile by stochastic approximation is Robbins, Monro, Annals of Mathematical Statistics 22, 1951). Scores of
forecasts that went by past errors teach nothing here.

All kinds together teach one power for runs of which nothing is known, and one for those of a kind that has a few runs;
what a kind's own scores ask for beyond, the kind keeps.
"""

from math import exp, log, sqrt
from typing import Any, Protocol

from tallystick.config.amounts import DIMENSIONS
from tallystick.events.catalog.forecasts import Outcome

OUTSIDE = 0.20
"""So many of the truths may lie outside."""
RATE, OWN_RATE = 0.02, 0.05
"""How fast the power of all kinds follows the scores, and that of one kind: the nine forecasts of one run, all outside
or all inside, change it by 15 % or by 40 %."""
_BOUND = log(16.0)
"""No interval is raised to a higher power than this, nor to less than one over it."""
_ROUNDED = 0.002
"""Recorded steps are rounded to a thousandth: what differs by less says nothing."""


class Kind(Protocol):
    """What of a kind matters here."""

    widening: list[float]

    @property
    def has_own(self) -> bool: ...


class Widening:
    """The powers of all kinds, as logarithms: for each dimension, without runs of the kind, and with a few."""

    __slots__ = ("_logs",)

    def __init__(self) -> None:
        self._logs = [[0.0] * len(DIMENSIONS), [0.0] * len(DIMENSIONS)]

    def of(self, kind: Kind | None, d: int, others: int) -> float:
        """The power for a kind's intervals in dimension ``d``, where so many other kinds are known.

        What a few kinds taught is less certain of the next one: the variance of what is forecast from a mean of n is
        (1 + 1 / n) times that of one. The spread as it is counts as one kind more.
        """
        if kind is not None and kind.has_own:
            return exp(_bounded(self._logs[True][d] + kind.widening[d]))
        own = 0.0 if kind is None else kind.widening[d]
        return exp(_bounded(self._logs[False][d] + own)) * sqrt(1 + 1 / (others + 1))

    def learn(self, kind: Kind, d: int, power: float | None, others: int) -> None:
        """Take in to which power an interval would have had to be raised; None teaches nothing."""
        if power is None:
            return
        logs, now = self._logs[kind.has_own], self.of(kind, d, others)
        kind.widening[d] = _bounded(kind.widening[d] + _step(power > now, OWN_RATE))
        logs[d] = _bounded(logs[d] + _step(power > exp(logs[d]), RATE))

    def dump(self) -> list[Any]:
        return [list(logs) for logs in self._logs]

    @classmethod
    def load(cls, dumped: list[Any]) -> "Widening":
        widening = cls()
        widening._logs = [[float(number) for number in logs] for logs in dumped]
        return widening


def needed(forecast: Outcome, actual: float) -> float | None:
    """To which power the ends of a forecast's interval had to be raised to reach the truth.

    None where past errors made the interval, or where the truth was just what was forecast.
    """
    ahead, came = forecast.predicted - forecast.step, actual - forecast.step
    if forecast.widened is None or ahead <= 0 or came <= 0 or abs(came - ahead) <= _ROUNDED:
        return None
    end = (forecast.high if came > ahead else forecast.low) - forecast.step
    reach = abs(log(end / ahead)) if end > 0 else _BOUND
    return forecast.widened * abs(log(came / ahead)) / max(reach, 1e-9)


def _step(outside: bool, rate: float) -> float:
    return rate * ((1 - OUTSIDE) if outside else -OUTSIDE)


def _bounded(power: float) -> float:
    return min(_BOUND, max(-_BOUND, power))
