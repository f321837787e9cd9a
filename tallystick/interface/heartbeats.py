"""Signs of life for all that the agents of a program have open: one thread, one message with a list, few events."""

import heapq
import itertools
import logging
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import structlog

from tallystick.events.messages.command import MESSAGES_MAX, Command

PER_LEASE: Final = 3
"""So often in a lease a sign of life is due: one that is lost does no harm."""
log = structlog.wrap_logger(logging.getLogger("tallystick.interface"))


class Alive(Protocol):
    """What is kept alive: an agent, a hold or the run of a task. It is forgotten with the program's last reference."""

    beat_seconds: float
    """How much time passes at most without a message."""
    last_sign: float
    """When a message was sent for it last, by the clock of these heartbeats."""

    def sign_of_life(self) -> Command | None:
        """The message; None where it has ended."""

    def take_answer(self, answer: dict[str, Any]) -> None:
        """What was answered."""


class Heartbeats:
    """Sends what is due, on a thread of its own that begins with the first thing to keep alive."""

    def __init__(
        self, send: Callable[[Sequence[Command]], list[dict[str, Any]]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._send, self.clock = send, clock
        self._due: list[tuple[float, int, weakref.ref[Alive]]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def keep(self, alive: Alive) -> None:
        """Keep something alive from now on, until it has ended or is referred to no more."""
        with self._changed:
            self._put(alive)
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name="heartbeats", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        """Stop; what was kept alive ends with its lease."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def beat(self) -> None:
        """Send what is due by now."""
        due = self._take_due()
        for first in range(0, len(due), MESSAGES_MAX):
            self._beat_for(due[first : first + MESSAGES_MAX])
        with self._changed:
            for alive, _ in due:
                self._put(alive)

    def _put(self, alive: Alive) -> None:
        at = alive.last_sign + alive.beat_seconds
        heapq.heappush(self._due, (at, next(self._numbers), weakref.ref(alive)))

    def _take_due(self) -> list[tuple[Alive, Command]]:
        """What is due by now and goes on, with its message. What was heard since is not due, and goes on later."""
        now = self.clock()
        due: list[tuple[Alive, Command]] = []
        with self._changed:
            while self._due and self._due[0][0] <= now:
                alive = heapq.heappop(self._due)[2]()
                message = None if alive is None else alive.sign_of_life()
                if alive is None or message is None:
                    continue
                if alive.last_sign + alive.beat_seconds > now:
                    self._put(alive)
                    continue
                alive.last_sign = now
                due.append((alive, message))
        return due

    def _beat_for(self, due: list[tuple[Alive, Command]]) -> None:
        try:
            answers = self._send([message for _, message in due])
        except Exception as error:  # noqa: BLE001 - the next sign of life comes within the lease
            log.warning("no_heartbeat", error=str(error), of=len(due))
            return
        for (alive, _), answer in zip(due, answers, strict=True):
            alive.take_answer(answer)

    def _run(self) -> None:
        while True:
            self.beat()
            with self._changed:
                left = self._due[0][0] - self.clock() if self._due else None
                if self._closed:
                    return
                if left is None or left > 0:
                    self._changed.wait(left)
