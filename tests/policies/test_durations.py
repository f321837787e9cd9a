"""Steps become seconds by the agent's own pace and history's, and intervals widen by what that leaves open."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.actors.policies.forecasting.durations import PACE_STEPS, in_seconds, pace
from tallystick.actors.policies.forecasting.intervals import Range
from tests.support.past_runs import NOTHING, known

SLOW = known([[(1, 1, 1)] * 10] * 5, elapsed_ms=200_000)
"""History in which a step takes twenty seconds."""


def test_without_history_an_agent_keeps_its_own_pace() -> None:
    assert pace(12_000, 4, NOTHING) == 3


def test_history_counts_as_a_few_steps_of_the_agents_own() -> None:
    assert pace(0, 0, SLOW) == 20
    assert pace(PACE_STEPS * 2_000, PACE_STEPS, SLOW) == 11
    assert pace(2_000_000, 1_000, SLOW) == pytest.approx(2, rel=0.05)


def test_where_no_time_has_passed_and_nothing_is_known_there_is_no_pace() -> None:
    assert pace(0, 5, NOTHING) is None
    assert pace(0, 0, NOTHING) is None


def test_many_steps_take_about_as_long_as_they_say_and_few_may_not() -> None:
    many, few = in_seconds(Range(900, 900, 900), 900, 2.0), in_seconds(Range(1, 1, 1), 900, 2.0)
    assert many.estimate == 1_800
    assert 0.9 < many.low / many.estimate < 1 < many.high / many.estimate < 1.1
    assert few.low / few.estimate < 0.3


def test_an_interval_of_steps_is_at_least_as_wide_in_seconds() -> None:
    seconds = in_seconds(Range(100, 60, 180), 50, 1.0)
    assert seconds.low < 60
    assert seconds.high > 180


def test_what_may_end_at_once_may_end_at_once() -> None:
    assert in_seconds(Range(3, 0, 5), 10, 2.0).low == 0
    assert in_seconds(Range(0, 0, 0), 10, 2.0) == Range(0, 0, 0)


@given(st.floats(0, 1e25), st.floats(0, 1), st.floats(1, 1e6), st.integers(1, 10**7), st.floats(1e-3, 1e6))
def test_an_interval_in_seconds_holds_its_estimate(
    left: float, low: float, high: float, steps: int, seconds: float
) -> None:
    found = in_seconds(Range(left, left * low, left * high), steps, seconds)
    assert 0 <= found.low <= found.estimate <= found.high < 1e60
