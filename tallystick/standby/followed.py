"""A fleet that another process writes: its state, which follows the log as it grows, and what it answers."""

import datetime as dt
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from tallystick.actors.noting import note_budgets
from tallystick.actors.runtime.intake import Asker
from tallystick.actors.runtime.messages import Envelope
from tallystick.config.amounts import InvalidAmount
from tallystick.events.decide import permissions
from tallystick.events.decide.handlers import HANDLERS
from tallystick.events.decide.turn import Turn
from tallystick.events.log.broken_chain import BrokenChain
from tallystick.events.log.codec import encode_answer
from tallystick.events.log.replaying import Replay
from tallystick.events.log.restoring import Opened, open_ledger
from tallystick.events.log.store import PAGE, Record, Store, StoreError
from tallystick.events.log.store_postgres import PostgresStore
from tallystick.events.messages import Command
from tallystick.events.messages.replies import Refusal, Reply
from tallystick.events.state.ledger import Ledger

_STEP: Final = 100
"""Records that are applied before a question may come in between."""
log = structlog.wrap_logger(logging.getLogger("tallystick.standby"))


class Followed:
    """The state of a fleet by its log. ``publish`` is called with the records that came, in the thread that follows.

    Raises:
        BrokenChain: the log is not what was written.
        StoreError: it could not be read.
    """

    def __init__(
        self,
        store: PostgresStore,
        publish: Callable[[Sequence[Record]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._publish, self._clock = publish, clock
        # Before it is read: what comes meanwhile is younger than that.
        self._whole_at = clock()
        self._proof = Replay(*open_ledger(store))
        self._lock = threading.Lock()
        self._ended = False
        self.broken: str | None = None
        """Why it follows no longer: the log is not what was written, or cannot be read for a reason that stays."""
        self._subscription = store.subscribe(self._proof.ledger.position)
        self._thread = threading.Thread(target=self._follow, name="standby", daemon=True)
        self._thread.start()

    @property
    def ledger(self) -> Ledger:
        """The state, which goes on by itself: for what looks at one thing of it."""
        return self._proof.ledger

    @property
    def position(self) -> int:
        """How far it has read."""
        return self._proof.ledger.position

    @property
    def age_seconds(self) -> float:
        """All that was recorded until so long ago is in it."""
        return max(0.0, self._clock() - self._whole_at)

    def stop(self) -> None:
        """Follow no longer, and answer no more."""
        self._subscription.stop()
        self._thread.join()
        with self._lock:
            self._ended = True

    def begun(self, store: Store) -> Opened:
        """After `stop`: the state as of the newest record of a store, for the one who writes it from now on.

        Raises:
            BrokenChain: the log is not what was written.
            StoreError: it could not be read.
        """
        for record in store.read(self.position):
            self._take((record,))
        return Opened(self._proof.ledger, self._proof.digest)

    def answer(self, envelope: Envelope, asker: Asker | None, now: dt.datetime) -> bool:
        """Answer questions from the state as it is now; False where it is not followed any more.

        What falls due by itself is the writer's to record: where something is due, the time of the newest record is
        the time of the answer.
        """
        with self._lock:
            if self._ended:
                return False
            ledger = self._proof.ledger
            at = now if now < ledger.due_at() else ledger.now
            denied = [_denied(ledger, command, asker) for command in envelope.commands]
            envelope.answers = [
                encode_answer(_answer(ledger, command, at, envelope.by) if refusal is None else refusal)
                for command, refusal in zip(envelope.commands, denied, strict=True)
            ]
            if asker is not None and not any(denied):
                envelope.note = asker.note
                note_budgets(ledger, (envelope,), at)
        return True

    def _follow(self) -> None:
        try:
            for page in self._subscription.pages():
                for first in range(0, len(page), _STEP):
                    self._take(page[first : first + _STEP])
                if len(page) < PAGE:
                    self._whole_at = self._subscription.looked_at
        except (BrokenChain, StoreError) as error:
            self.broken = str(error)
            log.critical("log_unreadable", reason=self.broken)
        except Exception as error:
            self.broken = f"{type(error).__name__}: {error}"
            log.exception("following_failed")

    def _take(self, records: Sequence[Record]) -> None:
        with self._lock:
            for record in records:
                self._proof.apply(self._proof.prove(record))
        self._publish(records)


def _denied(ledger: Ledger, command: Command, asker: Asker | None) -> Refusal | None:
    """Why the sender may not ask this; a question that is refused is recorded nowhere, by a writer neither."""
    if asker is None or asker.caller is None:
        return None
    instead = permissions.refusal_of(ledger, command, asker.caller)
    return None if instead is None else permissions.denied(instead)


def _answer(ledger: Ledger, command: Command, at: dt.datetime, by: str) -> Reply | Refusal:
    turn = Turn(ledger, at, command.id or "", by)
    try:
        answer: Reply | Refusal = HANDLERS[type(command)](turn, command)
    except InvalidAmount as error:
        answer = Refusal("invalid_amount", str(error), {"field": error.field})
    assert not turn.events, "a question records nothing"
    return answer
