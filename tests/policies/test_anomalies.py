"""What stands out: a step far beyond what was to be expected, and a loop that burns the same again and again."""

import random

from hypothesis import given
from hypothesis import strategies as st

from tallystick.actors.policies.forecasting.anomalies import LOOP_STEPS, STEPS_MIN, Found, Streak, loop, outlier
from tallystick.actors.policies.forecasting.growth_forecast import growth_by_dimension
from tallystick.config.amounts import AMOUNT_MAX
from tallystick.events.state.money import Money
from tests.support.past_runs import NOTHING, conversation, grown, known

VARIED = [(900 + 40 * (i % 5), 1_000 + 100 * (i % 3), 5_000) for i in range(20)]


def what_stands_out(steps: list[Money], used: Money) -> Found | None:
    growth = grown(steps)
    return outlier(growth, growth_by_dimension(growth, NOTHING), used)


def looping(steps: list[Money]) -> list[int]:
    """The steps at which a loop is reported."""
    found, streak = [], Streak()
    for n, used in enumerate(steps, start=1):
        streak = streak.after(used)
        if loop(grown(steps[:n]), streak) is not None:
            found.append(n)
    return found


# --- outliers ---------------------------------------------------------------------------------------------------------


def test_a_step_like_the_others_does_not_stand_out() -> None:
    assert what_stands_out(VARIED, (1_040, 1_150, 5_000)) is None


def test_a_step_of_ten_times_the_tokens_does() -> None:
    found = what_stands_out(VARIED, (9_800, 1_000, 5_000))
    assert found is not None
    assert (found.anomaly, found.dimension, found.step, found.amount) == ("outlier", "tokens", 21, 9_800)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= 980 <= found.high < 9_800
    assert found.message == "9,800 tokens, 10.0 times the 980 that were to be expected"


def test_the_dimension_that_stands_out_most_is_named_in_its_own_words() -> None:
    found = what_stands_out(VARIED, (9_800, 61_000, 5_000))
    assert found is not None
    assert found.dimension == "time_seconds"
    assert found.message.startswith("61 s, 55.")
    found = what_stands_out(VARIED, (1_000, 1_000, 5_000_000))
    assert found is not None
    assert found.message == "$0.005, 1000.0 times the $0.000005 that were to be expected"


def test_where_steps_are_all_alike_a_small_difference_means_nothing() -> None:
    assert what_stands_out([(1_000, 0, 0)] * 50, (1_500, 0, 0)) is None
    assert what_stands_out([(1_000, 0, 0)] * 50, (4_000, 0, 0)) is not None


def test_growth_is_expected_and_no_anomaly() -> None:
    assert what_stands_out([(1_000 * n, 0, 0) for n in range(1, 40)], (41_000, 0, 0)) is None


def test_what_is_usual_for_a_young_agent_is_not_known() -> None:
    assert what_stands_out(VARIED[: STEPS_MIN - 1], (10**6, 0, 0)) is None


def test_history_knows_that_large_steps_happen() -> None:
    dice = random.Random(3)
    wild = [[(dice.choice([900, 1_000, 9_000]), 10, 10) for _ in range(30)] for _ in range(20)]
    growth = grown(VARIED)
    assert outlier(growth, growth_by_dimension(growth, known(wild)), (9_800, 1_000, 5_000)) is None


# --- loops ------------------------------------------------------------------------------------------------------------


def test_the_same_amount_again_and_again_is_a_loop_and_said_once() -> None:
    dice = random.Random(3)
    steps = conversation(dice, 10)
    assert looping([*steps, *[(20_000, 5, 5)] * 30]) == [10 + LOOP_STEPS]


def test_an_agent_whose_steps_are_all_the_same_works_that_way() -> None:
    assert looping([(450, 5, 5)] * 60) == []


def test_a_growing_conversation_is_no_loop() -> None:
    dice = random.Random(3)
    assert looping(conversation(dice, 80)) == []


def test_a_loop_may_vary_by_a_percent_and_one_other_step_ends_it() -> None:
    streak = Streak()
    for tokens in (1_000, 1_005, 995, 1_010):
        streak = streak.after((tokens, 0, 0))
    assert streak == Streak(1_000, 4)
    assert streak.after((1_011, 0, 0)) == Streak(1_011, 1)
    assert streak.after((0, 0, 0)).after((0, 0, 0)).steps == 1, "steps without tokens repeat nothing"


# --- whatever happens -------------------------------------------------------------------------------------------------

amounts = st.integers(0, AMOUNT_MAX)


@given(st.lists(st.tuples(amounts, amounts, amounts), min_size=1, max_size=15), st.tuples(amounts, amounts, amounts))
def test_what_stands_out_lies_beyond_what_was_expected(steps: list[Money], used: Money) -> None:
    found = what_stands_out(steps, used)
    if found is not None:
        assert found.low is not None
        assert found.high is not None
        assert 0 <= found.low <= found.high <= found.amount
