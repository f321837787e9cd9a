"""Totals, periods, the reserve and the configuration."""

import datetime as dt
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide.totals import period_end
from tallystick.events.messages import proposals as p
from tests.support.core import START, Core, allocate, budget, fleet, hold, tokens, use


def set_total(**dimensions: Any) -> c.SetTotalBudget:
    return c.SetTotalBudget(budget=c.BudgetChange(**dimensions))


def utc(*when: int) -> dt.datetime:
    return dt.datetime(*when, tzinfo=dt.UTC)  # type: ignore[misc,arg-type]


# --- the total -------------------------------------------------------------------------------------------------------


def test_a_new_total_replaces_only_the_dimensions_it_names() -> None:
    core = Core(fleet(1_000, "10", emergency_reserve_percent=10), allocate("ann", 300))
    answer = core.when(set_total(tokens=2_000))
    assert (answer.total.tokens, answer.total.cost_usd, answer.total.time_seconds) == (2_000, "10.00", None)
    assert (core.pool, core.in_reserve) == ((1_500, None, 9_000_000_000), (200, None, 1_000_000_000))


def test_null_removes_a_limit_and_a_number_brings_it_back() -> None:
    core = Core(fleet(1_000, "10"), allocate("ann", 300))
    assert core.when(set_total(tokens=None)).total == msgspec.structs.replace(tokens(0), tokens=None, cost_usd="10.00")
    core.given(allocate("bob", 50_000))
    core.when(set_total(tokens=50_299))
    assert core.then_refused("below_committed").numbers["committed"].tokens == 50_300
    core.given(set_total(tokens=60_000))
    assert core.pool[0] == 9_700


def test_a_total_below_what_is_granted_held_or_spent_is_refused_with_the_numbers() -> None:
    core = Core(fleet(1_000), allocate("ann", 300), use("stranger", 100), use("ann", 50))
    core.when(set_total(tokens=399))
    refusal = core.then_refused("below_committed")
    assert (refusal.numbers["requested"], refusal.numbers["committed"].tokens) == (tokens(399), 400)
    core.given(set_total(tokens=400))
    assert core.pool[0] == 0


def test_a_total_without_a_dimension_and_one_that_is_no_amount_are_refused() -> None:
    core = Core(fleet(1_000))
    core.when(set_total())
    core.then_refused("invalid_amount", field="budget")
    for name, value in (("tokens", -1), ("time_seconds", Decimal("NaN")), ("cost_usd", Decimal("1E-10"))):
        core.when(set_total(**{name: value}))
        core.then_refused("invalid_amount", field=f"budget.{name}")


def test_a_higher_total_pays_the_debt_first_then_the_reserve_then_the_pool() -> None:
    core = Core(fleet(1_000, emergency_reserve_percent=10), use("stranger", 1_300))
    assert core.overdraft[0] == 300
    core.given(set_total(tokens=1_340))
    assert (core.overdraft[0], core.in_reserve[0], core.pool[0]) == (0, 40, 0)
    core.given(set_total(tokens=2_000))
    assert (core.overdraft[0], core.in_reserve[0], core.pool[0]) == (0, 200, 500)


def test_usage_before_any_configuration_counts_from_the_first_one() -> None:
    core = Core(use("stranger", 100), fleet(1_000))
    assert core.pool[0] == 900


# --- periods ---------------------------------------------------------------------------------------------------------


def test_what_is_left_of_a_period_lapses_and_open_accounts_go_on() -> None:
    core = Core(fleet(1_000, period="day"), allocate("ann", 400), use("ann", 150), use("stranger", 50))
    core.wait(12 * 3_600 - 1).pass_time()
    assert core.every(e.PeriodRenewed) == []
    core.wait(1).pass_time()
    renewed = core.only(e.PeriodRenewed)
    assert (renewed.began_at, renewed.period_ends_at, renewed.by) == (utc(2026, 3, 5), utc(2026, 3, 6), "clock")
    # Spent so far, 200, and the period's 1,000; ann still has 250 of them.
    assert (renewed.total.tokens, core.ledger.total[0], core.pool[0]) == (1_200, 1_000, 750)
    assert core.status("ann").remaining == tokens(250)
    answer = core.when(c.GetGlobalStatus())
    assert (answer.total_consumed.tokens, answer.pressure, answer.total.tokens) == (0, 0.0, 1_000)


def test_with_rollover_what_was_left_is_kept() -> None:
    core = Core(fleet(1_000, period="day", rollover=True), allocate("ann", 400), use("ann", 150))
    core.wait(86_400).pass_time()
    assert (core.ledger.total[0], core.pool[0]) == (1_850, 1_600)
    core.wait(86_400).pass_time()
    assert core.ledger.total[0] == 2_850


def test_what_was_overspent_is_not_owed_by_the_next_period() -> None:
    for rollover in (False, True):
        core = Core(fleet(1_000, period="day", rollover=rollover), use("stranger", 1_700))
        assert core.overdraft[0] == 700
        core.wait(86_400).pass_time()
        assert (core.overdraft[0], core.pool[0], core.ledger.response) == (0, 1_000, 0)


def test_grants_beyond_a_new_period_are_a_debt_until_they_come_back() -> None:
    core = Core(fleet(1_000, period="day"), set_total(tokens=3_000), allocate("ann", 2_500))
    core.given(fleet(1_000, period="day", max_pool_share_percent=60))
    assert core.ledger.total[0] == 3_000
    core.wait(86_400).pass_time()
    assert (core.ledger.total[0], core.pool[0]) == (3_000, 500)


def test_a_hold_lives_through_a_renewal_and_one_that_expires_at_that_moment_goes_first() -> None:
    core = Core(fleet(1_000, period="day"), allocate("ann", 400))
    core.wait(12 * 3_600 - 300).given(hold("ann", "h", 100), hold("ann", "i", 100, ttl_seconds=Decimal(900)))
    core.wait(300).pass_time()
    assert [type(event) for event in core.decided.events] == [e.HoldEnded, e.DayBegan, e.PeriodRenewed]
    assert core.account("ann").held[0] == 100


def test_periods_that_passed_unseen_are_renewed_one_by_one() -> None:
    core = Core(fleet(1_000, period="day"), use("stranger", 10)).wait(3 * 86_400)
    core.given(use("stranger", 10))
    assert [event.began_at.day for event in core.every(e.PeriodRenewed)] == [5, 6, 7]
    assert core.ledger.consumed[0] == 10


@pytest.mark.parametrize(
    ("period", "zone", "now", "end"),
    [
        ("day", "UTC", utc(2026, 3, 4, 12), utc(2026, 3, 5)),
        ("day", "UTC", utc(2026, 3, 5), utc(2026, 3, 6)),
        ("week", "UTC", utc(2026, 3, 4, 12), utc(2026, 3, 9)),
        ("week", "UTC", utc(2026, 3, 9), utc(2026, 3, 16)),
        ("month", "UTC", utc(2026, 1, 31, 12), utc(2026, 2, 1)),
        ("month", "UTC", utc(2026, 12, 31), utc(2027, 1, 1)),
        ("day", "Europe/Zurich", utc(2026, 3, 4, 22, 59), utc(2026, 3, 4, 23)),
        # The clocks go forward on 29 March and back on 25 October: days of 23 and 25 hours.
        ("day", "Europe/Zurich", utc(2026, 3, 28, 23), utc(2026, 3, 29, 22)),
        ("day", "Europe/Zurich", utc(2026, 10, 24, 22), utc(2026, 10, 25, 23)),
        ("month", "Europe/Zurich", utc(2026, 3, 10), utc(2026, 3, 31, 22)),
        ("day", "Asia/Kathmandu", utc(2026, 3, 4, 12), utc(2026, 3, 4, 18, 15)),
        # In Cairo the clocks went forward at midnight: 26 April 2024 began at one o'clock.
        ("day", "Africa/Cairo", utc(2024, 4, 25, 12), utc(2024, 4, 25, 22)),
        ("day", "Africa/Cairo", utc(2024, 4, 25, 22), utc(2024, 4, 26, 21)),
    ],
)
def test_a_period_ends_in_the_fleets_time_zone(period: str, zone: str, now: dt.datetime, end: dt.datetime) -> None:
    command = fleet(1_000, period=period, timezone=zone)
    assert period_end(Core(command).ledger.rules.config, now) == end


def test_a_fleet_without_a_period_never_renews() -> None:
    core = Core(fleet(1_000), use("stranger", 10)).wait(400 * 86_400)
    core.pass_time()
    assert [type(event) for event in core.decided.events] == [e.DayBegan]


# --- the configuration -----------------------------------------------------------------------------------------------


def test_a_configuration_is_a_fact_in_full_with_its_hash() -> None:
    core = Core(fleet(1_000))
    event = core.only(e.ConfigLoaded)
    assert event.config["enforcement"]["warn_at"] == "0.5"
    assert len(event.sha256) == 64
    core.given(fleet(1_000))
    assert core.only(e.ConfigLoaded).sha256 == event.sha256
    core.then_events(e.ConfigLoaded)


def test_the_total_follows_a_configuration_only_where_its_own_total_changed() -> None:
    core = Core(fleet(1_000), set_total(tokens=5_000), fleet(1_000, minimum_share_percent=7))
    assert core.ledger.total[0] == 5_000
    core.given(fleet(2_000))
    assert core.ledger.total[0] == 2_000


def test_a_configuration_with_a_total_below_what_is_committed_is_refused() -> None:
    core = Core(fleet(1_000), allocate("ann", 800))
    core.when(fleet(700))
    core.then_refused("below_committed")


def test_a_configuration_that_is_none_is_refused_with_the_key() -> None:
    core = Core(fleet(1_000))
    core.when(c.LoadConfig(config={"enforcment": {}}))
    assert "enforcment" in core.then_refused("invalid_message").detail
    core.when(p.LoadPrices(prices={"x": {"input": -1, "output": 1}}))
    assert "prices" in core.then_refused("invalid_message").detail


def test_a_new_reserve_percentage_moves_money_between_pool_and_reserve() -> None:
    core = Core(fleet(1_000), allocate("ann", 800), fleet(1_000, emergency_reserve_percent=30))
    assert (core.pool[0], core.in_reserve[0]) == (0, 200)
    core.given(c.ReleaseBudget(agent="ann"))
    assert (core.pool[0], core.in_reserve[0]) == (700, 300)


def test_new_thresholds_change_levels_at_once() -> None:
    core = Core(fleet(1_000), allocate("ann", 100), use("ann", 60), fleet(1_000, enforcement={"warn_at": "0.7"}))
    core.then_events(e.ConfigLoaded, e.LevelChanged)
    assert core.check("ann").status == "green"


# --- the view of the whole -------------------------------------------------------------------------------------------


def test_the_fleets_status_adds_up() -> None:
    core = Core(fleet(1_000, emergency_reserve_percent=10), allocate("ann", 400), allocate("ann/1", 100, parent="ann"))
    core.given(use("ann/1", 30), use("stranger", 20), allocate("bob", 100))
    status = core.when(c.GetGlobalStatus())
    assert (status.total, status.total_allocated, status.total_consumed) == (
        tokens(1_000),
        tokens(500),
        msgspec.structs.replace(tokens(50), time_seconds=0, cost_usd="0.00"),
    )
    assert (status.pool_available, status.reserve, status.overdraft) == (tokens(380), tokens(100), tokens(0))
    assert (status.agent_count, status.pressure, status.position) == (3, 0.055556, core.ledger.position)


def test_statuses_come_in_pages_in_the_order_of_their_ids() -> None:
    core = Core(fleet(1_000), *(allocate(name, 10) for name in ("cyd", "ann", "dee", "bob")))
    first = core.when(c.GetGlobalStatus(limit=2))
    assert [status.agent for status in first.agent_statuses] == ["ann", "bob"]
    second = core.when(c.GetGlobalStatus(limit=2, after="bob"))
    assert [status.agent for status in second.agent_statuses] == ["cyd", "dee"]
    assert core.when(c.GetGlobalStatus(limit=0)).agent_statuses == []
    assert [s.agent for s in core.when(c.GetGlobalStatus(after="box")).agent_statuses] == ["cyd", "dee"]


def test_time_never_runs_backwards() -> None:
    core = Core(fleet(1_000), allocate("ann", 100)).wait(100).given(use("ann", 1))
    core.when(use("ann", 1), at=START)
    assert core.log[-1].at == START + dt.timedelta(seconds=100)


def test_a_snapshots_hash_is_recorded() -> None:
    core = Core(fleet(1_000), p.RecordSnapshot(position=2, sha256="ab" * 32))
    assert (core.only(e.SnapshotRecorded).upto, core.only(e.SnapshotRecorded).sha256) == (2, "ab" * 32)


def test_a_draw_that_the_period_share_allows_is_measured_on_the_total() -> None:
    core = Core(fleet(1_000, period="day"), c.AllocateFromPool(agent="ann", request=budget(500)))
    core.when(c.AllocateFromPool(agent="ann", request=budget(1)))
    core.then_refused("pool_share_exceeded")


# --- what a configuration leaves out ----------------------------------------------------------------------------------


def test_a_configuration_changes_what_it_names_and_lifts_nothing_else() -> None:
    core = Core(c.LoadConfig(config={"total_budget": {"tokens": 1000, "cost_usd": 5}, "daily_limits": DAILY}))
    core.given(c.LoadConfig(config={"timezone": "Europe/Zurich"}))
    in_force = core.ledger.rules.config
    assert in_force.timezone == "Europe/Zurich"
    assert in_force.daily_limits.max_tokens_total == 500
    assert core.ledger.total == (1000, None, 5_000_000_000)
    core.given(c.LoadConfig(config={"daily_limits": {"max_tokens_total": None}, "total_budget": {"cost_usd": None}}))
    assert core.ledger.rules.config.daily_limits.max_tokens_total is None
    assert core.ledger.rules.config.daily_limits.max_cost_usd == 7
    assert core.ledger.total == (1000, None, None)


DAILY = {"max_tokens_total": 500, "max_cost_usd": 7}


def test_what_stays_in_force_without_being_named_is_reported_once() -> None:
    core = Core(c.LoadConfig(config={"daily_limits": DAILY}))
    warnings = core.when(c.LoadConfig(config={"daily_limits": {"max_cost_usd": 8}})).warnings
    assert [(one.code, one.key) for one in warnings] == [("limits_kept", "daily_limits.max_tokens_total")]
    assert core.when(c.LoadConfig(config={"daily_limits": DAILY})).warnings == []


def test_a_trip_condition_on_a_limit_that_is_absent_is_reported() -> None:
    core = Core(c.LoadConfig(config={"daily_limits": DAILY}))
    warnings = core.when(
        c.LoadConfig(config={"daily_limits": {"max_cost_usd": None, "max_tokens_total": 500}})
    ).warnings
    assert [one.code for one in warnings] == ["can_never_trip"]
    assert "there is no daily_limits.max_cost_usd" in warnings[0].message


@pytest.mark.parametrize("before", [[], [{"daily_limits": DAILY}], [{"timezone": "UTC"}]])
def test_the_packaged_condition_is_reported_too_as_long_as_its_limit_is_absent(before: list[Any]) -> None:
    core = Core(*(c.LoadConfig(config=config) for config in before))
    without = {"daily_limits": {"max_cost_usd": None, "max_tokens_total": 500}}
    assert [one.code for one in core.when(c.LoadConfig(config=without)).warnings] == ["can_never_trip"]
    assert core.when(c.LoadConfig(config={"daily_limits": DAILY})).warnings == []


@pytest.mark.parametrize(
    "config", [{"notifications": {"ceo": ["json://elsewhere/hook"]}}, {"metrics_file": "/etc/passwd"}]
)
def test_addresses_and_paths_come_from_the_local_file_only(config: dict[str, Any]) -> None:
    core = Core(c.LoadConfig(config={"notifications": {"ceo": ["json://here/hook"]}, "metrics_file": "metrics.json"}))
    (key,) = config
    answer = core.when(c.LoadConfig(config=config))
    core.then_refused("local_only", key=key)
    assert f"config.{key}: found another value, allowed is the one in force" in answer.detail
    same = {"notifications": {"ceo": ["json://here/hook"]}, "metrics_file": "metrics.json", "timezone": "Asia/Tokyo"}
    core.given(c.LoadConfig(config=same))
    core.given(c.LoadConfig(config=config, id=f"{c.INTERNAL_ID}file"))


def test_a_dimension_that_a_file_does_not_change_keeps_what_an_operator_set() -> None:
    core = Core(c.LoadConfig(config={"total_budget": {"tokens": 1000, "cost_usd": 5}}))
    core.given(c.SetTotalBudget(budget=c.BudgetChange(cost_usd=Decimal(50))))
    core.given(c.LoadConfig(config={"total_budget": {"tokens": 2000}}))
    assert core.ledger.total == (2000, None, 50_000_000_000)
