"""What earlier runs taught, for forecasts of the next ones: bounded, and changed by two events only.

`RunLearned` teaches how usage grows in runs of a kind, and what they used in all; `ForecastScored` how far off earlier
forecasts were. A *kind* is an agent type with a model, of which either may be unknown. What runs of one kind used, how
long they took and how good their forecasts were says nothing of another kind. How usage grows is borrowed from other
kinds where these are alike, and how wide the intervals of kinds without scores have to be is learnt from all
(`widening`). The least recently taught kind is forgotten first.
"""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from math import ceil, floor, sqrt
from statistics import median
from typing import Any, NamedTuple

import msgspec

from tallystick.config.amounts import DIMENSIONS, EDGE_NAMES
from tallystick.events.catalog.event import Event
from tallystick.events.catalog.forecasts import ForecastScored, Outcome, RunLearned
from tallystick.events.state.growth import Growth
from tallystick.events.state.money import money
from tallystick.events.state.priors import Line, Prior, between
from tallystick.events.state.widening import Widening, needed

KINDS_MAX = 32
"""So many kinds are remembered."""
RUNS_MAX = 512
"""Of each kind, the totals of so many last runs: the runs that end next to each other are alike, short ones where many
have begun together, so that few of them would not say what runs of a kind use."""
SCORES_MAX = 100
"""Of each kind, dimension and stage, so many last scores."""
RUNS_MIN = 3
"""A kind with fewer runs cannot speak for itself."""
SCORES_MIN = 20
"""A stage with fewer scores cannot speak for itself: of 20 errors, an 80 % interval leaves two out on each side."""
COVERAGE = 0.80
SIGNS_MIN = 3.0
"""By so many standard deviations more forecasts must be late than early, or the other way, until that is no chance."""
HIT = 0.10
"""A forecast that is off by at most this share of what happened is a hit."""
COST_ON_TOKENS, DRIFT, LATER_COST = 3, 4, 5
"""The priors beside those of the three dimensions: a step's cost against its tokens, how tokens grow by step, and the
cost against the tokens without the first steps."""

Kind = tuple[str | None, str | None]
"""Agent type and model, None where it is not known."""
_BORROWED_MAX = 512
"""So many answers to what a new kind may borrow are kept until the next run is learnt."""


class Run(NamedTuple):
    """What one finished run used: steps, tokens, milliseconds, nano-dollars; and how long it lasted.

    ``ended``: 1 where it ended by itself, 0 where it was cut short, so that it would have used more.
    """

    steps: int
    tokens: int
    time_ms: int
    cost_nanos: int
    elapsed_ms: int
    ended: int = 1


class Score(NamedTuple):
    """One forecast and the truth. ``left`` is how many steps were still to come, of those that were forecast.

    It is of the forecast as it was before earlier scores recentred it: the recentring must not chase itself.
    """

    left: float
    hit: bool
    baseline_hit: bool
    inside: bool


class Errors(NamedTuple):
    """How good the forecasts of one stage have been: shares of ``scored`` ones.

    80 % of the forecasts, as good ones and bad ones come, had between ``low`` and ``high`` of the steps still to come
    that they forecast, and half of them more than ``centre``, which is 1 where chance may explain that it is not.
    """

    scored: int
    low: float
    centre: float
    high: float
    hits: float
    baseline_hits: float
    inside: float


class Scores:
    """The last scores of one stage, and what they say together, computed once after each change."""

    __slots__ = ("_errors", "ring")

    def __init__(self, ring: Iterable[Score] = ()) -> None:
        self.ring = deque(ring, maxlen=SCORES_MAX)
        self._errors: Errors | None = None

    def add(self, score: Score) -> None:
        self.ring.append(score)
        self._errors = None

    @property
    def errors(self) -> Errors:
        if self._errors is None:
            ring, n = self.ring, len(self.ring)
            ordered = sorted(score.left for score in ring)
            low, high = conformal(ordered)
            self._errors = Errors(
                n,
                low,
                off_centre(ordered),
                high,
                sum(score.hit for score in ring) / n,
                sum(score.baseline_hit for score in ring) / n,
                sum(score.inside for score in ring) / n,
            )
        return self._errors


class Taught:
    """All that is known of one kind."""

    __slots__ = ("_elapsed_ms", "_steps", "ended", "priors", "runs", "scores", "widening")

    def __init__(self) -> None:
        self.priors = tuple(Prior() for _ in range(6))
        self.runs: deque[Run] = deque()
        self.scores: dict[tuple[int, int], Scores] = {}
        self.ended = self._steps = self._elapsed_ms = 0
        """Of the remembered runs, how many ended by themselves, all their steps, and how long they lasted."""
        self.widening = [0.0, 0.0, 0.0]
        """By dimension, what this kind's intervals need beyond those of all kinds (see `Widening`)."""

    @property
    def has_own(self) -> bool:
        """Whether its own runs tell how usage grows."""
        return self.priors[0].weight >= RUNS_MIN

    def learn(self, run: Run, growth: Growth) -> None:
        """Take in a run. One that was cut short teaches how usage grows, and that runs may use more than it has."""
        for d in DIMENSIONS:
            self.priors[d].learn(growth.on_steps(d))
        self.priors[COST_ON_TOKENS].learn(growth.cost_on_tokens())
        self.priors[DRIFT].learn(growth.drift())
        self.priors[LATER_COST].learn(growth.later_cost_on_tokens())
        self._remember(run)

    def _remember(self, run: Run) -> None:
        self.runs.append(run)
        self._count(run, 1)
        if len(self.runs) > RUNS_MAX:
            self._count(self.runs.popleft(), -1)

    def _count(self, run: Run, sign: int) -> None:
        self.ended += sign * run.ended
        self._steps += sign * run.steps
        self._elapsed_ms += sign * run.elapsed_ms

    @property
    def pace_ms(self) -> float:
        """How long a step took, in the remembered runs."""
        return self._elapsed_ms / max(1, self._steps)

    def score(self, d: int, actual: float, forecast: Outcome) -> None:
        scores = self.scores.get((d, forecast.stage))
        if scores is None:
            scores = self.scores[d, forecast.stage] = Scores()
        ahead = (forecast.predicted if forecast.raw is None else forecast.raw) - forecast.step
        scores.add(
            Score(
                (actual - forecast.step) / ahead if ahead > 0 else 1.0,
                is_hit(forecast.predicted, actual),
                is_hit(forecast.baseline, actual),
                forecast.low <= actual <= forecast.high,
            )
        )

    def dump(self) -> list[Any]:
        return [
            [prior.dump() for prior in self.priors],
            [*self.runs],
            [[d, stage, [list(score) for score in scores.ring]] for (d, stage), scores in self.scores.items()],
            self.widening,
        ]

    @classmethod
    def load(cls, dumped: Sequence[Any]) -> "Taught":
        priors, runs, scores, widening = dumped
        taught = cls()
        taught.priors = tuple(Prior.load(prior) for prior in priors)
        for run in runs:
            taught._remember(Run(*run))
        taught.scores = {(d, stage): Scores(Score(*score) for score in ring) for d, stage, ring in scores}
        taught.widening = [float(more) for more in widening]
        return taught


class Known(msgspec.Struct, frozen=True, gc=False):
    """What is known for a run of certain labels: of its own kind, and what of others is worth asking."""

    own: Taught | None
    history: "History"
    kind: Kind

    def line(self, prior: int) -> Line | None:
        """The prior of a dimension, of `COST_ON_TOKENS` or of `DRIFT`; None without history.

        A kind with too few runs borrows that of other kinds, where these are alike.
        """
        own = self.own
        if own is not None:
            if own.priors[prior].weight >= RUNS_MIN:
                return own.priors[prior].line
            if prior == LATER_COST and own.has_own:
                # Its runs ended within the first steps, or are from before these were kept: what other kinds' later
                # steps cost is no reason to pass over what its own ones do.
                return None
        return self.history.borrowed(self.kind, prior)

    def errors(self, d: int, stage: int) -> Errors | None:
        """How good forecasts of this kind in a dimension were at a stage; None where too few were scored."""
        scores = None if self.own is None else self.own.scores.get((d, stage))
        return None if scores is None or len(scores.ring) < SCORES_MIN else scores.errors

    def widening(self, d: int) -> float:
        """By which power an interval that no past errors shape is to be widened."""
        return self.history.widening.of(self.own, d, self.history.count - (self.own is not None))

    def runs(self) -> Sequence[Run]:
        """The last finished runs of this kind, oldest first, also those that were cut short."""
        return () if self.own is None or self.own.ended < RUNS_MIN else self.own.runs

    def pace_ms(self) -> float | None:
        """How long a step of this kind takes; None without history."""
        return None if self.own is None or self.own.ended < RUNS_MIN else self.own.pace_ms


class History:
    """The memory itself. It holds no more than its bounds say, and equal events make equal histories."""

    def __init__(self) -> None:
        self._kinds: dict[Kind, Taught] = {}
        self._borrowed: dict[tuple[Kind, int], Line | None] = {}
        self.widening = Widening()

    @property
    def count(self) -> int:
        """How many kinds are known."""
        return len(self._kinds)

    def fold(self, event: Event) -> None:
        """Take in a `RunLearned` or a `ForecastScored`; other events teach nothing."""
        match event:
            case RunLearned():
                growth = Growth.of(event.growth, event.head)
                run = Run(event.steps, *money(event.consumed.triple), event.elapsed_ms, int(not event.exhausted))
                self._touched((event.agent_type, event.model)).learn(run, growth)
                self._borrowed.clear()
            case ForecastScored():
                d = EDGE_NAMES.index(event.dimension)
                taught = self._touched((event.agent_type, event.model))
                for forecast in event.forecasts:
                    taught.score(d, event.actual, forecast)
                    self.widening.learn(taught, d, needed(forecast, event.actual), self.count - 1)

    def _touched(self, kind: Kind) -> Taught:
        """What is known of a kind, made where it is new."""
        # Put in again, it is the last one to be forgotten.
        taught = self._kinds[kind] = self._kinds.pop(kind) if kind in self._kinds else Taught()
        if len(self._kinds) > KINDS_MAX:
            del self._kinds[next(iter(self._kinds))]
            self._borrowed.clear()
        return taught

    def known(self, agent_type: str | None, model: str | None) -> Known:
        """What is known for a run of these labels."""
        kind = (agent_type, model)
        return Known(self._kinds.get(kind), self, kind)

    def expected(self, agent_type: str | None) -> Known:
        """What is known for a run that has not reported, so that its model is not known: that of the only model with
        which its agent type ran, and nothing where there were several.
        """
        kinds = [kind for kind in self._kinds if kind[0] == agent_type]
        return self.known(agent_type, kinds[0][1] if len(kinds) == 1 else None)

    def borrowed(self, kind: Kind, prior: int) -> Line | None:
        """What the growth of other kinds tells of one: that of its agent type's if they are alike, else of its
        model's, else of all; None where none are.
        """
        try:
            return self._borrowed[kind, prior]
        except KeyError:
            if len(self._borrowed) >= _BORROWED_MAX:
                self._borrowed.clear()
            found = self._borrowed[kind, prior] = self._alike(kind, prior)
            return found

    def _alike(self, kind: Kind, prior: int) -> Line | None:
        others = {
            other: taught.priors[prior]
            for other, taught in self._kinds.items()
            if other != kind and taught.priors[prior].weight >= RUNS_MIN
        }
        for label in (0, 1):
            if kind[label] is not None:
                line = between([one for other, one in others.items() if other[label] == kind[label]])
                if line is not None:
                    return line
        return between(list(others.values()))

    def kinds(self) -> Iterable[tuple[Kind, Taught]]:
        """Everything by kind, for display: the least recently taught first."""
        return self._kinds.items()

    def dump(self) -> list[Any]:
        """All of it as lists, tuples, numbers and texts, equal for equal histories."""
        return [self.widening.dump(), [[*kind, *taught.dump()] for kind, taught in self._kinds.items()]]

    @classmethod
    def load(cls, dumped: Sequence[Any]) -> "History":
        history = cls()
        widening, kinds = dumped
        history.widening = Widening.load(widening)
        history._kinds = {(agent_type, model): Taught.load(rest) for agent_type, model, *rest in kinds}
        return history


def is_hit(predicted: float, actual: float) -> bool:
    """Whether a prediction was within 10 % of what happened."""
    return abs(predicted - actual) <= HIT * actual


def conformal(ordered: Sequence[float]) -> tuple[float, float]:
    """Between which of n past errors, in ascending order, the next one lies with 80 %.

    Split conformal prediction: the ⌊(n + 1) 0.1⌋th and the ⌈(n + 1) 0.9⌉th, whatever the errors' distribution, where
    the next one comes from the same (Vovk, Gammerman, Shafer: Algorithmic Learning in a Random World, 2005).
    """
    n, out = len(ordered), (1 - COVERAGE) / 2
    return ordered[max(0, floor((n + 1) * out) - 1)], ordered[min(n, ceil((n + 1) * (1 - out))) - 1]


def off_centre(ordered: Sequence[float]) -> float:
    """The median of past ratios of what came to what was forecast, in ascending order; 1 where chance may explain it.

    The sign test: of n ratios, half lie above 1 give or take √n / 2, if forecasts are as often early as late.
    """
    above, below = len(ordered) - bisect_right(ordered, 1.0), bisect_left(ordered, 1.0)
    if abs(above - below) < SIGNS_MIN * sqrt(above + below):
        return 1.0
    return median(ordered)
