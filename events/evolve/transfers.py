"""Money in motion: how amounts move between free, held, spent and granted, in one account and between two.

These are the only places where a balance changes. They apply what an event says and decide nothing.
"""

from typing import Protocol

from tallystick.config.amounts import DIMENSIONS, Amounts, Triple
from tallystick.events.state.accounts import OVERDRAFT, POOL, RESERVE, Account, Balances
from tallystick.events.state.money import ZERO, Money, minus, money, only, plus


class Used(Protocol):
    """What was used, by dimension."""

    @property
    def tokens(self) -> int: ...
    @property
    def time_ms(self) -> int: ...
    @property
    def cost_nanos(self) -> int: ...


def spend(balances: Balances, account: Account, event: Used) -> None:
    """Book a use: on the account, on the accounts that pay for it, and on the fleet."""
    # Every report passes here: the three dimensions stand one under the other instead of in a loop.
    spent, total = account.spent, balances.spent
    first, second, third = account.payers
    if amount := event.tokens:
        first.free[0] -= amount
        total[0] += amount
        spent[0] += amount
        if first is not account:
            first.spent[0] += amount
    if amount := event.time_ms:
        second.free[1] -= amount
        total[1] += amount
        spent[1] += amount
        if second is not account:
            second.spent[1] += amount
    if amount := event.cost_nanos:
        third.free[2] -= amount
        total[2] += amount
        spent[2] += amount
        if third is not account:
            third.spent[2] += amount


def set_aside(balances: Balances, account: Account, amount: Money, sign: int) -> None:
    """Hold ``amount``, or with a negative ``sign`` give it back."""
    # Every hold passes here twice: the dimensions stand one under the other, as in `spend`.
    own, total = account.held, balances.held
    tokens, time_ms, cost = sign * amount[0], sign * amount[1], sign * amount[2]
    first, second, third = account.payers
    if tokens:
        first.free[0] -= tokens
        total[0] += tokens
        if first is not account:
            first.held = plus(first.held, (tokens, 0, 0))
    if time_ms:
        second.free[1] -= time_ms
        total[1] += time_ms
        if second is not account:
            second.held = plus(second.held, (0, time_ms, 0))
    if cost:
        third.free[2] -= cost
        total[2] += cost
        if third is not account:
            third.held = plus(third.held, (0, 0, cost))
    account.held = (own[0] + tokens, own[1] + time_ms, own[2] + cost)


def delegate(source: Account, d: int, units: int) -> None:
    """Move ``units`` from a source's free balance to what it has granted."""
    source.free[d] -= units
    source.delegated = plus(source.delegated, only(d, units))


def grant(account: Account, amount: Triple, sign: int) -> None:
    """Raise (or lower) an account's allocation by ``amount``, from (or to) its sources."""
    units = money(amount)
    allocated = account.allocated
    for d in DIMENSIONS:
        if units[d]:
            delegate(account.source(d), d, sign * units[d])
            account.free[d] += sign * units[d]
    change = units if sign > 0 else minus(ZERO, units)
    account.allocated = (
        None if allocated[0] is None else allocated[0] + change[0],
        None if allocated[1] is None else allocated[1] + change[1],
        None if allocated[2] is None else allocated[2] + change[2],
    )


def pay_cover(balances: Balances, payer: str, paid: str, amount: Amounts, sign: int) -> None:
    """Money from ``payer`` to ``paid`` (or back): what is granted changes, what is allocated does not."""
    units = money(amount.triple)
    change = units if sign > 0 else minus(ZERO, units)
    if paid == POOL:
        root = balances.root
        if payer == RESERVE:
            fill_reserve(balances, minus(ZERO, change))
        else:
            assert payer == OVERDRAFT
            root.cover = plus(root.cover, change)
            for d in DIMENSIONS:
                root.free[d] += change[d]
        return
    account = balances.accounts[paid]
    account.cover = plus(account.cover, change)
    for d in DIMENSIONS:
        if change[d]:
            delegate(account.source(d), d, change[d])
            account.free[d] += change[d]


def fill_reserve(balances: Balances, change: Money) -> None:
    """Move money from the pool into the reserve (or out of it, where ``change`` is negative)."""
    reserve, root = balances.reserve, balances.root
    reserve.cover = plus(reserve.cover, change)
    root.delegated = plus(root.delegated, change)
    for d in DIMENSIONS:
        reserve.free[d] += change[d]
        root.free[d] -= change[d]
