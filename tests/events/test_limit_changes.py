"""Limits that are changed or raised, their alerts, and how they are shown."""

from typing import Any

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tests.support.core import allocate, hold, settle, use
from tests.support.limited import limit, limited

MINUTE = 60


# --- alerts ----------------------------------------------------------------------------------------------------------


def test_an_alert_comes_once_for_each_limit_counter_window_and_percentage() -> None:
    core = limited(limit(per="account", window="hour", max={"tokens": 100}, alert_at_percent=[50, 80, 100]))
    core.given(allocate("ann", 10_000), allocate("ben", 10_000))
    lines: list[tuple[str, str]] = []
    for agent, tokens in (("ann", 49), ("ann", 1), ("ann", 1), ("ben", 80), ("ann", 60), ("ann", 1)):
        core.given(use(agent, tokens))
        lines += [(event.scope_value, event.percent) for event in core.every(e.LimitLine)]
    assert lines == [("ann", "50"), ("ben", "50"), ("ben", "80"), ("ann", "80"), ("ann", "100")]
    core.wait(3_600).given(use("ann", 55))
    assert core.only(e.LimitLine).percent == "50"
    assert core.only(e.AlertRaised).code == "limit_near"


# --- changes ---------------------------------------------------------------------------------------------------------


def test_another_maximum_keeps_the_counters_and_another_window_counts_anew() -> None:
    core = limited(limit(window="day", max={"tokens": 100}))
    core.given(allocate("ann", 10_000), use("ann", 90))
    core.given(c.LoadConfig(config={"limits": [limit(window="day", max={"tokens": 95, "requests": 3}, then="wait")]}))
    core.when(hold("ann", "a", 6))
    core.then_refused("limit_reached", used=90)
    core.given(c.LoadConfig(config={"limits": [limit(window="hour", max={"tokens": 95})]}))
    core.given(hold("ann", "b", 95))


def test_a_limit_that_matches_something_else_counts_from_then_on_and_holds_of_before_are_not_in_it() -> None:
    core = limited(limit(window="total", max={"tokens": 100}))
    core.given(allocate("ann", 10_000, product="shop"), use("ann", 60), hold("ann", "a", 40))
    core.wait(60).given(
        c.LoadConfig(config={"limits": [limit(window="total", match={"product": "shop"}, max={"tokens": 100})]})
    )
    assert core.when(c.GetLimits(limit="cap")).limits[0].counts_since == "2026-03-04T12:01:00Z"
    core.given(hold("ann", "b", 60), settle("a", 40))
    core.when(hold("ann", "c", 1))
    core.then_refused("limit_reached", used=40, held=60)


def test_a_hold_keeps_its_counters_when_the_configuration_changes() -> None:
    core = limited(limit(window="day", max={"tokens": 100}))
    core.given(allocate("ann", 10_000), hold("ann", "a", 60))
    core.given(c.LoadConfig(config={"limits": [limit(window="day", max={"tokens": 100, "cost_usd": 1})]}))
    core.when(hold("ann", "b", 41))
    core.then_refused("limit_reached", held=60)
    core.given(c.LoadConfig(config={"limits": []})).given(settle("a", 60))
    core.given(hold("ann", "c", 1_000))


def test_a_zone_change_keeps_the_count_of_the_day_and_moves_its_end() -> None:
    core = limited(limit(window="day", max={"tokens": 100}))
    core.given(allocate("ann", 10_000), use("ann", 100))
    core.given(c.LoadConfig(config={"timezone": "America/Los_Angeles"}))
    core.when(hold("ann", "a", 1))
    core.then_refused("limit_reached", used=100, retry_after_seconds=20 * 3_600)
    core.wait(20 * 3_600).given(hold("ann", "b", 100))


def test_beyond_so_many_counters_new_values_share_one_and_an_alert_says_so() -> None:
    core = limited(limit(per="account", window="day", max={"tokens": 100}), limits_counters_max=2)
    core.given(*(allocate(name, 1_000) for name in ("a", "b", "c", "d")), use("a", 90), use("b", 90))
    core.given(use("c", 60))
    assert core.only(e.AlertRaised).code == "limit_counters_full"
    core.given(use("d", 39))
    assert not core.every(e.AlertRaised)[1:]
    core.when(hold("d", "h", 2))
    core.then_refused("limit_reached", value="(other)", used=99)
    core.given(hold("a", "h2", 10))


def test_counters_are_forgotten_when_their_window_is_over() -> None:
    core = limited(
        limit("day", per="account", window="day", max={"tokens": 100}),
        limit("minute", per="account", window={"seconds": 60}, max={"tokens": 100}),
        limit("first", per="account", window={"seconds": 60, "from": "first_use"}, max={"tokens": 100}),
    )
    core.given(*(allocate(f"a{n}", 1_000) for n in range(9)), *(use(f"a{n}", 5) for n in range(9)))
    assert core.ledger.limits.count == 27
    core.wait(7_200).given(use("a0", 1))
    assert core.ledger.limits.count == 9 + 2
    core.wait(86_400).given(use("a0", 1))
    assert core.ledger.limits.count == 3


# --- what operators raise and see ------------------------------------------------------------------------------------


def raised(limit: str, value: str | None = None, **most: Any) -> c.ApproveLimit:
    return c.ApproveLimit(limit=limit, value=value, max=c.MaxChange(**most), reason="a long night")


def test_an_operator_raises_a_limit_of_one_value_until_its_window_ends_and_its_alerts_come_again() -> None:
    core = limited(limit(per="account", window="hour", max={"tokens": 100}))
    core.given(allocate("ann", 10_000), allocate("ben", 10_000), use("ann", 100), use("ben", 100))
    core.given(raised("cap", "ann", tokens=200)).given(hold("ann", "a", 100))
    core.when(hold("ben", "b", 1))
    core.then_refused("limit_reached", max=100)
    core.given(settle("a", 60))
    assert core.only(e.LimitLine).percent == "80"
    core.wait(3_600).given(use("ann", 100))
    core.when(hold("ann", "c", 1))
    core.then_refused("limit_reached", max=100)


def test_a_raised_rolling_limit_stays_so_for_one_window_and_a_total_until_it_is_revoked() -> None:
    core = limited(
        limit("tpm", window={"seconds": 60}, max={"tokens": 100}), limit("all", window="total", max={"tokens": 1_000})
    )
    core.given(allocate("ann", 10_000), raised("tpm", tokens=500), use("ann", 400)).wait(59.9)
    core.given(hold("ann", "a", 100)).given(c.CancelHold(hold="a")).wait(0.1)
    core.when(hold("ann", "b", 1))
    core.then_refused("limit_reached", limit="tpm", max=100)
    core.given(raised("all", tokens=2_000)).wait(90 * 86_400)
    core.given(use("ann", 1_000)).wait(120).given(hold("ann", "c", 50))
    core.given(raised("all", tokens=None))
    core.when(hold("ann", "d", 1))
    core.then_refused("limit_reached", limit="all", max=1_000)


def test_a_limit_is_raised_only_above_what_is_configured_and_only_in_what_it_bounds() -> None:
    core = limited(limit(window="day", max={"tokens": 100}))
    core.when(raised("cap", tokens=100))
    core.then_refused("limit_not_raised", limit=100)
    core.when(raised("cap", requests=100))
    core.then_refused("limit_not_raised", limit=None)
    core.when(raised("cop", tokens=200))
    assert "did you mean 'cap'?" in core.then_refused("unknown_limit").detail
    core.when(c.ApproveLimit(limit="cap", max_tokens_total=500))
    core.then_refused("invalid_message")


def test_the_limits_of_an_agent_are_shown_with_what_is_left_nearest_to_exhaustion_first() -> None:
    core = limited(
        limit("wide", window="day", max={"tokens": 1_000, "cost_usd": 5}),
        limit("user", per="label:user", window={"hours": 5, "from": "first_use"}, max={"tokens": 200}),
        limit("other", match={"product": "shop"}, window="day", max={"tokens": 1}),
    )
    core.given(allocate("ann", 10_000, "100", labels={"user": "ann"}), use("ann", 90, "1.5"), hold("ann", "a", 70))
    shown = core.when(c.GetLimits(agent="ann"))
    assert [(one.limit, one.value, one.percentage) for one in shown.limits] == [
        ("user", "ann", 0.8),
        ("wide", "fleet", 0.3),
    ]
    user, wide = shown.limits
    assert (user.used, user.held, user.left, user.max) == (
        {"tokens": 90},
        {"tokens": 70},
        {"tokens": 40},
        {"tokens": 200},
    )
    assert user.ends_at == "2026-03-04T17:00:00Z"
    assert (wide.used, wide.left, wide.ends_at) == (
        {"tokens": 90, "cost_usd": "1.50"},
        {"tokens": 840, "cost_usd": "3.50"},
        "2026-03-05T00:00:00Z",
    )
    assert [(one.limit, one.value) for one in core.when(c.GetLimits()).limits] == [
        ("user", "ann"),
        ("wide", "fleet"),
        ("other", None),
    ]
    core.when(c.GetLimits(limit="othr"))
    core.then_refused("unknown_limit")
