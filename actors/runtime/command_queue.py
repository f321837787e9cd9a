"""What waits at the manager's door, and the inboxes of all: C queues, which cost a fraction of the default one's locks."""

import queue
from collections import deque
from typing import Any

from tallystick.actors.runtime.messages import Envelope
from tallystick.events.messages import NAME_MAX


class Inbox(queue.SimpleQueue[Any]):
    """What pykka asks of an inbox is what `queue.SimpleQueue` has."""


class CommandQueue:
    """Envelopes in the order of their arrival, and one bell for all that have arrived since it was answered.

    A visitor puts the envelope in *before* looking at the bell; the manager silences the bell *before* emptying the
    door. So an envelope is either found, or its visitor rings.
    """

    __slots__ = ("rung", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Envelope] = deque()
        self.rung = False

    def put(self, envelope: Envelope) -> bool:
        """Leave an envelope; whether the bell must be rung."""
        self.waiting.append(envelope)
        if self.rung:
            return False
        self.rung = True
        return True


class WakeUp:
    """The message that says that something waits at the door."""


WAKE_UP = WakeUp()


def check_principal(by: str) -> None:
    """Who asks goes into the log with every event, so it must be a name that the log can hold.

    Raises:
        ValueError: it is none. That is the program's mistake, not the sender's.
    """
    if type(by) is not str or not 0 < len(by) <= NAME_MAX or not by.isprintable():
        raise ValueError(f"by: found {by!r:.60}, allowed is a name of 1 to {NAME_MAX} printable characters")
