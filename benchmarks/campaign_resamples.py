"""The campaign on resamples of the real runs: whether what one sample of runs shows is more than chance.

Each resample draws as many runs as there are, with replacement, and gives each the moment at which it began (Efron:
Bootstrap Methods, Annals of Statistics 7, 1979). The plan, the same plan with a level that knows the true sum, and the
plan with the average rate, play the same resamples in the model (`campaign_model`); the first few also play in the
whole fleet, which says how many stops were predicted. The constants of the plan are the same in all.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from statistics import fmean

import msgspec

from benchmarks import data
from benchmarks.campaign import GOAL_OF_KNOWN, GOAL_WARNED, TRACE, AverageForecaster, normal, opened, play
from benchmarks.campaign_levels import Boundless, knowing, totals_of
from benchmarks.campaign_model import Campaign
from benchmarks.result import Result
from tallystick.actors.policies.forecasting.forecaster import Forecaster
from tallystick.actors.policies.rebalancing.survey import Surveyor
from tallystick.demo.trace import read_trace
from tallystick.demo.workload import Workload
from tallystick.events.log.store_memory import MemoryStore

RESAMPLES, IN_FLEET = 20, 4


def resampled(workload: Workload, seed: int) -> Workload:
    """As many runs, drawn with replacement; each under a name of its own."""
    dice, runs = random.Random(seed), []
    for number in range(len(workload.runs)):
        run = dice.choice(workload.runs)
        runs.append(msgspec.structs.replace(run, id=f"{run.id}.{number}"))
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
    samples = [resampled(workload, seed) for seed in range(RESAMPLES)]
    known = [finished(one, knowing(totals_of(one))) for one in samples]
    for name, played, goal in (
        ("finished", [finished(one) for one in samples], (">=", GOAL_OF_KNOWN)),
        ("average_rate", [finished(one, forecaster=AverageForecaster) for one in samples], None),
        ("no_level", [finished(one, Boundless) for one in samples], None),
    ):
        low, high = _interval([ours / best for ours, best in zip(played, known, strict=True)])
        against = f"a level that knows the true sum: {fmean(known):.1f}; resamples {low:.3f} to {high:.3f}"
        yield Result(f"campaign.resampled.{name}", fmean(played), "runs", against, sum(played) / sum(known), goal)
    whole = [play(one) for one in samples[:IN_FLEET]]
    warned, stops = sum(one.warned for one in whole), sum(one.stops for one in whole)
    against = f"{stops} stops of {IN_FLEET} resamples"
    yield Result("campaign.resampled.warned", warned, "of stops", against, warned / max(1, stops), (">=", GOAL_WARNED))


def _interval(ratios: Sequence[float]) -> tuple[float, float]:
    """Between which ratios nine in ten of the resamples lie."""
    ordered, out = sorted(ratios), len(ratios) // 20
    return ordered[out], ordered[len(ordered) - 1 - out]
