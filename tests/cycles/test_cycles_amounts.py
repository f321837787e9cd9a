"""Amounts and scopes of the Cycles protocol are those of a fleet, exactly."""

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.cycles.subjects import LEVELS, is_within, path_of, scopes_of, segments
from tallystick.cycles.units import FIELD, MOST, AmountTooLarge, as_ours, of
from tallystick.cycles.wire import Amount, Subject

NAMES = st.text("abcXYZ019_.-", min_size=1, max_size=12)
SUBJECTS = st.dictionaries(st.sampled_from(LEVELS), NAMES, min_size=1)


@given(st.sampled_from(sorted(FIELD)), st.data())
def test_an_amount_is_the_same_there_and_back(unit: str, data: st.DataObject) -> None:
    amount = data.draw(st.integers(0, MOST[unit]))
    ours = as_ours(Amount(unit, amount))
    assert of(ours, unit) == of(ours, unit, up=False) == amount


@pytest.mark.parametrize("unit", sorted(FIELD))
def test_more_than_a_fleet_can_count_is_refused(unit: str) -> None:
    with pytest.raises(AmountTooLarge, match=f"at most {MOST[unit]} {unit}"):
        as_ours(Amount(unit, MOST[unit] + 1))


@given(st.integers(0, 10**12))
def test_a_part_of_a_microcent_is_rounded_against_the_one_who_spends(nanos: int) -> None:
    dollars = {"cost_usd": str(Decimal(nanos) / 10**9)}
    assert of(dollars, "USD_MICROCENTS") == -(-nanos // 10)
    assert of(dollars, "USD_MICROCENTS", up=False) == nanos // 10


@given(SUBJECTS)
def test_the_scopes_of_a_subject_are_nested_and_say_its_levels(levels: dict[str, str]) -> None:
    scopes = scopes_of(Subject(**levels))
    assert all(is_within(narrow, wide) for wide, narrow in pairwise(scopes))
    assert segments(scopes[-1]) == levels
    assert path_of({**levels, "cost_center": "r-d"}) == scopes
    assert not is_within(scopes[-1], f"{scopes[-1]}/x")
    assert not is_within(f"{scopes[-1]}-2", scopes[-1])


@pytest.mark.parametrize(
    "text", ["", "bot", "tenant:", ":a", "team:a", "agent:a/tenant:b", "tenant:a/tenant:b", "tenant:a/"]
)
def test_other_names_of_accounts_are_no_scopes(text: str) -> None:
    assert segments(text) is None
