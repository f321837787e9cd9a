"""What operators decide by hand, and the key that they need for some of it."""

from collections.abc import Mapping

import msgspec

from tallystick.config.kinds import KeyDigest, Name, Priority
from tallystick.config.section import Section


class ManualOverride(Section, frozen=True):
    """What the operator decided by hand."""

    pause_all_agents: bool = False
    priority_override: Mapping[Name, Priority] = msgspec.field(default_factory=dict)


class Control(Section, frozen=True):
    """Who may loosen limits from outside the program; None: every process that reaches the fleet."""

    operator_key: KeyDigest | None = None
