"""Who had more than its share of the slots in the last hour."""

import datetime as dt
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from tallystick.actors.policies.scheduling.fairness import Fairness
from tallystick.events.state.slot_time import SlotTime
from tests.support.core import START

MINUTE_MICROS = 60_000_000


def at(minutes: float) -> dt.datetime:
    return START + dt.timedelta(minutes=minutes)


def minutes_of(fairness: Fairness, product: str, now: float) -> Fraction:
    return fairness.use(product, at(now)) / MINUTE_MICROS


def test_use_is_the_slot_time_of_the_last_hour_and_of_the_minute_to_come() -> None:
    fairness = Fairness({})
    fairness.times.started("p", at(0))
    fairness.times.started("p", at(10))
    assert minutes_of(fairness, "p", 10) == 10 + 2
    assert minutes_of(fairness, "p", 30) == 50 + 2
    fairness.times.ended("p", at(30))
    assert minutes_of(fairness, "p", 30) == 50 + 1
    # At 65 minutes the window begins at 5: 5 to 65 with one slot, 10 to 30 with a second one.
    assert minutes_of(fairness, "p", 65) == 60 + 20 + 1
    fairness.times.ended("p", at(65))
    assert minutes_of(fairness, "p", 65) == 80
    assert minutes_of(fairness, "p", 90) == 35
    assert minutes_of(fairness, "p", 125) == 0
    assert minutes_of(fairness, "never seen", 125) == 0


def test_use_is_divided_by_the_weight() -> None:
    fairness = Fairness({"heavy": Decimal("2.5"), "light": Decimal("0.5")})
    for product in ("heavy", "light", "plain"):
        fairness.times.started(product, at(0))
        fairness.times.ended(product, at(10))
    assert [minutes_of(fairness, product, 10) for product in ("heavy", "light", "plain")] == [4, 20, 10]
    fairness.weigh({"plain": Decimal(10)})
    assert [minutes_of(fairness, product, 10) for product in ("heavy", "light", "plain")] == [10, 10, 1]


def test_above_is_who_used_more_than_the_mean_of_those_that_run_or_wait() -> None:
    fairness = Fairness({})
    for product, minutes in (("rich", 30), ("middle", 20), ("poor", 10), ("gone", 60)):
        fairness.times.started(product, at(60 - minutes))
    for product in ("middle", "poor", "gone"):
        fairness.times.ended(product, at(60))
    # Rich runs; the mean of 31, 20 and 10 is 20 and a third.
    assert fairness.above({"middle", "poor"}, at(60)) == {"rich"}
    # With the newcomer it is 15 and a quarter.
    assert fairness.above({"middle", "poor", "new"}, at(60)) == {"rich", "middle"}


def test_who_has_just_its_share_is_not_above_it_and_neither_is_who_is_alone() -> None:
    fairness = Fairness({"half": Decimal("0.5")})
    fairness.times.started("p", at(0))
    assert fairness.above((), at(60)) == frozenset()
    fairness.times.started("q", at(0))
    assert fairness.above((), at(60)) == frozenset()
    fairness.times.started("half", at(0))
    assert fairness.above((), at(60)) == {"half"}


def test_slots_that_are_free_at_one_moment_do_not_all_go_to_one_product() -> None:
    fairness = Fairness({})
    assert fairness.above({"p", "q"}, at(0)) == frozenset()
    fairness.times.started("p", at(0))
    assert fairness.above({"p", "q"}, at(0)) == {"p"}


def test_products_that_held_no_slot_for_an_hour_are_forgotten() -> None:
    fairness = Fairness({})
    for minute in range(1_000):
        fairness.times.started(f"p{minute}", at(minute))
        fairness.times.ended(f"p{minute}", at(minute + 1))
    assert len(fairness.times.times) <= 61


@given(st.lists(st.tuples(st.integers(0, 4 * MINUTE_MICROS), st.integers(0, 3)), max_size=200), st.integers(0, 90))
def test_the_window_is_exact_but_for_changes_less_than_a_minute_apart_at_its_far_end(
    steps: list[tuple[int, int]], later: int
) -> None:
    time, now, slots = SlotTime(0), 0, 0
    history = [(0, 0)]
    for pause, wanted in steps:
        now += pause
        time.change(wanted - slots, now)
        slots = wanted
        history.append((now, slots))
        check(time, history, now)
        assert len(time._marks) <= 2 * 61 + 2
    check(time, history, now + later * MINUTE_MICROS)


def check(time: SlotTime, history: list[tuple[int, int]], now: int) -> None:
    start = now - 60 * MINUTE_MICROS
    ends = [at for at, _ in history[1:]] + [now]
    exact = sum(
        slots * max(0, end - max(at, start)) for (at, slots), end in zip(history, ends, strict=True) if end > start
    )
    error = abs(time.in_window(now) - exact)
    assert error <= 3 * MINUTE_MICROS
    if all(abs(at - start) >= MINUTE_MICROS for at, _ in history):
        assert error == 0
