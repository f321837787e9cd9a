"""Kinds of runs that were made up: other shapes of usage than the real runs have, each from a fixed seed.

Sizes differ between the runs of a kind as those of real ones do, by a factor of about two; prices differ by kind. They
say nothing about how real agents behave: they are there so that a forecaster meets what its history never showed.
"""

import math
import random
from collections.abc import Callable, Iterator

from benchmarks.cases import Case
from tallystick.events.state.money import Money

RUNS = 40
"""Of each kind."""
Shape = Callable[[random.Random, int], Iterator[float]]
"""The tokens of each step of a run of so many steps."""


def _size(rng: random.Random) -> float:
    """How large one run's steps are beside those of its kind."""
    return math.exp(rng.gauss(0, 0.35))


def _uneven(rng: random.Random, sigma: float) -> float:
    """How large one step is beside its run's others: one on average."""
    return math.exp(rng.gauss(-sigma * sigma / 2, sigma))


def _line(level: float, growth: float, sigma: float) -> Shape:
    def steps(rng: random.Random, count: int) -> Iterator[float]:
        level_of_run, growth_of_run = level * _size(rng), growth * _size(rng)
        for i in range(count):
            yield (level_of_run + growth_of_run * i) * _uneven(rng, sigma)

    return steps


def _walk(level: float, added: float) -> Shape:
    """Contexts that only grow, by uneven pieces."""

    def steps(rng: random.Random, count: int) -> Iterator[float]:
        context, size = level * _size(rng), _size(rng)
        for _ in range(count):
            yield context
            context += added * size * _uneven(rng, 1.0)

    return steps


def _compacted(rng: random.Random, count: int) -> Iterator[float]:
    """A context that grows, and is cut down when it is full."""
    context, full, added = 5_000.0, 40_000 * _size(rng), 2_500 * _size(rng)
    for _ in range(count):
        yield context
        context = 8_000.0 if context > full else context + added * _uneven(rng, 0.5)


def _first_dear(rng: random.Random, count: int) -> Iterator[float]:
    """The first steps read everything, the others little."""
    size = _size(rng)
    for i in range(count):
        yield size * (30_000 if i == 0 else 12_000 if i == 1 else 3_000) * _uneven(rng, 0.25)


def _falling(rng: random.Random, count: int) -> Iterator[float]:
    size, slope = 12_000 * _size(rng), 1.5 / count
    for i in range(count):
        yield size * math.exp(-slope * i) * _uneven(rng, 0.2)


def _phases(rng: random.Random, count: int) -> Iterator[float]:
    """A little of each at first, then much."""
    size, turn = _size(rng), int(count * rng.uniform(0.2, 0.5))
    for i in range(count):
        yield size * (1_500 if i < turn else 6_000) * _uneven(rng, 0.3)


def _compound(rng: random.Random, count: int) -> Iterator[float]:
    """Each step is a few per cent larger than the one before."""
    size, rate = 1_000 * _size(rng), rng.uniform(1.02, 1.08)
    for i in range(count):
        yield size * rate**i * _uneven(rng, 0.1)


SHAPES: dict[str, tuple[Shape, int, float, float]] = {
    # name: shape, the usual number of steps, nano-dollars a token, the share of steps that read no cache.
    "chat": (_line(400, 150, 0.2), 14, 3_000, 0.0),
    "large": (_line(60_000, 3_000, 0.3), 30, 1_250, 0.1),
    "even": (_line(2_000, 0, 0.02), 25, 600, 0.0),
    "scattered": (_line(2_500, 0, 0.6), 35, 2_000, 0.2),
    "bursts": (_line(1_500, 0, 1.2), 50, 9_000, 0.0),
    "walk": (_walk(3_000, 900), 40, 1_000, 0.15),
    "compacted": (_compacted, 60, 1_500, 0.05),
    "first-dear": (_first_dear, 20, 2_500, 0.0),
    "falling": (_falling, 25, 4_000, 0.1),
    "phases": (_phases, 30, 15_000, 0.0),
    "compound": (_compound, 40, 800, 0.1),
}
_CACHED, _UNCACHED = 0.25, 1.0
"""What a step costs beside the whole price."""


def made_kinds() -> dict[str, list[Case]]:
    """Runs of each shape by its name."""
    return {name: [_case(random.Random(f"{name}-{i}"), *kind) for i in range(RUNS)] for name, kind in SHAPES.items()}


def _case(rng: random.Random, shape: Shape, usual: int, price: float, misses: float) -> Case:
    count = max(8, round(usual * math.exp(rng.gauss(0, 0.4))))
    steps: list[Money] = []
    ends: list[int] = []
    clock = 0
    for tokens in shape(rng, count):
        whole = max(1, round(tokens))
        took = max(1, round(1_000 * rng.expovariate(1) * (2 + whole / 5_000)))
        share = _UNCACHED if rng.random() < misses else _CACHED
        steps.append((whole, took, round(whole * price * share)))
        clock += took
        ends.append(clock)
    return Case(steps, ends)
