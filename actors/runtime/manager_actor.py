"""The manager's thread: it empties the command queue, commits in groups, and wakes the manager at its time."""

import contextlib
import datetime as dt
import gc
from collections.abc import Callable, Sequence
from typing import Any

import pykka

from tallystick.actors.errors import Halted
from tallystick.actors.keeping import Coming, made_of
from tallystick.actors.manager import Manager
from tallystick.actors.missing import halted_answer
from tallystick.actors.runtime.command_queue import CommandQueue, Inbox, WakeUp
from tallystick.actors.runtime.messages import MANAGER, Answered, Batch, Envelope, Post, Proposal, Tick, each, together
from tallystick.actors.runtime.pending import answer_with
from tallystick.actors.runtime.specialist import Specialist

GROUP_MAX = 2_000
"""Envelopes in one commit at most."""
SHARE = 0.3
"""So large a part of the time that a commit took goes to what guests do in parts: what takes 0.3 s, as a look at
100,000 runs does, is done in about a second, however many messages wait.
"""
SHARE_LEAST, SHARE_MAX = dt.timedelta(milliseconds=1), dt.timedelta(milliseconds=20)
"""Behind a commit that took little, one part is enough; and no part of the time may keep callers waiting for long."""
_NONE = dt.timedelta(0)
EVENTS_AT_ONCE = 200
"""So many events follow from what specialists propose together before callers have their turn."""
AT_REST_MORE = 5_000
"""By so many accounts a fleet grows before collections are relieved of them: some milliseconds' work."""


class ManagerActor(pykka.ThreadingActor):
    """The manager's thread. A wake-up means that envelopes wait in the command queue; all of them become one commit."""

    use_daemon_thread = True

    def __init__(
        self,
        manager: Manager,
        queue: CommandQueue,
        now: Callable[[], dt.datetime],
        deliver: Callable[[Post], None],
        wake_at: Callable[[str, dt.datetime | None], None],
        attend: Callable[[dt.timedelta], None],
    ) -> None:
        """``attend`` lets those work that have their turn with the manager's: behind each commit, at its very state,
        and for so long at least as they are given.
        """
        super().__init__()
        self._attend = attend
        self._at_rest = len(manager.ledger.accounts)
        """How many accounts there were when collections were last relieved of them, or the least since."""
        self._manager = manager
        self._queue = queue
        self._now = now
        self._deliver = deliver
        self._wake_at = wake_at

    @staticmethod
    def _create_actor_inbox() -> Inbox:
        return Inbox()

    def on_start(self) -> None:
        self._wake_at(MANAGER, self._manager.due_at())

    def on_receive(self, message: Any) -> None:
        manager = self._manager
        if type(message) is WakeUp:
            self._queue.woken = False
            self._take_all()
        elif type(message) is Takeover:
            self._take_all()
            self._let_begin(message)
        elif type(message) is GivenUp:
            self._take_all()
            manager.give_up_specialist(message.name, message.reason, self._now())
            self._take_all()
        elif isinstance(message, Proposal | Answered | Batch):
            self._receive(each(message))
            self._take_all()
        elif type(message) is CallerGone:
            self._take_all()
            manager.waits.leave(message.envelope, self._now())
            self._take_all()
        elif type(message) is HaltNow:
            if manager.halted is None:
                manager.halt(message.reason)
            self._refuse_all(message.reason)
        elif type(message) is SnapshotNow:
            self._take_all()
            manager.keep(made_of(manager.ledger), self._now())
            self._take_all()
        elif type(message) is Coming:
            self._take_all()
            self._keep(message)
        elif type(message) is Tick:
            manager.wake(self._now())
            self._take_all()
        else:
            self._take_all()
            message.reached()
        self._attend(_NONE)
        self._wake_at(MANAGER, manager.due_at())

    def _receive(self, messages: Sequence[Any]) -> None:
        """Take what a specialist sends together; where much follows from it, others have their turn in between."""
        manager = self._manager
        begun = manager.ledger.position
        for message in messages:
            manager.receive(message, self._now())
            if manager.ledger.position - begun >= EVENTS_AT_ONCE:
                self._take_all()
                begun = manager.ledger.position

    def _keep(self, coming: Coming) -> None:
        """Write a part of a snapshot in this turn, and the next in another; keep it when all are written."""
        if coming.is_there():
            self._manager.keep(coming.made, self._now())
            self._take_all()
        else:
            self.actor_ref.tell(coming)

    def _let_begin(self, takeover: "Takeover") -> None:
        """Let a specialist begin in the place of another, and hand it what the other has not answered."""
        specialist = takeover.specialist
        try:
            specialist.begin(self._manager.ledger)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next one may not have it
            # It is the specialist's error, not the manager's.
            takeover.failed(f"{type(error).__name__}: {error}")
            return
        takeover.done(specialist)
        left = [Post(specialist.name, message) for message in takeover.left]
        for post in together([*left, *self._manager.open_questions(specialist.name)]):
            self._deliver(post)

    def _take_all(self) -> None:
        """Take what waits in the queue, at most a group at a time, and commit it; until all that was there is done.

        What comes meanwhile wakes the manager again: behind what else waits for it, which else had no turn under load.
        """
        manager, queue, now = self._manager, self._queue, self._now
        waiting = queue.waiting
        there = len(waiting)
        while (there > 0 and waiting) or manager.has_work:
            # All that are there now have come before this moment: it is the time of each of them.
            left, here, at = GROUP_MAX, len(waiting), now()
            begun = at
            while here and left:
                here = min(here, left)
                left -= here
                for _ in range(here):
                    if not waiting:
                        break  # they were turned away
                    manager.take(waiting.popleft(), at)
                if here := len(waiting):
                    at = now()
            there -= GROUP_MAX - left
            for post in together(manager.commit(at)):
                self._deliver(post)
            share = (now() - begun) * SHARE
            self._attend(min(share, SHARE_MAX) if share >= SHARE_LEAST else _NONE)
            self._leave_to_rest()

    def _leave_to_rest(self) -> None:
        """What has come to stay is left out of collections: those of a large fleet would keep the manager for long."""
        accounts = len(self._manager.ledger.accounts)
        if accounts - self._at_rest >= AT_REST_MORE:
            gc.freeze()
        elif accounts >= self._at_rest:
            return
        self._at_rest = accounts

    def on_stop(self) -> None:
        """Finish what was taken, and refuse what comes too late."""
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
        while self._queue.waiting:
            answer_with(self._queue.waiting.popleft(), halted_answer(reason))


class CallerGone:
    """The caller of an envelope does not wait for its answer any more."""

    __slots__ = ("envelope",)

    def __init__(self, envelope: Envelope) -> None:
        self.envelope = envelope


class HaltNow:
    """The fleet must stop: what would be decided from now on could not be recorded."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason


class SnapshotNow:
    """Keep the state, so that the next opening is quick."""

    __slots__ = ()


class Takeover:
    """A specialist is to begin from the state: between two commits, in the manager's own turn.

    ``left`` are messages that the one before it did not take. ``done`` is called when it has begun, ``failed`` with
    the reason where it could not.
    """

    __slots__ = ("done", "failed", "left", "specialist")

    def __init__(
        self,
        specialist: Specialist,
        done: Callable[[Specialist], None],
        failed: Callable[[str], None],
        left: Sequence[Any] = (),
    ) -> None:
        self.specialist = specialist
        self.done = done
        self.failed = failed
        self.left = left


class GivenUp:
    """A specialist has failed too often to be replaced."""

    __slots__ = ("name", "reason")

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason
