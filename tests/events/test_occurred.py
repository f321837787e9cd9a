"""Times of their own: usage counts when it was used, and what was used before the period is history."""

import datetime as dt
from collections import defaultdict
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.log import snapshot
from tests.support.core import START, allocate, fleet, hold, use
from tests.support.corrections import correction, records
from tests.support.sources import SourcedCore, said, settled

HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)


def opened(after: dt.timedelta = 0 * HOUR, **config: Any) -> SourcedCore:
    """A fleet that was opened at noon of 4 March, a while ago."""
    core = SourcedCore(fleet(100_000, "100", **config), allocate("a", 10_000, "10", product="shop"))
    return core.pass_time(START + after)


def used_at(at: dt.datetime, used: int, source: str | None = None) -> c.ReportUsage:
    return said("a", source, used, occurred_at=at)


# --- when ---------------------------------------------------------------------------------------------------------


def test_a_time_to_come_is_refused_with_what_is_allowed() -> None:
    core = opened()
    core.when(used_at(START + dt.timedelta(seconds=61), 5))
    refusal = core.then_refused("invalid_message", field="occurred_at")
    assert "found 2026-03-04T12:01:01+00:00, allowed is from 1970" in refusal.detail
    core.when(c.Settle(hold="none", occurred_at=START + DAY, usage=said("a", None, 1).usage))
    core.then_refused("invalid_message", field="occurred_at")


def test_a_clock_that_is_a_minute_ahead_means_now() -> None:
    core = opened().given(used_at(START + dt.timedelta(seconds=60), 5))
    assert core.only(e.UsageReported).occurred_at is None


def test_a_repeat_with_a_time_to_come_is_refused_as_well() -> None:
    core = opened().given(said("a", "m", 5))
    core.when(used_at(START + DAY, 5, "m"))
    core.then_refused("invalid_message", field="occurred_at")


def test_a_time_is_recorded_in_utc_with_the_day_of_the_fleet() -> None:
    core = opened(20 * HOUR, timezone="Asia/Tokyo")
    core.given(used_at(dt.datetime(2026, 3, 4, 15, 0, tzinfo=dt.timezone(dt.timedelta(hours=-2))), 5))
    event = core.only(e.UsageReported)
    assert (event.occurred_at, event.counts_on) == (dt.datetime(2026, 3, 4, 17, tzinfo=dt.UTC), "2026-03-05")


# --- history ----------------------------------------------------------------------------------------------------------


def test_what_was_used_before_the_fleet_began_is_charged_to_nothing() -> None:
    core = opened(HOUR)
    answer = core.when(used_at(START - HOUR, 500))
    assert answer.history
    assert (core.only(e.UsageReported).history, core.ledger.spent, core.ledger.used_today[0]) == (True, [0, 0, 0], 0)
    assert core.status("a").consumed.tokens == 0


def test_what_was_used_in_a_former_period_is_history_and_what_came_after_its_end_is_charged() -> None:
    core = opened(DAY, period="day")
    core.given(used_at(dt.datetime(2026, 3, 4, 23, 59, tzinfo=dt.UTC), 500))
    assert core.ledger.consumed[0] == 0
    core.given(used_at(dt.datetime(2026, 3, 5, 0, 1, tzinfo=dt.UTC), 40))
    assert core.ledger.consumed[0] == 40


def test_a_hold_that_is_settled_with_history_is_given_back() -> None:
    core = opened(HOUR).given(hold("a", "h", 300))
    answer = core.when(settled("h", None, 200, occurred_at=START - HOUR))
    assert (answer.history, core.status("a").held.tokens, core.status("a").consumed.tokens) == (True, 0, 0)
    core.when(settled("h", None, 200))
    core.then_refused("already_settled")


def test_history_of_a_source_is_recorded_once_and_corrected_without_a_charge() -> None:
    core = opened(HOUR).given(used_at(START - HOUR, 500, "m"), used_at(START - HOUR, 700, "m"), said("a", "m", 600))
    core.given(correction(core, records(core)[0], 100))
    assert core.only(e.UsageCorrected).counts.tokens == 100
    assert core.ledger.spent == [0, 0, 0]


def test_history_of_an_agent_without_an_account_is_charged_to_nothing() -> None:
    core = opened(HOUR).given(said("stray", None, 500, occurred_at=START - HOUR))
    assert core.ledger.root.spent[0] == 0


# --- days -------------------------------------------------------------------------------------------------------------


def test_what_was_used_yesterday_is_charged_and_counts_for_no_limit_of_today() -> None:
    core = opened(DAY).given(use("a", 10), used_at(START + HOUR, 500))
    assert core.status("a").consumed.tokens == 510
    assert (core.ledger.used_today[0], core.ledger.day.by_product["shop"]) == (10, 10)


def test_a_correction_of_what_was_used_yesterday_counts_yesterday() -> None:
    core = opened(DAY).given(used_at(START + HOUR, 500))
    core.given(correction(core, records(core)[0], 100))
    assert core.only(e.UsageCorrected).day == "2026-03-04"
    assert (core.ledger.used_today[0], core.ledger.day.by_product["shop"]) == (0, 0)
    assert core.status("a").consumed.tokens == 100


def test_the_last_hour_counts_what_was_used_in_it() -> None:
    core = opened(3 * HOUR).given(use("a", 7), used_at(START + HOUR, 500), used_at(core_now() - HOUR / 2, 30))
    began = core.ledger.day.hour_began(core.now, core.ledger.spent)
    assert core.ledger.spent[0] - began[0] == 37


def core_now() -> dt.datetime:
    return START + 3 * HOUR


def test_the_state_with_its_period_is_in_the_snapshot() -> None:
    core = opened(DAY, period="day").given(used_at(START + 13 * HOUR, 500))
    loaded = snapshot.load(snapshot.dump(core.ledger))
    assert loaded is not None
    assert loaded.period_began_at == dt.datetime(2026, 3, 5, tzinfo=dt.UTC)


# --- limits -----------------------------------------------------------------------------------------------------------


def limit(window: Any, **more: Any) -> dict[str, Any]:
    return {"name": "l", "per": "fleet", "window": window, "max": {"tokens": 10_000}, **more}


def counted(core: SourcedCore) -> int:
    found = core.when(c.GetLimits(limit="l")).limits
    return int(found[0].used["tokens"]) if found else 0


@pytest.mark.parametrize(
    ("window", "counts"),
    [
        ("hour", [0, 0, 0, 1]),
        ("day", [0, 0, 1, 1]),
        ("week", [0, 1, 1, 1]),
        ("total", [0, 1, 1, 1]),
        ({"hours": 5}, [0, 0, 1, 1]),
        ({"hours": 30}, [0, 1, 1, 1]),
    ],
    ids=str,
)
def test_a_use_counts_in_the_window_in_which_it_was_used(window: Any, counts: list[int]) -> None:
    # 5 March, 14:30: before the fleet, yesterday, four hours ago, ten minutes ago.
    now = START + DAY + 2.5 * HOUR
    for ago, expected in zip((28 * HOUR, 20 * HOUR, 4 * HOUR, HOUR / 6), counts, strict=True):
        core = opened(limits=[limit(window)]).pass_time(now)
        core.given(used_at(now - ago, 100))
        assert counted(core) == 100 * expected, ago


def test_a_window_from_the_first_use_is_opened_by_what_was_used_earlier_and_not_by_what_is_over() -> None:
    core = opened(limits=[limit({"hours": 5, "from": "first_use"})]).pass_time(START + 8 * HOUR)
    core.given(used_at(START + 2 * HOUR, 100))
    assert counted(core) == 0
    core.given(used_at(START + 4 * HOUR, 10))
    assert counted(core) == 10
    core.given(used_at(START + 3.5 * HOUR, 1_000), use("a", 1))
    assert counted(core) == 11
    core.pass_time(START + 9 * HOUR)
    assert counted(core) == 0
    core.given(used_at(START + 8 * HOUR, 1_000))
    assert counted(core) == 0


def test_a_limit_does_not_count_what_was_used_before_it_was_there() -> None:
    core = opened(3 * HOUR)
    core.given(c.LoadConfig(config={"limits": [limit("day")]}), used_at(START + HOUR, 100), use("a", 5))
    assert counted(core) == 5


def test_what_was_used_in_the_window_while_the_fleet_was_away_counts_in_it() -> None:
    core = opened(limits=[limit("day")]).pass_time(START + 22 * HOUR)
    core.given(used_at(START + 14 * HOUR, 100))
    assert counted(core) == 100
    core.given(correction(core, records(core)[0], 30))
    assert counted(core) == 30


def test_a_correction_of_what_counts_in_no_window_at_hand_moves_no_counter() -> None:
    core = opened(limits=[limit("day")]).pass_time(START + DAY)
    core.given(use("a", 50), used_at(START + HOUR, 100))
    core.given(correction(core, records(core)[1], 10))
    assert counted(core) == 50


def test_a_settlement_counts_when_it_was_used() -> None:
    core = opened(limits=[limit("hour")]).pass_time(START + 3.5 * HOUR)
    core.given(hold("a", "h", 300, ttl_seconds=Decimal(600)), settled("h", None, 200, occurred_at=START + HOUR))
    assert counted(core) == 0
    assert core.status("a").consumed.tokens == 200


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 400), st.integers(1, 99)), max_size=12))
def test_a_rolling_window_counts_what_was_used_in_it_whenever_it_is_reported(uses: list[tuple[int, int, int]]) -> None:
    minute, window = dt.timedelta(minutes=1), dt.timedelta(hours=2)
    core = opened(limits=[limit({"hours": 2})])
    happened: dict[dt.datetime, int] = defaultdict(int)
    for passed, ago, used in uses:
        core.pass_time(core.now + passed * minute)
        at = max(START, core.now - ago * minute)
        core.given(used_at(at, used))
        happened[at] += used
        exact = sum(units for when, units in happened.items() if when > core.now - window)
        at_most = sum(units for when, units in happened.items() if when >= core.now - window - 2 * minute)
        assert exact <= counted(core) <= at_most
    assert core.status("a").consumed.tokens == sum(happened.values())
