"""Close accounts."""

from typing import ClassVar

from tallystick.events.messages.command import Command, Name


class ReleaseBudget(Command):
    """Close an account: children released, holds cancelled, the unused back to the parent."""

    group: ClassVar[str] = "release"
    agent: Name
