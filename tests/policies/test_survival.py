"""How far runs go, when only a part of some is known."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.actors.policies.forecasting.survival import GO_ON, Seen, Survival, masses


def ended(*ages: float) -> list[Seen]:
    return [Seen(age, age) for age in ages]


def going(*ages: float) -> list[Seen]:
    return [Seen(age, age, ended=False) for age in ages]


def shares(runs: Sequence[Seen]) -> list[tuple[float, float]]:
    found, _ = masses(runs)
    return [(run.age, mass) for run, mass in found]


def test_runs_that_have_all_ended_stand_for_themselves() -> None:
    assert shares(ended(3, 1, 2)) == [(1, 1), (2, 1), (3, 1)]
    assert masses(ended(3, 1, 2))[1] == 0


def test_one_that_goes_on_is_shared_among_those_that_went_further() -> None:
    """The curve of Kaplan and Meier: 1/4 at 10; then of three at risk one goes on, and two share what is left."""
    assert shares([*ended(10, 30, 40), *going(20)]) == [(10, 1), (30, pytest.approx(1.5)), (40, pytest.approx(1.5))]


def test_what_goes_on_behind_the_last_end_stands_for_itself() -> None:
    found, left = masses([*ended(10), *going(20, 30)])
    assert [mass for _, mass in found] == [1]
    assert left == 2


def test_one_that_was_cut_short_where_another_ended_came_at_least_as_far() -> None:
    assert shares([*ended(10, 20), *going(10)]) == [(10, 1), (20, 2)]


def test_a_run_that_counts_twice_is_two_runs() -> None:
    twice = [Seen(10, 10, weight=2.0), *ended(20)]
    assert shares(twice) == [(10, 2), (20, 1)]


def test_a_run_is_expected_to_use_what_those_used_that_came_as_far() -> None:
    more = Survival(ended(10, 20, 40)).more(15, 15)
    assert more.mean == pytest.approx((20 + 40) / 2 - 15)
    assert more.variance == pytest.approx(100)
    assert more.runs == pytest.approx(2)


def test_runs_that_still_go_on_make_the_others_expected_to_be_longer() -> None:
    short = Survival(ended(10, 12, 14, 50)).more(0, 0).mean
    assert Survival([*ended(10, 12, 14, 50), *going(20, 25, 30)]).more(0, 0).mean > short


def test_one_that_went_further_than_all_that_ended_goes_on_by_a_part_of_what_it_used() -> None:
    more = Survival(ended(10, 20)).more(100, 100)
    assert more.mean == pytest.approx((GO_ON - 1) * 100)
    assert more.runs == 1


def test_where_some_went_on_behind_the_last_end_so_may_this_one() -> None:
    assert Survival([*ended(10, 20), *going(30)]).more(15, 15).mean == pytest.approx((20 + GO_ON * 20) / 2 - 15)


def test_a_scale_on_which_nothing_moved_says_nothing() -> None:
    assert not Survival([Seen(0, 5), Seen(0, 7)]).says_something
    assert not Survival(going(5)).says_something
    assert Survival(ended(5)).says_something


seen = st.builds(Seen, st.integers(0, 50).map(float), st.just(1.0), st.booleans(), st.sampled_from([0.25, 1.0, 3.0]))


@given(st.lists(seen, max_size=40))
def test_every_run_is_counted_once_and_stood_for_by_those_that_ended(runs: list[Seen]) -> None:
    found, left = masses(runs)
    assert left >= 0
    assert all(mass > 0 for _, mass in found)
    assert sum(mass for _, mass in found) + left == pytest.approx(sum(run.weight for run in runs))
