"""What `GetStatus` shows adds up, and an independent reading of the rules agrees with it."""

from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.config.amounts import EDGE_NAMES, Amounts, Budget
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide import decide
from tallystick.events.evolve import evolve
from tallystick.events.messages import proposals as p
from tallystick.events.messages.replies import BudgetStatus, EdgeAmounts
from tests.support.core import Core, allocate, budget, fleet, hold, settle, tokens, use

QUIET = {"enforcement": {"warn_before_exhaustion_seconds": 0}}


def shown(amounts: EdgeAmounts, name: str) -> Decimal:
    value = getattr(amounts, name)
    return Decimal(0) if value is None else Decimal(value)


def check_adds_up(status: BudgetStatus) -> None:
    """The conservation invariant, on the figures of the reply alone."""
    for name in EDGE_NAMES:
        if getattr(status.allocated, name) is None:
            continue
        granted = shown(status.allocated, name) + shown(status.covered, name)
        parts = (status.delegated, status.consumed, status.held, status.remaining)
        assert granted == sum(shown(part, name) for part in parts), (status.agent, name)


def check_subtrees(statuses: list[BudgetStatus]) -> None:
    """The subtree of a leaf is the leaf; a parent's has at least what it and its children's have, where all limit."""
    by_name = {status.agent: status for status in statuses}
    children: dict[str, list[BudgetStatus]] = {}
    for status in statuses:
        if status.parent is not None:
            children.setdefault(status.parent, []).append(status)
    for name, status in by_name.items():
        assert status.subtree is not None
        for d in EDGE_NAMES:
            below = children.get(name, [])
            if not below:
                assert shown(status.subtree.consumed, d) == shown(status.consumed, d)
                if getattr(status.allocated, d) is not None:
                    assert shown(status.subtree.held, d) == shown(status.held, d)
            elif all(getattr(one.allocated, d) is not None for one in [status, *below]):
                for field in ("consumed", "held"):
                    own = shown(getattr(status, field), d)
                    parts = sum(shown(getattr(one.subtree, field), d) for one in below)
                    assert shown(getattr(status.subtree, field), d) == own + parts


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 2**32))
def test_the_figures_of_every_reply_add_up(seed: int) -> None:
    dice, core = Random(seed), Core(fleet(5_000, cost="5", **QUIET), compares=False)
    names = ("a", "b", "c", "d", "e")
    for number in range(50):
        core.wait(dice.choice((0, 5, 400)))
        name, amount = dice.choice(names), dice.choice((1, 30, 200, 900))
        match dice.randint(0, 6):
            case 0 | 1:
                limits = dice.choice(((amount, None), (amount, "1"), (None, "1"), (0, "0.5")))
                parents = [None, *core.ledger.accounts]
                core.when(allocate(name, *limits, parent=dice.choice(parents)))
            case 2:
                core.when(hold(name, f"h-{number}", amount, dice.choice((None, "0.1"))))
            case 3:
                core.when(settle(f"h-{dice.randint(0, number)}", amount))
            case 4:
                borrow = c.BorrowFromPool(agent=name, amount=budget(amount))
                core.when(dice.choice((c.ReleaseBudget(agent=name), borrow)))
            case _:
                core.when(use(name, amount, dice.choice((None, "0.2"))))
        statuses = core.when(c.GetGlobalStatus(limit=100)).agent_statuses
        for status in statuses:
            check_adds_up(status)
            assert core.status(status.agent) == status
        check_subtrees(statuses)


def test_what_others_pay_for_an_account_is_shown() -> None:
    core = Core(fleet(10_000), allocate("a", 100), hold("a", "h", 60), use("a", 90))
    status = core.status("a")
    assert (status.allocated, status.covered) == (tokens(100), tokens(50))
    check_adds_up(status)


def test_a_parent_sees_what_its_open_children_use_and_hold() -> None:
    core = Core(fleet(10_000, cost="10"), allocate("top", 1_000), allocate("mid", cost="1", parent="top"))
    core.given(allocate("low", 100, "0.5", parent="mid"), use("low", 30, "0.2"), hold("low", "h", 20), use("mid", 7))
    core.given(use("top", 1, "0.01"))
    status = core.status("top")
    assert status.subtree is not None
    assert (status.consumed.tokens, status.subtree.consumed.tokens, status.subtree.held.tokens) == (8, 38, 20)
    assert (status.consumed.cost_usd, status.subtree.consumed.cost_usd) == ("0.01", "0.21")


def test_a_chain_of_sub_agents_is_shown_without_recursion() -> None:
    ledger = Core(fleet(10**9), compares=False).ledger
    for number in range(3_000):
        parent = f"a{number - 1}" if number else None
        event = e.BudgetAllocated(agent=f"a{number}", amount=Amounts(5_000 - number), parent=parent)
        event.position, event.at = ledger.position + 1, ledger.now
        evolve(ledger, event)
    answer = decide(ledger, c.GetStatus(agent="a0"), ledger.now, "q", "tester").answer
    assert isinstance(answer, BudgetStatus)
    assert answer.subtree is not None
    assert answer.subtree.consumed == tokens(0)


# --- what an independent model of the ledger also found --------------------------------------------------------------


def test_anything_of_nothing_counts_as_all_of_it_and_is_red_where_the_stop_is_later() -> None:
    core = Core(fleet(1_000, enforcement={"stop_at": "1.2", "warn_before_exhaustion_seconds": 0}))
    core.given(allocate("a", 0, cost=None, seconds=9), use("a", 5))
    status = core.status("a")
    assert (status.percentage, status.status) == (1.0, "red")


def test_a_parent_has_consumed_what_its_closed_children_did_also_where_it_does_not_limit() -> None:
    core = Core(fleet(10_000, cost="10"), allocate("p", 1_000), allocate("c", 100, "1", parent="p"))
    core.given(allocate("n", 50, parent="p"), use("c", 10, "0.25"), use("n", 5, "0.5"))
    assert core.status("p").consumed == tokens(0)
    core.given(c.ReleaseBudget(agent="c"), c.ReleaseBudget(agent="n"))
    assert core.status("p").consumed == EdgeAmounts(tokens=15, cost_usd="0.75")
    core.given(use("c", 1, "0.05"))
    assert core.status("p").consumed == EdgeAmounts(tokens=16, cost_usd="0.80")
    released = core.when(c.ReleaseBudget(agent="p"))
    assert released.consumed == EdgeAmounts(tokens=16, cost_usd="0.80")


def test_what_black_gave_back_and_was_not_there_is_restored_by_later_top_ups() -> None:
    core = Core(fleet(1_000, cost="10", max_pool_share_percent=100, **QUIET), allocate("a", 100, "5"))
    core.given(use("a", 100, "0.01"))
    assert core.account("a").given_back[2] == 4_990_000_000
    core.given(allocate("b", 100, "7.99"), c.BorrowFromPool(agent="a", amount=budget(100)))
    assert core.account("a").allocated[2] == 10_000_000 + 2_000_000_000
    core.given(c.ReleaseBudget(agent="b"), c.BorrowFromPool(agent="a", amount=budget(1)))
    assert core.account("a").allocated[2] == 5_000_000_000
    assert core.account("a").owed == (0, 0, 0)


def test_what_was_reclaimed_no_longer_counts_as_drawn_or_borrowed() -> None:
    core = Core(fleet(1_000, max_pool_share_percent=50, **QUIET), allocate("a", 10))
    core.given(c.BorrowFromPool(agent="a", amount=budget(400))).wait(100)
    core.given(p.ApplyMoves(moves=[p.Move("a", "pool", Amounts(300), "idle", "idle")]))
    assert (core.account("a").borrowed[0], core.account("a").drawn[0]) == (100, 100)
    core.given(c.BorrowFromPool(agent="a", amount=budget(400)))
    core.when(c.BorrowFromPool(agent="a", amount=budget(1)))
    core.then_refused("pool_share_exceeded")


@pytest.mark.parametrize("usage", [None, Budget()])
def test_a_report_of_nothing_is_refused_however_it_says_so(usage: Any) -> None:
    core = Core(fleet(1_000), allocate("a", 10))
    core.when(c.ReportUsage(agent="a", usage=usage))
    core.then_refused("invalid_amount", field="usage")
