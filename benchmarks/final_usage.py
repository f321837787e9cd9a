"""What one run will have used in the end."""

from collections.abc import Iterator, Sequence
from statistics import fmean

from benchmarks.cases import Case, folds, known
from benchmarks.result import Result
from tallystick.actors.policies.forecasting.exhaustion import total
from tallystick.actors.policies.forecasting.final_usage import Finished, used_by
from tallystick.events.state.history import History, is_hit

ASKED_AFTER = (5, 10, 20, 30, 40)


def single(cases: Sequence[Case], d: int, name: str) -> Iterator[Result]:
    """The final total of one run, asked after so many steps of those that are still under way."""
    hits, average, inside = [], [], []
    for past, present in folds(cases):
        history = History()
        for case in past:
            history.fold(case.lesson)
        finished = Finished(used_by(known(history).runs(), d))
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
