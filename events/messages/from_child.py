"""What a fleet says to its parent beside an ordinary message."""

from typing import Annotated

import msgspec

from tallystick.events.messages.command import Name

Place = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class FromChild(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The sender of a message is the fleet that an account is delegated to.

    ``number``: of a draw or a return, in the order in which the child asked. ``first`` and ``upto``: of a report, the
    positions of the child's log that it is of.
    """

    fleet: Name
    number: Place = 0
    first: Place = 0
    upto: Place = 0
