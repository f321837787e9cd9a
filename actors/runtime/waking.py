"""Threads whose answers are there are woken a few at a time, and each that runs wakes the next.

All at once, they would wait for the interpreter's lock together: each of them wakes up again in every switch interval,
and for every thread that then runs, all the others are in its way.
"""

import os
from collections import deque
from threading import Lock
from typing import Final

AT_ONCE = 8
"""How many are woken at the same time: beside a busy thread, which gives up the interpreter's lock only at the end of a
switch interval, so many have their turn then."""


class Sleeper:
    """A thread that waits until it is woken, once."""

    __slots__ = ("_is_gone", "_lock")

    def __init__(self) -> None:
        self._lock = Lock()
        self._lock.acquire()
        self._is_gone = False

    def sleep(self, timeout: float) -> None:
        """Wait until it is woken, for so many seconds at most."""
        self._lock.acquire(timeout=timeout)

    def go(self) -> None:
        """It waits no more, for whatever reason: wake the next one, whose turn it may have been given."""
        self._is_gone = True
        if _DUE:
            wake_next()

    def wake(self) -> bool:
        """Wake it; whether it was there, and will wake the next one.

        It says that it goes *before* it wakes the next one, and is woken *before* anyone looks whether it has gone: so
        one of both goes on with the next.
        """
        try:
            self._lock.release()
        except RuntimeError:
            return False  # it was woken before
        return not self._is_gone


_DUE: Final[deque[Sleeper]] = deque()
"""Whose answers are there, in that order."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_DUE.clear)


def wake(sleepers: tuple[Sleeper, ...]) -> None:
    """Some are to be woken, once it is their turn."""
    _DUE.extend(sleepers)


def wake_some() -> None:
    """Wake the first of those who are due; they wake the others."""
    for _ in range(min(AT_ONCE, len(_DUE))):
        wake_next()


def wake_next() -> None:
    """Wake the first of those who are due and have not gone.

    It is woken *before* it is taken out of the queue: where an interrupt comes in between, it is there to be woken once
    more, which does no harm, and never out of the queue and asleep.
    """
    while _DUE:
        try:
            sleeper = _DUE[0]
        except IndexError:
            return  # another thread has woken it
        goes_on = sleeper.wake()
        try:
            _DUE.remove(sleeper)
        except ValueError:
            continue  # another thread has woken it, too
        if goes_on:
            return
