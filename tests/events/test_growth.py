"""An account's growth is kept in a few bytes, however long it runs, and says what its steps say."""

import struct
from statistics import fmean, pvariance

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import astuple

from tallystick.config.amounts import AMOUNT_MAX, COST, DIMENSIONS, TIME, TOKENS
from tallystick.events.state.growth import HEAD, NO_STEPS, Growth, observed, observed_all
from tallystick.events.state.money import Money

STEPS = [(1_000, 5_000, 40_000), (1_700, 2_000, 90_000), (2_100, 9_000, 60_000), (3_300, 1_000, 250_000)]
amounts = st.integers(min_value=0, max_value=AMOUNT_MAX)
steps = st.lists(st.tuples(amounts, amounts, amounts), min_size=1, max_size=40)


def grown(used: list[Money]) -> bytes:
    kept = NO_STEPS
    for step in used:
        kept = observed(kept, step)
    return kept


def covariance(left: list[float], right: list[float]) -> float:
    return fmean((a - fmean(left)) * (b - fmean(right)) for a, b in zip(left, right, strict=True))


def test_before_the_first_report_it_says_nothing() -> None:
    growth = Growth.read(NO_STEPS)
    assert growth.steps == 0
    assert growth.numbers() == [0.0] * 14
    assert growth.drift().n == 0


@pytest.mark.parametrize("d", DIMENSIONS)
def test_usage_against_the_steps_number(d: int) -> None:
    moments = Growth.read(grown(STEPS)).on_steps(d)
    numbers, used = [1.0, 2.0, 3.0, 4.0], [float(step[d]) for step in STEPS]
    assert moments.n == 4
    assert moments.x == 2.5
    assert moments.y == pytest.approx(fmean(used))
    assert moments.xx == pytest.approx(pvariance(numbers))
    assert moments.xy == pytest.approx(covariance(numbers, used))
    assert moments.yy == pytest.approx(pvariance(used))


def test_cost_against_tokens() -> None:
    moments = Growth.read(grown(STEPS)).cost_on_tokens()
    tokens, cost = [float(step[TOKENS]) for step in STEPS], [float(step[COST]) for step in STEPS]
    assert moments.x == pytest.approx(fmean(tokens))
    assert moments.y == pytest.approx(fmean(cost))
    assert moments.xx == pytest.approx(pvariance(tokens))
    assert moments.xy == pytest.approx(covariance(tokens, cost))
    assert moments.yy == pytest.approx(pvariance(cost))


def test_cost_against_tokens_without_the_first_steps() -> None:
    later = [(4_000, 0, 30_000), (4_100, 0, 29_000), (5_000, 0, 42_000), (6_200, 0, 50_000), (6_900, 0, 51_000)]
    written_first = [(20_000, 0, 9_000_000), (300, 0, 8_000_000), (22_000, 0, 7_000)]
    moments = Growth.read(grown([*written_first, *later])).later_cost_on_tokens()
    tokens, cost = [float(step[TOKENS]) for step in later], [float(step[COST]) for step in later]
    assert moments.n == 5
    assert moments.x == pytest.approx(fmean(tokens), rel=1e-4)
    assert moments.y == pytest.approx(fmean(cost), rel=1e-4)
    assert moments.xx == pytest.approx(pvariance(tokens), rel=1e-3)
    assert moments.xy == pytest.approx(covariance(tokens, cost), rel=0.01)
    # What is left of a variance whose digits the first steps take up.
    assert moments.yy == pytest.approx(pvariance(cost), rel=0.02, abs=1e6)


def test_after_the_first_steps_alone_nothing_is_known_of_later_ones() -> None:
    assert Growth.read(grown(STEPS[:HEAD])).later_cost_on_tokens().n == 0
    assert Growth.read(grown(STEPS)).later_cost_on_tokens().n == 1


def test_by_how_much_a_step_exceeds_the_one_before() -> None:
    growth = Growth.read(grown(STEPS))
    leaps = [700.0, 400.0, 1_200.0]
    assert (growth.first, growth.last) == (1_000, 3_300)
    assert growth.leap == pytest.approx(fmean(leap * leap for leap in leaps))
    assert growth.drift().n == 3
    assert growth.drift().y == pytest.approx(fmean(leaps))
    assert growth.drift().yy == pytest.approx(pvariance(leaps))


def test_it_is_as_small_after_ten_thousand_steps_as_before_the_first() -> None:
    kept = grown([(n, n, n) for n in range(10_000)])
    assert len(kept) == len(NO_STEPS) == 76
    assert Growth.read(kept).on_steps(TIME).y == pytest.approx(4_999.5, rel=1e-4)


def test_the_numbers_of_a_learnt_run_say_the_same() -> None:
    growth = Growth.read(grown(STEPS))
    again = Growth.of(growth.numbers(), growth.head_numbers())
    assert again.numbers() == growth.numbers()
    assert again.later_cost_on_tokens() == growth.later_cost_on_tokens()
    assert again.mean == pytest.approx(growth.mean, rel=1e-6)


def test_a_run_that_was_learnt_before_its_first_steps_were_kept_says_nothing_of_later_ones() -> None:
    growth = Growth.read(grown(STEPS))
    older = Growth.of(growth.numbers(), [])
    assert older.cost_on_tokens() == growth.cost_on_tokens()
    assert older.later_cost_on_tokens().n == 0


@given(steps)
def test_whatever_was_used_it_stays_finite_and_no_variance_is_negative(used: list[Money]) -> None:
    growth = Growth.read(grown(used))
    assert all(abs(number) < 1e40 for number in growth.numbers())
    assert min(growth.variance) >= 0
    assert growth.leap >= 0
    later = growth.later_cost_on_tokens()
    assert min(later.xx, later.yy) >= 0
    assert all(abs(number) < 1e40 for number in astuple(later))
    for d in DIMENSIONS:
        assert growth.mean[d] == pytest.approx(fmean(step[d] for step in used), rel=1e-4, abs=1e-3)


@given(steps)
def test_equal_steps_make_equal_bytes(used: list[Money]) -> None:
    assert grown(used) == grown(used)


def test_the_count_of_steps_stops_at_two_to_the_24th_and_the_rest_goes_on() -> None:
    numbers = list(struct.unpack("<19f", grown([(5, 5, 5)] * 3)))
    numbers[0] = 2.0**24
    kept = observed(struct.pack("<19f", *numbers), (5, 5, 5))
    assert Growth.read(kept).steps == 2.0**24
    assert Growth.read(kept).mean == (5, 5, 5)


def together(kept: bytes, used: list[Money]) -> bytes:
    return observed_all(kept, *map(list, zip(*used, strict=True)))


@given(used=steps, first=st.integers(0, 6), alike=st.none() | st.integers(0, 40))
def test_steps_taken_together_leave_the_same_bytes(used: list[Money], first: int, alike: int | None) -> None:
    if alike is not None:
        used = used[: alike + 1] + used[alike : alike + 1] * 9
    before, rest = used[:first], used[first:] or used
    assert together(grown(before), rest) == grown([*before, *rest])


@pytest.mark.parametrize("steps", [2**24 - 3, 2**24])
def test_steps_beyond_what_single_precision_counts_leave_the_same_bytes(steps: int) -> None:
    one_by_one = many = struct.pack("<19f", steps, *struct.unpack("<19f", grown(STEPS))[1:])
    for step in STEPS * 2:
        one_by_one = observed(one_by_one, step)
    assert together(many, STEPS * 2) == one_by_one


@pytest.mark.parametrize("place", [0, 4, 9])
def test_more_than_can_be_is_no_growth_together_either(place: int) -> None:
    used = STEPS * 3
    used[place] = (10**39, 0, 0)
    with pytest.raises(OverflowError):
        grown(used)
    with pytest.raises(OverflowError):
        together(NO_STEPS, used)


@pytest.mark.parametrize("d", DIMENSIONS)
def test_a_step_that_differs_from_steps_that_were_all_alike_counts(d: int) -> None:
    alike: list[Money] = [(7, 5, 3)] * 20
    other = tuple(units + (place == d) for place, units in enumerate(alike[0]))
    for place in (0, 5, 14):
        more = [*alike[:15]]
        more[place] = (other[0], other[1], other[2])
        assert together(grown(alike), more) == grown([*alike, *more])
    assert together(grown(alike), alike) == grown(alike * 2)


def test_steps_that_use_the_mean_of_others_count() -> None:
    others: list[Money] = [(2, 2, 2), (4, 4, 4), (3, 3, 3)]
    assert together(grown(others), [others[-1]] * 5) == grown([*others, *[others[-1]] * 5])
