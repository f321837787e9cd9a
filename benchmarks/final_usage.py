"""What runs will have used in the end: one run alone, and many together."""

import random
from collections.abc import Iterator, Sequence
from statistics import fmean

from benchmarks.cases import Case, folds, known, share
from benchmarks.result import Result
from tallystick.actors.policies.forecasting.exhaustion import total
from tallystick.actors.policies.forecasting.final_usage import finished_of
from tallystick.actors.policies.forecasting.intervals import shrunk
from tallystick.actors.policies.forecasting.pools import RATIO_RUNS, Pool, pool_total
from tallystick.events.state.history import History, is_hit

POOLS, DRAWS, GOAL = (50, 100), 1_000, 0.87
ASKED_AFTER = (5, 10, 20, 30, 40)


def single(cases: Sequence[Case], d: int, name: str) -> Iterator[Result]:
    """The final total of one run, asked after so many steps of those that are still under way."""
    hits, average, inside = [], [], []
    for past, present in folds(cases):
        history = History()
        for case in past:
            history.fold(case.lesson)
        finished = finished_of(tuple(known(history).runs()), d)
        for case in present:
            for step in ASKED_AFTER:
                seen = total(finished, case.used[step][d]) if step < len(case.steps) else None
                if seen is not None:
                    median, low, high = seen
                    hits.append(is_hit(median, case.total[d]))
                    # The average rate knows no end; what the average run of history used is the simplest guess.
                    average.append(is_hit(max(fmean(finished.used), case.used[step][d]), case.total[d]))
                    inside.append(low <= case.total[d] <= high)
    yield Result(
        f"{name}.total", 100 * fmean(hits), "% hits", f"all; history's mean {100 * fmean(average):.1f} %", fmean(hits)
    )
    yield Result(f"{name}.total.coverage", 100 * fmean(inside), "% held", "all", fmean(inside))


def pools(cases: Sequence[Case], d: int, name: str) -> Iterator[Result]:
    """Runs drawn at random, forecast from those that were not drawn.

    Half through: each run has made half of its steps, and what runs had used by then is known of history. Half ended:
    half of the runs are over, the others have not begun; nothing is known of them.
    """
    for size in POOLS:
        rng = random.Random(size)
        through, ended, doubled, scaled = [], [], [], []
        for _ in range(DRAWS):
            drawn = rng.sample(range(len(cases)), size)
            there = set(drawn)
            pool, past = [cases[i] for i in drawn], [case for i, case in enumerate(cases) if i not in there]
            truth, totals = sum(case.total[d] for case in pool), [float(case.total[d]) for case in past]
            so_far, usual = sum(_half(case, d) for case in pool), fmean(_half(case, d) for case in past)
            rest = size * (fmean(totals) - usual) * shrunk(so_far, size * usual, size / (size + RATIO_RUNS))
            through.append(is_hit(so_far + rest, truth))
            doubled.append(is_hit(2 * so_far, truth))
            over = sum(case.total[d] for case in pool[: size // 2])
            seen = pool_total(Pool(size // 2, over, (), size - size // 2), totals)
            ended.append(seen is not None and is_hit(seen.estimate, truth))
            scaled.append(is_hit(2 * over, truth))
        yield share(f"{name}.pool_{size}.half_through", fmean(through), fmean(doubled), (">=", GOAL))
        yield share(f"{name}.pool_{size}.half_ended", fmean(ended), fmean(scaled), (">=", GOAL))


def _half(case: Case, d: int) -> int:
    return case.used[len(case.steps) // 2][d]
