"""Many runs together: history's mean, corrected by what the finished ones say as far as they can be believed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.actors.policies.forecasting.intervals import shrunk
from tallystick.actors.policies.forecasting.pools import RATIO_RUNS, Pool, pool_total

PAST = [80.0, 90.0, 100.0, 110.0, 120.0] * 20
"""A hundred runs that used 100 on average."""


def total(*, finished: int = 0, used: float = 0, running: tuple[float, ...] = (), to_come: int = 0) -> float:
    found = pool_total(Pool(finished, used, running, to_come), PAST)
    assert found is not None
    return found.estimate


def test_a_pool_that_has_not_begun_will_use_what_such_runs_used() -> None:
    assert total(to_come=50) == 5_000


def test_what_is_finished_is_certain() -> None:
    found = pool_total(Pool(10, 777.0, (), 0), PAST)
    assert found is not None
    assert found == (777, 777, 777)


def test_a_pool_that_uses_more_than_history_is_believed_by_the_number_of_its_finished_runs() -> None:
    assert total(finished=RATIO_RUNS, used=RATIO_RUNS * 200, to_come=10) == RATIO_RUNS * 200 + 10 * 150
    assert total(finished=1, used=200, to_come=10) < 200 + 10 * 105


def test_an_open_run_is_like_those_that_came_as_far() -> None:
    assert total(running=(95.0,)) == pytest.approx((100 + 110 + 120) / 3)


def test_a_run_beyond_all_others_is_expected_to_use_a_quarter_more() -> None:
    assert total(running=(400.0,)) == 500


def test_without_history_there_is_no_estimate() -> None:
    assert pool_total(Pool(5, 500, (), 5), [100.0, 100.0]) is None


def test_more_runs_are_forecast_with_a_smaller_share_of_uncertainty() -> None:
    few, many = pool_total(Pool(0, 0, (), 10), PAST), pool_total(Pool(0, 0, (), 1_000), PAST)
    assert few is not None
    assert many is not None
    assert (many.high - many.low) / many.estimate < (few.high - few.low) / few.estimate


def test_a_ratio_to_nothing_is_one() -> None:
    assert shrunk(5, 0, 1) == 1


used = st.integers(0, 10**19).map(float)


@given(st.integers(0, 10**6), used, st.lists(used, max_size=20), st.integers(0, 10**6), st.lists(used, max_size=20))
def test_whatever_came_the_interval_holds_the_estimate_and_nothing_used_is_forgotten(
    finished: int, finished_used: float, running: list[float], to_come: int, past: list[float]
) -> None:
    found = pool_total(Pool(finished, finished_used, running, to_come), past)
    if found is not None:
        assert 0 <= found.low <= found.estimate <= found.high < 1e60
        assert found.low >= (finished_used + sum(running)) * (1 - 1e-12)
