"""What tests of forecasts need: runs made of their steps, and a history of such runs."""

import random
from collections.abc import Iterable, Sequence

from tallystick.config.amounts import Amounts
from tallystick.events import catalog as e
from tallystick.events.catalog.forecasts import Outcome
from tallystick.events.state.growth import NO_STEPS, Growth, observed
from tallystick.events.state.history import History, Known
from tallystick.events.state.money import Money

LABELS = ("qa", "m")


def grown(steps: Iterable[Money]) -> Growth:
    kept = NO_STEPS
    for used in steps:
        kept = observed(kept, used)
    return Growth.read(kept)


def learned(
    steps: Sequence[Money], elapsed_ms: int = 0, agent_type: str | None = LABELS[0], model: str | None = LABELS[1]
) -> e.RunLearned:
    tokens, time_ms, cost = (sum(column) for column in zip(*steps, strict=True))
    return e.RunLearned(
        agent="ann",
        agent_type=agent_type,
        model=model,
        steps=len(steps),
        consumed=Amounts(tokens, time_ms, cost),
        elapsed_ms=elapsed_ms,
        growth=grown(steps).numbers(),
        head=grown(steps).head_numbers(),
    )


def taught(*events: e.Event) -> History:
    history = History()
    for event in events:
        history.fold(event)
    return history


def growing(rng: random.Random, level: float, growth: float, count: int) -> list[Money]:
    own, more = rng.gauss(level, level / 10), rng.gauss(growth, growth / 10)
    return [(int(own + more * i + rng.gauss(0, level / 5)), 1_000, 7 * int(own)) for i in range(1, count + 1)]


def score(
    actual: float,
    predicted: float,
    *,
    step: int = 10,
    stage: int = 5,
    baseline: float = 99.0,
    agent_type: str = "qa",
    raw: float | None = None,
    widened: float | None = None,
) -> e.ForecastScored:
    ends = {"low": step, "high": predicted * 1.05}
    forecast = Outcome(stage=stage, step=step, predicted=predicted, **ends, baseline=baseline, raw=raw, widened=widened)
    return e.ForecastScored(
        agent="ann", agent_type=agent_type, model="m", dimension="tokens", actual=actual, forecasts=[forecast]
    )


def known(runs: Iterable[Sequence[Money]], elapsed_ms: int = 0) -> Known:
    history = History()
    for steps in runs:
        history.fold(learned(steps, elapsed_ms))
    return history.known(*LABELS)


NOTHING = History().known(*LABELS)


def conversation(rng: random.Random, count: int, drift: float = 600) -> list[Money]:
    """Steps of an agent that sends its context again: tokens are a walk with drift, and cost goes by tokens."""
    steps, tokens = [], rng.gauss(3_000, 500)
    for _ in range(count):
        tokens = max(1_000.0, tokens + rng.gauss(drift, drift))
        steps.append((int(tokens), max(1, int(rng.expovariate(1 / 7_000))), int(tokens * 600 * rng.uniform(0.3, 1.7))))
    return steps
