"""A limit that is set below what is used already: nothing more is granted, and operators are alerted at once."""

from decimal import Decimal
from typing import Any

import pytest

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide.limits import LOWERED_MAX
from tests.support.core import Core, allocate, fleet, hold, settle, use
from tests.support.limited import limit, limited

UNLIMITED: dict[str, Any] = {"daily_limits": {"max_tokens_total": None, "max_cost_usd": None}}


def load(*limits: dict[str, Any], **config: Any) -> c.LoadConfig:
    return c.LoadConfig(config={**({"limits": list(limits)} if limits else {}), **config})


def lines(core: Core) -> list[tuple[str, str, str]]:
    """Of the last message: which limit, of whom, came to what percentage; each has its alert."""
    found = [(event.limit_name, event.scope_value, event.percent) for event in core.every(e.LimitLine)]
    codes = ["limit_reached" if percent == "100" else "limit_near" for _, _, percent in found]
    assert [event.code for event in core.every(e.AlertRaised) if event.code.startswith("limit_")] == codes
    return found


# --- by the configuration ---------------------------------------------------------------------------------------------


def test_a_limit_that_is_set_below_what_is_used_refuses_stops_and_alerts_at_once() -> None:
    core = limited(limit(per="account", window="day", max={"tokens": 1_000}))
    core.given(allocate("ann", 10_000), allocate("ben", 10_000), use("ann", 700), use("ben", 90), hold("ann", "h", 200))
    core.given(load(limit(per="account", window="day", max={"tokens": 500})))
    assert lines(core) == [("cap", "ann", "80"), ("cap", "ann", "100")]
    assert core.every(e.LimitLine)[1].used_units == 700
    core.when(hold("ann", "i", 1))
    core.then_refused("limit_reached", max=500, used=700, held=200)
    assert core.when(c.CheckEnforcement(agent="ann")).action == "stop"
    core.given(settle("h", 150), use("ann", 5))
    assert lines(core) == [], "operators know"
    core.wait(12 * 3_600).given(hold("ann", "j", 500))


@pytest.mark.parametrize("then", ["stop", "refuse", "warn"])
@pytest.mark.parametrize("window", ["total", "hour", "month", {"hours": 5}, {"hours": 5, "from": "first_use"}], ids=str)
def test_the_alerts_are_the_same_in_windows_of_every_kind(window: Any, then: str) -> None:
    core = limited(limit(window=window, max={"tokens": 1_000, "cost_usd": 9}, then=then))
    core.given(allocate("ann", 10_000, "100"), use("ann", 450, "8.5"))
    assert lines(core) == [("cap", "fleet", "80")], "of the cost"
    core.given(load(limit(window=window, max={"tokens": 500, "cost_usd": 9}, then=then)))
    assert lines(core) == [], "once for each percentage of a counter"
    core.given(load(limit(window=window, max={"tokens": 400, "cost_usd": 9}, then=then)))
    assert lines(core) == [("cap", "fleet", "100")]


def test_a_limit_that_comes_nearer_without_being_reached_alerts_to_what_it_has_come_to() -> None:
    core = limited(limit(window="day", max={"tokens": 1_000}, alert_at_percent=[50, 80, 100]))
    core.given(allocate("ann", 10_000), use("ann", 400)).given(load(limit(window="day", max={"tokens": 700})))
    assert lines(core) == [], "alerts at 80 and 100 % from here on"
    core.given(load(limit(window="day", max={"tokens": 700}, alert_at_percent=[50, 80, 100])))
    assert lines(core) == [("cap", "fleet", "50")]


def test_what_has_left_a_rolling_window_calls_for_no_alert() -> None:
    core = limited(limit(window={"seconds": 60}, max={"tokens": 1_000}))
    core.given(allocate("ann", 10_000), use("ann", 700)).wait(120)
    core.given(load(limit(window={"seconds": 60}, max={"tokens": 500})))
    assert lines(core) == []


def test_a_raised_or_unchanged_limit_and_one_that_paces_alert_to_nothing() -> None:
    core = limited(
        limit(window="day", max={"tokens": 1_000}), limit("pace", window="hour", max={"tokens": 900}, then="wait")
    )
    core.given(allocate("ann", 10_000), use("ann", 700))
    pace = limit("pace", window="hour", max={"tokens": 100}, then="wait")
    for most in (1_000, 2_000):
        core.given(load(limit(window="day", max={"tokens": most}), pace))
        assert lines(core) == []


def test_a_product_whose_tokens_of_the_day_are_set_below_what_it_used_is_alerted_to() -> None:
    core = Core(fleet(1_000_000, **UNLIMITED), *(allocate(name, 100_000, product=name) for name in ("shop", "web")))
    core.given(use("shop", 900), use("web", 100))
    core.given(load(products={name: {"token_budget_daily": 500} for name in ("shop", "web")}))
    assert lines(core) == [("product-daily:shop", "shop", "80"), ("product-daily:shop", "shop", "100")]
    core.when(hold("shop", "h", 1))
    core.then_refused("daily_limit_reached", limit=500, used=900)
    core.given(use("shop", 1))
    assert lines(core) == []


def test_the_fleets_limit_of_the_day_alerts_under_its_own_codes() -> None:
    core = Core(fleet(1_000_000, **UNLIMITED), allocate("ann", 100_000), use("ann", 900))
    core.given(load(daily_limits={"max_tokens_total": 500}))
    codes = [event.code for event in core.every(e.AlertRaised)]
    assert codes == ["daily_tokens_near", "daily_tokens_reached"]


def test_running_operations_keep_their_place_where_fewer_are_allowed_than_run() -> None:
    core = limited(limit(max={"concurrent": 3}))
    core.given(allocate("ann", 10_000), *(hold("ann", id, 10) for id in "abc"))
    core.given(load(limit(max={"concurrent": 1})))
    assert lines(core) == []
    core.given(settle("a", 10), settle("b", 10))
    core.when(hold("ann", "d", 10))
    core.then_refused("limit_reached", max=1, held=1)
    core.given(settle("c", 10), hold("ann", "e", 10))


def test_a_hold_that_waited_for_a_limit_that_is_lowered_under_it_is_settled_as_ever() -> None:
    core = limited(limit(window="day", max={"tokens": 1_000}))
    core.given(allocate("ann", 10_000), hold("ann", "h", 900))
    core.given(load(limit(window="day", max={"tokens": 100})))
    assert lines(core) == [], "what is held is not used"
    core.given(c.Heartbeat(hold="h", ttl_seconds=Decimal(600)))
    core.when(c.Heartbeat(hold="h", amount=hold("ann", "x", 1).estimate))
    core.then_refused("limit_reached", held=900)
    core.given(settle("h", 950))
    assert lines(core) == [("cap", "fleet", "80"), ("cap", "fleet", "100")]


def test_of_very_many_counters_so_many_are_alerted_to_at_once_and_the_others_at_their_next_use() -> None:
    core = limited(limit(per="account", window="day", max={"tokens": 1_000}))
    names = [f"a{n}" for n in range(LOWERED_MAX + 20)]
    core.given(*(allocate(name, 2_000) for name in names), *(use(name, 500) for name in names))
    core.given(load(limit(per="account", window="day", max={"tokens": 400}, alert_at_percent=[100])))
    alerted = {value for _, value, _ in lines(core)}
    assert len(alerted) == LOWERED_MAX
    (later, *_) = [name for name in names if name not in alerted]
    core.given(use(later, 1))
    assert lines(core) == [("cap", later, "100")]
    core.given(load(limit(per="account", window="day", max={"tokens": 300}, alert_at_percent=[100])))
    assert len(lines(core)) == 19, "those of which operators were not alerted yet"


# --- by an operator ---------------------------------------------------------------------------------------------------


def raised(limit: str, value: str | None = None, **most: Any) -> c.ApproveLimit:
    return c.ApproveLimit(limit=limit, value=value, max=c.MaxChange(**most), reason="a long night")


@pytest.mark.parametrize("value", [None, "ann"])
def test_a_raise_that_is_revoked_or_made_smaller_below_what_is_used_alerts_again(value: str | None) -> None:
    core = limited(limit(per="account", window="day", max={"tokens": 1_000}))
    core.given(allocate("ann", 10_000), allocate("ben", 10_000), use("ann", 1_000)).given(
        raised("cap", value, tokens=5_000)
    )
    assert lines(core) == []
    core.given(use("ann", 1_500))
    assert lines(core) == []
    core.given(raised("cap", value, tokens=2_000))
    assert lines(core) == [("cap", "ann", "80"), ("cap", "ann", "100")]
    core.given(raised("cap", value))
    assert lines(core) == []
    core.when(hold("ann", "h", 1))
    core.then_refused("limit_reached", max=1_000, used=2_500)


def test_a_products_raise_that_is_revoked_alerts_as_well() -> None:
    core = Core(fleet(1_000_000, products={"shop": {"token_budget_daily": 1_000}}, **UNLIMITED))
    core.given(allocate("ann", 100_000, product="shop"), raised("product-daily:shop", tokens=5_000), use("ann", 1_200))
    assert lines(core) == []
    core.given(raised("product-daily:shop", tokens=None))
    assert lines(core) == [("product-daily:shop", "shop", "80"), ("product-daily:shop", "shop", "100")]


def test_a_raise_of_the_fleets_day_that_is_revoked_alerts_under_its_own_codes() -> None:
    core = Core(fleet(1_000_000, daily_limits={"max_tokens_total": 1_000, "max_cost_usd": None}))
    core.given(allocate("ann", 100_000), raised("daily", tokens=5_000), use("ann", 1_200)).given(raised("daily"))
    assert [event.code for event in core.every(e.AlertRaised)] == ["daily_tokens_near", "daily_tokens_reached"]


def test_a_raise_of_an_accounts_own_limit_that_is_revoked_makes_it_black_again() -> None:
    core = limited()
    own = c.AllocateBudget(agent="ann", limits=[{"window": "month", "max": {"tokens": 1_000}}])
    core.given(own, use("ann", 1_000)).given(raised("ann/1", tokens=5_000))
    assert core.status("ann").status == "green"
    core.given(use("ann", 500)).given(raised("ann/1"))
    assert lines(core) == [("ann/1", "ann", "80"), ("ann/1", "ann", "100")]
    assert (core.status("ann").status, core.status("ann").percentage) == ("black", 1.5)


def test_a_raise_that_ends_with_its_window_leaves_nothing_above_the_maximum() -> None:
    first_use = {"hours": 5, "from": "first_use"}
    core = limited(limit(window=first_use, max={"tokens": 1_000}))
    core.given(allocate("ann", 10_000), use("ann", 900), raised("cap", tokens=5_000), use("ann", 3_000))
    core.wait(5 * 3_600 - 1)
    core.when(hold("ann", "h", 1_101))
    core.then_refused("limit_reached", max=5_000, used=3_900)
    core.wait(1).given(hold("ann", "i", 1_000))
    core.when(hold("ann", "j", 1))
    core.then_refused("limit_reached", max=1_000, used=0, held=1_000)
