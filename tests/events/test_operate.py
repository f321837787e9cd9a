"""Totals, periods, the reserve and the configuration."""

import datetime as dt
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from tallystick.events import catalog as e
from tallystick.events import commands as c
from tallystick.events import proposals as p
from tallystick.events.decide.operate import period_end
from tests.law import START, Law, allocate, budget, fleet, hold, tokens, use


def set_total(**dimensions: Any) -> c.SetTotalBudget:
    return c.SetTotalBudget(budget=c.BudgetChange(**dimensions))


def utc(*when: int) -> dt.datetime:
    return dt.datetime(*when, tzinfo=dt.UTC)  # type: ignore[misc,arg-type]


# --- the total -------------------------------------------------------------------------------------------------------


def test_a_new_total_replaces_only_the_dimensions_it_names() -> None:
    law = Law(fleet(1_000, "10", emergency_reserve_percent=10), allocate("ann", 300))
    answer = law.when(set_total(tokens=2_000))
    assert (answer.total.tokens, answer.total.cost_usd, answer.total.time_seconds) == (2_000, "10.00", None)
    assert (law.pool, law.in_reserve) == ((1_500, None, 9_000_000_000), (200, None, 1_000_000_000))


def test_null_removes_a_limit_and_a_number_brings_it_back() -> None:
    law = Law(fleet(1_000, "10"), allocate("ann", 300))
    assert law.when(set_total(tokens=None)).total == msgspec.structs.replace(tokens(0), tokens=None, cost_usd="10.00")
    law.given(allocate("bob", 50_000))
    law.when(set_total(tokens=50_299))
    assert law.then_refused("below_committed").numbers["committed"].tokens == 50_300
    law.given(set_total(tokens=60_000))
    assert law.pool[0] == 9_700


def test_a_total_below_what_is_granted_held_or_spent_is_refused_with_the_numbers() -> None:
    law = Law(fleet(1_000), allocate("ann", 300), use("stranger", 100), use("ann", 50))
    law.when(set_total(tokens=399))
    refusal = law.then_refused("below_committed")
    assert (refusal.numbers["requested"], refusal.numbers["committed"].tokens) == (tokens(399), 400)
    law.given(set_total(tokens=400))
    assert law.pool[0] == 0


def test_a_total_without_a_dimension_and_one_that_is_no_amount_are_refused() -> None:
    law = Law(fleet(1_000))
    law.when(set_total())
    law.then_refused("invalid_amount", field="budget")
    for name, value in (("tokens", -1), ("time_seconds", Decimal("NaN")), ("cost_usd", Decimal("1E-10"))):
        law.when(set_total(**{name: value}))
        law.then_refused("invalid_amount", field=f"budget.{name}")


def test_a_higher_total_pays_the_debt_first_then_the_reserve_then_the_pool() -> None:
    law = Law(fleet(1_000, emergency_reserve_percent=10), use("stranger", 1_300))
    assert law.overdraft[0] == 300
    law.given(set_total(tokens=1_340))
    assert (law.overdraft[0], law.in_reserve[0], law.pool[0]) == (0, 40, 0)
    law.given(set_total(tokens=2_000))
    assert (law.overdraft[0], law.in_reserve[0], law.pool[0]) == (0, 200, 500)


def test_usage_before_any_configuration_counts_from_the_first_one() -> None:
    law = Law(use("stranger", 100), fleet(1_000))
    assert law.pool[0] == 900


# --- periods ---------------------------------------------------------------------------------------------------------


def test_what_is_left_of_a_period_lapses_and_open_accounts_go_on() -> None:
    law = Law(fleet(1_000, period="day"), allocate("ann", 400), use("ann", 150), use("stranger", 50))
    law.wait(12 * 3_600 - 1).given(p.RenewPeriod())
    assert law.every(e.PeriodRenewed) == []
    law.wait(1).given(p.RenewPeriod())
    renewed = law.only(e.PeriodRenewed)
    assert (renewed.began_at, renewed.period_ends_at, renewed.by) == (utc(2026, 3, 5), utc(2026, 3, 6), "clock")
    # Spent so far, 200, and the period's 1,000; ann still has 250 of them.
    assert (renewed.total.tokens, law.ledger.total[0], law.pool[0]) == (1_200, 1_000, 750)
    assert law.status("ann").remaining == tokens(250)
    answer = law.when(c.GetGlobalStatus())
    assert (answer.total_consumed.tokens, answer.pressure, answer.total.tokens) == (0, 0.0, 1_000)


def test_with_rollover_what_was_left_is_kept() -> None:
    law = Law(fleet(1_000, period="day", rollover=True), allocate("ann", 400), use("ann", 150))
    law.wait(86_400).given(p.RenewPeriod())
    assert (law.ledger.total[0], law.pool[0]) == (1_850, 1_600)
    law.wait(86_400).given(p.RenewPeriod())
    assert law.ledger.total[0] == 2_850


def test_what_was_overspent_is_not_owed_by_the_next_period() -> None:
    for rollover in (False, True):
        law = Law(fleet(1_000, period="day", rollover=rollover), use("stranger", 1_700))
        assert law.overdraft[0] == 700
        law.wait(86_400).given(p.RenewPeriod())
        assert (law.overdraft[0], law.pool[0], law.ledger.response) == (0, 1_000, 0)


def test_grants_beyond_a_new_period_are_a_debt_until_they_come_back() -> None:
    law = Law(fleet(1_000, period="day"), set_total(tokens=3_000), allocate("ann", 2_500))
    law.given(fleet(1_000, period="day", max_pool_share_percent=60))
    assert law.ledger.total[0] == 3_000
    law.wait(86_400).given(p.RenewPeriod())
    assert (law.ledger.total[0], law.pool[0]) == (3_000, 500)


def test_a_hold_lives_through_a_renewal_and_one_that_expires_at_that_moment_goes_first() -> None:
    law = Law(fleet(1_000, period="day"), allocate("ann", 400))
    law.wait(12 * 3_600 - 300).given(hold("ann", "h", 100), hold("ann", "i", 100, ttl_seconds=Decimal(900)))
    law.wait(300).given(p.RenewPeriod())
    assert [type(event) for event in law.decided.events] == [e.HoldEnded, e.DayBegan, e.PeriodRenewed]
    assert law.account("ann").held[0] == 100


def test_periods_that_passed_unseen_are_renewed_one_by_one() -> None:
    law = Law(fleet(1_000, period="day"), use("stranger", 10)).wait(3 * 86_400)
    law.given(use("stranger", 10))
    assert [event.began_at.day for event in law.every(e.PeriodRenewed)] == [5, 6, 7]
    assert law.ledger.consumed[0] == 10


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
    assert period_end(Law(command).ledger.rules.config, now) == end


def test_a_fleet_without_a_period_never_renews() -> None:
    law = Law(fleet(1_000), use("stranger", 10)).wait(400 * 86_400)
    law.given(p.RenewPeriod())
    assert [type(event) for event in law.decided.events] == [e.DayBegan]


# --- the configuration -----------------------------------------------------------------------------------------------


def test_a_configuration_is_a_fact_in_full_with_its_hash() -> None:
    law = Law(fleet(1_000))
    event = law.only(e.ConfigLoaded)
    assert event.config["enforcement"]["warn_at"] == "0.5"
    assert len(event.sha256) == 64
    law.given(fleet(1_000))
    assert law.only(e.ConfigLoaded).sha256 == event.sha256
    law.then_events(e.ConfigLoaded)


def test_the_total_follows_a_configuration_only_where_its_own_total_changed() -> None:
    law = Law(fleet(1_000), set_total(tokens=5_000), fleet(1_000, minimum_share_percent=7))
    assert law.ledger.total[0] == 5_000
    law.given(fleet(2_000))
    assert law.ledger.total[0] == 2_000


def test_a_configuration_with_a_total_below_what_is_committed_is_refused() -> None:
    law = Law(fleet(1_000), allocate("ann", 800))
    law.when(fleet(700))
    law.then_refused("below_committed")


def test_a_configuration_that_is_none_is_refused_with_the_key() -> None:
    law = Law(fleet(1_000))
    law.when(c.LoadConfig(config={"enforcment": {}}))
    assert "enforcment" in law.then_refused("invalid_message").detail
    law.when(p.LoadPrices(prices={"x": {"input": -1, "output": 1}}))
    assert "prices" in law.then_refused("invalid_message").detail


def test_a_new_reserve_percentage_moves_money_between_pool_and_reserve() -> None:
    law = Law(fleet(1_000), allocate("ann", 800), fleet(1_000, emergency_reserve_percent=30))
    assert (law.pool[0], law.in_reserve[0]) == (0, 200)
    law.given(c.ReleaseBudget(agent="ann"))
    assert (law.pool[0], law.in_reserve[0]) == (700, 300)


def test_new_thresholds_change_levels_at_once() -> None:
    law = Law(fleet(1_000), allocate("ann", 100), use("ann", 60), fleet(1_000, enforcement={"warn_at": "0.7"}))
    law.then_events(e.ConfigLoaded, e.LevelChanged)
    assert law.check("ann").status == "green"


# --- the view of the whole -------------------------------------------------------------------------------------------


def test_the_fleets_status_adds_up() -> None:
    law = Law(fleet(1_000, emergency_reserve_percent=10), allocate("ann", 400), allocate("ann/1", 100, parent="ann"))
    law.given(use("ann/1", 30), use("stranger", 20), allocate("bob", 100))
    status = law.when(c.GetGlobalStatus())
    assert (status.total, status.total_allocated, status.total_consumed) == (
        tokens(1_000),
        tokens(500),
        msgspec.structs.replace(tokens(50), time_seconds=0, cost_usd="0.00"),
    )
    assert (status.pool_available, status.reserve, status.overdraft) == (tokens(380), tokens(100), tokens(0))
    assert (status.agent_count, status.pressure, status.position) == (3, 0.055556, law.ledger.position)


def test_statuses_come_in_pages_in_the_order_of_their_ids() -> None:
    law = Law(fleet(1_000), *(allocate(name, 10) for name in ("cyd", "ann", "dee", "bob")))
    first = law.when(c.GetGlobalStatus(limit=2))
    assert [status.agent for status in first.agent_statuses] == ["ann", "bob"]
    second = law.when(c.GetGlobalStatus(limit=2, after="bob"))
    assert [status.agent for status in second.agent_statuses] == ["cyd", "dee"]
    assert law.when(c.GetGlobalStatus(limit=0)).agent_statuses == []
    assert [s.agent for s in law.when(c.GetGlobalStatus(after="box")).agent_statuses] == ["cyd", "dee"]


def test_time_never_runs_backwards() -> None:
    law = Law(fleet(1_000), allocate("ann", 100)).wait(100).given(use("ann", 1))
    law.when(use("ann", 1), at=START)
    assert law.log[-1].at == START + dt.timedelta(seconds=100)


def test_a_snapshots_hash_is_recorded() -> None:
    law = Law(fleet(1_000), p.RecordSnapshot(position=2, sha256="ab" * 32))
    assert (law.only(e.SnapshotRecorded).upto, law.only(e.SnapshotRecorded).sha256) == (2, "ab" * 32)


def test_a_draw_that_the_period_share_allows_is_measured_on_the_total() -> None:
    law = Law(fleet(1_000, period="day"), c.AllocateFromPool(agent="ann", request=budget(500)))
    law.when(c.AllocateFromPool(agent="ann", request=budget(1)))
    law.then_refused("pool_share_exceeded")
