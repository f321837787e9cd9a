"""Limits in resource-limits.yml: what may be said, and what is wrong with what may not."""

from decimal import Decimal

import pytest

from tallystick.config.errors import ConfigError
from tallystick.config.limits import Lasting
from tallystick.config.loader import changed, named, parse, restore, to_mapping
from tallystick.config.settings import Config

SPEC = """\
limits:
  - name: user-day
    per: label:user
    match: {product: shop}
    window: day
    max: {cost_usd: 10, tokens: 500000, requests: 200}
    alert_at_percent: [50, 80, 100]
  - {name: plan-5h, per: fleet, window: {hours: 5, from: first_use}, max: {tokens: 900000}}
  - {name: rpm, per: provider, match: {provider: anthropic}, window: {seconds: 60}, max: {requests: 50}, then: wait}
"""


def test_the_limits_of_the_specification_are_read_as_they_are_written() -> None:
    user, plan, rpm = parse(SPEC, "limits.yml").limits
    assert (user.per, dict(user.match), user.window, user.then) == ("label:user", {"product": "shop"}, "day", "stop")
    assert user.max.units == (500_000, None, 10_000_000_000, None, None, 200, None)
    assert list(user.alerts) == [50, 80, 100]
    assert isinstance(plan.window, Lasting)
    assert (plan.window.length_ms, plan.window.opens, list(plan.alerts)) == (18_000_000, "first_use", [80, 100])
    assert isinstance(rpm.window, Lasting)
    assert (rpm.window.length_ms, rpm.window.opens, list(rpm.alerts)) == (60_000, None, [])


def test_limits_survive_being_written_and_read_and_where_there_are_none_nothing_is_written() -> None:
    config = parse(SPEC, "limits.yml")
    assert restore(to_mapping(config)) == config
    assert to_mapping(config)["limits"][1]["window"]["from"] == "first_use"
    assert "limits" not in to_mapping(Config())
    assert "limits_counters_max" not in to_mapping(Config())
    assert named(parse("limits: []", "limits.yml")) == {"limits": []}


def test_a_list_of_limits_replaces_the_one_in_force_and_an_omission_lifts_nothing() -> None:
    config = parse(SPEC, "limits.yml")
    assert changed(config, {"timezone": "Asia/Tokyo"}).limits == config.limits
    one = {"name": "all", "window": "total", "max": {"tokens": 1}}
    assert [limit.name for limit in changed(config, {"limits": [one]}).limits] == ["all"]
    assert changed(config, {"limits": []}).limits == ()


LIMIT = "limits:\n  - {name: cap, window: day, max: {tokens: 5}}\n"


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        (
            "limits:\n  - {name: cap, per: produkt, window: day, max: {tokens: 5}}",
            "2:22: limits[0].per",
            "found 'produkt', allowed is one of fleet, account, agent_type, product, workflow, model, provider, label:NAME",
        ),
        (
            "limits:\n  - {name: cap, match: {label: x}, window: day, max: {tokens: 5}}",
            "2:24: limits[0].match",
            "model, provider, label:NAME: 'label' is none",
        ),
        (
            "limits:\n  - {name: cap, match: {user: x}, window: day, max: {tokens: 5}}",
            "2:24: limits[0].match",
            "'user' is none; did you mean 'label:user'?",
        ),
        (
            "limits:\n  - {name: cap, per: user, window: day, max: {tokens: 5}}",
            "2:22: limits[0].per",
            "model, provider, label:NAME; did you mean 'label:user'?",
        ),
        (
            "limits:\n  - {name: cap, window: day, max: {}}",
            "limits[0].max",
            "allowed is a number for one or more of tokens, time_seconds, cost_usd",
        ),
        (
            "limits:\n  - {name: cap, max: {tokens: 5}}",
            "limits[0].window",
            "allowed is total, hour, day, week, month, or a length such as {hours: 5}",
        ),
        (
            "limits:\n  - {name: cap, window: fortnight, max: {tokens: 5}}",
            "2:25: limits[0].window",
            "found 'fortnight', allowed is one of total, hour, day, week, month, or a length such as {hours: 5}",
        ),
        (
            "limits:\n  - {name: cap, window: {hours: 5, days: 1}, max: {tokens: 5}}",
            "2:33: limits[0].window.hours",
            "allowed is exactly one of seconds, minutes, hours and days",
        ),
        (
            "limits:\n  - {name: cap, window: {seconds: 0.5}, max: {tokens: 5}}",
            "2:35: limits[0].window.seconds",
            "allowed is a length from 1 second to 366 days, in whole milliseconds",
        ),
        (
            "limits:\n  - {name: cap, window: {hours: 5, from: now}, max: {tokens: 5}}",
            "2:42: limits[0].window.from",
            "found 'now', allowed is one of first_use",
        ),
        (
            LIMIT + "  - {name: cap, window: day, max: {tokens: 6}}",
            "3:12: limits[1].name",
            "a name that no other limit has",
        ),
        (
            LIMIT.replace("cap", "daily"),
            "2:12: limits[0].name",
            "other than daily and product-daily:…, which are taken",
        ),
        (LIMIT.replace("5}", "-5}"), "limits[0].max.tokens", "found -5, allowed is a whole number from 0"),
        (LIMIT.replace("max", "maximum"), "limits[0].maximum", "unknown key; did you mean 'max'?"),
        (LIMIT.replace("window: day", "window: day, then: block"), "then", "one of stop, refuse, wait, warn"),
        (LIMIT.replace("name: cap, ", ""), "limits[0].name", "this key is missing"),
    ],
)
def test_what_is_wrong_with_a_limit_is_said_with_its_place(text: str, place: str, words: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse(text, "limits.yml")
    assert place in str(raised.value)
    assert words in str(raised.value)


def test_percentages_are_given_once_and_in_order() -> None:
    text = LIMIT.replace("window: day", "window: day, alert_at_percent: [90, 50, 90]")
    assert parse(text, "limits.yml").limits[0].alerts == [Decimal(50), Decimal(90)]
