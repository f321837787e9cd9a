"""Many runs together: what they used, and for each open one what such runs used that came as far."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.actors.policies.forecasting.intervals import Range, shrunk
from tallystick.actors.policies.forecasting.pools import (
    HISTORY_RUNS,
    Pool,
    Progress,
    pool_rest,
    pool_total,
    unknown_rest,
)
from tallystick.actors.policies.forecasting.survival import GO_ON


def over(used: float) -> Progress:
    """Ten a step, and a second each."""
    return Progress(used / 10, used, used * 100)


def going(used: float) -> Progress:
    return over(used)._replace(ended=False)


PAST = [over(used) for used in (80.0, 90.0, 100.0, 110.0, 120.0)] * 20
"""A hundred runs that used 100 on average."""


def predicted(pool: Pool, past: list[Progress]) -> Range:
    rest = pool_rest(pool, past)
    assert rest is not None
    return pool_total(sum(run.used for run in (*pool.over, *pool.going)), [rest])


def test_a_pool_that_has_not_begun_will_use_what_such_runs_used() -> None:
    assert predicted(Pool((), (), 50), PAST).estimate == pytest.approx(5_000)


def test_what_has_ended_is_certain() -> None:
    assert predicted(Pool([over(777.0)] * 10, ()), PAST) == (7_770, 7_770, 7_770)


def test_an_open_run_is_like_those_that_went_at_least_a_step_further() -> None:
    assert predicted(Pool((), [going(85.0)]), PAST).estimate == pytest.approx((100 + 110 + 120) / 3, rel=0.01)


def test_a_pools_own_runs_soon_say_as_much_as_all_of_history() -> None:
    """As many runs of its own as history counts at most: what is expected lies half way between both."""
    twice = [over(run.used * 2) for run in (PAST * 2)[:HISTORY_RUNS]]
    many = PAST * 5
    found = predicted(Pool(twice, (), 10), many).estimate - sum(run.used for run in twice)
    assert found == pytest.approx(10 * 150)
    assert predicted(Pool(twice[:1], (), 10), many).estimate < twice[0].used + 10 * 102


def test_open_runs_tell_that_runs_are_longer_than_those_that_have_ended() -> None:
    """Of a pool that began at once, the short runs end first: they alone would say that all are short."""
    ended, open_ones = [over(10.0 * n) for n in range(1, 51)], [going(500.0)] * 50
    found = predicted(Pool(ended, open_ones), [])
    assert found.estimate - sum(run.used for run in ended) >= 50 * 750


def test_runs_that_were_cut_short_say_that_runs_may_be_longer() -> None:
    whole = [over(used) for used in (50.0, 60.0, 70.0, 200.0)]
    cut = [going(used) for used in (65.0, 66.0, 67.0)]
    assert predicted(Pool((), (), 1), whole + cut).estimate > predicted(Pool((), (), 1), whole).estimate


def test_half_of_a_pool_that_began_at_once_has_ended_and_its_sum_is_predicted_without_bias() -> None:
    """Runs of very different lengths; time, steps and use go together, as they do where agents are alike."""
    rng, ratios = random.Random(3), []
    lengths = [rng.lognormvariate(4, 0.8) for _ in range(400)]
    for _ in range(60):
        rng.shuffle(lengths)
        pool, past = lengths[:100], [over(10 * length) for length in lengths[100:]]
        now = sorted(pool)[49]
        ended, open_ones = [over(10 * n) for n in pool if n <= now], [going(10 * now) for n in pool if n > now]
        ratios.append(predicted(Pool(ended, open_ones), past).estimate / (10 * sum(pool)))
    assert sorted(ratios)[30] == pytest.approx(1, abs=0.05)


def test_where_no_time_passed_only_use_tells_how_far_a_run_has_come() -> None:
    at_once = [run._replace(elapsed_ms=0.0) for run in PAST]
    found = predicted(Pool((), [going(85.0)._replace(elapsed_ms=0.0)]), at_once)
    assert found.estimate == pytest.approx((100 + 110 + 120) / 3, rel=0.01)


def test_a_slow_run_is_young_by_its_use_and_old_by_its_time_and_the_mean_of_both_counts() -> None:
    slow = Progress(5, 50.0, 9_500.0, ended=False)
    young, old = 100.0, 120.0
    assert predicted(Pool((), [slow]), PAST).estimate == pytest.approx((young + old) / 2, rel=0.01)


def test_where_both_disagree_the_interval_is_wider_than_either_says() -> None:
    past = [over(100.0)] * 20 + [over(200.0)] * 20
    agreed, slow = going(50.0), Progress(5, 50.0, 15_000.0, ended=False)
    by_use, by_both = pool_rest(Pool((), [agreed] * 100), past), pool_rest(Pool((), [slow] * 100), past)
    assert by_use is not None
    assert by_both is not None
    assert by_both.variance > by_use.variance


def test_that_the_mean_is_not_known_well_does_not_average_out_over_many_runs() -> None:
    few = PAST[:5]
    found = predicted(Pool((), (), 100_000), few)
    assert (found.high - found.estimate) / found.estimate == pytest.approx(1.28 * 0.1414 / 5**0.5, rel=0.02)


def test_too_few_runs_that_ended_say_nothing() -> None:
    assert pool_rest(Pool([over(100.0)], [going(5.0)] * 9), [over(100.0), going(100.0)]) is None
    assert pool_rest(Pool([over(100.0)], [going(5.0)]), [over(100.0)] * 2) is not None


def test_runs_of_a_kind_of_which_nothing_is_known_go_on_by_a_part_of_what_they_used_and_how_far_is_open() -> None:
    found = pool_total(100, [unknown_rest(Pool((), [going(100.0)]))])
    assert found.estimate == pytest.approx(100 * GO_ON)
    assert found.high == pytest.approx(1_000)
    assert found.low == 100


def test_kinds_of_runs_add_up() -> None:
    one, other = pool_rest(Pool((), (), 10), PAST), unknown_rest(Pool((), [going(100.0)]))
    assert one is not None
    both = pool_total(100, [one, other])
    assert both.estimate == pytest.approx(100 + one.mean + other.mean)
    assert both.high - both.estimate == pytest.approx(1.2816 * (one.variance + other.variance) ** 0.5)


def test_more_runs_are_forecast_with_a_smaller_share_of_uncertainty() -> None:
    few, many = predicted(Pool((), (), 10), PAST), predicted(Pool((), (), 1_000), PAST)
    assert (many.high - many.low) / many.estimate < (few.high - few.low) / few.estimate


def test_a_ratio_to_nothing_is_one() -> None:
    assert shrunk(5, 0, 1) == 1


runs = st.builds(Progress, st.integers(0, 10**6), st.integers(0, 10**19).map(float), st.integers(0, 10**12))
some = st.lists(runs, max_size=20)


@given(some, some, st.integers(0, 10**6), some)
def test_whatever_came_the_interval_holds_the_estimate_and_nothing_used_is_forgotten(
    done: list[Progress], under_way: list[Progress], to_come: int, past: list[Progress]
) -> None:
    pool = Pool(done, [run._replace(ended=False) for run in under_way], to_come)
    so_far = sum(run.used for run in (*done, *under_way))
    rest = pool_rest(pool, past)
    found = pool_total(so_far, [unknown_rest(pool) if rest is None else rest])
    assert so_far * (1 - 1e-12) <= found.low <= found.estimate <= found.high < 1e60
