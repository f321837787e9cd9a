"""`overdraft_max` bounds what others cover for an account: beyond it, it is stopped, and the fleet pays its reports."""

from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.config.amounts import Budget
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.log import snapshot
from tallystick.events.messages.replies import Refusal
from tests.support.core import Core, allocate, budget, dump, fleet, hold, settle, tokens, use
from tests.support.examples import examples

QUIET = {"enforcement": {"warn_before_exhaustion_seconds": 0}, "max_pool_share_percent": 100}


def bounded(most: int = 20, **rest: Any) -> Core:
    """A fleet with 1,000 tokens in which ann has 100 of them, and others may cover so many for it."""
    return Core(fleet(1_000, **QUIET), allocate("ann", 100, overdraft_max=budget(most), **rest), allocate("bob", 100))


def actions(core: Core, agent: str) -> tuple[str, str]:
    answer = core.check(agent)
    return answer.action, answer.decided_by


# --- the bound -------------------------------------------------------------------------------------------------------


def test_up_to_the_bound_others_cover_as_ever() -> None:
    core = bounded()
    answer = core.when(use("ann", 120))
    assert core.account("ann").cover[0] == 20
    assert (answer.decided_by, answer.overdrawn) == ("level", False)
    assert core.every(e.OverdraftExceeded) == []


def test_the_report_that_goes_beyond_it_is_covered_whole_and_stops_the_account_by_an_event_that_says_why() -> None:
    core = bounded()
    answer = core.when(use("ann", 121))
    stop = core.only(e.OverdraftExceeded)
    assert (stop.covered.tokens, stop.overdraft_max.tokens) == (21, 20)
    assert [alert.code for alert in core.every(e.AlertRaised)] == ["overdraft_exceeded", "budget_exhausted"]
    assert (answer.action, answer.decided_by, answer.overdrawn) == ("stop", "overdraft", False)
    assert answer.obstacles[0].detail == "ann was stopped: tokens: others cover 21 for it, at most 20 is allowed"
    assert (core.account("ann").cover[0], core.pool[0]) == (21, 779)
    assert core.status("ann").state == "stopped"
    core.when(hold("ann", "h", 1))
    core.then_refused("agent_stopped", decided_by="overdraft")


def test_what_it_reports_then_is_charged_to_the_fleet_and_flagged() -> None:
    core = bounded().given(use("ann", 121))
    answer = core.when(use("ann", 50))
    assert answer.overdrawn is True
    assert core.only(e.UsageReported).overdrawn == "ann"
    assert (core.account("ann").spent[0], core.account("ann").cover[0]) == (121, 21)
    assert (core.pool[0], core.ledger.spent[0]) == (729, 171)


def test_the_fleet_pays_from_the_pool_then_the_reserve_then_by_a_debt() -> None:
    core = Core(fleet(1_000, emergency_reserve_percent=10, **QUIET), allocate("ann", 100, overdraft_max=budget(0)))
    core.given(use("ann", 101), use("ann", 1_000))
    assert (core.pool[0], core.in_reserve[0], core.overdraft[0]) == (0, 0, 101)
    assert {event.cause for event in core.every(e.Covered)} == {"overdraft_max"}


def test_zero_means_that_nothing_is_covered_and_no_bound_that_everything_is() -> None:
    core = bounded(0).given(use("ann", 100))
    assert core.account("ann").overdrawn is False
    core.given(use("ann", 1))
    assert core.account("ann").overdrawn is True
    core.given(use("bob", 700))
    assert core.account("bob").overdrawn is False


@pytest.mark.parametrize(
    ("most", "field"),
    [
        (Budget(), "overdraft_max"),
        (budget(-1), "overdraft_max.tokens"),
        (budget(None, None, "1"), "overdraft_max.cost_usd"),
        (budget(None, "0.0001"), "overdraft_max.time_seconds"),
    ],
)
def test_a_bound_is_an_amount_in_dimensions_that_the_budget_limits(most: Budget, field: str) -> None:
    core = Core(fleet(1_000, **QUIET))
    core.when(allocate("ann", 100, overdraft_max=most))
    core.then_refused("invalid_amount", field=field)


def test_each_dimension_has_its_own_bound() -> None:
    core = Core(fleet(1_000, "10", **QUIET), allocate("ann", 100, "1", overdraft_max=budget(None, None, "0.5")))
    core.given(use("ann", 500, "1.5"))
    assert core.account("ann").overdrawn is False
    core.given(use("ann", None, "0.000000001"))
    assert core.account("ann").overdrawn is True
    assert core.status("ann").overdraft_max.cost_usd == "0.50"


# --- sub-agents ------------------------------------------------------------------------------------------------------


def test_cover_that_passes_through_an_account_counts_for_it_and_stops_all_below_it() -> None:
    core = bounded().given(allocate("kid", 50, parent="ann"), allocate("other", 10, parent="ann"))
    core.given(use("kid", 90))
    assert core.account("ann").overdrawn is False, "40 that ann had free are its own"
    core.given(use("kid", 21))
    assert core.only(e.OverdraftExceeded).agent == "ann"
    assert actions(core, "ann") == ("stop", "overdraft")
    assert actions(core, "other") == ("stop", "ancestor_stop")
    assert core.check("other").obstacles[0].detail.startswith("ann was stopped: tokens: others cover 21")


def test_what_those_below_have_stays_theirs_and_what_would_pass_the_account_is_charged_to_the_fleet() -> None:
    core = bounded().given(allocate("kid", 50, parent="ann"), use("ann", 71))
    core.given(use("kid", 50))
    assert (core.account("kid").spent[0], core.account("kid").cover[0]) == (50, 0)
    assert core.when(use("kid", 5)).overdrawn is True
    assert core.only(e.UsageReported).overdrawn == "ann"
    assert (core.account("kid").spent[0], core.account("ann").cover[0]) == (50, 21)


def test_late_usage_below_an_account_beyond_its_bound_is_charged_to_the_fleet() -> None:
    core = bounded().given(allocate("kid", 10, parent="ann"), c.ReleaseBudget(agent="kid"), use("ann", 121))
    pool = core.pool[0] or 0
    assert core.when(use("kid", 5)).late is True
    assert (core.pool[0], core.account("ann").cover[0]) == (pool - 5, 21)
    assert core.only(e.UsageReported).charged is None


# --- holds -----------------------------------------------------------------------------------------------------------


def test_a_settlement_within_its_hold_is_paid_from_it_and_one_above_it_by_the_fleet() -> None:
    core = bounded().given(hold("ann", "h", 30), hold("ann", "i", 10), use("ann", 81))
    assert core.account("ann").overdrawn is True
    assert core.when(settle("h", 30)).overdrawn is False
    assert (core.account("ann").spent[0], core.account("ann").cover[0]) == (111, 21)
    answer = core.when(settle("i", 25))
    assert answer.overdrawn is True
    assert core.only(e.HoldSettled).overdrawn == "ann"
    assert (core.account("ann").spent[0], core.account("ann").cover[0], core.account("ann").held[0]) == (111, 11, 0)
    assert core.account("ann").overdrawn is False, "what the hold gave back repaid cover"


# --- the way out -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["borrow", "draw", "hold", "child"])
def test_it_goes_on_by_itself_when_the_cover_is_repaid(way: str) -> None:
    core = bounded()
    if way == "hold":
        core.given(hold("ann", "h", 10))
    if way == "child":
        core.given(allocate("kid", 10, parent="ann"))
    core.given(use("ann", 115))
    if way in ("borrow", "draw"):
        core.given(use("ann", 10))
    assert core.account("ann").overdrawn is True
    core.when(
        {
            "borrow": c.BorrowFromPool(agent="ann", amount=budget(5)),
            "draw": c.AllocateFromPool(agent="ann", request=budget(5)),
            "hold": c.CancelHold(hold="h"),
            "child": c.ReleaseBudget(agent="kid"),
        }[way]
    )
    assert core.only(e.OverdraftRepaid).agent == "ann"
    assert core.check("ann").decided_by == "level"
    assert core.status("ann").state == "open"


def test_resume_lets_it_go_on_as_it_is_and_the_next_cover_stops_it_again() -> None:
    core = bounded().given(use("ann", 121), c.Resume(agent="ann"))
    assert core.check("ann").decided_by == "level"
    assert core.when(use("ann", 1)).overdrawn is False
    assert core.account("ann").cover[0] == 22
    assert core.only(e.OverdraftExceeded).covered.tokens == 22
    assert core.when(use("ann", 1)).overdrawn is True


def test_an_operators_stop_stays_when_the_cover_is_repaid() -> None:
    core = bounded().given(use("ann", 121), c.Stop(agent="ann", reason="loops"))
    assert actions(core, "ann") == ("stop", "stop")
    core.given(c.Resume(agent="ann"))
    assert actions(core, "ann") == ("stop", "level")


def test_where_the_pool_is_empty_a_larger_total_makes_room_for_the_way_out() -> None:
    core = Core(fleet(100, **QUIET), allocate("ann", 100, overdraft_max=budget(0)), use("ann", 150))
    core.when(c.BorrowFromPool(agent="ann", amount=budget(60)))
    core.then_refused("pool_exhausted")
    core.given(c.SetTotalBudget(budget=c.BudgetChange(tokens=1_000)))
    core.given(c.BorrowFromPool(agent="ann", amount=budget(60)))
    assert core.account("ann").overdrawn is False


def test_the_stop_ends_with_the_account() -> None:
    core = bounded().given(use("ann", 121), c.ReleaseBudget(agent="ann"), allocate("ann", 10))
    assert core.check("ann").action == "continue"


# --- the property ----------------------------------------------------------------------------------------------------

_NAMES = ("a", "a/1", "a/1/x", "b", "b/1")


def _open(dice: Random, name: str) -> c.AllocateBudget:
    parent = name.rsplit("/", 1)[0] if "/" in name else None
    limits = dice.choice(((200, None), (200, "2"), (None, "2")))
    most_tokens = None if limits[0] is None else dice.choice((None, 0, 10, 80))
    most_cost = None if limits[1] is None else dice.choice((None, Decimal(0), Decimal("0.1")))
    most = Budget(tokens=most_tokens, cost_usd=most_cost)
    named = None if most == Budget() else most
    return allocate(name, *limits, parent=parent, overdraft_max=named)


def _step(dice: Random, number: int, core: Core) -> c.Command:
    name, amount = dice.choice(_NAMES), dice.choice((1, 30, 90, 250))
    cost = dice.choice((None, "0.05", "0.9"))
    match dice.randint(0, 9):
        case 0:
            return c.ReleaseBudget(agent=name)
        case 1:
            return _open(dice, name)
        case 2:
            return c.BorrowFromPool(agent=name, amount=budget(amount))
        case 3:
            return dice.choice((c.Resume(agent=name), c.Stop(agent=name, reason="test")))
        case 4 | 5:
            return hold(name, f"h-{number}", amount, cost, ttl_seconds=Decimal(dice.choice((5, 60))))
        case 6 if core.ledger.holds:
            final = dice.random() < 0.7
            return c.Settle(hold=dice.choice(sorted(core.ledger.holds)), usage=budget(amount, None, cost), final=final)
        case _:
            return use(name, amount, cost)


@settings(max_examples=examples(25), deadline=None, derandomize=True)
@given(st.integers(0, 2**32))
def test_whatever_happens_nothing_more_is_covered_for_an_account_beyond_its_bound(seed: int) -> None:
    """Money is conserved, and the recorded events say the same: `Core` proves both at every step."""
    dice = Random(seed)
    core = Core(fleet(2_000, "20", emergency_reserve_percent=10, **QUIET))
    for name in _NAMES:
        core.when(_open(dice, name))
    for number in range(40):
        core.wait(dice.choice((0, 1, 10)))
        core.pass_time()
        before = {name: account.cover for name, account in core.ledger.accounts.items() if account.overdrawn}
        lives = {name: account.life for name, account in core.ledger.accounts.items()}
        command = _step(dice, number, core)
        answer = core.when(command)
        resumed = command.agent if isinstance(command, c.Resume) else None
        for name, account in core.ledger.accounts.items():
            assert core.status(name).overdraft_max == _shown(account)
            if name in before and lives.get(name) == account.life and name != resumed:
                assert all(now <= then for now, then in zip(account.cover, before[name], strict=True)), name
                assert account.overdrawn == account.is_beyond, name
            if account.overdrawn:
                assert core.check(name).action == "stop"
        if isinstance(command, c.ReportUsage) and not isinstance(answer, Refusal) and command.agent in before:
            assert answer.overdrawn is True
    loaded = snapshot.load(snapshot.dump(core.ledger))
    assert loaded is not None
    again, kept = dump(loaded), dump(core.ledger)
    # Entries of the heap that are no longer true are left out of a snapshot.
    assert set(again.pop("expiries")) <= set(kept.pop("expiries"))
    assert again == kept


def _shown(account: Any) -> Any:
    units, _, nanos = account.terms.overdraft_max
    shown = tokens(units)
    return shown if nanos is None else type(shown)(tokens=units, cost_usd="0.00" if not nanos else "0.10")
