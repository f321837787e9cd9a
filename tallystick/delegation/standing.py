"""A child fleet at one moment, as the exchange with its parent needs it."""

from typing import NamedTuple

from tallystick.config.amounts import Triple
from tallystick.events.decide.delegation import may_be_returned, to_report
from tallystick.events.state.delegation import Asked, Span
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.money import Money


class Standing(NamedTuple):
    """What is read in the manager's turn, and stays as it was."""

    position: int
    account: str
    asked: Asked | None
    span: Span | None
    number: int
    ended: bool
    heard: bool
    """It knows what its parent has granted."""
    pool: Triple
    may_return: Triple
    unreported: Money
    spent: Money
    held: Money


def standing_of(ledger: Ledger) -> Standing:
    """How a child fleet stands now."""
    own = ledger.delegation
    assert own is not None, "only a fleet with a parent stands in an exchange"
    return Standing(
        position=ledger.position,
        account=own.account,
        asked=own.asked,
        span=own.span,
        number=own.number,
        ended=own.ended,
        heard=own.granted is not None,
        pool=ledger.pool,
        may_return=may_be_returned(ledger, own),
        unreported=to_report(ledger, own),
        spent=_triple(ledger.spent),
        held=_triple(ledger.held),
    )


def _triple(values: list[int]) -> Money:
    return (values[0], values[1], values[2])
