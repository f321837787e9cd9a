"""Accounts that open by themselves at the first report or hold (spec 6)."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from tallystick.config.amounts import Usage
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.log import snapshot
from tallystick.events.messages.replies import Refusal
from tests.support.capped import ask, bound, most, spend, teams
from tests.support.core import Core, allocate, submit

DAY = 24 * 3600


def opens(*limits: dict[str, Any], config: dict[str, Any] | None = None, **auto: Any) -> Core:
    """A fleet in which accounts open by themselves."""
    return teams(accounts={"auto": {"limits": list(limits), **auto}}, **(config or {}))


def test_an_id_without_an_account_gets_one_at_its_first_report() -> None:
    core = opens(most(cost_usd=5), labels={"tier": "free"})
    answer = core.when(spend("ann", "2"))
    core.then_events(e.BudgetAllocated, e.UsageReported)
    assert (answer.unallocated, answer.percentage, answer.remaining.cost_usd) == (False, 0.4, "3.00")
    opened = core.only(e.BudgetAllocated)
    assert (opened.auto, opened.labels, opened.parent) == (True, {"tier": "free"}, None)
    core.when(spend("ann", "2.5"))
    assert not core.every(e.BudgetAllocated)
    core.when(ask("ann", "a", "0.51"))
    core.then_refused("limit_reached", limit="ann/1", used="4.50")


EVERY_WINDOW = ["total", "hour", "day", "month", {"minutes": 5}, {"hours": 5, "from": "first_use"}]


@pytest.mark.parametrize("window", EVERY_WINDOW, ids=str)
def test_what_an_account_opens_for_counts_in_its_limits_also_where_it_was_used_a_moment_before(window: Any) -> None:
    core = opens({"window": window, "max": {"tokens": 5_000}})
    core.wait(1_800)
    used_at = core.now - dt.timedelta(seconds=4)
    core.given(c.ReportUsage(agent="ann", usage=Usage(tokens=5_200), occurred_at=used_at))
    assert core.only(e.BudgetAllocated).used_since == used_at
    core.given(c.ReportUsage(agent="ann", usage=Usage(tokens=100), occurred_at=used_at + dt.timedelta(seconds=1)))
    [limit] = core.when(c.GetLimits()).limits
    assert (limit.used, core.status("ann").action) == ({"tokens": 5_300}, "stop")


@pytest.mark.parametrize(
    ("window", "counts"), [("hour", 0), ({"minutes": 5}, 0), ("day", 5_200), ("total", 5_200)], ids=str
)
def test_what_an_account_opens_for_counts_in_the_window_in_which_it_was_used(window: Any, counts: int) -> None:
    core = opens({"window": window, "max": {"tokens": 50_000}})
    core.wait(3 * 3_600)
    core.given(
        c.ReportUsage(agent="ann", usage=Usage(tokens=5_200), occurred_at=core.now - dt.timedelta(hours=2, minutes=30))
    )
    core.given(c.ReportUsage(agent="ann", usage=Usage(tokens=7)))
    [limit] = core.when(c.GetLimits()).limits
    assert limit.used == {"tokens": counts + 7}


def test_what_an_account_opens_for_and_was_used_before_the_period_counts_in_no_limit() -> None:
    core = opens(most(tokens=5_000))
    core.given(
        c.ReportUsage(agent="ann", usage=Usage(tokens=5_200), occurred_at=core.now - dt.timedelta(days=40)),
        c.ReportUsage(agent="ann", usage=Usage(tokens=7)),
    )
    [limit] = core.when(c.GetLimits()).limits
    assert limit.used == {"tokens": 7}


def test_an_id_without_an_account_gets_one_at_its_first_hold_if_that_is_granted() -> None:
    core = opens(most(cost_usd=5), parent="team").given(allocate("team", cost="20"))
    core.when(ask("ann", "a", "5.01"))
    core.then_refused("limit_reached", limit="ann/1", value="ann", max="5.00", used="0.00")
    assert "ann" not in core.ledger.accounts
    core.given(ask("ann", "b", "5"))
    core.then_events(e.BudgetAllocated, e.HoldPlaced)
    assert core.status("ann").parent == "team"
    core.when(ask("ann", "c", "0.01"))
    core.then_refused("limit_reached", held="5.00")


def test_a_dry_run_opens_nothing_and_answers_as_the_hold_would_be() -> None:
    core = opens(most(cost_usd=5))
    assert core.when(ask("ann", "a", "4", dry_run=True)).dry_run
    core.when(ask("ann", "b", "6", dry_run=True))
    core.then_refused("limit_reached")
    assert not core.ledger.accounts


def test_without_limits_an_account_uses_what_its_parent_has() -> None:
    core = opens(parent="team").given(allocate("team", cost="3"))
    assert core.when(spend("ann", "1")).remaining.cost_usd == "2.00"
    core.when(ask("ann", "a", "2.01"))
    core.then_refused("budget_exhausted")


@pytest.mark.parametrize(
    ("before", "why"),
    [
        ([c.PauseAll(reason="a test")], "everything is paused: a test"),
        ([c.Stop(agent="team", reason="a test")], "team is stopped"),
        ([c.ReleaseBudget(agent="team")], "accounts.auto.parent is team, which has no open account"),
    ],
    ids=["all is paused", "the parent is stopped", "the parent is closed"],
)
def test_where_no_account_may_open_the_usage_is_unallocated_and_the_refusal_says_why(
    before: list[c.Command], why: str
) -> None:
    core = opens(most(cost_usd=5), parent="team").given(allocate("team", cost="20"), *before)
    answer = core.when(spend("ann", "1"))
    assert answer.unallocated
    text = f"no account is open for ann: allocate a budget first; none opens by itself: {why}"
    assert [one.detail for one in answer.obstacles if one.code == "unknown_agent"] == [text]
    core.when(ask("ann", "a", "1"))
    assert core.then_refused("unknown_agent").detail == text


def test_a_stopped_id_does_not_open_again_until_it_is_resumed() -> None:
    core = opens(most(cost_usd=5)).given(
        spend("ann", "1"), c.Stop(agent="ann", reason="no"), c.ReleaseBudget(agent="ann")
    )
    answer = core.when(spend("ann", "1"))
    assert (answer.late, answer.action) == (True, "stop")
    core.given(c.Resume(agent="ann"))
    assert not core.when(spend("ann", "1")).late


def test_where_the_breaker_is_open_the_usage_is_unallocated() -> None:
    config = {"daily_limits": {"max_cost_usd": 3}}
    core = opens(most(cost_usd=5), config=config).given(spend("ann", "4"))
    assert core.ledger.day.tripped is not None
    assert core.when(spend("ben", "1")).unallocated
    assert not core.when(spend("ann", "1")).unallocated


def test_beyond_so_many_the_usage_is_unallocated() -> None:
    core = opens(most(cost_usd=5), max=2).given(allocate("x", cost="5"), spend("a", "1"), spend("b", "1"))
    answer = core.when(spend("c", "1"))
    assert answer.unallocated
    assert answer.obstacles[0].detail.endswith("none opens by itself: 2 have, and accounts.auto.max is 2")
    core.given(c.ReleaseBudget(agent="a"))
    assert not core.when(spend("c", "1")).unallocated


def test_reserved_and_misspelled_ids_and_those_of_tasks_open_no_account() -> None:
    core = opens(most(cost_usd=5), config={"max_concurrent": {"total": 0}}).given(submit("t"))
    assert core.when(spend("pool", "1")).unallocated
    core.when(spend("t", "1"))
    core.when(ask("an\u200bn", "a", "1"))
    core.then_refused("unknown_agent")
    assert list(core.ledger.accounts) == []


def test_an_account_that_a_message_released_stays_closed_to_late_reports() -> None:
    core = opens(most(cost_usd=5)).given(bound("ann", most(cost_usd=9)), c.ReleaseBudget(agent="ann"))
    assert core.when(spend("ann", "1")).late
    assert not core.ledger.accounts


def test_a_message_may_open_what_did_not_open_by_itself() -> None:
    core = opens(most(cost_usd=5)).given(spend("ann", "1"))
    core.when(bound("ann", most(cost_usd=9)))
    core.then_refused("already_allocated")
    core.given(bound("ben", most(cost_usd=9)), spend("ben", "1"))
    assert core.status("ben").remaining.cost_usd == "8.00"


# --- idle accounts ---------------------------------------------------------------------------------------------------


def test_an_idle_account_is_released_by_an_event_when_its_limits_count_nothing_any_more() -> None:
    core = opens(most("hour", cost_usd=5), idle_release_hours=24).given(spend("ann", "1"))
    core.wait(DAY - 1).pass_time()
    assert "ann" in core.ledger.accounts
    core.wait(1).pass_time()
    (ended,) = core.every(e.AgentLeaseEnded)
    assert (ended.agent, core.only(e.BudgetReleased).agent) == ("ann", "ann")
    assert not core.when(spend("ann", "1")).late
    assert core.status("ann").percentage == 0.2


def test_an_idle_account_stays_open_while_its_month_counts_so_that_no_one_starts_anew_by_waiting() -> None:
    core = opens(most("month", cost_usd=5)).given(spend("ann", "5")).wait(5 * DAY).pass_time()
    core.when(ask("ann", "a", "0.01"))
    core.then_refused("limit_reached", used="5.00")
    core.pass_time(dt.datetime(2026, 4, 1, tzinfo=dt.UTC))
    (ended,) = core.every(e.AgentLeaseEnded)
    assert ended.heard_at == dt.datetime(2026, 3, 9, 12, tzinfo=dt.UTC)
    core.given(ask("ann", "b", "5"))


@pytest.mark.parametrize(
    ("window", "until"),
    [
        ({"days": 3, "from": "first_use"}, 3 * DAY),
        ({"days": 3}, 3 * DAY * 61 / 60),
        ("total", None),
    ],
)
def test_an_idle_account_stays_open_while_its_window_counts(window: Any, until: float | None) -> None:
    core = opens(most(window, cost_usd=5)).given(spend("ann", "5"))
    core.wait((until or 300 * DAY) - 3 * DAY / 60 - 1).pass_time()
    core.when(ask("ann", "a", "0.01"))
    core.then_refused("limit_reached", used="5.00")
    assert "ann" in core.ledger.accounts
    core.wait(1 + 3 * DAY / 60 + DAY).pass_time()
    assert ("ann" in core.ledger.accounts) == (until is None)


def test_another_time_zone_keeps_an_idle_account_to_the_end_of_its_day() -> None:
    core = opens(most("day", cost_usd=5), idle_release_hours=1).given(spend("ann", "5"))
    core.given(c.LoadConfig(config={"timezone": "America/Los_Angeles"}))
    core.wait(12 * 3600).pass_time()
    core.when(ask("ann", "a", "0.01"))
    core.then_refused("limit_reached", used="5.00")
    core.wait(9 * 3600).pass_time()
    assert "ann" not in core.ledger.accounts


def test_a_snapshot_keeps_which_accounts_have_opened_by_themselves() -> None:
    core = opens(most("month", cost_usd=5), max=2).given(spend("ann", "5"), spend("ben", "1"))
    dumped = snapshot.dump(core.ledger)
    again = snapshot.load(dumped)
    assert again is not None
    assert snapshot.dump(again) == dumped
    assert (again.auto_accounts, again.without_budget) == (2, 2)
    core.ledger = again
    assert core.when(spend("cat", "1")).unallocated
    core.wait(2 * DAY).pass_time()
    assert set(core.ledger.accounts) == {"ann", "ben"}
    core.pass_time(dt.datetime(2026, 4, 1, tzinfo=dt.UTC))
    assert not core.ledger.accounts


def test_a_malformed_first_message_opens_nothing() -> None:
    core = opens(most(cost_usd=5))
    core.when(c.ReportUsage(agent="ann", usage=None, model="sonnet", input_tokens=-5))
    core.when(ask("ann", "a", "1", ttl_seconds=Decimal(-1)))
    assert isinstance(core.decided.answer, Refusal)
    assert not core.ledger.accounts
