"""Close accounts."""

from typing import ClassVar

from tallystick.events.messages.command import Command, Name
from tallystick.events.messages.from_child import FromChild


class ReleaseBudget(Command):
    """Close an account: children released, holds cancelled, the unused back to the parent.

    A delegated account is closed by its fleet, the ``child``, when that closes; or with ``force`` by an operator,
    whatever the fleet still has. Of ``fleet`` itself it closes a fleet that has a parent.
    """

    group: ClassVar[str] = "release"
    agent: Name
    force: bool = False
    child: FromChild | None = None
