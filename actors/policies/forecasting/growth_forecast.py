"""At which step a budget will be used up, by linear growth: what the agent's own steps and history say together.

A step's tokens are those of the step before plus what was added to the context: a random walk with drift, whose next
step is best predicted from the last one (Harvey: Forecasting, Structural Time Series Models and the Kalman Filter,
2.3). Where steps do not accumulate, they lie about a line. What leaves less noise describes a kind of runs. A step's
cost is predicted from its tokens, where that leaves less noise than its number does. Level, growth and drift are what
history's Gaussian prior and the agent's own steps say together (`priors.updated`).
"""

from math import exp, log, sqrt

import msgspec

from tallystick.config.amounts import COST, TIME, TOKENS
from tallystick.events.state.growth import Growth, Moments
from tallystick.events.state.history import COST_ON_TOKENS, DRIFT, LATER_COST, Known
from tallystick.events.state.priors import Line, updated

LINEAR_GROWTH, AVERAGE_RATE = "linear_growth", "average_rate"

Z_80 = 1.2816
"""Of a Gaussian, 80 % lie within so many standard deviations of the mean."""
_NOTHING = 1e-6
"""Usage is whole tokens, milliseconds and nano-dollars: what is expected to be less than this a step is nothing."""
_NEARLY = 1.001
"""Whose steps are so even needs no interval."""
_IDLE_STEPS = 3
"""An agent that used nothing of a dimension in so many steps will use nothing of it, whatever others did."""


class Course(msgspec.Struct, frozen=True, gc=False):
    """How usage will go on: the j-th step from now uses ``rate + growth × j`` and noise; neither is negative.

    ``rate_var``, ``covar`` and ``growth_var`` say how well that is known; ``noise`` is the variance of a step by
    itself, ``walk`` what each step adds to the variance of all later ones.
    """

    rate: float
    growth: float
    rate_var: float
    covar: float
    growth_var: float
    noise: float
    walk: float
    method: str

    def used_after(self, steps: float) -> float:
        """What the next ``steps`` steps are expected to use."""
        return steps * (self.rate + self.growth * (steps + 1) / 2)

    def step_variance(self) -> float:
        """How far the next step may be from what it is expected to use."""
        known = self.rate_var + 2 * self.covar + self.growth_var
        return max(0.0, known) + self.noise + self.walk

    def steps_until(self, units: float) -> float:
        """In how many steps ``units`` will be used up; the last one counts in part. It is positive.

        Steps of uneven size pass a mark later than their mean says, since it is a large one that passes it: they
        overshoot by half their variance over their mean more than even ones do (Cox: Renewal Theory, 1962, 4.2); in
        full where many steps are to come, not at all where the mark is within the next one.
        """
        rate, growth = self.rate + self.growth / 2, self.growth
        if self.method == LINEAR_GROWTH:
            units += self.noise / (2 * rate) * units / (units + rate)
        return 2 * units / (rate + sqrt(rate * rate + 2 * growth * units))

    def used_at_most(self, steps: float) -> float:
        """The upper end of the 80 % interval of what the next ``steps`` steps will use."""
        return self.used_after(steps) + Z_80 * sqrt(self._variance(steps))

    def steps_at_least(self, units: float, late: float) -> float:
        """The lower end of the 80 % interval of `steps_until`: when the upper end of what is used reaches ``units``.

        ``late`` is what `steps_until` says. `spread` would say less than nothing here where a step is known badly: a
        sum of many is known better than one.
        """
        above = self.used_at_most(late) / units
        if above <= _NEARLY:
            return late
        # What is used at most grows nearly as a power of the steps: two points of it, here and at 1 / above of the
        # steps, tell which.
        early = late / above
        off = log(self.used_at_most(early) / units)
        whole = log(above)
        return min(late, early * exp(-off * whole / (whole - off)))

    def spread(self, steps: float) -> float:
        """The standard deviation of `steps_until`, where it says ``steps``."""
        return sqrt(self._variance(steps)) / (self.rate + self.growth * steps)

    def _variance(self, steps: float) -> float:
        """The variance of what the next ``steps`` steps use."""
        mid = (steps + 1) / 2
        known = self.rate_var + mid * (2 * self.covar + mid * self.growth_var)
        return steps * (steps * (known if known > 0 else 0.0) + self.noise + self.walk * steps * steps / 3)


def growth_by_dimension(growth: Growth, known: Known) -> tuple[Course | None, ...]:
    """By dimension, how an agent's usage will go on; None where it has used nothing and nothing is known."""
    tokens = _tokens(growth, known.line(TOKENS), known.line(DRIFT))
    found = (
        tokens,
        _on_steps(growth, TIME, known.line(TIME)),
        _cost(growth, known, tokens),
    )
    if growth.steps < _IDLE_STEPS:
        return found
    mean_tokens, mean_time, mean_cost = growth.mean
    return (
        found[TOKENS] if mean_tokens > _NOTHING else None,
        found[TIME] if mean_time > _NOTHING else None,
        found[COST] if mean_cost > _NOTHING else None,
    )


def _tokens(growth: Growth, line: Line | None, drift: Line | None) -> Course | None:
    n, seen = growth.steps, growth.drift()
    if line is None or drift is None:
        # The mean squared difference of neighbours is twice the variance where steps are independent, and less than it
        # where they accumulate (von Neumann: Distribution of the Ratio of the Mean Square Successive Difference to the
        # Variance, Annals of Mathematical Statistics 12, 1941).
        if n < 3 or growth.leap * (n - 1) >= growth.variance[TOKENS] * n or growth.last <= 0:
            return _on_steps(growth, TOKENS, None)
        noise = _noise(seen.n, seen.y, seen.yy)
        drift = Line(seen.y, 0.0, noise / seen.n, 0.0, 0.0, noise)
    elif n == 0 or growth.last <= 0 or drift.noise >= line.noise:
        return _on_steps(growth, TOKENS, line)
    else:
        drift = updated(drift, seen)
    return Course(growth.last, max(0.0, drift.level), 0.0, 0.0, drift.level_var, 0.0, drift.noise, LINEAR_GROWTH)


def _on_steps(growth: Growth, d: int, line: Line | None) -> Course | None:
    """Steps about a line; without history, the average rate."""
    n = growth.steps
    if line is not None:
        now = updated(line, growth.on_steps(d), at=n)
        if now.level > _NOTHING:
            growing = now.growth if now.growth > 0 else 0.0
            return Course(now.level, growing, now.level_var, now.covar, now.growth_var, line.noise, 0.0, LINEAR_GROWTH)
    return average_rate(growth, d)


def average_rate(growth: Growth, d: int) -> Course | None:
    """Steps go on as they were on average: what other forecasts are measured against. None where nothing was used."""
    n, mean = growth.steps, growth.mean[d]
    if mean <= _NOTHING:
        return None
    noise, seen = _noise(n, mean, growth.variance[d]), growth.on_steps(d)
    # That usage does not grow is an assumption. How far it may be wrong, the slope of the steps so far shows.
    slope = seen.xy / seen.xx if seen.xx > 0 else 0.0
    return Course(mean, 0.0, noise / n, 0.0, slope * slope, noise, 0.0, AVERAGE_RATE)


def _cost(growth: Growth, known: Known, tokens: Course | None) -> Course | None:
    """By the tokens that are to come, where they tell more of a step's cost than its number does.

    The first steps are left out where the others lie closer to a line without them. All later ones usually cost
    more and so lie further from any line: where the first steps are like the others, they are never left out.
    """
    on_steps = known.line(COST)
    if tokens is not None and on_steps is not None:
        on_tokens, later = known.line(COST_ON_TOKENS), known.line(LATER_COST)
        if on_tokens is not None:
            if later is not None and later.noise < on_tokens.noise and later.noise < on_steps.noise:
                found = _on_tokens(later, growth.later_cost_on_tokens(), tokens)
            elif on_tokens.noise < on_steps.noise:
                found = _on_tokens(on_tokens, growth.cost_on_tokens(), tokens)
            else:
                found = None
            if found is not None:
                return found
    return _on_steps(growth, COST, on_steps)


def _on_tokens(line: Line, seen: Moments, tokens: Course) -> Course | None:
    now = updated(line, seen, at=tokens.rate)
    if now.level <= _NOTHING:
        return None
    price, more = now.growth if now.growth > 0 else 0.0, tokens.growth
    square = price * price
    return Course(
        now.level,
        price * more,
        now.level_var + square * tokens.rate_var,
        more * now.covar + square * tokens.covar,
        more * more * now.growth_var + square * tokens.growth_var,
        line.noise + square * tokens.noise,
        square * tokens.walk,
        LINEAR_GROWTH,
    )


def _noise(n: float, mean: float, variance: float) -> float:
    """How far one of a few steps may be from the others, where only they tell.

    One says nothing of how they differ: it may be by as much as it is large. Two that are alike say little more. So
    that much is added as if of one step more.
    """
    return variance + mean * mean / n
