"""Calendar windows and limits of the day count what was used in them, whenever it is reported."""

import datetime as dt
from decimal import Decimal
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tallystick.events import messages as c
from tests.support.core import allocate, budget, fleet, hold, use
from tests.support.sources import SourcedCore, said, settled

HOUR = dt.timedelta(hours=1)
WINDOWS = ("hour", "day", "week", "month")
BEFORE_CHANGES = (
    ("2026-03-27T20:10Z", "Europe/Zurich"),
    ("2026-10-23T20:10Z", "Europe/Zurich"),
    ("2026-03-05T20:10Z", "America/New_York"),
    ("2026-10-30T20:10Z", "America/New_York"),
    ("2026-04-02T09:40Z", "Australia/Lord_Howe"),  # by half an hour
    ("2026-09-04T10:00Z", "America/Santiago"),  # at midnight
    ("2027-02-26T11:00Z", "Asia/Kolkata"),
    ("2026-12-29T11:00Z", "UTC"),
)
"""Days before clocks are changed, or a month or year ends."""


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).astimezone(dt.UTC)


def opened(text: str, **config: Any) -> SourcedCore:
    core = SourcedCore()
    core.now = at(text)
    return core.given(fleet(1_000_000, "1000", **config), allocate("a", 500_000, "500", product="shop"))


def limits(*windows: Any) -> list[dict[str, Any]]:
    return [{"name": str(window), "window": window, "max": {"tokens": 400_000}} for window in windows]


def counted(core: SourcedCore) -> dict[str, int]:
    return {one.limit: int(one.used["tokens"]) for one in core.when(c.GetLimits()).limits if one.limit in WINDOWS}


def name_of(window: str, when: dt.datetime, zone: ZoneInfo) -> object:
    """Two moments are in one window if and only if this is the same of both."""
    local = when.astimezone(zone)
    match window:
        case "hour":  # that clocks show: where they are set back, an hour comes twice
            return local.date(), local.hour, local.utcoffset()
        case "day":
            return local.date()
        case "week":
            return local.isocalendar()[:2]
    return local.year, local.month


@pytest.mark.parametrize(("began", "zone"), BEFORE_CHANGES)
def test_every_calendar_window_counts_exactly_what_was_used_in_it_whenever_it_was_reported(
    zone: str, began: str
) -> None:
    dice, clock = Random(f"{zone} {began}"), ZoneInfo(zone)
    core = opened(began, timezone=zone, limits=limits(*WINDOWS))
    began_at, uses = core.now, []
    for n in range(50):
        core.pass_time(core.now + dt.timedelta(minutes=dice.choice((0, 1, 20, 59, 61, 300, 1_500))))
        ago = dt.timedelta(minutes=dice.choice((0, 1, 30, 60, 90, 600, 1_440, 9_000)))
        then, tokens = max(began_at, core.now - ago), dice.randrange(1, 99)
        match dice.randrange(3):
            case 0:
                core.given(said("a", None, tokens, occurred_at=then))
            case 1:
                core.given(hold("a", f"h-{n}", 50, ttl_seconds=Decimal(60)))
                core.given(settled(f"h-{n}", None, tokens, final=dice.random() < 0.5, occurred_at=then))
            case 2:
                core.given(use("a", tokens))
                then = core.now
        uses.append((then, tokens))
        now = {window: name_of(window, core.now, clock) for window in WINDOWS}
        expected = {w: sum(units for when, units in uses if name_of(w, when, clock) == now[w]) for w in WINDOWS}
        assert counted(core) == expected, (core.now, then)


def test_the_limit_of_the_day_is_reached_by_what_was_used_today_and_by_nothing_that_was_used_before() -> None:
    core = opened("2026-03-04T12:00Z", daily_limits={"max_tokens_total": 1_000})
    core.pass_time(at("2026-03-05T12:00Z")).given(said("a", None, 5_000, occurred_at=at("2026-03-04T23:59:59Z")))
    core.given(said("a", "m", 900, occurred_at=at("2026-03-05T00:00Z")), hold("a", "h", 100))
    core.when(hold("a", "i", 1))
    refused = core.then_refused("daily_limit_reached", limit=1_000, used=900, held=100, requested=1)
    assert refused.numbers["retry_after_seconds"] == 300.0, "the hold expires first"
    core.given(settled("h", None, 90, occurred_at=at("2026-03-04T12:01Z")), hold("a", "j", 100))
    core.when(hold("a", "k", 1))
    core.then_refused("daily_limit_reached", used=900, held=100)
    core.given(settled("j", None, 100, occurred_at=at("2026-03-05T00:00:01Z")))
    assert core.when(c.CheckEnforcement(agent="a")).obstacles[0].code == "daily_limit_reached"
    core.given(said("a", "m", 950, occurred_at=at("2026-03-04T12:00Z")))
    core.when(hold("a", "l", 1))
    core.then_refused("daily_limit_reached", used=1_050, retry_after_seconds=12 * 3_600.0)
    core.pass_time(at("2026-03-06T00:00Z")).given(hold("a", "n", 1_000))


def test_a_products_tokens_of_the_day_are_those_that_were_used_today() -> None:
    core = opened("2026-03-04T12:00Z", products={"shop": {"token_budget_daily": 1_000}})
    core.pass_time(at("2026-03-05T12:00Z")).given(said("a", None, 5_000, occurred_at=at("2026-03-04T13:00Z")))
    core.given(said("a", None, 600, occurred_at=at("2026-03-05T01:00Z")), hold("a", "h", 400))
    core.when(hold("a", "i", 1))
    refused = core.then_refused("daily_limit_reached", limit=1_000, used=600, held=400)
    assert "the daily token budget of shop" in refused.detail


def test_parts_of_a_hold_count_each_when_it_was_used_and_the_rest_stays_held_today() -> None:
    core = opened("2026-03-31T12:00Z", limits=limits("day", "month")).pass_time(at("2026-03-31T23:50Z"))
    core.given(hold("a", "h", 1_000, ttl_seconds=Decimal(3_600)))
    core.given(settled("h", None, 100, final=False, occurred_at=at("2026-03-31T23:45Z")))
    core.pass_time(at("2026-04-01T00:10Z"))
    core.given(settled("h", None, 50, final=False, occurred_at=at("2026-03-31T23:59Z")))
    core.given(settled("h", None, 7, final=False, occurred_at=at("2026-04-01T00:05Z")))
    stands = {one.limit: (one.used["tokens"], one.held["tokens"]) for one in core.when(c.GetLimits()).limits}
    assert (stands["day"], stands["month"]) == ((7, 843), (7, 843))
    core.given(settled("h", None, 1))
    assert counted(core) == {"day": 8, "month": 8}
    assert core.status("a").consumed.tokens == 158


def test_a_rate_of_requests_counts_a_late_request_in_the_minute_in_which_it_was_sent() -> None:
    rpm = {"name": "rpm", "window": {"seconds": 60}, "max": {"requests": 2}, "then": "wait"}
    core = opened("2026-03-04T12:00Z", limits=[rpm])
    core.pass_time(at("2026-03-04T12:10Z"))
    core.given(*(said("a", None, 1, operation="ask", occurred_at=at("2026-03-04T12:08Z")) for _ in range(5)))
    core.given(c.Reserve(agent="a", id="h", estimate=budget(5), operation="ask"))
    core.given(said("a", None, 1, operation="ask", occurred_at=at("2026-03-04T12:09:30Z")))
    core.when(c.Reserve(agent="a", id="i", estimate=budget(5), operation="ask"))
    refused = core.then_refused("limit_reached", limit="rpm", used=2)
    assert 30 <= refused.numbers["retry_after_seconds"] <= 31
