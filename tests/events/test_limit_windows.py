"""Windows of limits: when they begin and end, and what counts in them."""

import datetime as dt
from decimal import Decimal

import pytest

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tests.support.core import Core, allocate, fleet, hold, use
from tests.support.limited import ask, limit, limited

MINUTE = 60


# --- windows ---------------------------------------------------------------------------------------------------------


def test_a_calendar_window_begins_anew_and_what_is_held_counts_in_it() -> None:
    core = limited(limit(window="hour", max={"tokens": 100}))
    core.given(allocate("ann", 100_000), use("ann", 70), hold("ann", "a", 30, ttl_seconds=Decimal(9_000)))
    core.when(hold("ann", "b", 1))
    core.then_refused("limit_reached", retry_after_seconds=3_600)
    core.wait(3_600)
    core.when(hold("ann", "b2", 71))
    core.then_refused("limit_reached", used=0, held=30)
    assert e.LimitWindowsBegan in [type(event) for event in core.due]
    core.given(hold("ann", "c", 70))


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).astimezone(dt.UTC)


@pytest.mark.parametrize(
    ("zone", "window", "now", "ends"),
    [
        ("Europe/Zurich", "day", "2026-03-29T00:30:00+01:00", "2026-03-30T00:00:00+02:00"),
        ("Europe/Zurich", "day", "2026-10-25T23:59:00+01:00", "2026-10-26T00:00:00+01:00"),
        ("Europe/Zurich", "hour", "2026-03-29T01:30:00+01:00", "2026-03-29T03:00:00+02:00"),
        ("Asia/Kolkata", "hour", "2026-03-29T01:40:00+05:30", "2026-03-29T02:00:00+05:30"),
        ("Australia/Lord_Howe", "hour", "2026-10-04T01:20:00+10:30", "2026-10-04T03:00:00+11:00"),
        ("Australia/Lord_Howe", "hour", "2026-04-05T01:50:00+11:00", "2026-04-05T02:00:00+10:30"),
        ("UTC", "week", "2026-03-04T12:00:00+00:00", "2026-03-09T00:00:00+00:00"),
        ("UTC", "month", "2028-02-29T12:00:00+00:00", "2028-03-01T00:00:00+00:00"),
        ("America/New_York", "month", "2026-10-31T23:00:00-04:00", "2026-11-01T00:00:00-04:00"),
    ],
)
def test_calendar_windows_end_when_the_clocks_of_the_zone_say_so(zone: str, window: str, now: str, ends: str) -> None:
    core = Core()
    core.now = at(now)
    core.given(fleet(1_000, timezone=zone, limits=[limit(window=window, max={"tokens": 10})]))
    loaded = core.only(e.ConfigLoaded)
    assert {"day": loaded.day_ends_at, **loaded.limit_windows}[window] == at(ends)
    core.given(allocate("ann", 500), use("ann", 10))
    core.pass_time(at(ends) - dt.timedelta(microseconds=1))
    core.when(hold("ann", "a", 1))
    core.then_refused("limit_reached")
    core.pass_time(at(ends))
    assert core.every(e.DayBegan if window == "day" else e.LimitWindowsBegan)
    core.given(hold("ann", "b", 10))


def test_a_window_opens_at_the_first_use_and_the_next_one_at_the_use_after_its_end() -> None:
    core = limited(limit(window={"hours": 5, "from": "first_use"}, max={"tokens": 100}))
    core.given(allocate("ann", 100_000)).wait(3_600).given(use("ann", 90))
    core.wait(4 * 3_600)
    core.when(hold("ann", "a", 11))
    core.then_refused("limit_reached", retry_after_seconds=3_600)
    core.wait(3_600).wait(7_200).given(use("ann", 60))
    core.when(hold("ann", "b", 41))
    core.then_refused("limit_reached", used=60, retry_after_seconds=5 * 3_600)


def test_a_total_never_ends() -> None:
    core = limited(limit(window="total", max={"cost_usd": 5}))
    core.given(allocate("ann", 100_000, "100"), use("ann", cost="5")).wait(90 * 86_400)
    core.when(hold("ann", "a", cost="0.01"))
    core.then_refused("limit_reached", max="5.00", used="5.00", retry_after_seconds=None)


def test_a_hold_that_ends_in_a_later_window_gives_nothing_back_to_it() -> None:
    core = limited(limit(window="hour", max={"requests": 2}))
    core.given(allocate("ann", 100_000), ask("ann", "a", 5, model="opus", ttl_seconds=Decimal(9_000)))
    core.wait(3_600).given(ask("ann", "b", 5, model="opus"), c.CancelHold(hold="a"), ask("ann", "c", 5, model="opus"))
    core.when(ask("ann", "d", 5, model="opus"))
    core.then_refused("limit_reached", used=2)
