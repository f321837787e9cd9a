"""The specialists that every fleet has."""

from tallystick.actors.enforcer import Enforcer
from tallystick.actors.reallocator import Reallocator
from tallystick.actors.runtime.specialist import Specialist
from tallystick.actors.tracker import Tracker


def specialists(delivers: bool = False) -> list[Specialist]:
    """The specialists with a thread of their own, in the order in which equal timers fire.

    ``delivers``: the enforcer also sends alerts to the configured addresses.
    """
    return [Tracker(), Enforcer(delivers), Reallocator()]
