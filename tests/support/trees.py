"""Trees of accounts of any shape."""

from random import Random

from tallystick.events import messages as c
from tallystick.events.decide.levels import level_of
from tests.support.core import Core, budget


def parents(dice: Random, shape: str, n: int) -> list[int]:
    """By account, the number of its parent; the first has none."""
    if shape == "chain":
        return [0, *range(n - 1)]
    if shape == "fan":
        return [0] * n
    return [0, *(dice.randrange(max(0, i - 3) if dice.random() < 0.7 else 0, i) for i in range(1, n))]


def grown(core: Core, tree: list[int]) -> None:
    """Open the accounts of a tree; each shares what it has among its children and itself."""
    granted: list[int] = []
    for number, parent in enumerate(tree):
        if not number:
            granted.append(500_000)
            core.given(c.AllocateBudget(agent="a0", budget=budget(granted[0], cost="50")))
            continue
        granted.append(granted[parent] // (tree[1:].count(parent) + 1))
        core.given(c.AllocateBudget(agent=f"a{number}", parent=f"a{parent}", budget=budget(granted[number])))


def levels_are_right(core: Core) -> None:
    for account in core.ledger.accounts.values():
        assert account.level == level_of(core.ledger, account)[0], account.id
