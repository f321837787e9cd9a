"""What may be granted: what a source has free, the share of the pool that one agent may draw, and the reserve."""

from tallystick.config.amounts import DIMENSIONS, EDGE_NAMES, Amounts, Triple
from tallystick.events import catalog as e
from tallystick.events.decide.turn import Turn
from tallystick.events.messages.replies import Refusal, shown
from tallystick.events.state.accounts import Account
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.money import Money


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
