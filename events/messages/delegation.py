"""What a fleet is asked to record of its exchange with its parent; refused at the wire."""

from typing import ClassVar

from tallystick.config.amounts import Amounts
from tallystick.events.messages.command import Command
from tallystick.events.messages.from_child import Place


class AskDraw(Command):
    """Ask the parent for more."""

    group: ClassVar[str] = "internal"
    amount: Amounts


class AskReturn(Command):
    """Give what is idle back to the parent."""

    group: ClassVar[str] = "internal"
    amount: Amounts


class ReportRange(Command):
    """Report to the parent what was used since the last report."""

    group: ClassVar[str] = "internal"


class HearParent(Command):
    """Take what the parent has answered. ``granted`` is left out where it has not said; ``stopped``: why it lets
    nothing go on; ``refused``: the draw that it has refused. The ids of both fleets are checked by who asks.
    """

    group: ClassVar[str] = "internal"
    granted: Amounts | None = None
    number: Place = 0
    booked: Place = 0
    refused: Place = 0
    stopped: str | None = None
