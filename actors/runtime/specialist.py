"""What every specialist is: a plain object that takes messages and returns posts, and a thin pykka shell around it."""

import contextlib
import datetime as dt
import logging
import queue
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec
import pykka
import structlog

from tallystick.actors.policies.delivery import Sent
from tallystick.actors.runtime.command_queue import Inbox
from tallystick.actors.runtime.messages import ExhaustionNear, Post, Surveyed, SurveyWanted, each, together
from tallystick.events.catalog import Event
from tallystick.events.state.ledger import Ledger

log = structlog.wrap_logger(logging.getLogger("tallystick.specialists"))


class Specialist(Protocol):
    """A specialist: no thread, no clock, no queue inside."""

    name: str
    follows: frozenset[type[Event]]
    """A recorded batch is delivered where it holds an event of these classes."""

    def begin(self, ledger: Ledger) -> None:
        """Take over from the state, at the start or in place of a specialist that failed."""

    def handle(self, message: Any, now: dt.datetime) -> Sequence[Post]:
        """Take a message; what follows from it."""

    def due_at(self) -> dt.datetime | None:
        """When this specialist wants a `Tick`; None for never."""


class Crashed(msgspec.Struct, frozen=True):
    """A specialist's actor failed; ``reason`` is for the log."""

    name: str
    reason: str
    left: tuple[Any, ...] = ()
    """What it did not take, and its successor must, because it is neither in the state nor asked again."""


def must_not_be_lost(message: Any) -> bool:
    """Whether a message is one that only its receiver knows of: another specialist's, or the sender's."""
    return isinstance(message, SurveyWanted | Surveyed | ExhaustionNear | Sent)


class Undelivered:
    """What was for a specialist between its failure and its successor, and must not be lost."""

    def __init__(self) -> None:
        self._messages: dict[str, list[Any]] = {}

    def keep(self, name: str, message: Any) -> None:
        """Keep a message for the next specialist of that name, if only its receiver knows of it."""
        if must_not_be_lost(message):
            self._messages.setdefault(name, []).append(message)

    def take(self, name: str) -> Sequence[Any]:
        """What was kept."""
        return self._messages.pop(name, ())


class SpecialistActor(pykka.ThreadingActor):
    """The thread of a specialist. An error inside ends this actor; the fleet puts a new one in its place."""

    use_daemon_thread = True

    def __init__(
        self,
        specialist: Specialist,
        now: Callable[[], dt.datetime],
        deliver: Callable[[Post], None],
        wake_at: Callable[[str, dt.datetime | None], None],
        crashed: Callable[[Crashed], None],
    ) -> None:
        super().__init__()
        self._specialist = specialist
        self._now = now
        self._deliver = deliver
        self._wake_at = wake_at
        self._crashed = crashed
        self._left: deque[Any] = deque()
        self._waiting: queue.SimpleQueue[Any] = self.actor_inbox  # type: ignore[assignment]  # `Inbox`, see below

    @staticmethod
    def _create_actor_inbox() -> Inbox:
        return Inbox()

    def on_start(self) -> None:
        self._wake_at(self._specialist.name, self._specialist.due_at())

    def on_receive(self, message: Any) -> None:
        if isinstance(message, Probe):
            message.reached()
            return
        now, handle = self._now(), self._specialist.handle
        posts: list[Post] = []
        self._left = deque(each(message))
        try:
            while self._left:
                posts += handle(self._left[0], now)
                self._left.popleft()
        finally:
            # What an earlier message led to counts, whatever becomes of the next.
            for post in together(posts):
                self._deliver(post)
        self._wake_at(self._specialist.name, self._specialist.due_at())

    def on_failure(self, exception_type: Any, exception_value: Any, traceback: Any) -> None:
        reason = f"{getattr(exception_type, '__name__', '')}: {exception_value}"
        left = list(self._left)
        with contextlib.suppress(queue.Empty):
            while True:
                left += each(self._waiting.get_nowait().message)
        self._crashed(Crashed(self._specialist.name, reason, tuple(filter(must_not_be_lost, left))))


class Probe:
    """Passes through an inbox, and reports that all before it is done."""

    __slots__ = ("reached",)

    def __init__(self, reached: Callable[[], None]) -> None:
        self.reached = reached
