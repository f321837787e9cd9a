"""Forecasts are as good as they are said to be: on generated conversations always, on real runs where they lie here."""

import random
from collections.abc import Sequence
from statistics import fmean

import pytest

from benchmarks import first_steps
from benchmarks.cases import Case, case_of
from benchmarks.data import found
from benchmarks.forecasts import AGENTS, Past, forecast
from tallystick.config.amounts import COST, TOKENS
from tallystick.demo.trace import read_trace
from tallystick.events.state.history import is_hit
from tests.support.past_runs import conversation


def judged(learnt: Sequence[Case], present: Sequence[Case], d: int) -> tuple[float, float, float]:
    """Shares of hits, of hits of the average rate, and of intervals that held the truth."""
    past, rows = Past(learnt, d), []
    for case in present:
        for point in case.tasks[d].points:
            seen = forecast(case, d, point, past.history)
            if seen is not None:
                truth = case.tasks[d].actual
                rows.append(
                    (is_hit(seen.predicted, truth), is_hit(seen.baseline, truth), seen.low <= truth <= seen.high)
                )
    hits, average, inside = (fmean(column) for column in zip(*rows, strict=True))
    return hits, average, inside


def generated(count: int) -> list[Case]:
    dice = random.Random(5)
    return [Case(conversation(dice, dice.randrange(15, 60)), [0] * 60) for _ in range(count)]


@pytest.mark.parametrize(("d", "least"), [(TOKENS, 0.9), (COST, 0.85)])
def test_budgets_of_conversations_are_forecast_where_the_average_rate_fails(d: int, least: float) -> None:
    cases = generated(90)
    hits, average, inside = judged(cases[:60], cases[60:], d)
    assert hits >= least
    assert average < 0.4
    assert 0.7 <= inside <= 0.92


@pytest.mark.parametrize(("kind", "least"), [("writes", 0.7), ("warms", 0.7), ("plain", 0.9)])
def test_costs_are_forecast_whatever_the_first_steps_cost(kind: str, least: float) -> None:
    cases = first_steps.generated(kind)
    hits, average, inside = judged(cases[:100], cases[100:], COST)
    assert hits >= least
    assert average < hits - 0.1
    assert 0.7 <= inside <= 0.95


def test_real_runs_are_forecast_as_well_as_the_documentation_says() -> None:
    file = found(AGENTS)
    if file is None:
        pytest.skip(f"there is no {AGENTS} in shared/data beside the checkout")
    cases = [case_of(run) for run in read_trace(file).runs]
    tokens, average, inside = judged(cases[:200], cases[200:], TOKENS)
    assert tokens >= 0.92
    assert average < 0.3
    assert 0.75 <= inside <= 0.90
    cost, average, _ = judged(cases[:200], cases[200:], COST)
    assert cost >= 0.64
    assert cost > average + 0.1
