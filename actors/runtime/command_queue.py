"""The manager's command queue, and all actors' inboxes: C queues, which cost a fraction of the default's locks."""

import queue
from collections import deque
from typing import Any

from tallystick.actors.runtime.messages import Envelope
from tallystick.events.messages import NAME_MAX


class Inbox(queue.SimpleQueue[Any]):
    """What pykka asks of an inbox is what `queue.SimpleQueue` has."""


class CommandQueue:
    """Envelopes in the order of their arrival, and one wake-up for all that arrived since the manager last looked.

    A sender puts the envelope in *before* it looks at ``woken``; the manager clears ``woken`` *before* it empties the
    queue. So an envelope is either found, or its sender wakes the manager.
    """

    __slots__ = ("waiting", "woken")

    def __init__(self) -> None:
        self.waiting: deque[Envelope] = deque()
        self.woken = False
        """The manager was sent a wake-up that it has not taken yet."""

    def put(self, envelope: Envelope) -> bool:
        """Add an envelope; whether the manager must be woken."""
        self.waiting.append(envelope)
        if self.woken:
            return False
        self.woken = True
        return True


class WakeUp:
    """Tells the manager that something waits in its queue."""


WAKE_UP = WakeUp()


def check_principal(by: str) -> None:
    """The sender's name goes into the log with every event, so it must be a name that the log can hold.

    Raises:
        ValueError: it is none. That is the program's mistake, not the sender's.
    """
    if type(by) is not str or not 0 < len(by) <= NAME_MAX or not by.isprintable():
        raise ValueError(f"by: found {by!r:.60}, allowed is a name of 1 to {NAME_MAX} printable characters")
