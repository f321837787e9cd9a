"""Cover: which account pays when more was used than there is, and what it gets back later."""

from collections.abc import Iterable

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
    steps: list[tuple[Account, int]] = []
    while payer is not turn.ledger.root and (short := needed - payer.free[dimension]) > 0:
        steps.append((payer, short))
        payer, needed = payer.source(dimension), short
    if payer is turn.ledger.root:
        _cover_pool(turn, dimension, needed, cause)
    # From the top down, so that each has what it passes on.
    for target, short in reversed(steps):
        source = name_of(target.source(dimension))
        turn.record(e.Covered(source=source, target=target.id, amount=one(dimension, short), cause=cause))


def _cover_pool(turn: Turn, dimension: int, needed: int, cause: str) -> None:
    """Make sure that the pool has ``needed`` units: from the reserve, and the rest is owed."""
    ledger = turn.ledger
    if ledger.root.allocated[dimension] is None:
        return  # nothing limits the root
    short = needed - ledger.root.free[dimension]
    from_reserve = min(short, ledger.reserve.free[dimension])
    if from_reserve > 0:
        turn.record(e.Covered(source=RESERVE, target=POOL, amount=one(dimension, from_reserve), cause=cause))
    if short > max(0, from_reserve):
        owed = short - max(0, from_reserve)
        turn.record(e.Covered(source=OVERDRAFT, target=POOL, amount=one(dimension, owed), cause=cause))


def settle_cover(turn: Turn, account: Account) -> None:
    """Give back what others cover and the account no longer needs; at the root, refill in order of debt.

    What comes back to the root repays overdraft, then refills the reserve to its configured size, then the pool.
    """
    for d, payer in enumerate(account.payers):
        _settle_cover(turn, payer, d)


def settle_covers(turn: Turn, accounts: Iterable[Account]) -> None:
    """`settle_cover` for many accounts at once: each on the way up gives back once, after all that is below it.

    The cost grows with the accounts that give back, not with their number times their depth. The balances are the same
    in the end.
    """
    distinct = dict.fromkeys(accounts)
    if len(distinct) == 1:
        settle_cover(turn, *distinct)
        return
    for d in DIMENSIONS:
        _settle_covers(turn, dict.fromkeys(account.payers[d] for account in distinct), d)


def repay_source(turn: Turn, account: Account) -> None:
    """Give back, one step up, what others cover and the account no longer needs."""
    for d in account.dims:
        back = min(account.cover[d], account.free[d])
        if back > 0:
            target = name_of(account.source(d))
            turn.record(e.CoverRepaid(source=account.id, target=target, amount=one(d, back)))
            _note_repaid(turn, account)


def _note_repaid(turn: Turn, account: Account) -> None:
    """An account that was stopped for what others cover for it may go on."""
    if account.overdrawn and not account.is_beyond:
        turn.record(e.OverdraftRepaid(agent=account.id))


def _settle_cover(turn: Turn, account: Account, d: int) -> None:
    root = turn.ledger.root
    while account is not root:
        back = min(account.cover[d], account.free[d])
        if back <= 0:
            return
        source = account.source(d)
        turn.record(e.CoverRepaid(source=account.id, target=name_of(source), amount=one(d, back)))
        _note_repaid(turn, account)
        account = source
    if root.allocated[d] is not None:
        _settle_root(turn, d)


def _settle_covers(turn: Turn, accounts: Iterable[Account], d: int) -> None:
    root = turn.ledger.root
    at_root = False
    giving: dict[Account, int] = {}
    """The accounts that give back, each with how many of those right below it have not done so yet."""
    for account in accounts:
        at = account
        if at is not root and at.free[d] <= 0:
            continue
        while at is not root and at.cover[d] > 0 and at not in giving:
            giving[at] = 0
            at = at.source(d)
        at_root = at_root or at is root
    for account in giving:
        source = account.source(d)
        if source in giving:
            giving[source] += 1
    ready = [account for account, below in giving.items() if not below]
    for account in ready:  # grows while it is gone through
        source = account.source(d)
        back = min(account.cover[d], account.free[d])
        turn.record(e.CoverRepaid(source=account.id, target=name_of(source), amount=one(d, back)))
        if source in giving:
            giving[source] -= 1
            if not giving[source]:
                ready.append(source)
    if at_root and root.allocated[d] is not None:
        _settle_root(turn, d)


def _settle_root(turn: Turn, d: int) -> None:
    ledger, root = turn.ledger, turn.ledger.root
    back = min(root.cover[d], root.free[d])
    if back > 0:
        turn.record(e.CoverRepaid(source=POOL, target=OVERDRAFT, amount=one(d, back)))
    refill = min(ledger.reserve_size(d) - ledger.reserve.free[d], root.free[d])
    if refill > 0:
        turn.record(e.CoverRepaid(source=POOL, target=RESERVE, amount=one(d, refill)))
