"""``daily_limits`` and ``token_budget_daily`` of products are limits as well: ``daily`` and ``product-daily:<p>``."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.log import snapshot
from tests.support.core import Core, allocate, budget, fleet, hold, settle, use

NOON_TO_MIDNIGHT = 12 * 3_600


def configured(tokens: int | None = None, shop: int | None = None, **config: Any) -> Core:
    """A fleet with limits of the day, and an agent of the product ``shop``."""
    return Core(settings(tokens, shop, **config), allocate("ann", 100_000, "50", product="shop"))


def settings(tokens: int | None = None, shop: int | None = None, **config: Any) -> c.LoadConfig:
    daily = {"max_tokens_total": tokens, "max_cost_usd": None}
    quiet = {"circuit_breaker": {"trip_conditions": []}}
    products = {"shop": {"token_budget_daily": shop}}
    return fleet(10_000_000, "1000", **{"daily_limits": daily, "products": products, **quiet, **config})


def lines(core: Core) -> list[tuple[str, str]]:
    return [(event.limit_name, event.percent) for event in core.every(e.LimitLine)]


def codes(core: Core) -> list[str]:
    return [event.code for event in core.every(e.AlertRaised)]


def test_they_are_shown_beside_the_others_nearest_to_exhaustion_first() -> None:
    user = {"name": "user", "per": "account", "window": "day", "max": {"tokens": 1_000}}
    core = configured(10_000, 4_000, limits=[user])
    core.given(use("ann", 600), hold("ann", "h", 100))
    for asked in (c.GetLimits(), c.GetLimits(agent="ann")):
        shown = [(one.limit, one.value, one.used, one.held, one.left) for one in core.when(asked).limits]
        assert shown == [
            ("user", "ann", {"tokens": 600}, {"tokens": 100}, {"tokens": 300}),
            ("product-daily:shop", "shop", {"tokens": 600}, {"tokens": 100}, {"tokens": 3_300}),
            ("daily", "fleet", {"tokens": 600}, {"tokens": 100}, {"tokens": 9_300}),
        ]
    (one,) = core.when(c.GetLimits(limit="product-daily:shop")).limits
    assert (one.window, one.then, one.match, one.ends_at) == (
        "day", "refuse", {"product": "shop"}, "2026-03-05T00:00:00Z"
    )  # fmt: skip


def test_what_is_not_limited_is_not_shown() -> None:
    core = configured()
    core.given(use("ann", 600))
    assert core.when(c.GetLimits()).limits == []
    core.when(c.GetLimits(limit="product-daily:shop"))
    assert core.then_refused("unknown_limit").numbers["allowed"] == []


def test_a_maximum_that_is_set_later_counts_from_midnight() -> None:
    core = configured()
    core.wait(NOON_TO_MIDNIGHT).given(use("ann", 900)).wait(60)
    core.given(settings(1_000, 950))
    core.when(hold("ann", "h", 51))
    core.then_refused("daily_limit_reached", decided_by="limit:product-daily:shop", used=900)
    found = core.when(c.GetLimits()).limits
    assert [(one.limit, one.used, one.counts_since) for one in found] == [
        ("product-daily:shop", {"tokens": 900}, "2026-03-05T00:00:00Z"),
        ("daily", {"tokens": 900}, "2026-03-05T00:00:00Z"),
    ]


def test_operators_are_alerted_to_80_and_100_percent_of_a_products_tokens_once_a_day() -> None:
    core = configured(None, 1_000)
    core.given(use("ann", 799))
    assert lines(core) == []
    core.given(use("ann", 1))
    assert (lines(core), codes(core)) == ([("product-daily:shop", "80")], ["limit_near"])
    core.given(use("ann", 300))
    assert (lines(core), codes(core)) == ([("product-daily:shop", "100")], ["limit_reached"])
    core.given(use("ann", 300))
    assert lines(core) == []
    core.wait(NOON_TO_MIDNIGHT).given(use("ann", 1_000))
    assert lines(core) == [("product-daily:shop", "80"), ("product-daily:shop", "100")]


def test_the_percentage_is_that_of_the_fleets_limits() -> None:
    core = Core(
        settings(1_000, 1_000, daily_limits={"max_tokens_total": 1_000, "max_cost_usd": None, "alert_at_percent": 50}),
        allocate("ann", 100_000, product="shop"),
    )
    core.given(use("ann", 500))
    assert (lines(core), codes(core)) == ([("product-daily:shop", "50")], ["limit_near", "daily_tokens_near"])


@pytest.mark.parametrize(
    "raised", [c.ApproveLimit(max_tokens_total=2_000), c.ApproveLimit(limit="daily", max=c.MaxChange(tokens=2_000))]
)
def test_alerts_that_lie_ahead_again_under_a_raised_limit_are_given_again(raised: c.ApproveLimit) -> None:
    core = configured(1_000)
    core.given(use("ann", 1_000))
    assert codes(core) == ["daily_tokens_near", "daily_tokens_reached"]
    core.given(raised)
    assert core.only(e.LimitApproved).limits.tokens == 2_000
    core.given(use("ann", 599))
    assert codes(core) == []
    core.given(use("ann", 1))
    assert codes(core) == ["daily_tokens_near"]
    core.given(use("ann", 400))
    assert codes(core) == ["daily_tokens_reached"]


def test_a_products_limit_is_raised_until_midnight() -> None:
    core = configured(None, 1_000)
    core.given(use("ann", 1_000))
    core.given(c.ApproveLimit(limit="product-daily:shop", max=c.MaxChange(tokens=1_500), reason="a launch"))
    core.given(hold("ann", "h", 500))
    (one,) = core.when(c.GetLimits(limit="product-daily:shop")).limits
    assert (one.max, one.raised_until) == ({"tokens": 1_500}, "2026-03-05T00:00:00Z")
    core.given(settle("h", 300))
    assert lines(core) == [("product-daily:shop", "80")], "80 % of 1,500"
    core.wait(NOON_TO_MIDNIGHT).given(use("ann", 900))
    core.when(hold("ann", "i", 101))
    core.then_refused("daily_limit_reached", limit=1_000)


def test_a_raise_of_the_day_needs_a_limit_that_it_raises() -> None:
    core = configured(1_000)
    core.when(c.ApproveLimit(limit="daily", max=c.MaxChange(cost_usd="5")))
    core.then_refused("limit_not_raised")
    core.when(c.ApproveLimit(limit="daily", max=c.MaxChange(tokens=900)))
    core.then_refused("limit_not_raised", limit=1_000)


def test_a_raise_closes_the_breaker_whose_condition_it_ends() -> None:
    core = configured(1_000, circuit_breaker={"trip_conditions": ["tokens_daily > daily_limits.max_tokens_total"]})
    core.given(use("ann", 1_001))
    assert core.ledger.day.tripped is not None
    core.given(c.ApproveLimit(limit="daily", max=c.MaxChange(tokens=2_000)))
    assert core.ledger.day.tripped is None


def test_counters_of_the_day_take_no_place_of_other_counters() -> None:
    user = {"name": "user", "per": "account", "window": "day", "max": {"tokens": 1_000}}
    core = configured(10_000, 4_000, limits=[user], limits_counters_max=1)
    core.given(use("ann", 10))
    assert core.when(c.GetLimits(limit="user")).limits[0].value == "ann"
    assert core.ledger.limits.count == 1


def test_a_product_that_nothing_limits_is_forgotten_at_midnight_unless_something_is_held() -> None:
    core = Core(fleet(10_000_000), *(allocate(name, 1_000, product=name) for name in ("shop", "web")))
    core.given(use("shop", 10), use("web", 10))
    core.given(c.Reserve(agent="web", id="h", estimate=budget(5), ttl_seconds=Decimal(100_000)))
    core.wait(NOON_TO_MIDNIGHT).pass_time()
    assert dict(core.ledger.day.by_product) == {}
    assert list(core.ledger.day.products) == ["web"]
    assert core.ledger.day.held_by_product == {"web": 5}


def test_a_snapshot_keeps_what_was_counted_alerted_and_raised() -> None:
    core = configured(1_000, 900)
    core.given(hold("ann", "h", 50), use("ann", 850), c.ApproveLimit(max_tokens_total=5_000))
    core.given(c.ApproveLimit(limit="product-daily:shop", max=c.MaxChange(tokens=2_000)))
    dumped = snapshot.dump(core.ledger)
    again = snapshot.load(dumped)
    assert again is not None
    assert snapshot.dump(again) == dumped
    assert (again.used_today, again.day.counter.held) == (core.ledger.used_today, core.ledger.day.counter.held)
    assert (again.day.limit_of(0), again.day.products["shop"].most("shop", 0, 0)) == (5_000, 2_000)


def test_the_day_ends_in_one_event_for_limits_of_every_kind() -> None:
    core = configured(1_000, limits=[{"name": "cap", "window": "day", "max": {"tokens": 500}}])
    core.given(use("ann", 500)).pass_time(core.now + dt.timedelta(seconds=NOON_TO_MIDNIGHT))
    assert [type(event) for event in core.log][-1] is e.DayBegan
    core.given(hold("ann", "h", 500))
