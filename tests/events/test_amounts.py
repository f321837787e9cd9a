from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.config.amounts import (
    AMOUNT_MAX,
    COST,
    TIME,
    Budget,
    InvalidAmount,
    cents,
    dollars,
    edge,
    exact_units,
    percent,
    seconds,
    split_exactly,
)

QUICK = settings(max_examples=300, deadline=None, derandomize=True)


@pytest.mark.parametrize(
    ("text", "dimension", "units"),
    [
        ("5", COST, 5_000_000_000),
        ("5.00", COST, 5_000_000_000),
        ("0.000000001", COST, 1),
        ("1E-9", COST, 1),
        ("5.0000000000000000000000000000000000000000", COST, 5_000_000_000),
        ("9223372036.854775807", COST, AMOUNT_MAX),
        ("-0", COST, 0),
        ("0.001", TIME, 1),
        ("300", TIME, 300_000),
        ("9223372036854775.807", TIME, AMOUNT_MAX),
    ],
)
def test_an_amount_is_kept_exactly(text: str, dimension: int, units: int) -> None:
    assert exact_units(Decimal(text), dimension, "x") == units


@pytest.mark.parametrize(
    ("text", "dimension"),
    [
        ("0.0000000001", COST),
        ("1.0000000000000000000000000000000000000001", COST),
        ("9223372036.854775808", COST),
        ("0.0001", TIME),
        ("9223372036854775.808", TIME),
        ("-0.001", TIME),
        ("-1", COST),
        ("NaN", COST),
        ("sNaN", COST),
        ("Infinity", TIME),
        ("-Infinity", TIME),
        ("1E+30", COST),
        ("1E+999999", COST),
        ("1E-999999", COST),
    ],
)
def test_what_cannot_be_kept_exactly_is_refused_with_its_field(text: str, dimension: int) -> None:
    with pytest.raises(InvalidAmount, match=r"^budget\.x: found") as caught:
        exact_units(Decimal(text), dimension, "budget.x")
    assert caught.value.field == "budget.x"


@pytest.mark.parametrize("tokens", [-1, 2**63, 10**30])
def test_tokens_are_from_0_to_the_most_there_is(tokens: int) -> None:
    with pytest.raises(InvalidAmount, match=r"^total\.tokens: found"):
        Budget(tokens).exact("total")
    assert Budget(AMOUNT_MAX).exact("total") == (AMOUNT_MAX, None, None)


def test_absent_is_not_zero() -> None:
    assert Budget().exact("x") == (None, None, None)
    assert Budget(0, Decimal(0), Decimal(0)).exact("x") == (0, 0, 0)


@pytest.mark.parametrize(
    ("nanos", "exact", "rounded"),
    [
        (0, "0.00", "$0.00"),
        (5_000_000_000, "5.00", "$5.00"),
        (12_500_000, "0.0125", "$0.01"),
        (1, "0.000000001", "$0.00"),
        (1_484_999_999, "1.484999999", "$1.48"),
        (1_485_000_000, "1.485", "$1.49"),
        (1_234_567_890_000_000, "1234567.89", "$1,234,567.89"),
        (-1_500_000_000, "-1.50", "-$1.50"),
    ],
)
def test_money_is_exact_for_programs_and_rounded_half_up_for_people(nanos: int, exact: str, rounded: str) -> None:
    assert (dollars(nanos), cents(nanos)) == (exact, rounded)


def test_seconds_are_whole_where_they_are() -> None:
    assert (seconds(3_000), seconds(3_001), seconds(0)) == (3, 3.001, 0)
    assert isinstance(seconds(3_000), int)
    assert edge((1, 2_500, 0)) == {"tokens": 1, "time_seconds": 2.5, "cost_usd": "0.00"}
    assert edge((None, None, None)) == {}


@pytest.mark.parametrize(
    ("part", "whole", "shown"), [(0, 0, 0), (1, 0, 100), (999, 1_000, 99), (2, 3, 66), (3, 2, 150)]
)
def test_a_percentage_for_people_is_floored(part: int, whole: int, shown: int) -> None:
    assert percent(part, whole) == shown


@QUICK
@given(st.integers(0, AMOUNT_MAX))
def test_dollars_are_read_back_as_they_were_written(nanos: int) -> None:
    assert exact_units(Decimal(dollars(nanos)), COST, "x") == nanos


weights = st.lists(st.decimals(0, 10**6, places=4), min_size=1, max_size=12).filter(any)


@QUICK
@given(st.integers(0, AMOUNT_MAX), weights)
def test_a_split_loses_and_invents_nothing_and_is_within_one_unit(total: int, shares: list[Decimal]) -> None:
    parts = split_exactly(total, shares)
    assert sum(parts) == total
    whole = sum(int(share * 10**4) for share in shares)
    for part, share in zip(parts, shares, strict=True):
        assert abs(part * whole - total * int(share * 10**4)) < whole
        assert part >= 0
        assert share or not part


@QUICK
@given(st.integers(0, 10**9), weights)
def test_a_greater_weight_never_gets_less_and_of_equal_ones_the_first_gets_the_rest(
    total: int, shares: list[Decimal]
) -> None:
    parts = split_exactly(total, shares)
    for i, (part, share) in enumerate(zip(parts, shares, strict=True)):
        for other, its_share in zip(parts[i + 1 :], shares[i + 1 :], strict=True):
            assert part >= other if share >= its_share else part <= other


def test_weights_of_very_many_digits_are_split_quickly() -> None:
    fine = [Decimal(1).scaleb(-places) for places in range(1_000)]
    assert sum(split_exactly(10**6, fine)) == 10**6
