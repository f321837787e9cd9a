"""What a plan of moves must know of the whole fleet."""

import msgspec

from tallystick.config.amounts import DIMENSIONS, Triple
from tallystick.events.state.ledger import Ledger


class Figures(msgspec.Struct, frozen=True):
    """The fleet's figures after a commit, in internal units; None in a dimension that is not limited."""

    pool: Triple
    spendable: Triple
    minimum_share: tuple[int, int, int]
    in_crisis: bool


def figures_of(ledger: Ledger) -> Figures:
    """The figures of a state."""
    spendable = [None if ledger.root.allocated[d] is None else ledger.spendable(d) for d in DIMENSIONS]
    least = [ledger.minimum_share(d) for d in DIMENSIONS]
    return Figures(
        ledger.pool,
        (spendable[0], spendable[1], spendable[2]),
        (least[0], least[1], least[2]),
        ledger.in_crisis,
    )
