"""The manager's thread, and the seat beside it: for a specialist who is consulted in the manager's own turn.

A submission, and a slot that becomes free, wait for the allocator's word. Between two threads that word costs more than
the judgement: each hop waits until the other threads of the process give the interpreter up.
"""

import contextlib
import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any

import pykka

from tallystick.actors.manager import Halted, Manager, halted_answer
from tallystick.actors.runtime.command_queue import CommandQueue, Inbox, WakeUp
from tallystick.actors.runtime.messages import Answered, Batch, Post, Proposal, each, together
from tallystick.actors.runtime.pending import answer_with
from tallystick.actors.runtime.specialist import Crashed, Probe, Specialist

GROUP_MAX = 2_000
"""Envelopes in one commit at most."""


class AdjacentSpecialist:
    """A specialist in the manager's thread. The fleet deals with it as with the reference of an actor."""

    def __init__(
        self,
        person: Specialist,
        manager: "Ref",
        wake_at: Callable[[str, dt.datetime | None], None],
        crashed: Callable[[Crashed], None],
    ) -> None:
        self.person = person
        self._manager = manager
        self._wake_at = wake_at
        self._crashed = crashed
        self._works = True
        wake_at(person.name, person.due_at())

    def hear(self, messages: Sequence[Any], now: dt.datetime) -> list[Post]:
        """Take messages, in the manager's turn; what follows from them. An error inside ends this seat, not the manager."""
        if not self._works:
            return []
        person = self.person
        posts: list[Post] = []
        try:
            for message in messages:
                if isinstance(message, Probe):
                    message.reached()
                else:
                    posts += person.handle(message, now)
            self._wake_at(person.name, person.due_at())
        except Exception as error:  # noqa: BLE001 - whatever it is, another takes its place
            self._works = False
            self._crashed(Crashed(person.name, f"{type(error).__name__}: {error}"))
            return []
        return posts

    def tell(self, message: Any) -> None:
        """Have a message heard in one of the manager's next turns.

        Raises:
            ActorDeadError: nobody would hear it.
        """
        if not self._works:
            raise pykka.ActorDeadError(f"{self.person.name} died")
        self._manager.tell(AdjacentMessage(self, message))

    def is_alive(self) -> bool:
        return self._works and self._manager.is_alive()

    def stop(self, block: bool, timeout: float) -> None:
        """Leave the seat: nothing is heard any more."""
        self._works = False


Ref = pykka.ActorRef[Any] | AdjacentSpecialist
"""Where messages for one of the people go."""


class AdjacentMessage:
    """A message for one who sits beside the manager."""

    __slots__ = ("message", "seat")

    def __init__(self, seat: AdjacentSpecialist, message: Any) -> None:
        self.seat = seat
        self.message = message


class ManagerActor(pykka.ThreadingActor):
    """The manager's thread: the bell means that envelopes wait at the door; all that is there becomes one commit."""

    use_daemon_thread = True

    def __init__(
        self,
        manager: Manager,
        door: CommandQueue,
        now: Callable[[], dt.datetime],
        deliver: Callable[[Post], None],
    ) -> None:
        super().__init__()
        self._manager = manager
        self._door = door
        self._now = now
        self._deliver = deliver

    @staticmethod
    def _create_actor_inbox() -> Inbox:
        return Inbox()

    def on_receive(self, message: Any) -> None:
        manager = self._manager
        if type(message) is WakeUp:
            self._take_all()
        elif type(message) is Takeover:
            self._take_all()
            message.person.begin(manager.ledger)
            message.done()
            for post in together(manager.asked_of(message.person.name)):
                self._deliver(post)
        elif isinstance(message, Proposal | Answered | Batch):
            for one in each(message):
                manager.hear(one, self._now())
            self._take_all()
        elif type(message) is AdjacentMessage:
            now = self._now()
            for post in message.seat.hear(each(message.message), now):
                manager.hear(post.message, now)
            self._take_all()
        else:
            self._take_all()
            message.reached()

    def _take_all(self) -> None:
        """Take what waits at the door, at most a group at a time, and commit it; until nothing waits."""
        manager, door, now = self._manager, self._door, self._now
        waiting = door.waiting
        door.rung = False
        while True:
            for _ in range(GROUP_MAX):
                if not waiting:
                    break
                manager.take(waiting.popleft(), now())
            if not manager.has_work:
                return
            for post in together(manager.commit(now())):
                self._deliver(post)

    def on_stop(self) -> None:
        """Finish what was taken, and tell those that come too late."""
        if self._manager.halted is None:
            with contextlib.suppress(Halted):
                self._take_all()
        reason = self._manager.halted or "it was closed"
        self._manager.give_up(reason)
        self._refuse_all(reason)

    def on_failure(self, exception_type: Any, exception_value: Any, traceback: Any) -> None:
        """The manager cannot be replaced: its state may be ahead of the log. The fleet stops."""
        reason = str(exception_value) or exception_type.__name__
        if self._manager.halted is None:
            self._manager.halt(f"an error in the manager: {reason}")
        self._refuse_all(reason)

    def _refuse_all(self, reason: str) -> None:
        while self._door.waiting:
            answer_with(self._door.waiting.popleft(), halted_answer(reason))


class Takeover:
    """A specialist's new shell is to begin from the state: between two commits, in the manager's own turn."""

    __slots__ = ("done", "person")

    def __init__(self, person: Specialist, done: Callable[[], None]) -> None:
        self.person = person
        self.done = done
