"""What earlier runs taught, for forecasts of the next ones: bounded, and changed by two events only.

`RunLearned` teaches how usage grows in runs of a kind, and what they used in all; `ForecastScored` how far off earlier
forecasts were. A *kind* is an agent type with a model. Who knows nothing of a kind asks for its agent type, then for
all runs together. The least recently taught kind is forgotten first.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from tallystick.events.accounts import money
from tallystick.events.amounts import DIMENSIONS, EDGE_NAMES
from tallystick.events.event import Event
from tallystick.events.foretold import ForecastScored, RunLearned
from tallystick.events.growth import Growth
from tallystick.events.lessons import Lesson, Line

KINDS_MAX = 32
"""So many kinds are remembered, besides `ALL`."""
RUNS_MAX = 128
"""Of each kind, the totals of so many last runs."""
SCORES_MAX = 100
"""Of each kind, dimension and stage, so many last scores."""
RUNS_MIN = 3
"""A kind with fewer runs cannot speak for itself."""
SCORES_MIN = 20
"""A stage with fewer scores cannot speak for itself: of 20 errors, an 80 % interval leaves two out on each side."""
STAGES = 10
COST_ON_TOKENS = 3
"""The lesson beside those of the three dimensions: a step's cost against its tokens."""
HIT = 0.10
"""A forecast that is off by at most this share of what happened is a hit."""

Kind = tuple[str | None, str | None]
"""Agent type and model, None where it is not known or does not matter."""
ALL: Kind = (None, None)


class Run(NamedTuple):
    """What one finished run used: steps, tokens, milliseconds, nano-dollars; and how long it lasted."""

    steps: int
    tokens: int
    time_ms: int
    cost_nanos: int
    elapsed_ms: int

    def used(self, d: int) -> int:
        return (self.tokens, self.time_ms, self.cost_nanos)[d]


class Score(NamedTuple):
    """One forecast and the truth, as shares of what was foretold: 1 is a perfect forecast, 2 half of the truth.

    ``left`` is the same of the steps that were still to come when it was made.
    """

    ratio: float
    left: float
    baseline: float
    inside: bool

    @property
    def hit(self) -> bool:
        return is_hit(self.ratio)

    @property
    def baseline_hit(self) -> bool:
        return is_hit(self.baseline)


def is_hit(ratio: float) -> bool:
    """Whether ``actual / predicted`` says that the prediction was within 10 % of what happened."""
    return abs(1 - ratio) <= HIT * ratio


class _Taught:
    """All that is known of one kind."""

    __slots__ = ("lessons", "runs", "scores")

    def __init__(self) -> None:
        self.lessons = tuple(Lesson() for _ in range(4))
        self.runs: deque[Run] = deque(maxlen=RUNS_MAX)
        self.scores: dict[tuple[int, int], deque[Score]] = {}


class History:
    """The memory itself. It holds no more than its bounds say, and equal events make equal histories."""

    def __init__(self) -> None:
        self._kinds: dict[Kind, _Taught] = {}

    # --- folding ---

    def fold(self, event: Event) -> None:
        """Take in a `RunLearned` or a `ForecastScored`; other events teach nothing."""
        match event:
            case RunLearned():
                self._learn(event)
            case ForecastScored():
                self._score(event)

    def _learn(self, event: RunLearned) -> None:
        growth, used = Growth.of(event.growth), money(event.consumed.triple)
        run = Run(event.steps, *used, event.elapsed_ms)
        for taught in self._touched(event.agent_type, event.model):
            for d in DIMENSIONS:
                taught.lessons[d].learn(growth.on_steps(d))
            taught.lessons[COST_ON_TOKENS].learn(growth.cost_on_tokens())
            taught.runs.append(run)

    def _score(self, event: ForecastScored) -> None:
        d = EDGE_NAMES.index(event.dimension)
        for taught in self._touched(event.agent_type, event.model):
            for forecast in event.forecasts:
                ring = taught.scores.get((d, forecast.stage))
                if ring is None:
                    ring = taught.scores[d, forecast.stage] = deque(maxlen=SCORES_MAX)
                left, foretold = event.actual - forecast.step, forecast.predicted - forecast.step
                ring.append(
                    Score(
                        event.actual / forecast.predicted,
                        left / foretold if foretold > 0 else 1.0,
                        event.actual / forecast.baseline,
                        forecast.low <= event.actual <= forecast.high,
                    )
                )

    def _touched(self, agent_type: str | None, model: str | None) -> Iterator[_Taught]:
        """The kind of these labels and the broader ones, made where they are new, the last ones to be forgotten."""
        for kind in kinds(agent_type, model):
            taught = self._kinds.pop(kind, None) or _Taught()
            self._kinds[kind] = taught
            yield taught
        while len(self._kinds) > KINDS_MAX + 1:
            del self._kinds[next(iter(self._kinds))]

    # --- asking ---

    def line(self, lesson: int, agent_type: str | None, model: str | None) -> Line | None:
        """The prior of a dimension (or of `COST_ON_TOKENS`) for a run of these labels; None without history."""
        for kind in kinds(agent_type, model):
            taught = self._kinds.get(kind)
            if taught is not None and taught.lessons[lesson].weight >= RUNS_MIN:
                return taught.lessons[lesson].line
        return None

    def runs(self, agent_type: str | None, model: str | None) -> Iterable[Run]:
        """The last finished runs of these labels, oldest first; of the narrowest kind that has enough of them."""
        for kind in kinds(agent_type, model):
            taught = self._kinds.get(kind)
            if taught is not None and len(taught.runs) >= RUNS_MIN:
                return taught.runs
        return ()

    def scores(self, d: int, stage: int, agent_type: str | None, model: str | None) -> Iterable[Score]:
        """The last scores at a stage, oldest first; of the narrowest kind that has enough of them."""
        for kind in kinds(agent_type, model):
            taught = self._kinds.get(kind)
            ring = None if taught is None else taught.scores.get((d, stage))
            if ring is not None and len(ring) >= SCORES_MIN:
                return ring
        return ()

    def confidence(self, d: int, stage: int, agent_type: str | None, model: str | None) -> float | None:
        """The measured share of hits at a stage; None where too few forecasts were scored."""
        scores = tuple(self.scores(d, stage, agent_type, model))
        return sum(score.hit for score in scores) / len(scores) if scores else None

    # --- the snapshot ---

    def dump(self) -> list[Any]:
        """All of it as lists and numbers, equal for equal histories."""
        return [
            [
                list(kind),
                [lesson.dump() for lesson in taught.lessons],
                [list(run) for run in taught.runs],
                [[d, stage, [list(score) for score in ring]] for (d, stage), ring in taught.scores.items()],
            ]
            for kind, taught in self._kinds.items()
        ]

    @classmethod
    def load(cls, dumped: list[Any]) -> "History":
        history = cls()
        for kind, lessons, runs, scores in dumped:
            taught = history._kinds[kind[0], kind[1]] = _Taught()
            taught.lessons = tuple(Lesson.load(lesson) for lesson in lessons)
            taught.runs.extend(Run(*run) for run in runs)
            for d, stage, ring in scores:
                taught.scores[d, stage] = deque((Score(*score) for score in ring), maxlen=SCORES_MAX)
        return history


def kinds(agent_type: str | None, model: str | None) -> Iterator[Kind]:
    """Whom a run of these labels can learn from, the narrowest first."""
    return iter(dict.fromkeys(((agent_type, model), (agent_type, None), ALL)))
