"""The orders (throttle and stop) that reach an account from itself and from all above it.

A look walks up the tree once, and leaves what it found at every account on its way; so a report costs the same at any
depth. What is kept is a cache: it is empty after a restart, and no snapshot has it.
"""

from decimal import Decimal
from typing import Final

from tallystick.events.state.accounts import Account

Order = tuple[Account | None, Decimal | None]
"""The nearest stopped account, the account itself included, and the lowest throttle of all; None for none."""

NO_ORDER: Final[Order] = (None, None)


class Orders:
    """What operators have ordered, as each account feels it. `forget` must follow every change of an order."""

    def __init__(self) -> None:
        self._known: dict[str, Order] = {}

    def of(self, account: Account | None) -> Order:
        """The orders at or above an account; none for the root, and for no account."""
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
            found = self._known[below.id] = _with_own(below, found)
        return found

    def forget(self, agent: str | None = None) -> None:
        """Another order may be in force: below ``agent`` nothing is open; without one, anywhere."""
        if agent is None:
            self._known.clear()
        else:
            self._known.pop(agent, None)


def _with_own(account: Account, above: Order) -> Order:
    stopped, rate = above
    if account.stopped is not None:
        stopped = account
    if account.throttle is not None and (rate is None or account.throttle < rate):
        rate = account.throttle
    return above if stopped is above[0] and rate is above[1] else (stopped, rate)
