"""How money may move: what is available to whom, what is covered when more was used than there is, what comes back."""

from tallystick.config.amounts import DIMENSIONS, EDGE_NAMES, Amounts, Triple
from tallystick.events import catalog as e
from tallystick.events.decide.turn import Turn
from tallystick.events.messages.replies import Refusal, shown
from tallystick.events.state.accounts import OVERDRAFT, POOL, RESERVE, ROOT, Account, Money
from tallystick.events.state.ledger import Ledger


def one(dimension: int, units: int) -> Amounts:
    """``units`` of one dimension."""
    return Amounts(*(units if d == dimension else None for d in DIMENSIONS))


def name_of(account: Account) -> str:
    """What an account is called as a source or target of money: the root's free balance is the pool."""
    return POOL if account.id == ROOT else account.id


# --- what is there ---------------------------------------------------------------------------------------------------


def available(ledger: Ledger, source: Account, dimension: int, critical: bool) -> int | None:
    """What ``source`` can grant: its free balance, and in a crisis the reserve, to critical agents only.

    None where not even the root limits the dimension.
    """
    if source.allocated[dimension] is None:
        return None
    free = source.free[dimension]
    if source is ledger.root and critical and ledger.in_crisis:
        free += ledger.reserve.free[dimension]
    return free


def lacking(
    ledger: Ledger, sources: "tuple[Account, Account, Account]", wanted: Triple, critical: bool
) -> Refusal | None:
    """Why ``wanted`` cannot be granted from ``sources``, or None where it can."""
    free = tuple(available(ledger, source, d, critical) for d, source in enumerate(sources))
    from_pool = any(wanted[d] is not None and source is ledger.root for d, source in enumerate(sources))
    closed_to = from_pool and not critical and ledger.response >= 3
    short = [d for d in DIMENSIONS if (units := wanted[d]) is not None and (has := free[d]) is not None and units > has]
    if not short and not closed_to:
        return None
    there = shown((free[0], free[1], free[2]))
    if closed_to:
        detail = "the fleet is in a crisis: nothing more from the pool for agents that are not critical"
    else:
        field = EDGE_NAMES[short[0]]
        detail = f"{field}: {getattr(shown(wanted), field)} was asked for, {getattr(there, field)} is free"
    return Refusal("pool_exhausted", detail, {"requested": shown(wanted), "available": there})


def over_pool_share(ledger: Ledger, drawn: Money, wanted: Triple) -> Refusal | None:
    """Why an agent that drew ``drawn`` on demand may not draw ``wanted`` more, or None where it may."""
    part = ledger.rules.pool_share_max
    for d in DIMENSIONS:
        units = wanted[d]
        if not units or ledger.root.allocated[d] is None:
            continue
        most = ledger.spendable(d) * part.numerator // part.denominator
        if drawn[d] + units > most:
            allowed = tuple(most if i == d else None for i in DIMENSIONS)
            return Refusal(
                "pool_share_exceeded",
                f"{EDGE_NAMES[d]}: one agent may draw at most {float(part * 100):g} % of what the fleet can spend",
                {
                    "requested": shown(wanted),
                    "drawn": shown((drawn[0], drawn[1], drawn[2])),
                    "allowed": shown((allowed[0], allowed[1], allowed[2])),
                },
            )
    return None


def open_reserve_for(turn: Turn, agent: str, sources: "tuple[Account, Account, Account]", wanted: Triple) -> None:
    """Put into the pool what a critical agent's grant lacks there, out of the reserve (the caller has checked)."""
    ledger = turn.ledger
    lack = [0, 0, 0]
    for d in DIMENSIONS:
        units = wanted[d]
        if units and sources[d] is ledger.root and ledger.root.allocated[d] is not None:
            lack[d] = max(0, units - ledger.root.free[d])
    if any(lack):
        turn.record(e.ReserveDrawn(agent=agent, amount=Amounts(*(units or None for units in lack))))


# --- cover -----------------------------------------------------------------------------------------------------------


def cover(turn: Turn, payer: Account, dimension: int, needed: int, cause: str) -> None:
    """Make sure that ``payer`` has ``needed`` units free, whoever must pay: usage is a fact.

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
