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
    book(balances, account, (event.tokens, event.time_ms, event.cost_nanos))


def book(balances: Balances, account: Account, used: Money) -> None:
    """As `spend`, of amounts."""
    tokens, time_ms, cost_nanos = used
    total = balances.spent
    total[0] += tokens
    total[1] += time_ms
    total[2] += cost_nanos
    charge_account(account, tokens, time_ms, cost_nanos)


def charge_account(account: Account, tokens: int, time_ms: int, cost_nanos: int) -> None:
    """Book a use on an account, and on the accounts that pay for it; the fleet's sum is its caller's."""
    # Every report passes here: the three dimensions stand one under the other instead of in a loop, and who pays is
    # found only where something was used (`Account.payers`).
    limits, above = account.allocated, account.payers_above
    if tokens:
        account.spent_tokens += tokens
        if limits[0] is not None or (payer := above[0]) is account:
            account.free_tokens -= tokens
        else:
            payer.free_tokens -= tokens
            payer.spent_tokens += tokens
    if time_ms:
        account.spent_ms += time_ms
        if limits[1] is not None or (payer := above[1]) is account:
            account.free_ms -= time_ms
        else:
            payer.free_ms -= time_ms
            payer.spent_ms += time_ms
    if cost_nanos:
        account.spent_nanos += cost_nanos
        if limits[2] is not None or (payer := above[2]) is account:
            account.free_nanos -= cost_nanos
        else:
            payer.free_nanos -= cost_nanos
            payer.spent_nanos += cost_nanos


def set_aside(balances: Balances, account: Account, amount: Money, sign: int) -> None:
    """Hold ``amount``, or with a negative ``sign`` give it back."""
    # Every hold passes here twice: the dimensions stand one under the other, as in `spend`.
    own, total, limits, above = account.held, balances.held, account.allocated, account.payers_above
    tokens, time_ms, cost = sign * amount[0], sign * amount[1], sign * amount[2]
    if tokens:
        payer = above[0] if limits[0] is None else account
        payer.free_tokens -= tokens
        total[0] += tokens
        if payer is not account:
            payer.held = plus(payer.held, (tokens, 0, 0))
    if time_ms:
        payer = above[1] if limits[1] is None else account
        payer.free_ms -= time_ms
        total[1] += time_ms
        if payer is not account:
            payer.held = plus(payer.held, (0, time_ms, 0))
    if cost:
        payer = above[2] if limits[2] is None else account
        payer.free_nanos -= cost
        total[2] += cost
        if payer is not account:
            payer.held = plus(payer.held, (0, 0, cost))
    account.held = (own[0] + tokens, own[1] + time_ms, own[2] + cost)


def delegate(source: Account, d: int, units: int) -> None:
    """Move ``units`` from a source's free balance to what it has granted."""
    source.free = minus(source.free, only(d, units))
    source.delegated = plus(source.delegated, only(d, units))


def grant(account: Account, amount: Triple, sign: int) -> None:
    """Raise (or lower) an account's allocation by ``amount``, from (or to) its sources."""
    units = money(amount)
    allocated = account.allocated
    change = units if sign > 0 else minus(ZERO, units)
    for d in DIMENSIONS:
        if change[d]:
            delegate(account.source(d), d, change[d])
    account.free = plus(account.free, change)
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
            root.free = plus(root.free, change)
        return
    account = balances.accounts[paid]
    account.cover = plus(account.cover, change)
    for d in DIMENSIONS:
        if change[d]:
            delegate(account.source(d), d, change[d])
    account.free = plus(account.free, change)


def fill_reserve(balances: Balances, change: Money) -> None:
    """Move money from the pool into the reserve (or out of it, where ``change`` is negative)."""
    reserve, root = balances.reserve, balances.root
    reserve.cover = plus(reserve.cover, change)
    root.delegated = plus(root.delegated, change)
    reserve.free = plus(reserve.free, change)
    root.free = minus(root.free, change)
