"""Daily limits (spec 3, "Cost control"): the window, holds, admission, and alerts that are given once."""

import datetime as dt
from typing import Any

import pytest

from tallystick.config.loader import from_mapping
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide.daily_limits import day_of
from tallystick.events.messages import proposals as p
from tests.support.core import Core, allocate, budget, complete, fleet, hold, preempt, settle, start, submit, use

QUIET: dict[str, Any] = {"enforcement": {"throttle_at": 1, "degrade_at": 1}, "minimum_share_percent": 0}
NO_LIMITS: dict[str, Any] = {"max_tokens_total": None, "max_cost_usd": None}
NO_BREAKER: dict[str, Any] = {"circuit_breaker": {"trip_conditions": []}}
MIDNIGHT = dt.datetime(2026, 3, 5, tzinfo=dt.UTC)


def configured(limits: dict[str, Any], **config: Any) -> Core:
    """A fleet with daily limits and plenty of everything else."""
    return Core(fleet(100_000_000, **QUIET, **NO_BREAKER, daily_limits={**NO_LIMITS, **limits}, **config))


def messages(core: Core) -> list[str]:
    return [event.message for event in core.every(e.AlertRaised)]


# --- the window -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "now", "date", "ends_at"),
    [
        ("UTC", "2026-03-04T12:00Z", "2026-03-04", "2026-03-05T00:00Z"),
        ("UTC", "2026-03-05T00:00Z", "2026-03-05", "2026-03-06T00:00Z"),
        ("Europe/Zurich", "2026-03-04T23:00Z", "2026-03-05", "2026-03-05T23:00Z"),
        ("Europe/Zurich", "2026-03-28T23:00Z", "2026-03-29", "2026-03-29T22:00Z"),  # 23 hours
        ("Europe/Zurich", "2026-10-24T22:00Z", "2026-10-25", "2026-10-25T23:00Z"),  # 25 hours
        (
            "America/Sao_Paulo",
            "2018-11-04T02:30Z",
            "2018-11-03",
            "2018-11-04T03:00Z",
        ),  # a day without a midnight follows
    ],
)
def test_a_day_is_as_long_as_the_clocks_of_its_zone_say(zone: str, now: str, date: str, ends_at: str) -> None:
    config = from_mapping({"timezone": zone})
    assert day_of(config, dt.datetime.fromisoformat(now)) == (date, dt.datetime.fromisoformat(ends_at))


def test_a_day_begins_at_midnight_before_all_else_and_what_it_used_is_history() -> None:
    core = configured({"max_tokens_total": 1_000})
    core.given(allocate("ann", 5_000), use("ann", 900))
    core.when(hold("ann", "h", 101))
    refused = core.then_refused("daily_limit_reached", dimension="tokens", limit=1_000, used=900, held=0, requested=101)
    assert refused.numbers["retry_after_seconds"] == 12 * 3_600
    core.when(hold("ann", "i", 101), at=MIDNIGHT - dt.timedelta(microseconds=1))
    core.then_refused("daily_limit_reached", retry_after_seconds=0.000001)
    core.when(hold("ann", "j", 101), at=MIDNIGHT)
    (began,) = core.due
    assert isinstance(began, e.DayBegan)
    assert (began.date, began.ends_at, began.by) == ("2026-03-05", MIDNIGHT + dt.timedelta(days=1), "clock")
    core.then_events(e.HoldPlaced)


def test_after_days_without_a_message_the_present_one_begins() -> None:
    core = configured({})
    core.given(use("stranger", 10)).wait(10 * 86_400).given(use("stranger", 10))
    assert core.only(e.DayBegan).date == "2026-03-14"


def test_a_hold_that_is_open_at_midnight_counts_in_the_new_day() -> None:
    core = configured({"max_tokens_total": 1_000})
    core.given(allocate("ann", 5_000), hold("ann", "h", 800, ttl_seconds=100_000))
    core.when(hold("ann", "i", 201), at=MIDNIGHT)
    core.then_refused("daily_limit_reached", used=0, held=800)
    core.given(settle("h", 500))
    core.when(hold("ann", "j", 501))
    core.then_refused("daily_limit_reached", used=500, held=0)
    core.when(hold("ann", "k", 500))
    core.then_events(e.HoldPlaced)


def test_another_time_zone_keeps_the_count_of_the_day_at_hand_and_moves_its_end() -> None:
    core = configured({"max_tokens_total": 1_000})
    core.given(allocate("ann", 5_000), use("ann", 600))
    core.given(fleet(100_000_000, **QUIET, **NO_BREAKER, daily_limits=NO_LIMITS, timezone="Europe/Zurich"))
    assert (core.ledger.day.date, core.ledger.day.ends_at.hour) == ("2026-03-04", 23)
    assert core.ledger.used_today[0] == 600
    core.given(fleet(100_000_000, **QUIET, **NO_BREAKER, daily_limits=NO_LIMITS, timezone="Pacific/Kiritimati"))
    assert (core.ledger.day.date, core.ledger.day.ends_at.hour, core.ledger.used_today[0]) == ("2026-03-04", 10, 600)
    core.wait(22 * 3_600).pass_time()
    assert (core.ledger.day.date, core.ledger.used_today[0]) == ("2026-03-06", 0)


def test_a_limit_of_the_day_stays_reached_when_the_zone_is_changed_and_changed_back() -> None:
    core = configured({"max_tokens_total": 1_000})
    core.given(allocate("ann", 5_000), use("ann", 1_000))
    core.given(c.LoadConfig(config={"timezone": "Pacific/Kiritimati"}), c.LoadConfig(config={"timezone": "UTC"}))
    core.when(hold("ann", "h", 1))
    core.then_refused("daily_limit_reached", used=1_000)


# --- holds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "fits"), [(400, True), (401, False)])
def test_used_held_and_requested_are_within_the_limit_exactly(asked: int, fits: bool) -> None:
    core = configured({"max_tokens_total": 1_000})
    core.given(allocate("ann", 5_000), allocate("bob", 5_000), use("ann", 100), hold("ann", "h", 500))
    core.when(hold("bob", "i", asked))
    if fits:
        core.then_events(e.HoldPlaced)
    else:
        core.then_refused("daily_limit_reached", used=100, held=500, requested=401)


def test_a_limit_that_is_reached_lets_nothing_more_be_set_aside_whatever_it_is_counted_in() -> None:
    core = configured({"max_cost_usd": 5})
    core.given(allocate("ann", 5_000, "20"), use("ann", 1, "5"))
    core.when(hold("ann", "h", 1))
    core.then_refused("daily_limit_reached", dimension="cost_usd", limit="5.00", used="5.00", requested="0.00")


def test_more_than_a_whole_day_is_not_worth_waiting_for() -> None:
    core = configured({"max_tokens_total": 1_000})
    core.given(allocate("ann", 5_000))
    core.when(hold("ann", "h", 1_001))
    core.then_refused("daily_limit_reached", retry_after_seconds=None)


def test_a_product_has_tokens_of_its_own_also_those_of_its_sub_agents() -> None:
    core = configured({}, products={"shop": {"token_budget_daily": 1_000}})
    core.given(allocate("ann", 5_000, product="shop"), allocate("ann/1", 500, parent="ann"), allocate("bob", 9_000))
    core.given(use("ann", 200), use("ann/1", 100), hold("ann/1", "h", 300))
    core.when(hold("ann", "i", 401))
    refused = core.then_refused("daily_limit_reached", limit=1_000, used=300, held=300, requested=401)
    assert "shop" in refused.detail
    core.given(hold("bob", "j", 9_000), hold("ann", "k", 400))


def test_late_usage_counts_for_the_product_that_it_was_for() -> None:
    core = configured({}, products={"shop": {"token_budget_daily": 1_000}})
    core.given(allocate("ann", 500, product="shop"), c.ReleaseBudget(agent="ann"), use("ann", 700))
    core.given(allocate("bob", 500, product="shop"))
    core.when(hold("bob", "h", 301))
    core.then_refused("daily_limit_reached", used=700)


def test_usage_is_a_fact_whatever_the_limit() -> None:
    core = configured({"max_tokens_total": 1_000})
    core.given(allocate("ann", 5_000), hold("ann", "h", 900))
    core.given(settle("h", 4_000))
    assert core.ledger.used_today[0] == 4_000


# --- admission --------------------------------------------------------------------------------------------------------


def test_what_runs_counts_with_the_unspent_rest_of_its_token_budget() -> None:
    core = configured({"max_tokens_total": 200_000})
    core.given(submit("a"), use("a", 30_000), submit("b"))
    assert (core.ledger.commitments.open, core.ledger.used_today[0]) == (130_000, 30_000)
    answer = core.when(submit("c", "qa-engineer"))
    reason = answer.reason
    assert (reason.code, reason.limit, reason.current) == ("daily_tokens", 200_000, 160_000)
    assert reason.message == (
        "daily token limit: 160000 of 200000 is used today or committed to running tasks, 60000 is needed"
    )
    core.given(complete("a"))
    core.given(start("c"))


def test_a_hold_of_a_run_is_a_part_of_what_it_may_use_and_what_exceeds_it_counts_as_well() -> None:
    core = configured({"max_tokens_total": 1_000_000})
    core.given(submit("a"), use("a", 30_000), hold("a", "h", 20_000))
    assert core.ledger.commitments.open + core.ledger.held[0] == 50_000
    core.given(hold("a", "i", 60_000))
    assert core.ledger.commitments.open + core.ledger.held[0] == 80_000
    core.given(settle("i", 90_000))
    assert core.ledger.commitments.open + core.ledger.held[0] == 20_000


def test_agents_below_a_run_use_what_it_may_use() -> None:
    core = configured({"max_tokens_total": 1_000_000})
    core.given(submit("a"), allocate("a/1", 20_000, parent="a"), use("a/1", 15_000))
    assert core.ledger.commitments.open == 65_000
    core.given(c.CancelTask(task="a"))
    assert core.ledger.commitments.open == 0


def test_cost_to_come_is_at_the_chosen_models_price_with_the_measured_mix() -> None:
    prices = p.LoadPrices(prices={"claude-sonnet-5-5": {"input": 2, "output": 10}})
    core = configured({"max_cost_usd": "0.94"})
    core.given(prices, submit("a", "backend-engineer"))
    answer = core.when(submit("b", "backend-engineer"))
    assert answer.decision == "admitted", "$0.16 each: nothing was measured yet, and tokens count as input"
    core.given(c.ReportUsage(task="a", usage=budget(cost="0"), input_tokens=3_000, output_tokens=1_000))
    answer = core.when(submit("c", "frontend-engineer"))
    # 76,000 + 80,000 at $4 per million, and 80,000 more.
    assert (answer.reason.code, answer.reason.limit, answer.reason.current) == ("daily_cost", "0.94", "0.624")


def test_a_products_tokens_come_last_of_the_three() -> None:
    products = {"shop": {"token_budget_daily": 100_000}}
    core = configured({"max_tokens_total": 150_000}, products=products)
    core.given(submit("a"))
    reason = core.when(submit("b")).reason
    assert reason.code == "daily_tokens"
    core.given(fleet(100_000_000, **QUIET, **NO_BREAKER, daily_limits=NO_LIMITS, products=products))
    reason = core.when(submit("c")).reason
    assert (reason.code, reason.limit, reason.current) == ("product_daily_tokens", 100_000, 80_000)
    assert core.when(submit("d", product="lab")).decision == "admitted"


def test_what_a_whole_day_does_not_meet_is_rejected() -> None:
    core = configured({"max_tokens_total": 79_999})
    answer = core.when(submit("a"))
    assert (answer.decision, answer.reason.code) == ("rejected", "daily_tokens")
    core = configured({}, products={"shop": {"token_budget_daily": 79_999}})
    assert core.when(submit("a")).reason.message == "80000 tokens are needed, and shop may use 79999 a day"
    core = configured({"max_cost_usd": 0})
    assert core.when(submit("a")).decision == "rejected"


def test_a_victim_gives_back_what_it_may_still_use() -> None:
    core = configured({"max_tokens_total": 200_000}, max_concurrent={"total": 2, "per_type": {}})
    core.given(submit("low", priority="low"), use("low", 10_000), submit("other"))
    waiting = core.when(submit("first", priority="critical"))
    assert waiting.reason.code == "daily_tokens"
    core.given(preempt("low", "first"))
    assert core.ledger.commitments.open == 160_000


def test_at_exactly_the_limit_a_task_waits_until_the_next_day() -> None:
    core = configured({"max_tokens_total": 80_000})
    core.given(submit("a"), complete("a", used=80_000))
    assert core.when(submit("b")).reason.code == "daily_tokens"
    core.pass_time().wait(12 * 3_600)
    core.given(start("b"))


# --- alerts -----------------------------------------------------------------------------------------------------------


def test_operators_are_alerted_at_80_percent_and_at_the_limit_once_per_day_and_dimension() -> None:
    core = configured({"max_tokens_total": 2_000_000, "max_cost_usd": 100})
    core.given(use("ann", 1_599_999, "79.999999999"))
    assert messages(core) == []
    core.given(use("ann", 1, "0.000000001"))
    core.then_events(e.UsageReported, e.AlertRaised, e.AlertRaised)
    assert messages(core) == ["Approaching daily token limit (80%)", "Approaching daily cost limit (80%)"]
    core.given(use("ann", 399_999, "19.9"))
    assert messages(core) == []
    core.given(use("ann", 1, "0.1"))
    assert messages(core) == ["Daily token limit reached", "Daily cost limit reached"]
    core.given(use("ann", 5_000_000, "500"))
    assert messages(core) == []
    core.now = MIDNIGHT
    core.given(use("ann", 2_000_000))
    assert messages(core) == ["Approaching daily token limit (80%)", "Daily token limit reached"]


def test_the_percentage_of_the_configuration_is_the_one_that_is_said() -> None:
    core = configured({"max_tokens_total": 1_000, "alert_at_percent": "62.5"})
    core.given(use("ann", 625))
    assert messages(core) == ["Approaching daily token limit (62.5%)"]
    core = configured({"max_tokens_total": 1_000, "alert_at_percent": 100})
    core.given(use("ann", 1_000))
    assert messages(core) == ["Daily token limit reached"]


def test_a_limit_that_is_lowered_below_what_was_used_raises_its_alert_at_once() -> None:
    core = configured({"max_tokens_total": 1_000})
    core.given(use("ann", 700))
    core.given(fleet(100_000_000, **QUIET, **NO_BREAKER, daily_limits={**NO_LIMITS, "max_tokens_total": 700}))
    assert messages(core) == ["Approaching daily token limit (80%)", "Daily token limit reached"]
