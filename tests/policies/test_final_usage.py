"""What one run will use in all: from runs that ended, went on, or were cut short."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.actors.policies.forecasting.completion import Lengths, steps_of
from tallystick.actors.policies.forecasting.final_usage import BEYOND, Finished, used_by
from tallystick.actors.policies.forecasting.growth_forecast import AVERAGE_RATE, Course
from tallystick.actors.policies.forecasting.survival import Ends
from tallystick.events.state.history import Run

ONE_A_STEP = Course(1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, AVERAGE_RATE)


def run(steps: int, *, ended: bool = True) -> Run:
    return Run(steps, steps * 10, 0, 0, 0, int(ended))


def lengths_of(over: list[Run], going: Iterable[int] = ()) -> Lengths:
    known = steps_of(over)
    for steps in going:
        known.add(steps)
    return Lengths(known)


def test_half_of_the_runs_that_used_more_used_at_most_the_median_in_all() -> None:
    finished = Finished(Ends([10, 20, 30, 40, 50]))
    assert finished.total(25, 0.5) == 40
    assert finished.total(0, 0.5) == 30
    assert finished.total(50, 0.5) is None


def test_runs_under_way_move_the_median_to_the_longer_ones() -> None:
    assert Finished(Ends([10, 20, 30, 40, 50], cut=[25] * 5)).total(0, 0.5) == 40


def test_where_most_went_on_behind_the_last_end_a_run_uses_a_quarter_more_than_any() -> None:
    assert Finished(Ends([10, 20], cut=[32] * 20)).total(5, 0.5) == 32 * (1 + BEYOND)


def test_runs_by_themselves_and_runs_that_were_cut_short() -> None:
    runs = [run(1), run(2), run(3), run(4, ended=False)]
    known = used_by(runs, 0)
    known.add(25)
    finished = Finished(known)
    assert finished.used == [10, 20, 30]
    assert finished.total(25, 0.5) == pytest.approx(40 * (1 + BEYOND), abs=1)


def test_under_a_cap_larger_runs_count_as_that() -> None:
    finished = Finished(Ends([10, 20, 60]))
    assert finished.expected(0, 30) == pytest.approx((10 + 20 + 30) / 3)
    assert finished.expected(2, 30) == 30
    assert finished.expected(0, 1_000) == pytest.approx(30)


def test_runs_beyond_the_last_end_are_no_reason_to_give_one_up() -> None:
    """Where few have ended, nearly all go on: that they have not ended yet does not say that they will not soon."""
    over = [run(10), run(20)]
    assert lengths_of(over, going=[30] * 20).chance(ONE_A_STEP, 10, 15) == 1
    assert lengths_of(over, going=[30] * 20).chance(ONE_A_STEP, 4, 15) == 0


def test_behind_the_last_end_a_run_is_expected_to_go_beyond_all_that_go_on() -> None:
    assert Finished(Ends([10], cut=[40])).expected(0, 1_000) == pytest.approx((10 + 40 * (1 + BEYOND)) / 2)


amounts = st.lists(st.integers(0, 10**12), min_size=1, max_size=30)


@given(amounts, st.lists(st.integers(0, 10**12), max_size=30), st.integers(0, 10**12))
def test_larger_shares_are_larger_totals_and_all_lie_behind_what_is_used(
    used: list[int], cut: list[int], own: int
) -> None:
    finished = Finished(Ends(used, cut))
    totals = [finished.total(own, share) for share in (0.0, 0.1, 0.5, 0.9, 1.0)]
    known = [total for total in totals if total is not None]
    assert len(known) in (0, 5)
    assert known == sorted(known)
    assert all(total > own for total in known)


def test_the_chance_to_end_within_a_level_is_that_of_runs_as_long() -> None:
    lengths = lengths_of([run(10), run(20), run(30), run(40)])
    assert lengths.chance(ONE_A_STEP, 10, 15) == pytest.approx(1 / 3)
    assert lengths.chance(ONE_A_STEP, 0, 15) == 0
    assert lengths.chance(ONE_A_STEP, 5, 40) == 1


def test_runs_that_still_go_on_lower_the_chance_to_end_early() -> None:
    over = [run(10), run(20), run(30), run(40)]
    assert lengths_of(over, going=[35, 35]).chance(ONE_A_STEP, 15, 15) == pytest.approx(1 / 5 + 1 / 5)
