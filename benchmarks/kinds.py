"""Forecasts of kinds that were never seen: how honest they are from a kind's first run on.

Protocol: the kinds are the repositories of the real agent runs (one model), days of real clients by model, real
services whose requests are taken 40 at a time, and made-up ones of other shapes and prices. Each kind is left out
once: history learns up to 25 runs of each of the others, in random order, as it would in production (forecast,
scored, learnt), or those of one other kind alone; and of repositories, those of other repositories. Then the runs of
the new kind come, one after the other. The budget is 0.8 of a run's own usage; at each tenth of it the step is
forecast at which it will be used up, from the second step on.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from statistics import fmean, median
from typing import NamedTuple

import msgspec

from benchmarks.cases import STEPS_MIN, Case, case_of, scored, services
from benchmarks.data import found
from benchmarks.days import CLIENTS, clients
from benchmarks.made_kinds import made_kinds
from benchmarks.result import Result
from tallystick.actors.policies.forecasting.exhaustion import Exhaustion, foresee
from tallystick.actors.policies.forecasting.forecaster import STEPS_MIN as STEPS_SEEN
from tallystick.actors.policies.forecasting.growth_forecast import growth_by_dimension
from tallystick.config.amounts import DIMENSIONS, EDGE_NAMES
from tallystick.demo.trace import read_trace
from tallystick.demo.workload import Run
from tallystick.events.catalog.forecasts import Outcome
from tallystick.events.state.growth import Growth
from tallystick.events.state.history import History, Kind, is_hit

AGENTS = "agents-swebench-gemini3-public.csv.gz"
REQUESTS = ("requests-azure2023.csv.gz", "requests-mooncake-conversation.csv.gz")
MODEL = "gemini"
RUNS_MIN, RUNS_MAX, PAST_RUNS, ORDERS = 8, 60, 25, 3
STAGES = {"runs_1_to_3": range(3), "runs_4_to_10": range(3, 10), "runs_11_to_20": range(10, 20)}
"""Before a kind has a prior, while it has few scores, and up to its first measured confidence."""
FIRST = 20
NEIGHBOURS = (1, 7, 13)
"""Which kinds are the only ones known, counted from the new one on."""

Kinds = dict[Kind, list[Case]]


class Seen(NamedTuple):
    """One forecast of the ``run``-th run of a new kind and the truth; ``width`` is a share of the truth."""

    kind: Kind
    dimension: int
    run: int
    inside: bool
    hit: bool
    baseline_hit: bool
    confidence: float | None
    width: float


def kinds(say: Callable[[str], None]) -> Kinds:
    """Runs by kind, in random order; ``say`` is called where data is absent."""
    by_kind: Kinds = {}
    for name in (AGENTS, *REQUESTS, CLIENTS):
        file = found(name)
        if file is None:
            say(f"kinds of runs from {name} are left out: it is not in shared/data beside the checkout")
        elif name == CLIENTS:
            for (model, _), days in clients(file).items():
                by_kind.setdefault(("client", model), []).extend(_day(day) for day in days if sum(day))
        elif name == AGENTS:
            for run in read_trace(file).runs:
                by_kind.setdefault((run.product, MODEL), []).append(case_of(run))
        else:
            by_service: dict[Kind, list[Run]] = {}
            for request in read_trace(file).runs:
                by_service.setdefault((request.agent_type, None), []).append(request)
            by_kind |= {kind: services(requests) for kind, requests in by_service.items()}
    by_kind |= {(name, f"{name}-model"): cases for name, cases in made_kinds().items()}
    found_kinds = {}
    for kind, cases in by_kind.items():
        long = [case for case in cases if len(case.steps) >= STEPS_MIN]
        random.Random(7).shuffle(long)
        if len(long) >= RUNS_MIN:
            found_kinds[kind] = long[:RUNS_MAX]
    return found_kinds


def _day(hours: Sequence[float]) -> Case:
    hour_ms = 3_600_000
    return Case([(int(tokens), 0, 0) for tokens in hours], [hour_ms * (n + 1) for n in range(len(hours))])


def played(history: History, kind: Kind, case: Case, number: int = 0) -> Iterator[Seen]:
    """Forecasts of one run, which is then learnt from."""
    known, scores = history.known(*kind), []
    for d, task in case.tasks.items():
        outcomes = []
        for point in task.points:
            course = None
            if point.step >= STEPS_SEEN and point.used < task.mark:
                course = growth_by_dimension(Growth.read(case.grown[point.step]), known)[d]
            if course is not None:
                one = foresee(course, known, d, point.used, task.mark, point.step)
                outcomes.append(Outcome.of(one.prediction()))
                yield _seen(kind, number, one, task.actual)
        scores.append(scored(kind, d, task.actual, outcomes))
    for event in scores:
        history.fold(event)
    history.fold(msgspec.structs.replace(case.lesson, agent_type=kind[0], model=kind[1]))


def _seen(kind: Kind, number: int, one: Exhaustion, actual: float) -> Seen:
    inside, width = one.low <= actual <= one.high, (one.high - one.low) / actual
    hits = is_hit(one.predicted, actual), is_hit(one.baseline, actual)
    return Seen(kind, one.dimension, number, inside, *hits, one.confidence, width)


def left_out(all_kinds: Kinds, new: Kind, known: Sequence[Kind], seed: int) -> Iterator[Seen]:
    """Forecasts of a kind by a history that learnt from ``known`` ones alone."""
    rng, history = random.Random(seed), History()
    past = [(kind, case) for kind in known for case in rng.sample(all_kinds[kind], len(all_kinds[kind]))[:PAST_RUNS]]
    rng.shuffle(past)
    for kind, case in past:
        for _ in played(history, kind, case):
            pass
    runs = rng.sample(all_kinds[new], len(all_kinds[new]))
    for number, case in enumerate(runs):
        yield from played(history, new, case, number)


def _scenarios(all_kinds: Kinds) -> Iterator[tuple[str, list[Seen]]]:
    names = list(all_kinds)
    alike = [kind for kind in names if kind[1] == MODEL]
    repositories = [
        left_out(all_kinds, new, [kind for kind in alike if kind != new], seed)
        for new in alike
        for seed in range(ORDERS)
    ]
    if alike:
        yield "of_repositories", list(chain.from_iterable(repositories))
    others, single = [], []
    for i, new in enumerate(names):
        rest = [kind for kind in names if kind != new]
        for seed in range(ORDERS):
            others += left_out(all_kinds, new, rest, seed)
        for seed, step in enumerate(NEIGHBOURS):
            single += left_out(all_kinds, new, [names[(i + step) % len(names)]], seed)
    yield "of_all_others", others
    yield "of_one_other", single


def _figures(name: str, seen: Sequence[Seen]) -> Iterator[Result]:
    first = [s for s in seen if s.run < FIRST]
    for stage, runs in {**STAGES, "runs_1_to_20": range(FIRST)}.items():
        inside = fmean(s.inside for s in first if s.run in runs)
        yield Result(f"{name}.coverage.{stage}", 100 * inside, "% held", "all", inside, ("in", 0.75, 0.90))
    by_kind: dict[Kind, list[bool]] = {}
    for s in first:
        by_kind.setdefault(s.kind, []).append(s.inside)
    within = fmean(0.70 <= fmean(inside) <= 0.95 for inside in by_kind.values())
    yield Result(f"{name}.coverage.kinds", 100 * within, "% of kinds", "between 70 and 95 % held", within)
    for stage, runs in {"runs_1_to_3": range(3), "runs_1_to_20": range(FIRST)}.items():
        there = [s for s in first if s.run in runs]
        hits, average = fmean(s.hit for s in there), fmean(s.baseline_hit for s in there)
        yield Result(f"{name}.hits.{stage}", 100 * hits, "% hits", f"all; average rate {100 * average:.1f} %", hits)
    yield Result(f"{name}.width", median(s.width for s in first), "of the truth (median)", "", 1.0)
    stated = [(s.confidence, s.hit) for s in seen if s.confidence is not None]
    if stated:
        confidence, hits = fmean(one for one, _ in stated), fmean(hit for _, hit in stated)
        share = 100 * len(stated) / len(seen)
        against = f"{100 * hits:.1f} % were; stated of {share:.0f} % of all runs' forecasts"
        yield Result(f"{name}.confidence", 100 * confidence, "% stated", against, abs(confidence - hits), ("<=", 0.05))


def results(say: Callable[[str], None]) -> Iterator[Result]:
    """All of them; ``say`` is called where data is absent."""
    for scenario, seen in _scenarios(kinds(say)):
        for d in DIMENSIONS:
            of_it = [s for s in seen if s.dimension == d]
            yield from _figures(f"forecast.kinds.{scenario}.{EDGE_NAMES[d]}", of_it)
