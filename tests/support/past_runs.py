"""What tests of forecasts need: runs made of their steps, and a history of such runs."""

import random
from collections.abc import Iterable, Sequence

from tallystick.config.amounts import Amounts
from tallystick.events import catalog as e
from tallystick.events.state.growth import NO_STEPS, Growth, observed
from tallystick.events.state.history import History, Known
from tallystick.events.state.money import Money

LABELS = ("backend-engineer", "m")


def grown(steps: Iterable[Money]) -> Growth:
    kept = NO_STEPS
    for used in steps:
        kept = observed(kept, used)
    return Growth.read(kept)


def learned(steps: Sequence[Money], elapsed_ms: int = 0) -> e.RunLearned:
    tokens, time_ms, cost = (sum(column) for column in zip(*steps, strict=True))
    return e.RunLearned(
        agent="ann",
        agent_type=LABELS[0],
        model=LABELS[1],
        steps=len(steps),
        consumed=Amounts(tokens, time_ms, cost),
        elapsed_ms=elapsed_ms,
        growth=grown(steps).numbers(),
        head=grown(steps).head_numbers(),
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
