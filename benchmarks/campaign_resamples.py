"""The campaign on resamples of the real runs: whether what one sample of runs shows is more than chance.

Each resample draws as many runs as there are, with replacement (Efron: Bootstrap Methods, Annals of Statistics 7,
1979). Half of the resamples keep the moments at which the runs began: those of one repository begin together, so that
the first to end say little of the others. In the other half, the runs begin in random order. The plan, the same plan
with a level that knows the true sum, and the plan without one of its parts, play the same resamples in the model
(`campaign_model`); the first few also play in the whole fleet, which says how many stops were predicted. The constants
of the plan are the same in all.
"""

import random
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from statistics import fmean

import msgspec

from benchmarks import data
from benchmarks.campaign import ENOUGH_FOR, GOAL_OF_KNOWN, GOAL_WARNED, TRACE, AverageForecaster, normal, opened, play
from benchmarks.campaign_levels import Boundless, EndedOnly, Hopeful, Wanted, knowing, totals_of, true_level
from benchmarks.campaign_model import Campaign
from benchmarks.cases import case_of
from benchmarks.result import Result
from tallystick.actors.policies.forecasting.final_usage import Finished
from tallystick.actors.policies.forecasting.forecaster import Forecaster
from tallystick.actors.policies.forecasting.survival import Ends
from tallystick.actors.policies.rebalancing.survey import Surveyor
from tallystick.config.amounts import TOKENS
from tallystick.demo.trace import read_trace
from tallystick.demo.workload import Workload
from tallystick.events.log.store_memory import MemoryStore

RESAMPLES, IN_FLEET = 20, 4
NOT_RESERVED = 0.9
"""Of the total; what agents may use beside the default reserve."""
ORDERS, SHARES_ENDED = 40, (0.06, 0.1, 0.2, 0.4)


def resampled(workload: Workload, seed: int, *, shuffled: bool = False) -> Workload:
    """As many runs, drawn with replacement; each under a name of its own.

    ``shuffled``: each begins when another did.
    """
    dice, runs = random.Random(seed), []
    for number, place in enumerate(workload.runs):
        run = dice.choice(workload.runs)
        starts_ms = place.starts_ms if shuffled else run.starts_ms
        runs.append(msgspec.structs.replace(run, id=f"{run.id}.{number}", starts_ms=starts_ms))
    return msgspec.structs.replace(workload, runs=tuple(runs))


def finished(workload: Workload, surveyor: type[Surveyor] = Surveyor, forecaster: type[Forecaster] = Forecaster) -> int:
    """How many runs finish in the model of a campaign."""
    return Campaign(opened(workload, MemoryStore()), workload.runs, surveyor, forecaster).play().finished


def results(say: Callable[[str], None]) -> Iterator[Result]:
    """Runs finished on resamples, beside a level that knows the true sum; and the share of stops that was predicted."""
    found = data.found(TRACE)
    if found is None:
        say("campaign on resamples: skipped, the public runs are not here")
        return
    workload = normal(read_trace(found))
    kept = [resampled(workload, seed) for seed in range(RESAMPLES)]
    yield from _beside_known("resampled", kept)
    yield from _beside_known("shuffled", [resampled(workload, seed, shuffled=True) for seed in range(RESAMPLES)])
    whole = [play(one) for one in kept[:IN_FLEET]]
    warned, stops = sum(one.warned for one in whole), sum(one.stops for one in whole)
    against = f"{stops} stops of {IN_FLEET} resamples"
    yield Result("campaign.resampled.warned", warned, "of stops", against, warned / max(1, stops), (">=", GOAL_WARNED))
    yield from _sums(workload)


def _beside_known(title: str, samples: Sequence[Workload]) -> Iterator[Result]:
    """Runs finished, in all and without one part of the plan, beside a level that knows the true sum."""
    known = [finished(one, knowing(totals_of(one))) for one in samples]
    for name, surveyor, forecaster, goal in (
        ("finished", Surveyor, Forecaster, (">=", GOAL_OF_KNOWN)),
        ("ended_only", EndedOnly, Forecaster, None),
        ("no_level", Boundless, Forecaster, None),
        ("no_completion", Hopeful, Forecaster, None),
        ("average_rate", Surveyor, AverageForecaster, None),
    ):
        played = [finished(one, surveyor, forecaster) for one in samples]
        low, high = _interval([ours / best for ours, best in zip(played, known, strict=True)])
        against = f"a level that knows the true sum: {fmean(known):.1f}; resamples {low:.3f} to {high:.3f}"
        yield Result(f"campaign.{title}.{name}", fmean(played), "runs", against, sum(played) / sum(known), goal)


def _sums(workload: Workload) -> Iterator[Result]:
    """What is expected of the sum at the true level, when a part of the runs has ended; they begin in random order."""
    totals = totals_of(workload)
    spendable = sum(totals.values()) * ENOUGH_FOR * NOT_RESERVED
    cap = true_level([Wanted(0, total, 1.0) for total in totals.values()], spendable)
    true = fmean(min(total, cap) for total in totals.values())
    for ended in SHARES_ENDED:
        looks = [_look(workload, seed, ended) for seed in range(ORDERS)]
        expected = [Finished(Ends(over, going)).expected(0, cap) / true for over, going in looks]
        only = fmean(Finished(Ends(over)).expected(0, cap) / true for over, _ in looks)
        name, value = f"campaign.sum.{ended:.0%}_ended", fmean(expected)
        yield Result(name, value, "of the true mean", f"by the ended runs alone {only:.3f}", value, ("in", 0.97, 1.03))


def _look(workload: Workload, seed: int, ended: float) -> tuple[list[int], list[int]]:
    """When a share of the runs has ended: what those used in all, and what those have used that go on."""
    dice = random.Random(seed)
    starts = [run.starts_ms for run in workload.runs]
    dice.shuffle(starts)
    cases = [case_of(run) for run in dice.choices(workload.runs, k=len(starts))]
    ends = sorted(start + case.elapsed_ms[-1] for start, case in zip(starts, cases, strict=True))
    now = ends[int(ended * len(ends))]
    over, going = [], []
    for start, case in zip(starts, cases, strict=True):
        steps = bisect_right(case.elapsed_ms, now - start) - 1
        if steps == len(case.steps):
            over.append(case.total[TOKENS])
        elif steps > 0:
            going.append(case.used[steps][TOKENS])
    return over, going


def _interval(ratios: Sequence[float]) -> tuple[float, float]:
    """Between which ratios nine in ten of the resamples lie."""
    ordered, out = sorted(ratios), len(ratios) // 20
    return ordered[out], ordered[len(ordered) - 1 - out]
