"""What waits at the manager's door, and the inboxes of all: C queues, which cost a fraction of the default one's locks."""

import queue
from collections import deque
from typing import Any

from tallystick.actors.messages import Envelope


class Inbox(queue.SimpleQueue[Any]):
    """What pykka asks of an inbox is what `queue.SimpleQueue` has."""


class Door:
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


class Bell:
    """The message that says that something waits at the door."""


BELL = Bell()
