"""The amounts of a recorded answer are read as they are, whatever they say: no audit and no rerun fails over them."""

from decimal import Decimal

import pytest

from tallystick.config.amounts import Amounts, Budget
from tallystick.whatif.steps import _amount

RECORDED = Amounts(5, 7, 9)


@pytest.mark.parametrize("units", [0, 1, 2**53 + 1, 2**63 - 1, 2**63, 18_014_398_509_481_927_000, 10**25 + 1])
def test_a_sum_of_any_size_is_read_exactly(units: int) -> None:
    recorded = Amounts(units, units, units)
    answered = Budget(units, Decimal(repr(units / 1_000)), Decimal(units).scaleb(-9))
    assert _amount(answered, recorded) == recorded


def test_what_a_reply_says_otherwise_than_the_event_is_seen() -> None:
    assert _amount(Budget(6, Decimal("1.5"), Decimal("0.25")), RECORDED) == Amounts(6, 1_500, 250_000_000)
    assert _amount(Budget(), RECORDED) == Amounts()


@pytest.mark.parametrize("figure", ["NaN", "sNaN", "Infinity", "1e999999"])
def test_what_is_no_figure_says_nothing(figure: str) -> None:
    assert _amount(Budget(5, Decimal(figure), Decimal(figure)), RECORDED) == RECORDED
