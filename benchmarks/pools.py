"""What many runs will have used together, as `tallystick forecast` says it while a part of them is still under way.

Runs are drawn at random and foreseen from those that were not drawn, or from nothing but their own. At the moment that
is looked at, half of them have ended. *At once*: all have begun at the same moment. *In turn*: each began at a random
moment of ten minutes, about twice as long as a run takes. *Not begun*: the other half has not begun.
"""

import random
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from statistics import fmean, median
from typing import NamedTuple

from benchmarks.cases import Case
from benchmarks.result import Result
from tallystick.actors.policies.forecasting.pools import Pool, Progress, pool_rest, pool_total
from tallystick.config.amounts import COST, EDGE_NAMES, TOKENS
from tallystick.events.state.history import is_hit

SIZES, DRAWS = (50, 100), 1_000
HITS = {TOKENS: 0.60, COST: 0.85}
NOT_BEGUN = 0.87
WINDOW_MS = 600_000


class Predicted(NamedTuple):
    """An estimate as a share of the truth, whether it and twice what had been used were hits, and whether the interval
    held the truth.
    """

    ratio: float
    hit: bool
    doubled: bool
    inside: bool


def results(cases: Sequence[Case]) -> Iterator[Result]:
    """All of them, in tokens and in cost."""
    for d in (TOKENS, COST):
        for size in SIZES:
            goal = HITS[d] if size == max(SIZES) else None
            for how, window in (("at_once", 0), ("in_turn", WINDOW_MS)):
                name = f"forecast.{EDGE_NAMES[d]}.pool_{size}.{how}"
                yield from _shown(name, _half_ended(cases, d, size, window), goal)
        seen = _half_ended(cases, d, max(SIZES), 0, alone=True)
        yield from _shown(f"forecast.{EDGE_NAMES[d]}.pool_{max(SIZES)}.without_history", seen, None)
    for size in SIZES:
        yield from _shown(
            f"forecast.{EDGE_NAMES[COST]}.pool_{size}.not_begun", _not_begun(cases, COST, size), NOT_BEGUN
        )


def _shown(name: str, seen: Sequence[Predicted], goal: float | None) -> Iterator[Result]:
    hits, middle, inside = (
        fmean(one.hit for one in seen),
        median(one.ratio for one in seen),
        fmean(s.inside for s in seen),
    )
    doubled, bound = fmean(one.doubled for one in seen), None if goal is None else (">=", goal)
    yield Result(name, 100 * hits, "% hits", f"all; twice what was used {100 * doubled:.1f} %", hits, bound)
    bounds, held = (None, None) if goal is None else (("in", 0.97, 1.03), ("in", 0.77, 0.88))
    yield Result(f"{name}.median", 100 * middle, "% of the truth", "the truth", middle, bounds)
    yield Result(f"{name}.coverage", 100 * inside, "% held", "all", inside, held)


def _half_ended(cases: Sequence[Case], d: int, size: int, window: int, *, alone: bool = False) -> list[Predicted]:
    rng, seen = random.Random(size), []
    for _ in range(DRAWS):
        pool, past = _drawn(cases, size, rng)
        starts = [rng.uniform(0, window) for _ in pool]
        ends = sorted(began + case.elapsed_ms[-1] for case, began in zip(pool, starts, strict=True))
        now = ends[size // 2 - 1]
        over, going, to_come = [], [], 0
        for case, began in zip(pool, starts, strict=True):
            steps = bisect_right(case.elapsed_ms, now - began) - 1
            if began + case.elapsed_ms[-1] <= now:
                over.append(_progress(case, d))
            elif steps > 0:
                going.append(Progress(steps, case.used[steps][d], case.elapsed_ms[steps], ended=False))
            else:
                to_come += 1
        seen.append(
            _predicted(Pool(over, going, to_come), [] if alone else [_progress(case, d) for case in past], pool, d)
        )
    return seen


def _not_begun(cases: Sequence[Case], d: int, size: int) -> list[Predicted]:
    rng, seen = random.Random(size), []
    for _ in range(DRAWS):
        pool, past = _drawn(cases, size, rng)
        over = [_progress(case, d) for case in pool[: size // 2]]
        seen.append(_predicted(Pool(over, [], size - len(over)), [_progress(case, d) for case in past], pool, d))
    return seen


def _predicted(pool: Pool, past: Sequence[Progress], cases: Sequence[Case], d: int) -> Predicted:
    truth, so_far = sum(case.total[d] for case in cases), sum(run.used for run in (*pool.over, *pool.going))
    rest = pool_rest(pool, past)
    assert rest is not None
    found = pool_total(so_far, [rest])
    hit, doubled = is_hit(found.estimate, truth), is_hit(2 * so_far, truth)
    return Predicted(found.estimate / truth, hit, doubled, found.low <= truth <= found.high)


def _drawn(cases: Sequence[Case], size: int, rng: random.Random) -> tuple[list[Case], list[Case]]:
    drawn = rng.sample(range(len(cases)), size)
    there = set(drawn)
    return [cases[i] for i in drawn], [case for i, case in enumerate(cases) if i not in there]


def _progress(case: Case, d: int) -> Progress:
    return Progress(len(case.steps), case.total[d], case.elapsed_ms[-1])
