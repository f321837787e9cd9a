"""What ends together gives back together: holds, leases and sub-agents below covered accounts, at any depth.

What many of them give back goes up the tree once, so that the cost grows with the accounts and not with their number
times their depth.
"""

import datetime as dt
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tests.support.core import Core, allocate, complete, fleet, hold, submit, use
from tests.support.counting import steps
from tests.support.examples import examples
from tests.support.trees import grown, levels_are_right, parents

ASK = c.CheckEnforcement(agent="nobody-in-particular")
TASKS: dict[str, Any] = {
    "max_concurrent": {"total": 1_000, "per_type": {}},
    "token_budgets": {"default": 200},
    "daily_limits": {"max_tokens_total": None, "max_cost_usd": None},
}


def chain(n: int, **config: Any) -> Core:
    """A chain of ``n`` accounts; each has handed on nearly all it had."""
    core = Core(fleet(10**9, **config), compares=False)
    for number in range(n):
        core.given(allocate(f"a{number}", 1_000 * n - number, parent=f"a{number - 1}" if number else None))
    return core


def covered_chain(n: int) -> Core:
    """A chain in which each has a hold and is covered by the one above."""
    core = chain(n)
    for number in range(n):
        core.given(hold(f"a{number}", f"h{number}", 1, ttl_seconds=Decimal(7) + number % 3))
    return core.given(use(f"a{n - 1}", 10**7))


def ended_in(core: Core, command: c.Command) -> tuple[int, int]:
    """The steps and the events that a message takes, with what was due before it."""
    taken, _ = steps(lambda: core.when(command))
    return taken, len(core.decided.events)


def expiry(n: int) -> tuple[int, int]:
    return ended_in(covered_chain(n).wait(10), ASK)


def release(n: int) -> tuple[int, int]:
    return ended_in(covered_chain(n), c.ReleaseBudget(agent="a0"))


def lost_leases(n: int) -> tuple[int, int]:
    core = chain(n, **TASKS)
    for number in range(n):
        core.given(submit(f"t{number}", "x", parent=f"a{n - 1}"))
    assert len(core.ledger.tasks.running) == n
    core.given(use(f"a{n - 1}", 10**7))
    return ended_in(core.wait(3_600), ASK)


def ended_with_a_task(n: int) -> tuple[int, int]:
    core = chain(n, **TASKS)
    core.given(submit("t", "x", parent=f"a{n - 1}"))
    for number in range(n):
        core.given(allocate(f"s{number}", 2, parent="t"))
    core.given(use("t", 10**7))
    return ended_in(core, complete("t"))


@pytest.mark.parametrize("ends", [expiry, release, lost_leases, ended_with_a_task], ids=lambda ends: ends.__name__)
def test_twice_as_many_ends_in_a_covered_chain_twice_as_deep_take_twice_the_steps(
    ends: Callable[[int], tuple[int, int]],
) -> None:
    few, many = ends(20), ends(40)
    assert few[1] >= 40, "each end and each cover that is repaid is an event"
    assert many[1] <= 2.1 * few[1]
    assert many[0] <= 2.3 * few[0]


def test_each_account_of_the_chain_gives_back_once_after_all_below_it() -> None:
    core = covered_chain(5).wait(10)
    core.when(ASK)
    repaid = [event for event in core.decided.events if isinstance(event, e.CoverRepaid)]
    assert [(event.source, event.amount.tokens) for event in repaid] == [
        ("a4", 1), ("a3", 2), ("a2", 3), ("a1", 4), ("a0", 5),
    ]  # fmt: skip
    kinds = [type(event) for event in core.decided.events]
    assert kinds.index(e.CoverRepaid) == 5, "behind the ends of all holds"


def test_a_single_hold_ends_as_ever() -> None:
    core = covered_chain(3)
    core.given(c.CancelHold(hold="h2"))
    core.then_events(e.HoldEnded, e.CoverRepaid, e.CoverRepaid, e.CoverRepaid)


def test_holds_end_on_their_side_of_midnight() -> None:
    core = Core(fleet(10**6), allocate("a", 100))
    night = dt.timedelta(hours=12)
    for name, hours in (("before", 11), ("at", 12), ("behind", 13)):
        core.given(hold("a", name, 1, ttl_seconds=Decimal(hours * 3_600)))
    core.wait(night.total_seconds() * 2)
    core.when(ASK)
    found = [event.hold if isinstance(event, e.HoldEnded) else type(event).__name__ for event in core.decided.events]
    assert found[:4] == ["before", "at", "DayBegan", "behind"]


def balances(core: Core) -> dict[str, Any]:
    ledger = core.ledger
    return {
        one.id: (one.allocated, *one.free, one.held, one.delegated, one.closed, one.cover, one.level)
        for one in (ledger.root, ledger.reserve, *ledger.accounts.values())
    }


@settings(max_examples=examples(40), deadline=None, derandomize=True, print_blob=False)
@given(st.randoms(use_true_random=False), st.sampled_from(["chain", "fan", "any"]), st.integers(2, 12))
def test_what_ends_together_leaves_the_balances_that_it_leaves_one_after_the_other(
    dice: Random, shape: str, n: int
) -> None:
    tree, seed = parents(dice, shape, n), dice.random()
    together, apart = lived(tree, Random(seed)), lived(tree, Random(seed))
    assert balances(together) == balances(apart)
    while apart.ledger.due_at() <= apart.now + dt.timedelta(seconds=60):
        # Each moment has a message of its own.
        apart.wait((apart.ledger.due_at() - apart.now).total_seconds())
        apart.when(ASK)
    together.wait(60)
    together.when(ASK)
    kinds = Counter(type(event) for event in together.decided.events)
    assert kinds[e.CoverRepaid] <= 2 * (len(tree) + 2)
    levels_are_right(together)
    assert not together.ledger.holds
    assert balances(together) == balances(apart)


def lived(tree: list[int], dice: Random) -> Core:
    """Reports and holds at random in a tree of accounts, of which every hold is over in a minute."""
    core = Core(fleet(1_000_000, cost="1000"), compares=False)
    grown(core, tree)
    for number in range(4 * len(tree)):
        name = f"a{dice.randrange(len(tree))}"
        if dice.random() < 0.6:
            ttl = Decimal(dice.choice((5, 5, 9, 13)))
            core.when(hold(name, f"h{number}", dice.choice((1, 40, 3_000)), ttl_seconds=ttl))
        else:
            core.when(use(name, dice.choice((1, 500, 20_000, 400_000))))
    return core
