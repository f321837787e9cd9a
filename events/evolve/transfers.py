"""Money in motion: how amounts move between free, held, spent and granted, in one account and between two.

These are the only places where a balance changes. They apply what an event says and decide nothing.
"""

from tallystick.config.amounts import DIMENSIONS, Amounts, Triple
from tallystick.events import catalog as e
from tallystick.events.state.accounts import OVERDRAFT, POOL, RESERVE, Account, Balances
from tallystick.events.state.money import ZERO, Money, minus, money, only, plus


def spend(balances: Balances, account: Account, event: "e.UsageReported | e.HoldSettled | e.UsageCorrected") -> None:
    """Book a use: on the account, on the accounts that pay for it, and on the fleet."""
    # Every report passes here: the three dimensions stand one under the other instead of in a loop.
    total = balances.spent
    first, second, third = account.payers
    if amount := event.tokens:
        first.free_tokens -= amount
        total[0] += amount
        account.spent_tokens += amount
        if first is not account:
            first.spent_tokens += amount
    if amount := event.time_ms:
        second.free_ms -= amount
        total[1] += amount
        account.spent_ms += amount
        if second is not account:
            second.spent_ms += amount
    if amount := event.cost_nanos:
        third.free_nanos -= amount
        total[2] += amount
        account.spent_nanos += amount
        if third is not account:
            third.spent_nanos += amount


def set_aside(balances: Balances, account: Account, amount: Money, sign: int) -> None:
    """Hold ``amount``, or with a negative ``sign`` give it back."""
    # Every hold passes here twice: the dimensions stand one under the other, as in `spend`.
    own, total = account.held, balances.held
    tokens, time_ms, cost = sign * amount[0], sign * amount[1], sign * amount[2]
    first, second, third = account.payers
    if tokens:
        first.free_tokens -= tokens
        total[0] += tokens
        if first is not account:
            first.held = plus(first.held, (tokens, 0, 0))
    if time_ms:
        second.free_ms -= time_ms
        total[1] += time_ms
        if second is not account:
            second.held = plus(second.held, (0, time_ms, 0))
    if cost:
        third.free_nanos -= cost
        total[2] += cost
        if third is not account:
            third.held = plus(third.held, (0, 0, cost))
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
