"""An agent's usage goes on as its own steps and its kind's history say together, and a budget ends accordingly."""

import random
from math import isfinite

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tallystick.actors.policies.forecasting.exhaustion import foresee
from tallystick.actors.policies.forecasting.growth_forecast import (
    AVERAGE_RATE,
    LINEAR_GROWTH,
    Course,
    growth_by_dimension,
)
from tallystick.config.amounts import AMOUNT_MAX, COST, DIMENSIONS, TIME, TOKENS
from tallystick.events import catalog as e
from tallystick.events.catalog.forecasts import Outcome
from tallystick.events.state.history import History, Known
from tallystick.events.state.money import Money
from tests.support.past_runs import LABELS, NOTHING, conversation, grown, known

DICE = 7


def course(d: int, steps: list[Money], past: list[list[Money]] | None = None) -> Course:
    found = growth_by_dimension(grown(steps), NOTHING if past is None else known(past))[d]
    assert found is not None
    return found


def level(rate: float, growth: float = 0.0, noise: float = 0.0) -> Course:
    return Course(rate, growth, 0.0, 0.0, 0.0, noise, 0.0, LINEAR_GROWTH)


# --- a course ---------------------------------------------------------------------------------------------------------


def test_even_steps_use_a_budget_up_when_division_says_so() -> None:
    assert level(100.0).steps_until(1_250) == pytest.approx(12.5)


def test_growing_steps_use_it_up_sooner_and_what_they_will_use_agrees() -> None:
    growing = level(100.0, growth=20.0)
    steps = growing.steps_until(5_000)
    assert steps < 50
    assert growing.used_after(steps) == pytest.approx(5_000)


def test_uneven_steps_use_it_up_later_by_half_their_squared_variation() -> None:
    even, uneven = level(100.0), level(100.0, noise=100.0**2)
    assert uneven.steps_until(1e9) - even.steps_until(1e9) == pytest.approx(0.5, rel=1e-3)
    assert uneven.steps_until(10) - even.steps_until(10) < 0.06


def test_what_is_less_well_known_spreads_further() -> None:
    sure, unsure = level(100.0, noise=900.0), replace(level(100.0, noise=900.0), rate_var=400.0)
    assert sure.spread(20) == pytest.approx((20 * 900) ** 0.5 / 100)
    assert unsure.spread(20) > sure.spread(20)


def test_the_early_end_is_where_the_most_that_is_used_reaches_the_budget() -> None:
    uneven = level(500.0, noise=3_000.0**2)
    early = uneven.steps_at_least(29_000, uneven.steps_until(29_000))
    assert uneven.used_at_most(early) == pytest.approx(29_000, rel=0.02)
    assert 20 < early < uneven.steps_until(29_000), "a step may be nine times as large, and forty are not"
    assert level(100.0).steps_at_least(1_250, 12.5) == pytest.approx(12.5, rel=0.01)


# --- recentred by past errors ----------------------------------------------------------------------------------------


def late_by(ratio: float, scores: int) -> Known:
    """A history in which as many forecasts at the third tenth saw 20 steps to come, of which ``ratio`` times came."""
    history = History()
    outcome = Outcome(stage=3, step=10, predicted=30.0, low=25.0, high=35.0, baseline=30.0)
    for _ in range(scores):
        scored = e.ForecastScored(
            agent="ann",
            agent_type=LABELS[0],
            model=LABELS[1],
            dimension="tokens",
            actual=10 + 20 * ratio,
            forecasts=[outcome],
        )
        history.fold(scored)
    return history.known(*LABELS)


def test_a_forecast_moves_to_the_middle_of_what_became_of_earlier_ones_and_says_where_it_was() -> None:
    found = foresee(level(100.0), late_by(1.1, 40), TOKENS, own=300, mark=1_000, steps=3)
    assert found.predicted == pytest.approx(3 + 7 * 1.1, rel=0.01)
    assert found.prediction().raw == pytest.approx(3 + 7, rel=0.01)
    assert found.low <= found.predicted <= found.high


@pytest.mark.parametrize(("ratio", "scores"), [(1.0, 40), (1.1, 10)])
def test_it_stays_where_they_came_true_or_are_too_few(ratio: float, scores: int) -> None:
    found = foresee(level(100.0), late_by(ratio, scores), TOKENS, own=300, mark=1_000, steps=3)
    assert found.predicted == pytest.approx(10, rel=0.01)
    assert found.prediction().raw is None


# --- without history --------------------------------------------------------------------------------------------------


def test_a_context_that_grows_is_seen_without_any_history() -> None:
    found = course(TOKENS, [(1_000 + 100 * i, 0, 0) for i in range(10)])
    assert found.method == LINEAR_GROWTH
    assert found.rate == pytest.approx(1_900)
    assert found.growth == pytest.approx(100)


def test_steps_that_do_not_accumulate_go_on_at_the_average_rate() -> None:
    found = course(TOKENS, [(500, 0, 0), (1_500, 0, 0)] * 5)
    assert found.method == AVERAGE_RATE
    assert found.rate == 1_000
    assert found.growth == 0


@pytest.mark.parametrize("d", [TIME, COST])
def test_time_and_cost_go_on_at_the_average_rate(d: int) -> None:
    found = course(d, [(0, 10 * i, 10 * i) for i in range(1, 10)])
    assert found.method == AVERAGE_RATE
    assert found.rate == 50


def test_a_context_that_shrinks_is_not_expected_to_vanish() -> None:
    found = course(TOKENS, [(9_000 - 500 * i, 0, 0) for i in range(10)])
    assert (found.rate, found.growth) == (4_500, 0)


def test_a_price_that_falls_with_tokens_is_not_expected_to_go_on_falling() -> None:
    past = [[(1_000 + 500 * i, 0, 9_000 - 400 * i) for i in range(12)]] * 5
    found = course(COST, [(1_000 + 500 * i, 0, 9_000 - 400 * i) for i in range(6)], past)
    assert found.rate > 0
    assert found.growth == 0


def test_one_step_is_taken_for_all() -> None:
    found = course(TOKENS, [(700, 0, 0)])
    assert found.rate == 700
    assert found.spread(10) > 0


def test_two_steps_that_are_alike_make_no_forecast_sure() -> None:
    found = course(COST, [(0, 0, 1_000), (0, 0, 1_010)])
    assert found.spread(20) > 5
    assert course(COST, [(0, 0, 1_000), (0, 0, 1_010)] * 50).spread(20) < 2


def test_a_slope_that_the_average_rate_leaves_out_widens_its_interval() -> None:
    level, rising = [(0, 0, 1_000)] * 20, [(0, 0, 500 + 50 * i) for i in range(20)]
    assert course(COST, rising).method == course(COST, level).method == AVERAGE_RATE
    assert course(COST, rising).spread(20) > 2 * course(COST, level).spread(20)


def test_nothing_is_forecast_of_what_is_not_used() -> None:
    assert growth_by_dimension(grown([(500, 0, 0)] * 5), NOTHING)[1:] == (None, None)
    assert growth_by_dimension(grown([]), NOTHING) == (None, None, None)


# --- with history -----------------------------------------------------------------------------------------------------


def test_history_tells_what_two_steps_cannot() -> None:
    dice = random.Random(DICE)
    past = [conversation(dice, 30) for _ in range(60)]
    found = course(TOKENS, [(3_000, 5, 5), (3_010, 5, 5)], past)
    assert found.growth == pytest.approx(600, rel=0.15)


def test_an_agent_of_many_steps_outweighs_history() -> None:
    dice = random.Random(DICE)
    past = [conversation(dice, 30) for _ in range(60)]
    found = course(TOKENS, [(3_000 + 1_200 * i, 5, 5) for i in range(400)], past)
    assert found.growth == pytest.approx(1_200, rel=0.15)


def test_tokens_that_accumulate_go_on_from_the_last_step() -> None:
    dice = random.Random(DICE)
    past = [conversation(dice, 30) for _ in range(60)]
    assert course(TOKENS, [*conversation(dice, 20), (50_000, 1, 1)], past).rate == 50_000


def test_tokens_that_scatter_about_a_line_do_not() -> None:
    dice = random.Random(DICE)
    past = [[(dice.randrange(500, 1_500), 5, 5) for _ in range(20)] for _ in range(40)]
    found = course(TOKENS, [(1_000, 5, 5)] * 10 + [(5_000, 5, 5)], past)
    assert found.rate < 2_500


def test_cost_follows_the_tokens_that_are_to_come() -> None:
    dice = random.Random(DICE)
    past = [conversation(dice, 30) for _ in range(60)]
    found = course(COST, conversation(dice, 15), past)
    assert found.growth == pytest.approx(600 * 600, rel=0.4)
    assert found.walk > 0, "what is unsure of the tokens is unsure of their cost"


def test_a_first_step_that_writes_a_cache_says_nothing_of_what_later_ones_cost() -> None:
    """From the fourth step on a token costs 600; the first three, with as many tokens, cost fifty times as much."""
    dice = random.Random(DICE)

    def writing(count: int) -> list[Money]:
        runs = conversation(dice, count)
        return [(step[0], step[1], step[2] * (50 if i < 3 else 1)) for i, step in enumerate(runs)]

    past, own = [writing(30) for _ in range(60)], writing(15)
    found, tokens = course(COST, own, past), course(TOKENS, own, past)
    assert found.rate == pytest.approx(600 * tokens.rate, rel=0.4)
    assert found.growth == pytest.approx(600 * 600, rel=0.4)


def test_first_steps_that_are_like_the_others_are_not_left_out() -> None:
    dice = random.Random(DICE)
    past = known([conversation(dice, 30) for _ in range(60)])
    steps = conversation(dice, 15)
    dearer = [(step[0], step[1], step[2] * (10 if i < 3 else 1)) for i, step in enumerate(steps)]
    plain, other = (growth_by_dimension(grown(own), past)[COST] for own in (steps, dearer))
    assert plain is not None
    assert other is not None
    assert other.rate > 1.01 * plain.rate


def test_history_of_a_dimension_that_an_agent_does_not_use_is_not_believed_for_long() -> None:
    past = [[(100, 100, 100)] * 10] * 5
    assert growth_by_dimension(grown([(100, 0, 100)] * 3), known(past))[TIME] is None


# --- whatever happens -------------------------------------------------------------------------------------------------

amounts = st.one_of(st.integers(0, 20), st.integers(0, 10**6), st.integers(0, AMOUNT_MAX))
steps_of = st.lists(st.tuples(amounts, amounts, amounts), min_size=1, max_size=12)
pasts = st.lists(steps_of, max_size=6)
marks = st.integers(1, AMOUNT_MAX)


@given(pasts, steps_of, st.sampled_from(DIMENSIONS), st.lists(marks, min_size=2, max_size=5))
def test_a_forecast_is_finite_ordered_and_more_budget_never_ends_earlier(
    past: list[list[Money]], steps: list[Money], d: int, sizes: list[int]
) -> None:
    kind = known(past)
    found = growth_by_dimension(grown(steps), kind)[d]
    own = sum(step[d] for step in steps)
    if found is None:
        return
    assert found.rate > 0
    assert found.growth >= 0
    before = 0.0
    for mark in sorted(own + size for size in sizes):
        seen = foresee(found, kind, d, own, mark, len(steps))
        figures = (seen.predicted, seen.low, seen.high, seen.baseline)
        assert all(isfinite(figure) for figure in figures)
        assert len(steps) <= seen.low <= seen.predicted <= seen.high
        assert seen.baseline >= len(steps)
        assert seen.predicted >= before * (1 - 1e-12)
        before = seen.predicted


@given(pasts, steps_of)
def test_the_same_past_and_steps_make_the_same_forecast(past: list[list[Money]], steps: list[Money]) -> None:
    assert growth_by_dimension(grown(steps), known(past)) == growth_by_dimension(grown(steps), known(past))
