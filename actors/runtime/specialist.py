"""What every specialist is: a plain object that takes messages and returns posts, and a thin pykka shell around it."""

import datetime as dt
import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec
import pykka
import structlog

from tallystick.actors.runtime.command_queue import Inbox
from tallystick.actors.runtime.messages import Post, each, together
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
        for post in together(post for one in each(message) for post in handle(one, now)):
            self._deliver(post)
        self._wake_at(self._specialist.name, self._specialist.due_at())

    def on_failure(self, exception_type: Any, exception_value: Any, traceback: Any) -> None:
        self._crashed(Crashed(self._specialist.name, f"{getattr(exception_type, '__name__', '')}: {exception_value}"))


class Probe:
    """Passes through an inbox, and reports that all before it is done."""

    __slots__ = ("reached",)

    def __init__(self, reached: Callable[[], None]) -> None:
        self.reached = reached
