"""Cover: which account pays when more was used than there is, and what it gets back later."""

from tallystick.config.amounts import DIMENSIONS, Amounts
from tallystick.events import catalog as e
from tallystick.events.decide.turn import Turn
from tallystick.events.state.accounts import OVERDRAFT, POOL, RESERVE, ROOT, Account


def one(dimension: int, units: int) -> Amounts:
    """``units`` of one dimension."""
    return Amounts(*(units if d == dimension else None for d in DIMENSIONS))


def name_of(account: Account) -> str:
    """What an account is called as a source or target of money: the root's free balance is the pool."""
    return POOL if account.id == ROOT else account.id


def cover(turn: Turn, payer: Account, dimension: int, needed: int, cause: str) -> None:
    """Make sure that ``payer`` has ``needed`` units free, at the expense of others if it must: usage is a fact.

    The excess comes from the parent's free balance, on up the tree, then from the reserve, then from overdraft.
    Covers come before the usage that needs them, so that no balance is ever below zero.
    """
    ledger = turn.ledger
    if payer.allocated[dimension] is None:
        return  # the root, in a dimension that nothing limits
    short = needed - payer.free[dimension]
    if short <= 0:
        return
    if payer is ledger.root:
        from_reserve = min(short, ledger.reserve.free[dimension])
        if from_reserve:
            turn.record(e.Covered(source=RESERVE, target=POOL, amount=one(dimension, from_reserve), cause=cause))
        if short > from_reserve:
            owed = short - from_reserve
            turn.record(e.Covered(source=OVERDRAFT, target=POOL, amount=one(dimension, owed), cause=cause))
        return
    source = payer.source(dimension)
    cover(turn, source, dimension, short, cause)
    turn.record(e.Covered(source=name_of(source), target=payer.id, amount=one(dimension, short), cause=cause))


def settle_cover(turn: Turn, account: Account) -> None:
    """Give back what others cover and the account no longer needs; at the root, refill in order of debt.

    What comes back to the root repays overdraft, then refills the reserve to its configured size, then the pool.
    """
    for d in DIMENSIONS:
        _settle_cover(turn, account, d)


def _settle_cover(turn: Turn, account: Account, d: int) -> None:
    ledger = turn.ledger
    if account.allocated[d] is None:
        if account is not ledger.root:
            _settle_cover(turn, account.payers[d], d)
        return
    back = min(account.cover[d], account.free[d])
    if account is ledger.root:
        if back > 0:
            turn.record(e.CoverRepaid(source=POOL, target=OVERDRAFT, amount=one(d, back)))
        refill = min(ledger.reserve_size(d) - ledger.reserve.free[d], account.free[d])
        if refill > 0:
            turn.record(e.CoverRepaid(source=POOL, target=RESERVE, amount=one(d, refill)))
        return
    if back > 0:
        source = account.source(d)
        turn.record(e.CoverRepaid(source=account.id, target=name_of(source), amount=one(d, back)))
        _settle_cover(turn, source, d)
