"""What an account and all that is open below it have used and set aside: for display, found when it is asked for."""

from typing import NamedTuple

from tallystick.config.amounts import DIMENSIONS
from tallystick.events.state.accounts import Account
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.money import Money


class Sums(NamedTuple):
    """Of a subtree, by dimension: what its own accounts pay (``within``), and what one above it pays (``above``)."""

    within: Money
    above: Money

    @property
    def all(self) -> Money:
        return (self.within[0] + self.above[0], self.within[1] + self.above[1], self.within[2] + self.above[2])


Memory = dict[str, tuple[Sums, Sums]]
"""By account, what was found of it: consumed and held. It is shared by all answers between two events."""


def known_below(ledger: Ledger) -> Memory:
    """What answers since the last event have found of subtrees; so n questions about a chain of n cost n, not n²."""
    position, memory = ledger.below
    if position != ledger.position:
        memory = {}
        ledger.below = (ledger.position, memory)
    return memory


def subtree(account: Account, memory: Memory) -> tuple[Money, Money]:
    """What an account and its open descendants have consumed, and hold: each unit once, whichever of them pays it.

    It costs what the subtree has in accounts, however deep or wide it is, and nothing where ``memory`` knows it.
    """
    todo = [account]
    while todo:
        at = todo[-1]
        missing = [child for child in (at.children or {}).values() if child.id not in memory]
        if at.id not in memory and missing:
            todo += missing
            continue
        todo.pop()
        if at.id not in memory:
            below = [memory[name] for name in at.children or {}]
            used = (at.consumed(0), at.consumed(1), at.consumed(2))
            memory[at.id] = (_sums(at, used, [one[0] for one in below]), _sums(at, at.held, [one[1] for one in below]))
    consumed, held = memory[account.id]
    return consumed.all, held.all


def _sums(account: Account, own: Money, below: list[Sums]) -> Sums:
    within, above = [0, 0, 0], [0, 0, 0]
    for d in DIMENSIONS:
        within[d] = sum(sums.within[d] for sums in below)
        if account.allocated[d] is not None:
            within[d] += own[d]  # with what it pays for accounts below it
        else:
            above[d] = own[d] + sum(sums.above[d] for sums in below)
    return Sums((within[0], within[1], within[2]), (above[0], above[1], above[2]))
