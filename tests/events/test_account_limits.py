"""Limits of an account, and accounts that carve nothing out (spec 6)."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.log import snapshot
from tallystick.events.messages.operate import MaxChange
from tallystick.events.messages.replies import Refusal
from tests.support.capped import ask, bound, most, spend, teams
from tests.support.core import Core, allocate, budget, complete, fleet, hold, settle, submit
from tests.support.corrections import correction, records

NEXT_MONTH = dt.datetime(2026, 4, 1, 0, 0, tzinfo=dt.UTC)


def team_of_ten(**config: Any) -> Core:
    """Ten members with at most $5 a month each, in a team of $20."""
    core = teams(**config).given(allocate("team", cost="20"))
    return core.given(*(bound(f"m{n}", most(cost_usd=5), parent="team") for n in range(10)))


# --- ten members with at most $5 each share a team of $20 ------------------------------------------------------------


def test_ten_members_with_at_most_5_dollars_each_share_a_team_of_20() -> None:
    core = team_of_ten()
    assert core.status("team").remaining.cost_usd == "20.00"
    core.given(*(spend(f"m{n}", "4") for n in range(4)))
    # Each has 1 dollar left of its own, and the team 4.
    assert core.status("m0").remaining.cost_usd == "1.00"
    assert core.status("m9").remaining.cost_usd == "4.00"
    core.when(ask("m0", "a", "1.01"))
    core.then_refused("limit_reached", limit="m0/1", value="m0", max="5.00", used="4.00", window="month")
    core.when(ask("m9", "b", "4.01"))
    core.then_refused("budget_exhausted")
    core.given(ask("m9", "c", "4"))
    core.when(ask("m0", "d", "0.5"))
    core.then_refused("budget_exhausted")


def test_an_account_without_a_carve_out_takes_nothing_from_its_parent() -> None:
    core = team_of_ten()
    answer = core.when(bound("late", most(cost_usd=7, tokens=100), parent="team"))
    assert (answer.allocated.cost_usd, answer.remaining.cost_usd, answer.remaining.tokens) == (None, "7.00", 100)
    status = core.status("late")
    assert (status.allocated, status.percentage, status.status) == (type(status.allocated)(), 0.0, "green")
    assert core.status("team").delegated.cost_usd == "0.00"
    core.given(spend("late", "3"))
    status = core.status("late")
    assert (status.consumed.cost_usd, status.percentage, status.status) == ("3.00", round(3 / 7, 6), "green")
    assert core.status("team").consumed.cost_usd == "3.00"


def test_what_is_used_below_an_account_counts_in_its_limits() -> None:
    core = teams().given(allocate("team", cost="100"), bound("ann", most(cost_usd=10), parent="team"))
    core.given(bound("sub", most("day", cost_usd=8), parent="ann"), allocate("leaf", cost="50", parent="sub"))
    core.given(spend("leaf", "4"), spend("ann", "1"))
    core.when(ask("leaf", "a", "4.01"))
    core.then_refused("limit_reached", limit="sub/1", used="4.00")
    core.given(ask("leaf", "b", "4"))
    core.when(ask("ann", "c", "1.01"))
    core.then_refused("limit_reached", limit="ann/1", used="5.00", held="4.00")


def test_with_a_budget_and_limits_both_hold() -> None:
    core = teams().given(allocate("ann", cost="8", limits=[most("day", cost_usd=5)]))
    core.when(ask("ann", "a", "5.01"))
    core.then_refused("limit_reached", limit="ann/1")
    core.given(spend("ann", "5")).wait(12 * 3600)
    core.when(ask("ann", "b", "3.01"))
    core.then_refused("budget_exhausted")
    core.given(ask("ann", "c", "3"))
    assert core.status("ann").percentage == round(5 / 8, 6)


def test_the_first_limit_that_refuses_names_itself_and_when_it_has_room() -> None:
    core = teams().given(bound("ann", most({"hours": 5, "from": "first_use"}, tokens=100), most("day", tokens=150)))
    core.given(spend("ann", tokens=90))
    core.when(ask("ann", "a", tokens=20))
    core.then_refused("limit_reached", limit="ann/1", retry_after_seconds=5 * 3600)
    core.wait(5 * 3600)
    core.when(ask("ann", "b", tokens=70))
    core.then_refused("limit_reached", limit="ann/2", retry_after_seconds=7 * 3600)


# --- levels ----------------------------------------------------------------------------------------------------------


def levels(core: Core, agent: str = "ann") -> list[str]:
    return [event.level for event in core.log if isinstance(event, e.LevelChanged) and event.agent == agent]


def test_the_level_follows_the_greatest_part_of_its_limits_and_black_gives_nothing_back() -> None:
    core = teams().given(allocate("team", cost="100"))
    core.given(bound("ann", most("day", cost_usd=10), most("month", cost_usd=40), parent="team"))
    for cost, status, action in (("5", "yellow", "warn"), ("2.5", "orange", "throttle"), ("1.5", "red", "degrade")):
        answer = core.when(spend("ann", cost))
        assert (answer.status, answer.action, answer.decided_by) == (status, action, "level")
    answer = core.when(spend("ann", "1"))
    assert (answer.status, answer.action, answer.decided_by) == ("black", "stop", "limit:ann/1")
    assert (answer.percentage, answer.remaining.cost_usd) == (1.0, "0.00")
    event = core.every(e.LevelChanged)[0]
    assert (event.limit_name, event.dimension, event.percentage) == ("ann/1", "cost_usd", 1.0)
    assert not core.every(e.UnusedReturned)
    assert core.status("team").remaining.cost_usd == "90.00"


def test_a_level_falls_by_one_event_when_a_calendar_window_ends() -> None:
    core = team_of_ten().given(*(spend(f"m{n}", "5") for n in range(3)), spend("m3", "3"))
    core.pass_time(NEXT_MONTH)
    assert [type(event) for event in core.decided.events].count(e.LimitWindowsBegan) == 1
    assert [(event.agent, event.before, event.level) for event in core.every(e.LevelChanged)] == [
        ("m0", "black", "green"),
        ("m1", "black", "green"),
        ("m2", "black", "green"),
        ("m3", "yellow", "green"),
    ]
    core.given(ask("m0", "a", "2"))


def test_a_level_falls_at_the_next_message_after_a_window_of_its_own_and_nothing_waits_for_the_event() -> None:
    core = teams().given(bound("ann", most({"hours": 5, "from": "first_use"}, tokens=100)))
    assert core.when(spend("ann", tokens=100)).action == "stop"
    core.when(ask("ann", "a", tokens=1))
    core.then_refused("limit_reached", limit="ann/1")
    core.wait(5 * 3600)
    check = core.check("ann")
    assert (check.action, check.status, check.obstacles) == ("continue", "green", [])
    assert core.status("ann").status == "green"
    core.given(ask("ann", "b", tokens=1))
    assert levels(core) == ["black", "green"]


def test_a_level_falls_with_what_was_taken_back() -> None:
    core = teams().given(bound("ann", most(requests=2)))
    core.given(ask("ann", "a", tokens=5, model="sonnet"), ask("ann", "b", tokens=5, model="sonnet"))
    assert levels(core) == ["yellow", "black"]
    core.given(c.CancelHold(hold="b"))
    assert levels(core) == ["yellow", "black", "yellow"]


def test_a_use_below_raises_the_level_of_the_account_above() -> None:
    core = teams().given(bound("ann", most(tokens=100)), allocate("sub", 500, parent="ann"))
    answer = core.when(spend("sub", tokens=100))
    assert levels(core) == ["black"]
    assert (answer.action, answer.decided_by) == ("stop", "limit:ann/1")


@pytest.mark.parametrize("then", ["refuse", "wait", "warn"])
def test_limits_that_refuse_pace_or_warn_raise_no_level_and_are_shown_all_the_same(then: str) -> None:
    core = teams().given(bound("ann", most(then=then, tokens=100)))
    answer = core.when(spend("ann", tokens=100))
    assert (answer.status, answer.percentage, levels(core)) == ("green", 1.0, [])
    assert answer.action == {"refuse": "continue", "wait": "throttle", "warn": "warn"}[then]


def test_a_limit_of_some_models_stops_those_and_not_the_account() -> None:
    core = teams().given(bound("ann", most(match={"model": "opus"}, tokens=100), most(tokens=1_000)))
    core.given(spend("ann", tokens=100, model="claude-opus-5-5"))
    assert (core.status("ann").status, core.status("ann").percentage) == ("green", 0.1)
    core.when(ask("ann", "a", tokens=1, model="opus"))
    core.then_refused("limit_reached", limit="ann/1")
    core.given(ask("ann", "b", tokens=100, model="sonnet"))


# --- opening and closing ---------------------------------------------------------------------------------------------


def test_eight_accounts_with_limits_may_be_nested() -> None:
    core = teams().given(bound("a1", most(tokens=100)))
    core.given(*(bound(f"a{n}", most(tokens=100), parent=f"a{n - 1}") for n in range(2, 9)))
    core.when(bound("a9", most(tokens=100), parent="a8"))
    core.then_refused("too_deep", parent="a8", found=9, allowed=8)
    core.given(allocate("free", 50, parent="a8"))
    core.given(spend("free", tokens=60))
    used = [one.used["tokens"] for one in core.when(c.GetLimits(agent="free")).limits]
    assert used == [60] * 8


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ([], "AllocateBudget: found neither budget nor limits, allowed is one or both"),
        ([{"max": {"tokens": 5}}], "limits[0].window: found nothing (null), allowed is total, hour, day"),
        ([{"window": "day", "max": {}}], "limits[0].max.tokens: found nothing (null), allowed is a number for"),
        ([{"window": "day", "max": {"tokens": -1}}], "limits[0].max.tokens: found -1, allowed is a whole number"),
        ([{"window": "day", "per": "fleet", "max": {"tokens": 1}}], "limits[0].per: unknown key"),
        ([{"window": "dya", "max": {"tokens": 1}}], "limits[0].window: found 'dya'"),
    ],
)
def test_a_malformed_limit_is_refused_by_field_found_and_allowed(limits: list[Any], says: str) -> None:
    core = teams()
    core.when(c.AllocateBudget(agent="ann", limits=limits))
    refusal = core.then_refused("invalid_message")
    assert says in refusal.detail
    assert not core.own


def test_a_new_life_starts_new_counters() -> None:
    core = teams().given(bound("ann", most("total", tokens=100)), spend("ann", tokens=100))
    released = core.when(c.ReleaseBudget(agent="ann"))
    assert (released.consumed.tokens, released.final_report.utilization, released.final_report.level) == (
        100, 1.0, "black",
    )  # fmt: skip
    assert core.ledger.limits.count == 0
    core.given(bound("ann", most("total", tokens=100)), ask("ann", "a", tokens=100))


def test_a_late_report_counts_in_the_limits_of_the_account_that_pays() -> None:
    core = teams().given(bound("ann", most(tokens=100)), allocate("sub", 50, parent="ann"))
    core.given(hold("sub", "h", 30), c.ReleaseBudget(agent="sub"), spend("sub", tokens=20), settle("h", 30))
    assert core.status("ann").percentage == 0.5


def test_a_correction_moves_the_counter_of_an_account_and_its_level() -> None:
    core = teams().given(bound("ann", most("total", tokens=100)), spend("ann", tokens=100))
    core.given(correction(core, records(core)[0], 40))
    assert (levels(core), core.status("ann").percentage) == (["black", "green"], 0.4)


def test_the_last_account_with_an_hourly_limit_ends_the_hours() -> None:
    core = teams().given(bound("ann", most("hour", tokens=100)), bound("ben", most("hour", tokens=100)))
    core.given(c.ReleaseBudget(agent="ann")).wait(3600).pass_time()
    assert core.every(e.LimitWindowsBegan)
    core.given(c.ReleaseBudget(agent="ben")).wait(3600).pass_time()
    assert not core.every(e.LimitWindowsBegan)


def test_a_run_counts_in_the_limits_of_the_account_that_pays_for_it() -> None:
    core = teams(token_budgets={"default": 40}, token_budget_multiplier=1)
    core.given(bound("ann", most("total", tokens=100)))
    core.given(submit("t1", "writer", parent="ann"), submit("t2", "writer", parent="ann"))
    reason = core.when(submit("t3", "writer", parent="ann")).reason
    assert (reason.code, reason.limit) == ("limit_reached", 100)
    core.when(ask("ann", "a", tokens=21))
    core.then_refused("limit_reached", limit="ann/1", committed=80)
    core.given(complete("t1", used=10), ask("ann", "b", tokens=50))


def test_a_minimum_share_is_not_smaller_for_accounts_that_share_nothing() -> None:
    core = teams(10_000, None, minimum_share_percent=10)
    core.given(allocate("a", 1_000), allocate("b", 1_000))
    before = core.ledger.minimum_share(0)
    core.given(*(bound(f"m{n}", most(tokens=5)) for n in range(8)))
    assert core.ledger.minimum_share(0) == before == 500
    core.given(c.ReleaseBudget(agent="m0"))
    assert core.ledger.minimum_share(0) == before


def test_a_grant_to_an_account_without_a_carve_out_is_refused() -> None:
    core = teams().given(bound("ann", most(tokens=5)))
    for command in (
        c.AllocateFromPool(agent="ann", request=budget(5)),
        c.BorrowFromPool(agent="ann", amount=budget(5)),
    ):
        core.when(command)
        core.then_refused("invalid_amount")


# --- operators -------------------------------------------------------------------------------------------------------


def test_an_operator_raises_a_limit_of_an_account_until_its_window_ends() -> None:
    core = team_of_ten().given(spend("m1", "5"))
    core.given(c.ApproveLimit(limit="m1/1", max=MaxChange(cost_usd=Decimal(8)), reason="a deadline"))
    assert [event.level for event in core.every(e.LevelChanged)] == ["yellow"]
    assert core.status("m1").remaining.cost_usd == "3.00"
    core.given(ask("m1", "a", "3"), c.CancelHold(hold="a")).pass_time(NEXT_MONTH)
    core.when(ask("m1", "b", "5.01"))
    core.then_refused("limit_reached", max="5.00")


def test_limits_of_accounts_are_shown_among_the_others() -> None:
    limits = [{"name": "day", "per": "account", "window": "day", "max": {"tokens": 1_000}}]
    core = teams(limits=limits).given(bound("ann", most(tokens=100)), bound("sub", most(tokens=500), parent="ann"))
    core.given(spend("sub", tokens=50))
    shown = core.when(c.GetLimits(agent="sub")).limits
    assert [(one.limit, one.value, one.used["tokens"], one.left["tokens"]) for one in shown] == [
        ("ann/1", "ann", 50, 50),
        ("sub/1", "sub", 50, 450),
        ("day", "sub", 50, 950),
    ]
    (one,) = core.when(c.GetLimits(limit="ann/1")).limits
    assert (one.per, one.window, one.max, one.ends_at) == ("account", "month", {"tokens": 100}, "2026-04-01T00:00:00Z")
    core.when(c.GetLimits(limit="ann/2"))
    assert core.then_refused("unknown_limit").numbers["allowed"] == ["day", "ann/1"]


def test_a_stop_a_pause_and_another_configuration_work_as_for_any_account() -> None:
    core = team_of_ten().given(spend("m1", "4"))
    core.given(c.LoadConfig(config={"enforcement": {"throttle_at": "0.85"}}))
    assert [(event.agent, event.level) for event in core.every(e.LevelChanged)] == [("m1", "yellow")]
    core.given(c.Stop(agent="m1", reason="no"))
    core.when(ask("m1", "a", "1"))
    core.then_refused("agent_stopped")
    core.given(c.Resume(agent="m1"), ask("m1", "b", "1"))


def test_another_catalogue_of_models_renames_what_a_limit_of_an_account_matches() -> None:
    core = teams().given(bound("ann", most(match={"model": "big"}, tokens=100)))
    core.given(c.LoadConfig(config={"models": {"big": {"provider": "anthropic", "id": "claude-opus-5-5"}}}))
    core.given(spend("ann", tokens=100, model="claude-opus-5-5"))
    core.when(ask("ann", "a", tokens=1, model="big"))
    core.then_refused("limit_reached")


# --- restarts --------------------------------------------------------------------------------------------------------


def test_a_snapshot_keeps_the_limits_of_accounts() -> None:
    core = team_of_ten().given(spend("m1", "4"), ask("m1", "h", "0.5"), ask("m2", "k", "2"))
    core.given(bound("sub", most({"seconds": 60}, tokens=10), parent="m1"), spend("sub", tokens=4))
    dumped = snapshot.dump(core.ledger)
    again = snapshot.load(dumped)
    assert again is not None
    assert snapshot.dump(again) == dumped
    core.ledger = again
    core.when(ask("m1", "a", "0.51"))
    core.then_refused("limit_reached", used="4.00", held="0.50")
    core.when(ask("sub", "b", tokens=7))
    core.then_refused("limit_reached", limit="sub/1")
    core.pass_time(NEXT_MONTH)
    assert [(event.agent, event.level) for event in core.every(e.LevelChanged)] == [("m1", "green")]


def test_another_time_zone_moves_the_end_of_the_months_of_accounts() -> None:
    core = team_of_ten().given(spend("m1", "5"), c.LoadConfig(config={"timezone": "America/Los_Angeles"}))
    core.pass_time(NEXT_MONTH)
    assert core.status("m1").status == "black"
    core.pass_time(NEXT_MONTH + dt.timedelta(hours=7))
    assert core.status("m1").status == "green"


def test_the_use_of_an_account_below_a_full_limit_is_recorded_and_covered() -> None:
    core = teams().given(allocate("team", cost="3"), bound("ann", most(cost_usd=5), parent="team"))
    answer = core.when(spend("ann", "7"))
    assert (answer.action, answer.percentage) == ("stop", 1.4)
    assert core.status("team").covered.cost_usd == "4.00"


def test_a_refused_hold_waits_for_a_hold_of_another_member() -> None:
    core = team_of_ten().given(ask("m1", "a", "5"), ask("m2", "b", "5"), ask("m3", "c", "5"))
    core.given(ask("m4", "d", "5", ttl_seconds=Decimal(40)))
    core.when(ask("m5", "x", "1"))
    core.then_refused("budget_exhausted", retry_after_seconds=40)
    assert not isinstance(core.when(ask("m5", "y", "1"), at=core.now + dt.timedelta(seconds=40)), Refusal)


def test_the_fleet_may_have_no_total_and_members_limits_all_the_same() -> None:
    core = Core(fleet()).given(bound("ann", most("day", cost_usd=2)))
    assert core.status("ann").remaining.cost_usd == "2.00"
    core.given(ask("ann", "a", "1.5"))
    core.when(ask("ann", "b", "0.51"))
    core.then_refused("limit_reached")
