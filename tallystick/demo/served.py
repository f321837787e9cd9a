"""A demonstration behind a server: its fleet runs on its own thread, and takes what is asked over HTTP in between."""

import asyncio
import contextlib
import datetime as dt
import itertools
import queue
import threading
from collections.abc import Sequence
from typing import Any, Final

from tallystick.actors.missing import halted_answer
from tallystick.actors.runtime.envelopes import envelope_of
from tallystick.actors.runtime.intake import Asker
from tallystick.actors.runtime.log_feed import LogFeed
from tallystick.actors.runtime.messages import Envelope
from tallystick.actors.runtime.pending import ANSWER_SECONDS, LoopPending, answer_with
from tallystick.actors.runtime.simulation import Answer
from tallystick.config.settings import Config
from tallystick.demo.stage import Stage
from tallystick.events.log.codec import Message
from tallystick.events.log.store import Store
from tallystick.events.state.keys import Key, Keys

_LOOKS_SECONDS: Final = 0.05


class NoKeys:
    """Access to a fleet without keys: its server is open to the programs of this machine."""

    keys, operator_key, opening, config = Keys(), None, None, Config()

    def has_price(self, model: str) -> bool:
        """Its own price list is taken for every model."""
        return True

    def now(self) -> dt.datetime:
        """What time it is."""
        return dt.datetime.now(dt.UTC)

    def note_misuse(self, key: Key) -> None:
        """There are none to be misused."""


class ServedFleet:
    """What a server needs of a demonstration's fleet. Its time is the agents' own: that of its newest event."""

    log_time = True
    halted = None
    parent_answered = None
    webhook_figures = ()

    def __init__(self, store: Store) -> None:
        self.store, self.records, self.access = store, LogFeed(store), NoKeys()
        self._asked: queue.SimpleQueue[Envelope] = queue.SimpleQueue()
        self._open: list[tuple[LoopPending, Answer]] = []
        self._ids = itertools.count(1)
        self._closed = False

    async def ask_async(
        self,
        message: Message | Sequence[Message],
        by: str = "local",
        timeout: float = ANSWER_SECONDS,  # noqa: ASYNC109 - as a fleet has it
        *,
        asker: Asker | None = None,
    ) -> Any:
        """Hand in one message, or a list of them, and wait for the campaign's thread to answer.

        Raises:
            Unanswered: no answer within ``timeout`` seconds.
        """
        pending = LoopPending(isinstance(message, list | tuple))
        messages: Sequence[Any] = message if pending.many else (message,)  # type: ignore[assignment]
        envelope = envelope_of(messages, by, pending, lambda: f"served-{next(self._ids)}")
        if envelope is not None:
            if asker is not None:
                asker.mark(envelope)
            self._asked.put(envelope)
            if self._closed:
                self.close()
        return await pending.result(timeout + pending.waits_seconds)

    def answer(self, stage: Stage, now: dt.datetime) -> None:
        """In the campaign's thread: hand over what was asked since the last time, and answer what can be answered."""
        with contextlib.suppress(queue.Empty):
            while True:
                envelope = self._asked.get_nowait()
                pending = envelope.reply
                assert isinstance(pending, LoopPending)
                self._open.append((pending, stage.send(envelope, now)))
        waiting = []
        for pending, answer in self._open:
            if answer.answers is None:
                waiting.append((pending, answer))
                continue
            loop: asyncio.AbstractEventLoop | None = pending.loop
            assert loop is not None
            with contextlib.suppress(RuntimeError):  # the loop is closed: there is no one to answer
                loop.call_soon_threadsafe(pending.set, answer.answers)
        self._open = waiting

    def close(self) -> None:
        """Answer what was asked and will not be handed over any more."""
        self._closed = True
        with contextlib.suppress(queue.Empty):
            while True:
                answer_with(self._asked.get_nowait(), halted_answer("the demonstration is over"))

    def linger(self, stage: Stage, now: dt.datetime, stop: threading.Event) -> None:
        """Go on answering until ``stop`` is set; no time passes any more."""
        while not stop.wait(_LOOKS_SECONDS):
            self.answer(stage, now)
