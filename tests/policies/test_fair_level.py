"""No account comes to hold more than a level, the highest at which all that is expected to be used fits."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.actors.policies.forecasting.final_usage import BEYOND, Finished
from tallystick.actors.policies.forecasting.survival import Ends
from tallystick.actors.policies.parts import whole
from tallystick.actors.policies.rebalancing.fair_level import FairLevel

TEN = Finished(Ends([10] * 10))


def level(agents: list[tuple[int, int, float, Finished]], free: int) -> float:
    fair = FairLevel()
    for used, own, weight, finished in agents:
        fair.add(used, own, weight, finished)
    return whole(fair.find(free))


def test_where_there_is_enough_for_all_no_account_is_bound() -> None:
    assert level([(0, 10, 1.0, TEN)] * 5, free=0) == inf


def test_alike_agents_that_want_twice_what_there_is_get_half_each() -> None:
    assert level([(0, 5, 1.0, TEN)] * 4, free=0) == pytest.approx(5)


def test_small_runs_are_served_whole_and_the_large_one_gets_what_is_left() -> None:
    large = Finished(Ends([100] * 10))
    assert level([(0, 0, 1.0, TEN)] * 3 + [(0, 0, 1.0, large)], free=70) == pytest.approx(40)


def test_an_agent_is_expected_to_use_what_those_used_who_went_on_as_far() -> None:
    half = Finished(Ends([10] * 5 + [50] * 5))
    # One that has used 20 is one of the large ones: it wants 50. Two such, and 70 in all: 35 each.
    assert level([(20, 20, 1.0, half)] * 2, free=30) == pytest.approx(35)
    # One that has used nothing wants 30 on average: with 70 for two, no account is bound.
    assert level([(0, 0, 1.0, half)] * 2, free=70) == inf


def test_one_that_went_farther_than_any_before_is_expected_to_want_a_quarter_more() -> None:
    assert level([(100, 100, 1.0, TEN)], free=int(100 * BEYOND)) == inf
    assert level([(100, 100, 1.0, TEN)], free=10) == pytest.approx(110)


def test_where_no_run_has_finished_an_agent_is_expected_to_want_what_it_was_given() -> None:
    nobody = Finished(Ends([]))
    assert level([(0, 10, 1.0, nobody)] * 3, free=0) == inf
    assert level([(0, 10, 1.0, nobody)] * 3 + [(40, 40, 1.0, nobody)], free=0) == pytest.approx(40)


def test_weights_raise_and_lower_the_level_of_an_agent() -> None:
    large = Finished(Ends([1_000] * 3))
    assert level([(0, 0, 1.0, large), (0, 0, 0.5, large)], free=150) == pytest.approx(100)


AGENTS = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 400), st.sampled_from([0.25, 0.5, 1.0])), min_size=1, max_size=30
)
RUNS = st.lists(st.integers(0, 500), max_size=20)


@given(AGENTS, RUNS, st.integers(0, 5_000), st.integers(0, 500))
def test_more_to_give_never_lowers_the_level(
    agents: list[tuple[int, int, float]], runs: list[int], free: int, more: int
) -> None:
    finished = Finished(Ends(runs))
    named = [(used, max(used, own), weight, finished) for used, own, weight in agents]
    assert level(named, free) <= level(named, free + more) * (1 + 1e-9)


@given(AGENTS, RUNS, st.integers(0, 5_000))
def test_what_is_expected_under_the_level_fits_into_what_there_is(
    agents: list[tuple[int, int, float]], runs: list[int], free: int
) -> None:
    finished = Finished(Ends(runs))
    named = [(used, max(used, own), weight) for used, own, weight in agents]
    found = level([(*one, finished) for one in named], free)
    there = free + sum(own for _, own, _ in named)

    def wants(used: int, own: int, cap: float) -> float:
        if used >= cap:
            return used
        if not runs:
            return min(cap, max(used * (1 + BEYOND), own))
        longer = [run for run in runs if run > used]
        return sum(min(run, cap) for run in longer) / len(longer) if longer else min(cap, used * (1 + BEYOND))

    # Agents between the same two finished runs are taken together: exact where each stands alone.
    if len({finished.passed(used) for used, _, _ in named}) == len(named):
        expected = sum(wants(used, own, found * weight) for used, own, weight in named)
        assert expected <= there * (1 + 1e-6) + 1e-6
