"""The way in: messages of the program, and of other processes, become envelopes in the manager's command queue."""

import contextlib
import itertools
import os
import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple

import pykka

from tallystick.actors.manager import Manager
from tallystick.actors.missing import away_answer, halted_answer
from tallystick.actors.runtime.command_queue import WAKE_UP, CommandQueue, check_principal
from tallystick.actors.runtime.envelopes import envelope_of
from tallystick.actors.runtime.manager_actor import CallerGone
from tallystick.actors.runtime.messages import BudgetNote, Envelope
from tallystick.actors.runtime.pending import LoopPending, Pending, answer_with, refused
from tallystick.events.decide.permissions import Caller
from tallystick.events.log.codec import Message, encode_command
from tallystick.events.messages import Command

INBOX_MAX = 10_000
"""Envelopes that may wait in the command queue; beyond, ``busy`` is answered."""


class Asker(NamedTuple):
    """Another process that asks: who it is by the system, as JSON, and the SHA-256 of the key that it has shown.

    ``caller`` is who it is over the HTTP service, where that asks for keys. ``trace`` is the trace id that it gave, and
    ``note`` is filled in with the answer to a single message.
    """

    peer: bytes
    key: str | None
    caller: Caller | None = None
    trace: str | None = None
    note: BudgetNote | None = None

    def mark(self, envelope: Envelope) -> None:
        """Say on an envelope who asks."""
        envelope.peer, envelope.key, envelope.caller, envelope.trace, envelope.note = self


class Intake:
    """Takes messages from threads, coroutines and the control socket, until it is closed."""

    def __init__(self, manager: Manager) -> None:
        self.queue = CommandQueue()
        self._manager = manager
        self._is_away = manager.answering.away
        self._ref: pykka.ActorRef[Any] | None = None
        self._ids, self._prefix = itertools.count(1), f"m-{secrets.token_hex(6)}"
        self._closed = False
        self._process = os.getpid()
        self._by = ""
        """In whose name something was handed in last: most programs have one name."""

    def begin(self, ref: pykka.ActorRef[Any]) -> None:
        """The manager's actor is there."""
        self._ref = ref

    def close(self) -> None:
        """Answer what comes from now on that the fleet was closed."""
        self._closed = True

    def hand_in(
        self, message: Message | Sequence[Message], by: str, reply: Pending | LoopPending, asker: Asker | None = None
    ) -> None:
        """Put well-formed commands in the manager's queue; malformed ones are answered here, in their place.

        ``asker`` is None for the program that runs the fleet.

        Raises:
            ValueError: ``by`` is no name.
        """
        if by is not self._by:
            check_principal(by)
            self._by = by
        messages: Sequence[Any] = message if reply.many else (message,)  # type: ignore[assignment]
        envelope = envelope_of(messages, by, reply, self.new_id)
        if envelope is not None:
            if asker is not None:
                asker.mark(envelope)
            self.post(envelope)

    def leave(self, pending: Pending | LoopPending) -> None:
        """The caller does not wait for the answer any more: what only it waited for is not granted to it later."""
        envelope = pending.envelope  # once: with the answer, it is let go of
        if envelope is not None and self._ref is not None:
            envelope.gone = True
            with contextlib.suppress(pykka.ActorDeadError):
                self._ref.tell(CallerGone(envelope))

    def turn_away(self, why: str) -> None:
        """Answer all who wait that the store is away. What is about to be written may come to be done."""
        self._manager.answering.turn_away(why)
        with contextlib.suppress(IndexError):
            while True:
                answer_with(self.queue.waiting.popleft(), away_answer(why))

    def new_id(self) -> str:
        """An id for a message whose sender chose none."""
        return f"{self._prefix}-{next(self._ids)}"

    def record(self, command: Command, by: str) -> Pending:
        """Hand in a command of the fleet's own, without waiting."""
        pending = Pending()
        self.post(Envelope([command], [encode_command(command)], by, pending))
        return pending

    def post(self, envelope: Envelope) -> None:
        """Put an envelope in the queue, or answer it where it cannot be taken."""
        queue, ref = self.queue, self._ref
        assert ref is not None, "the fleet is opened when its manager has begun"
        fork = self._process != os.getpid()
        if fork or self._closed:
            why = f"this is a fork of process {self._process}, which runs the fleet" if fork else "it was closed"
            answer_with(envelope, halted_answer(self._manager.halted or why))
            return
        if self._is_away() is not None and self._manager.answering.refuses(envelope, None):
            return
        if len(queue.waiting) >= INBOX_MAX:
            answer_with(envelope, refused("busy", "too many messages are waiting: try again", retry_after_seconds=1))
            return
        if queue.put(envelope):
            try:
                ref.tell(WAKE_UP)
            except pykka.ActorDeadError:
                queue.woken = False
        if not ref.is_alive():
            # The queue is not emptied any more. If it just was, the first answer counts.
            answer_with(envelope, halted_answer(self._manager.halted or "it was closed"))
