"""A day ends as days do at that hour, corrected by today as far as it has come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.actors.policies.forecasting.days import DAYS_MAX, day_total

EVEN = [10.0] * 24
MORNING = [20.0] * 12 + [0.0] * 12
"""A day that is over at noon."""


def test_without_a_past_day_there_is_no_estimate() -> None:
    assert day_total([], EVEN[:5], 5) is None


def test_a_day_like_all_others_ends_like_all_others() -> None:
    found = day_total([EVEN] * 5, EVEN[:6], 6)
    assert found is not None
    assert found.estimate == pytest.approx(240)
    assert found.low == pytest.approx(240)
    assert found.high == pytest.approx(240)


def test_a_day_that_is_usually_over_at_noon_is_not_doubled_at_noon() -> None:
    found = day_total([MORNING] * 5, MORNING[:12], 12)
    assert found is not None
    assert found.estimate == pytest.approx(240)


def test_a_busy_day_is_believed_as_far_as_it_has_come() -> None:
    early = day_total([EVEN] * 5, [20.0] * 3, 3)
    late = day_total([EVEN] * 5, [20.0] * 21, 21)
    assert early is not None
    assert late is not None
    assert early.estimate == pytest.approx(60 + 210 * 1.125)
    assert late.estimate == pytest.approx(420 + 30 * 1.875)


def test_the_hour_in_progress_counts_in_part() -> None:
    found = day_total([EVEN] * 5, [10.0, 10.0, 5.0], 2.5)
    assert found is not None
    assert found.estimate == pytest.approx(240)


def test_newer_days_weigh_more() -> None:
    found = day_total([[0.0] * 24] * 3 + [EVEN] * 3, [], 0)
    assert found is not None
    assert 240 * 0.6 < found.estimate < 240


def test_days_that_went_differently_from_this_hour_on_widen_the_interval() -> None:
    steady = day_total([EVEN] * 14, EVEN[:12], 12)
    moody = day_total([EVEN, [10.0] * 12 + [30.0] * 12] * 7, EVEN[:12], 12)
    assert steady is not None
    assert moody is not None
    assert moody.high - moody.low > 100 > steady.high - steady.low


def test_with_few_days_to_look_back_on_the_interval_says_so() -> None:
    found = day_total([EVEN] * 2, EVEN[:12], 12)
    assert found is not None
    assert (found.low, found.high) == (pytest.approx(120), pytest.approx(360))


def test_a_day_that_is_over_is_no_longer_forecast() -> None:
    assert day_total([EVEN] * 5, EVEN, 24) is None


hours = st.lists(st.floats(0, 1e15), min_size=24, max_size=24)


@given(st.lists(hours, min_size=1, max_size=DAYS_MAX + 2), hours, st.floats(0, 23.99))
def test_whatever_the_days_were_the_interval_holds_the_estimate(
    past: list[list[float]], today: list[float], passed: float
) -> None:
    so_far = [*today[: int(passed)], today[int(passed)] * (passed - int(passed))]
    found = day_total(past, so_far, passed)
    assert found is not None
    assert sum(so_far) * (1 - 1e-9) <= found.low <= found.estimate <= found.high


def test_an_interval_that_rests_on_few_days_is_wider_than_the_errors_of_those_days() -> None:
    """Half of the days ended a tenth higher from noon on, the others a tenth lower: four or thirteen of them."""
    days = [[10.0] * 12 + [10.0 + sign] * 12 for sign in (-1.0, 1.0)] * 7
    few, many = day_total(days[:5], EVEN[:12], 12), day_total(days, EVEN[:12], 12)
    assert few is not None
    assert many is not None
    assert few.high - few.low > many.high - many.low
