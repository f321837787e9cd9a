"""The orders that reach an account from itself and from all above it: throttle, stop, the pause of its product.

A look walks up the tree once, and leaves what it found at every account on its way; so a report costs the same at any
depth. What is kept is a cache: it is empty after a restart, and no snapshot has it.
"""

from collections.abc import Set
from decimal import Decimal
from typing import Final, NamedTuple

from tallystick.events.state.accounts import Account


class Order(NamedTuple):
    """What is ordered for an account and for all above it."""

    stopped: Account | None
    """The nearest stopped account, the account itself included."""
    rate: Decimal | None
    """The lowest throttle."""
    paused: bool
    """Whether the product of one of them is paused."""
    overdrawn: Account | None = None
    """The nearest account that is stopped for what others cover for it, the account itself included."""


NO_ORDER: Final = Order(stopped=None, rate=None, paused=False)


class Orders:
    """What operators have ordered, as each account feels it. `forget` must follow every throttle, stop and resume."""

    def __init__(self) -> None:
        self._known: dict[str, Order] = {}
        self._paused: Set[str | None] = frozenset()

    def of(self, account: Account | None, paused: Set[str | None]) -> Order:
        """The orders at or above an account, while these products are paused; none for the root and for no account."""
        if paused is not self._paused:
            self._paused = paused
            self._known.clear()
        unknown: list[Account] = []
        order: Order | None = None
        while account is not None and account.parent is not None:
            order = self._known.get(account.id)
            if order is not None:
                break
            unknown.append(account)
            account = account.parent
        found = order or NO_ORDER
        for below in reversed(unknown):
            found = self._known[below.id] = self._with_own(below, found)
        return found

    def forget(self, agent: str | None = None) -> None:
        """Another order may be in force: below ``agent`` nothing is open; without one, anywhere."""
        if agent is None:
            self._known.clear()
        else:
            self._known.pop(agent, None)

    def _with_own(self, account: Account, above: Order) -> Order:
        stopped, rate, paused, overdrawn = above
        if account.stopped is not None:
            stopped = account
        if account.throttle is not None and (rate is None or account.throttle < rate):
            rate = account.throttle
        if account.overdrawn:
            overdrawn = account
        order = Order(stopped, rate, paused or account.product in self._paused, overdrawn)
        return above if order == above else order
