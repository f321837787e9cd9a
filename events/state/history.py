"""What earlier runs taught, for forecasts of the next ones: bounded, and changed by two events only.

`RunLearned` teaches how usage grows in runs of a kind, and what they used in all; `ForecastScored` how far off earlier
forecasts were. A *kind* is an agent type with a model. Without knowledge of a kind, its agent type is asked, then for
all runs together. The least recently taught kind is forgotten first.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from math import ceil, floor
from typing import Any, NamedTuple

from tallystick.config.amounts import DIMENSIONS, EDGE_NAMES
from tallystick.events.catalog.event import Event
from tallystick.events.catalog.forecasts import ForecastScored, Outcome, RunLearned
from tallystick.events.state.growth import Growth
from tallystick.events.state.money import money
from tallystick.events.state.priors import Line, Prior

KINDS_MAX = 32
"""So many kinds are remembered, besides `ALL`."""
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
HIT = 0.10
"""A forecast that is off by at most this share of what happened is a hit."""
COST_ON_TOKENS, DRIFT = 3, 4
"""The priors beside those of the three dimensions: a step's cost against its tokens, and how tokens grow by step."""

Kind = tuple[str | None, str | None]
"""Agent type and model, None where it is not known or does not matter."""
ALL: Kind = (None, None)


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
    """One forecast and the truth. ``left`` is how many steps were still to come, of those that were forecast."""

    left: float
    hit: bool
    baseline_hit: bool
    inside: bool


class Errors(NamedTuple):
    """How good the forecasts of one stage have been: shares of ``scored`` ones.

    80 % of the forecasts, as good ones and bad ones come, had between ``low`` and ``high`` of the steps still to come
    that they forecast.
    """

    scored: int
    low: float
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
            low, high = conformal(sorted(score.left for score in ring))
            self._errors = Errors(
                n,
                low,
                high,
                sum(score.hit for score in ring) / n,
                sum(score.baseline_hit for score in ring) / n,
                sum(score.inside for score in ring) / n,
            )
        return self._errors


class Taught:
    """All that is known of one kind."""

    __slots__ = ("_elapsed_ms", "_steps", "ended", "priors", "runs", "scores")

    def __init__(self) -> None:
        self.priors = tuple(Prior() for _ in range(5))
        self.runs: deque[Run] = deque()
        self.scores: dict[tuple[int, int], Scores] = {}
        self.ended = self._steps = self._elapsed_ms = 0
        """Of the remembered runs, how many ended by themselves, all their steps, and how long they lasted."""

    def learn(self, run: Run, growth: Growth) -> None:
        """Take in a run. One that was cut short teaches how usage grows, and that runs may use more than it has."""
        for d in DIMENSIONS:
            self.priors[d].learn(growth.on_steps(d))
        self.priors[COST_ON_TOKENS].learn(growth.cost_on_tokens())
        self.priors[DRIFT].learn(growth.drift())
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
        ahead = forecast.predicted - forecast.step
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
            [list(run) for run in self.runs],
            [[d, stage, [list(score) for score in scores.ring]] for (d, stage), scores in self.scores.items()],
        ]

    @classmethod
    def load(cls, dumped: Sequence[Any]) -> "Taught":
        priors, runs, scores = dumped
        taught = cls()
        taught.priors = tuple(Prior.load(prior) for prior in priors)
        for run in runs:
            taught._remember(Run(*run))
        taught.scores = {(d, stage): Scores(Score(*score) for score in ring) for d, stage, ring in scores}
        return taught


class Known(NamedTuple):
    """What is known for a run of certain labels, the narrowest kind first; each question finds who can answer it."""

    kinds: tuple[Taught, ...]

    def line(self, prior: int) -> Line | None:
        """The prior of a dimension, of `COST_ON_TOKENS` or of `DRIFT`; None without history."""
        for taught in self.kinds:
            if taught.priors[prior].weight >= RUNS_MIN:
                return taught.priors[prior].line
        return None

    def errors(self, d: int, stage: int) -> Errors | None:
        """How good forecasts of a dimension were at a stage; None where too few were scored."""
        for taught in self.kinds:
            scores = taught.scores.get((d, stage))
            if scores is not None and len(scores.ring) >= SCORES_MIN:
                return scores.errors
        return None

    def runs(self) -> Iterable[Run]:
        """The last finished runs, oldest first, also those that were cut short."""
        return next((taught.runs for taught in self.kinds if taught.ended >= RUNS_MIN), ())

    def pace_ms(self) -> float | None:
        """How long a step takes; None without history."""
        return next((taught.pace_ms for taught in self.kinds if taught.ended >= RUNS_MIN), None)


class History:
    """The memory itself. It holds no more than its bounds say, and equal events make equal histories."""

    def __init__(self) -> None:
        self._kinds: dict[Kind, Taught] = {}

    def fold(self, event: Event) -> None:
        """Take in a `RunLearned` or a `ForecastScored`; other events teach nothing."""
        match event:
            case RunLearned():
                growth = Growth.of(event.growth)
                run = Run(event.steps, *money(event.consumed.triple), event.elapsed_ms, int(not event.exhausted))
                for taught in self._touched(event.agent_type, event.model):
                    taught.learn(run, growth)
            case ForecastScored():
                d = EDGE_NAMES.index(event.dimension)
                for taught in self._touched(event.agent_type, event.model):
                    for forecast in event.forecasts:
                        taught.score(d, event.actual, forecast)

    def _touched(self, agent_type: str | None, model: str | None) -> list[Taught]:
        """The kind of these labels and the broader ones, made where they are new."""
        touched = []
        for kind in kinds_of(agent_type, model):
            # Put in again, it is the last one to be forgotten.
            taught = self._kinds.pop(kind) if kind in self._kinds else Taught()
            self._kinds[kind] = taught
            touched.append(taught)
        while len(self._kinds) > KINDS_MAX + 1:
            del self._kinds[next(iter(self._kinds))]
        return touched

    def known(self, agent_type: str | None, model: str | None) -> Known:
        """What is known for a run of these labels."""
        found = [self._kinds.get(kind) for kind in kinds_of(agent_type, model)]
        return Known(tuple([taught for taught in found if taught is not None]))

    def kinds(self) -> Iterable[tuple[Kind, Taught]]:
        """Everything by kind, for display: the least recently taught first, `ALL` last."""
        return self._kinds.items()

    def dump(self) -> list[Any]:
        """All of it as lists, numbers and texts, equal for equal histories."""
        return [[*kind, *taught.dump()] for kind, taught in self._kinds.items()]

    @classmethod
    def load(cls, dumped: Iterable[Sequence[Any]]) -> "History":
        history = cls()
        history._kinds = {(agent_type, model): Taught.load(rest) for agent_type, model, *rest in dumped}
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


def kinds_of(agent_type: str | None, model: str | None) -> tuple[Kind, ...]:
    """Whom a run of these labels can learn from, the narrowest first, each once."""
    if model is not None:
        return ((agent_type, model), ALL) if agent_type is None else ((agent_type, model), (agent_type, None), ALL)
    return (ALL,) if agent_type is None else ((agent_type, None), ALL)
