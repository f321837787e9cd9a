"""Both ends of a delegation: what the parent knows of a child fleet, and what a child knows of its parent.

Two sums make all messages between them harmless when they are lost, doubled or late. The parent keeps all that it ever
granted to the account, and the child all that it ever gave back; both only grow. The child's total is the first, as far
as it has heard of it, less the second: it is never more than what the account is allocated at the parent.
"""

from typing import Literal

import msgspec

from tallystick.config.amounts import Triple
from tallystick.events.state.money import ZERO, Money

NOT_ASKED = "the parent has not been asked since this fleet was opened"
"""Why a child grants nothing at first: only the parent can say that its log is not an old copy."""
ENDED = "this fleet has given its budget back to its parent, and is closed"


class Child(msgspec.Struct, array_like=True):
    """At the parent: one delegated account."""

    life: int
    """The position at which the account was opened."""
    fleet: str | None = None
    """The id of the child fleet; None until it has said anything."""
    number: int = 0
    """The last draw or return that was booked."""
    booked: int = 0
    """The position of the child's log up to which its use is booked."""
    returned: Money = ZERO


class Asked(msgspec.Struct, array_like=True, frozen=True):
    """At the child: a draw or a return that the parent has not answered."""

    kind: Literal["draw", "return"]
    number: int
    amount: Triple


class Span(msgspec.Struct, array_like=True, frozen=True):
    """At the child: a report of its use that the parent has not answered."""

    first: int
    upto: int
    amount: Money


class Delegation(msgspec.Struct, array_like=True):
    """At the child: how it stands with its parent."""

    account: str
    number: int = 0
    """Of the last draw or return."""
    asked: Asked | None = None
    span: Span | None = None
    granted: Triple | None = None
    """All that the parent ever granted, as far as this fleet has heard; None before it has heard anything."""
    returned: Money = ZERO
    """All that was ever given back, from the moment of the decision."""
    reported: Money = ZERO
    """What was reported as used in all."""
    booked: int = 0
    """The position up to which the parent has booked."""
    ended: bool = False

    @property
    def total(self) -> Triple:
        """What this fleet may grant and use in all; nothing where it has not heard of its parent."""
        if self.granted is None:
            return ZERO
        first, second, third = self.granted
        back = self.returned
        return (
            None if first is None else first - back[0],
            None if second is None else second - back[1],
            None if third is None else third - back[2],
        )
