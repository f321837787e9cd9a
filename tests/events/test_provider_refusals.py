"""A provider refuses a request for its pace: the limits that pace such requests grant nothing until it may be asked."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.log import snapshot
from tallystick.events.messages.replies import Refusal
from tallystick.events.state import limits as state
from tests.support.core import Core, allocate, budget, fleet
from tests.support.examples import examples

NONE = {"daily_limits": {"max_tokens_total": None, "max_cost_usd": None}, "max_concurrent": {"total": None}}


def pacing(name: str = "rpm", **rest: Any) -> dict[str, Any]:
    window = {"window": {"seconds": 60}, "max": {"requests": 50}, "then": "wait"}
    return {"name": name, "per": "provider", **window, **rest}


def limited(*limits: dict[str, Any], compares: bool = True) -> Core:
    config = fleet(1_000_000, "1000", limits=list(limits), **NONE)
    return Core(config, allocate("ann", 100_000), allocate("ben", 9_000), compares=compares)


def refused(agent: str = "ann", after: str | None = "20", model: str | None = "haiku", **rest: Any) -> c.ReportUsage:
    seconds = None if after is None else Decimal(after)
    return c.ReportUsage(agent=agent, rate_limited=True, retry_after_seconds=seconds, model=model, **rest)


def ask(id: str, agent: str = "ann", model: str = "haiku") -> c.Reserve:
    return c.Reserve(agent=agent, id=id, model=model, estimate=budget(10))


def test_the_limits_that_wait_for_the_provider_grant_nothing_until_it_may_be_asked_again() -> None:
    core = limited(pacing())
    core.given(refused()).then_events(e.ProviderRefused)
    core.wait(5)
    core.when(ask("a", "ben", "opus"))
    refusal = core.then_refused(
        "limit_reached", limit="rpm", value="anthropic", retry_after_seconds=15, decided_by="limit:rpm"
    )
    assert refusal.numbers["rate_limited_until"] == "2026-03-04T12:00:20Z"
    core.given(ask("b", "ben", "gpt-5"))
    core.wait(14.999).when(ask("c"))
    core.then_refused("limit_reached", retry_after_seconds=0.001)
    core.wait(0.001).given(ask("d"))


def test_what_a_limit_refuses_by_its_count_is_refused_beyond_that_time() -> None:
    core = limited(pacing(max={"requests": 1}))
    core.given(ask("a")).wait(30).given(refused(after="10"))
    core.when(ask("b"))
    core.then_refused("limit_reached", retry_after_seconds=31)


@pytest.mark.parametrize("then", ["stop", "refuse", "warn"])
def test_a_limit_that_does_not_wait_is_not_concerned(then: str) -> None:
    core = limited(pacing(then=then))
    core.given(refused(), ask("a"))


def test_only_limits_that_match_the_model_are_concerned() -> None:
    core = limited(pacing(match={"provider": "openai"}), pacing("ann", per="account", match={"model": "haiku"}))
    core.given(refused())
    closed = core.only(e.ProviderRefused).closed_counters
    assert closed == [e.ClosedCounter("ann", "ann", core.now + dt.timedelta(seconds=20))]
    core.given(ask("a", "ben"), ask("b", "ann", "opus"))


def test_a_reporter_waits_also_longer_than_a_minute() -> None:
    core = limited(pacing())
    core.given(refused(after="300"))
    core.wait(10)
    answer = core.when(c.ReportUsage(agent="ben", usage=budget(5), model="haiku"))
    assert (answer.action, answer.wait_seconds, answer.decided_by) == ("throttle", 290, "limit:rpm")
    assert answer.obstacles[0].retry_after_seconds == 290


def test_the_reply_says_how_long_to_wait_and_what_else_was_reported_is_booked() -> None:
    core = limited(pacing())
    answer = core.when(refused(after="7.0005", usage=budget(30)))
    assert {e.UsageReported, e.ProviderRefused} <= set(map(type, core.own))
    assert (answer.action, answer.decided_by) == ("throttle", "limit:rpm")
    assert answer.wait_seconds == 7.001, "a part of a millisecond is rounded up"
    assert core.ledger.accounts["ann"].spent[0] == 30


def test_a_refusal_without_usage_is_no_usage_and_no_request() -> None:
    core = limited(pacing(max={"requests": 1}))
    core.given(refused(after="1")).wait(1).given(ask("a"))


@pytest.mark.parametrize(("seconds", "closed"), [(60, 60), (10, 10), (3_600, 60)])
def test_where_the_provider_does_not_say_when_it_is_a_minute_or_the_window(seconds: int, closed: int) -> None:
    core = limited(pacing(window={"seconds": seconds}))
    core.given(refused(after=None))
    core.when(ask("a"))
    core.then_refused("limit_reached", retry_after_seconds=closed)


def test_of_two_refusals_the_later_time_counts() -> None:
    core = limited(pacing())
    core.given(refused(after="30"), refused("ben", after="5"))
    core.when(ask("a"))
    core.then_refused("limit_reached", retry_after_seconds=30)


def test_the_model_that_an_account_used_last_is_meant_where_none_is_named() -> None:
    core = limited(pacing())
    core.given(c.ReportUsage(agent="ann", usage=budget(5), model="haiku"), refused(model=None))
    core.when(ask("a"))
    core.then_refused("limit_reached", value="anthropic")


def test_it_is_a_fact_also_of_who_has_no_account_and_of_what_no_limit_paces() -> None:
    core = limited(pacing())
    core.given(refused("nobody-known")).then_events(e.ProviderRefused)
    core.when(ask("a"))
    core.then_refused("limit_reached")
    core = limited()
    core.given(refused(), ask("a"))


@pytest.mark.parametrize("after", ["-1", "NaN", "604800.001", "1E+30"])
def test_a_time_that_is_none_is_refused_and_nothing_is_recorded(after: str) -> None:
    core = limited(pacing())
    core.when(refused(after=after, usage=budget(30)))
    core.then_refused("invalid_amount", field="retry_after_seconds")
    assert not core.own


def test_a_time_to_ask_again_without_a_refusal_is_no_report() -> None:
    core = limited(pacing())
    core.when(c.ReportUsage(agent="ann", usage=budget(5), retry_after_seconds=Decimal(5)))
    core.then_refused("invalid_message")
    core.when(c.ReportUsage(rate_limited=True, model="haiku"))
    core.then_refused("invalid_message")


def test_get_limits_shows_until_when_also_where_nothing_is_counted() -> None:
    core = limited(pacing())
    core.given(refused())
    for query in (c.GetLimits(), c.GetLimits(limit="rpm"), c.GetLimits(limit="rpm", value="anthropic")):
        (status,) = core.when(query).limits
        assert (status.value, status.rate_limited_until) == ("anthropic", "2026-03-04T12:00:20Z")
    core.wait(20)
    (status,) = core.when(c.GetLimits()).limits
    assert (status.value, status.rate_limited_until) == (None, None)


def test_it_survives_a_snapshot_and_another_maximum() -> None:
    core = limited(pacing())
    core.given(refused(), c.LoadConfig(config={"limits": [pacing(max={"requests": 99})]}))
    again = snapshot.load(snapshot.dump(core.ledger))
    assert again.limits.states["rpm"].closed == core.ledger.limits.states["rpm"].closed
    core.when(ask("a"))
    core.then_refused("limit_reached")


def test_a_limit_that_does_not_wait_any_more_is_open_again() -> None:
    core = limited(pacing())
    core.given(refused(), c.LoadConfig(config={"limits": [pacing(then="stop")]}), ask("a"))


def test_the_memory_of_refusals_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "CLOSED_MAX", 3)
    core = limited(pacing(per="label:user"))
    for n in range(10):
        core.given(refused(after=str(10 + n), labels={"user": f"u{n}"}))
    assert list(core.ledger.limits.states["rpm"].closed) == ["u7", "u8", "u9"]
    core.wait(18).given(refused(after="1", labels={"user": "last"}))
    assert list(core.ledger.limits.states["rpm"].closed) == ["u9", "last"], "what is over is forgotten"


@settings(max_examples=examples(30))
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=6))
def test_whatever_was_refused_when_a_hold_is_granted_at_the_time_that_was_said(said: list[tuple[int, int]]) -> None:
    core = limited(pacing(), compares=False)
    until = core.now
    for wait, after in said:
        core.wait(wait)
        core.given(refused(after=str(after)))
        until = max(until, core.now + dt.timedelta(seconds=after))
    answer = core.when(ask("a"))
    assert isinstance(answer, Refusal) == (core.now < until)
    if isinstance(answer, Refusal):
        assert answer.numbers["retry_after_seconds"] == (until - core.now).total_seconds()
        core.now = until
        core.given(ask("b"))
