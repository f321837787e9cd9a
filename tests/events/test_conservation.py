"""The check itself: money that is not where the accounts say it is stops the fleet."""

from collections.abc import Callable

import pytest

from tallystick.events import messages as c
from tallystick.events.state.conservation import BrokenInvariant, check_conserved
from tallystick.events.state.ledger import Ledger
from tests.support.core import Core, allocate, budget, fleet, hold, use


@pytest.fixture
def core() -> Core:
    core = Core(fleet(1_000, emergency_reserve_percent=10), allocate("ann", 400), allocate("ann/1", 100, parent="ann"))
    return core.given(hold("ann", "h", 50), use("ann", 20), use("ann/1", 10))


def test_in_every_account_granted_is_the_sum_of_its_parts(core: Core) -> None:
    ann = core.account("ann")
    assert (ann.granted[0], ann.free[0], ann.held[0], ann.spent[0], ann.delegated[0], ann.closed[0]) == (
        400,
        230,
        50,
        20,
        100,
        0,
    )
    core.given(c.ReleaseBudget(agent="ann/1"))
    assert (ann.granted[0], ann.free[0], ann.delegated[0], ann.closed[0]) == (400, 320, 0, 10)
    root = core.ledger.root
    assert (root.granted[0], root.free[0], root.delegated[0]) == (1_000, 500, 500)


def _shift_free(ledger: Ledger) -> None:
    ledger.accounts["ann"].free_tokens += 1


def _below_zero(ledger: Ledger) -> None:
    account = ledger.accounts["ann/1"]
    account.free_tokens -= 200
    account.spent_tokens += 200
    ledger.spent[0] += 200


def _needless_cover(ledger: Ledger) -> None:
    account = ledger.accounts["ann/1"]
    account.cover = (account.cover[0] + 5, 0, 0)
    account.free_tokens += 5


def _lost_at_the_root(ledger: Ledger) -> None:
    ledger.root.free_tokens -= 1


def _debt_beside_money(ledger: Ledger) -> None:
    ledger.root.cover = (ledger.root.cover[0] + 5, 0, 0)
    ledger.root.free_tokens += 5


def _child_and_parent_differ(ledger: Ledger) -> None:
    ann = ledger.accounts["ann"]
    ann.delegated = (ann.delegated[0] + 7, 0, 0)
    ann.free_tokens -= 7


def _hold_and_account_differ(ledger: Ledger) -> None:
    ann = ledger.accounts["ann"]
    ann.held = (ann.held[0] - 7, 0, 0)
    ann.free_tokens += 7


def _spending_and_accounts_differ(ledger: Ledger) -> None:
    ledger.spent[0] += 1


@pytest.mark.parametrize(
    ("break_it", "names"),
    [
        (_shift_free, "ann tokens"),
        (_below_zero, "ann/1 tokens"),
        (_needless_cover, "ann"),
        (_lost_at_the_root, "fleet tokens"),
        (_debt_beside_money, "fleet tokens"),
        (_child_and_parent_differ, "ann tokens"),
        (_hold_and_account_differ, "ann tokens"),
        (_spending_and_accounts_differ, "fleet tokens"),
    ],
)
def test_a_broken_invariant_is_found_and_named(core: Core, break_it: Callable[[Ledger], None], names: str) -> None:
    break_it(core.ledger)
    with pytest.raises(BrokenInvariant, match=names):
        check_conserved(core.ledger)


def test_the_check_before_a_commit_looks_at_what_was_touched_and_at_all_above_it(core: Core) -> None:
    core.given(allocate("bob", 10), use("ann/1", 1))
    check_conserved(core.ledger, core.decided.events)
    _shift_free(core.ledger)
    with pytest.raises(BrokenInvariant, match="ann tokens"):
        check_conserved(core.ledger, core.decided.events)
    core.ledger.accounts["ann"].free_tokens -= 1
    core.ledger.accounts["bob"].free_tokens += 1
    check_conserved(core.ledger, core.decided.events)


def test_the_check_before_a_commit_looks_at_who_was_charged_for_another() -> None:
    core = Core(
        fleet(1_000), allocate("ann", 400), allocate("ann/1", 100, parent="ann"), c.ReleaseBudget(agent="ann/1")
    )
    core.given(use("ann/1", 5))
    _shift_free(core.ledger)
    with pytest.raises(BrokenInvariant, match="ann tokens"):
        check_conserved(core.ledger, core.decided.events)


def test_a_total_beyond_64_bits_with_what_was_spent_is_no_amount() -> None:
    core = Core(fleet(1_000, period="day"), use("eve", 100)).wait(86_400)
    core.when(c.SetTotalBudget(budget=c.BudgetChange(tokens=2**63 - 100)))
    core.then_refused("invalid_amount", field="budget.tokens")
    core.given(c.SetTotalBudget(budget=c.BudgetChange(tokens=2**63 - 101)))


def test_priorities_that_count_for_nothing_split_nothing() -> None:
    core = Core(fleet(1_000, allocation_weights={"low": 0}))
    core.when(c.AllocateByPriority(agents={"ann": "low"}, total=budget(10)))
    core.then_refused("invalid_amount", field="agents")
    core.given(c.AllocateByPriority(agents={"ann": "low", "bob": "high"}, total=budget(10)))
    assert (core.account("ann").allocated[0], core.account("bob").allocated[0]) == (0, 10)
