"""The fleet for Python programs: messages in, replies out. It starts the actors, supervises them, and closes them.

with Fleet.open("sqlite:///fleet.db", config) as fleet:
    reply = fleet.ask({"type": "ReportUsage", "agent": "a-1", "usage": {"tokens": 450}})
"""

import contextlib
import datetime as dt
import gc
import itertools
import logging
import secrets
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import pykka
import structlog

from tallystick.actors.enforcer import Enforcer
from tallystick.actors.manager import Manager, halted_answer
from tallystick.actors.reallocator import Reallocator
from tallystick.actors.runtime.clock import Clock, SystemClock
from tallystick.actors.runtime.command_queue import WAKE_UP, CommandQueue, check_principal
from tallystick.actors.runtime.following import Following
from tallystick.actors.runtime.manager_actor import GivenUp, ManagerActor, Takeover
from tallystick.actors.runtime.messages import ENFORCER, MANAGER, SENDER, Envelope, Post, Recorded, Tick, each
from tallystick.actors.runtime.opening import Opened, RefusedConfig, open_ledger, to_put_in_force
from tallystick.actors.runtime.pending import ANSWER_SECONDS, LoopPending, Pending, Unanswered, answer_with, refused
from tallystick.actors.runtime.reports import MakeReporter, NoReporter
from tallystick.actors.runtime.sender import AlertSender, Sender, send_by_apprise
from tallystick.actors.runtime.specialist import Crashed, Probe, Specialist, SpecialistActor, Undelivered
from tallystick.actors.runtime.supervision import Crashes
from tallystick.actors.runtime.timers import Timekeeper
from tallystick.actors.tracker import Tracker
from tallystick.config.prices import PriceList
from tallystick.config.settings import Config
from tallystick.events import messages as c
from tallystick.events.catalog import Event
from tallystick.events.log.codec import Message, encode_answer, encode_command, read_message
from tallystick.events.log.store import Store, open_store
from tallystick.events.messages.replies import Refusal

INBOX_MAX = 10_000
"""Envelopes that may wait in the command queue; beyond, ``busy`` is answered."""
SWITCH_SECONDS = 0.0005
"""How long a busy Python thread keeps the interpreter from the manager. The default, ten times that, starves it: the
store releases the interpreter at every step of a statement."""
CLOSING_SECONDS = 5.0
"""How long a fleet that is closed waits for its specialists, and for an alert that is on its way."""
_LOOK_SECONDS = 0.1
"""How often a caller that waits for an actor looks whether it still lives."""

log = structlog.wrap_logger(logging.getLogger("tallystick.fleet"))


def specialists(delivers: bool = False) -> list[Specialist]:
    """The specialists with a thread of their own, in the order in which equal timers fire.

    ``delivers``: the enforcer also sends alerts to the configured addresses.
    """
    return [Tracker(), Enforcer(delivers), Reallocator()]


class Fleet:
    """A running fleet: messages in, replies out, from threads and from asyncio."""

    default_reporter: ClassVar[MakeReporter] = NoReporter
    """Reports are made from views, which the actors do not know: `tallystick.Fleet` names the one that knows them."""

    def __init__(
        self, opened: Opened, store: Store, clock: Clock, live: bool, sender: Sender | None, reporter: MakeReporter
    ) -> None:
        self._store = store
        self._clock = clock
        self._crashes = Crashes()
        self._manager = Manager(opened.ledger, store, opened.digest, self._crashes)
        self._queue = CommandQueue()
        self._sender = None if sender is None else AlertSender(sender, lambda sent: self._tell(ENFORCER, sent))
        self._reporter = reporter
        self._specialists: dict[str, Specialist] = {one.name: one for one in self._made_specialists()}
        self._refs: dict[str, pykka.ActorRef[Any]] = {}
        self._undelivered = Undelivered()
        self._followers: list[Callable[[Sequence[Event]], None]] = []
        self._ids, self._prefix = itertools.count(1), f"m-{secrets.token_hex(6)}"
        self._at_close = contextlib.ExitStack()
        self._closing, self._closed = threading.Event(), threading.Event()
        self._timekeeper = Timekeeper(clock, [MANAGER, *self._specialists], self._tick, live)

    # --- opening and closing ------------------------------------------------------------------------------------------

    @classmethod
    def open(
        cls,
        store: Store | str,
        config: Config | None = None,
        prices: PriceList | None = None,
        *,
        clock: Clock | None = None,
        by: str = "operator",
        followers: Sequence[Callable[[Sequence[Event]], None]] = (),
        notify: bool | None = None,
        reporter: MakeReporter | None = None,
    ) -> Self:
        """Open a fleet as its only writer: replay, start the actors, put configuration and prices in force.

        What is not given stays as it is in force; a new fleet gets the packaged configuration and prices. ``prices``
        are put over the published ones of the day. With a ``clock`` of your own, time passes only by `advance`. Each
        of ``followers`` is called with the events of every recorded batch, in the manager's turn: it hands them on
        and returns at once. Alerts go out to the configured addresses, but not from a fleet with a clock of your own,
        unless ``notify`` says otherwise. ``reporter`` makes reports; the default is ``default_reporter``.

        Raises:
            StoreError: the store cannot be opened; `WriterPresent` where another process writes the fleet.
            BrokenChain: the log was tampered with.
            RefusedConfig: the total would be below what is granted, held or spent already.
        """
        check_principal(by)
        opened = open_store(store, writer=True) if isinstance(store, str) else store
        try:
            sender = send_by_apprise if (clock is None if notify is None else notify) else None
            made = reporter or cls.default_reporter
            fleet = cls(open_ledger(opened), opened, clock or SystemClock(), clock is None, sender, made)
        except BaseException:
            opened.close()
            raise
        fleet._followers = list(followers)
        try:
            fleet._start()
            fleet._put_in_force(config, prices, by)
            gc.freeze()
            # Only now: nothing is sent to an address that is no longer in force.
            fleet._timekeeper.start()
        except BaseException:
            fleet.close()
            raise
        return fleet

    def _start(self) -> None:
        """The manager first, then the specialists; each takes over from the state before the first message."""
        sys.setswitchinterval(SWITCH_SECONDS)
        for specialist in self._specialists.values():
            specialist.begin(self._manager.ledger)
        self._refs[MANAGER] = ManagerActor.start(
            self._manager, self._queue, self._clock.now, self._deliver, self._timekeeper.wake_at
        )
        for specialist in self._specialists.values():
            self._start_specialist(specialist)

    def _made_specialists(self) -> list[Specialist]:
        return [*specialists(delivers=self._sender is not None), self._reporter(self._store)]

    def _start_specialist(self, specialist: Specialist) -> None:
        self._refs[specialist.name] = SpecialistActor.start(
            specialist, self._clock.now, self._deliver, self._timekeeper.wake_at, self._on_crash
        )
        for message in self._undelivered.take(specialist.name):
            self._tell(specialist.name, message)

    def _put_in_force(self, config: Config | None, prices: PriceList | None, by: str) -> None:
        for command in to_put_in_force(self._manager.ledger, config, prices, self._clock.now()):
            pending = Pending()
            self._post(Envelope([command], [encode_command(command)], by, pending))
            answer = pending.result()
            if "error" in answer:
                raise RefusedConfig(answer["error"]["detail"])

    def close(self) -> None:
        """Finish what was taken and what follows from it, answer, and close the store. Safe to call twice.

        Alerts that wait, and were not tried before, are sent.
        """
        if self._closed.is_set():
            return
        self._at_close.close()
        # Senders that go on asking would keep the fleet from coming to rest.
        self._closing.set()
        self._timekeeper.stop()
        self._finish()
        self._closed.set()
        if self._sender is not None:
            self._sender.close()
        for name in (MANAGER, *self._specialists):
            ref = self._refs.get(name)
            if ref is not None and ref.is_alive():
                ref.stop(block=True, timeout=ANSWER_SECONDS)
        self._store.close()
        gc.unfreeze()

    def _finish(self) -> None:
        """Let the specialists act on the last batch: later there is no occasion."""
        if self.halted is None and all(ref.is_alive() for ref in self._refs.values()):
            if self._sender is not None:
                self._tick(ENFORCER, self._clock.now())
            with contextlib.suppress(Unanswered):
                self.quiesce(CLOSING_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # --- messages in, replies out -------------------------------------------------------------------------------------

    def send(self, message: Message | Sequence[Message], by: str = "local") -> Pending:
        """Hand in one message, or up to 1,000 that are committed together, without waiting."""
        pending = Pending(isinstance(message, list | tuple))
        self._hand_in(message, by, pending)
        return pending

    def ask(self, message: Message | Sequence[Message], by: str = "local", timeout: float = ANSWER_SECONDS) -> Any:
        """Hand in a message and wait: ``{"ok": …}`` or ``{"error": …}``; a list of them for a list.

        Raises:
            Unanswered: no answer within ``timeout`` seconds; the command may still be carried out.
        """
        return self.send(message, by).result(timeout)

    async def ask_async(
        self,
        message: Message | Sequence[Message],
        by: str = "local",
        timeout: float = ANSWER_SECONDS,  # noqa: ASYNC109 - the same as ask(), which has one
    ) -> Any:
        """`ask`, without blocking the event loop.

        Raises:
            Unanswered: no answer within ``timeout`` seconds; the command may still be carried out.
        """
        pending = LoopPending(isinstance(message, list | tuple))
        self._hand_in(message, by, pending)
        return await pending.result(timeout)

    def _hand_in(self, message: Message | Sequence[Message], by: str, reply: Pending | LoopPending) -> None:
        """Put well-formed commands in the manager's queue; malformed ones are answered here, in their place."""
        check_principal(by)
        messages: Sequence[Any] = message if reply.many else (message,)  # type: ignore[assignment]
        if len(messages) > c.MESSAGES_MAX:
            text = f"found {len(messages)} messages, allowed are up to {c.MESSAGES_MAX} together"
            reply.set([refused("invalid_message", text)] * len(messages))
            return
        commands: list[c.Command] = []
        asked: list[bytes] = []
        for place, one in enumerate(messages):
            read = read_message(one, self._new_id)
            if isinstance(read, Refusal):
                reply.malformed = reply.malformed or {}
                reply.malformed[place] = encode_answer(read)
            else:
                commands.append(read[0])
                asked.append(read[1])
        if commands:
            self._post(Envelope(commands, asked, by, reply))
        else:
            reply.set(())

    def _new_id(self) -> str:
        return f"{self._prefix}-{next(self._ids)}"

    def _post(self, envelope: Envelope) -> None:
        queue, ref = self._queue, self._refs[MANAGER]
        if self._closing.is_set():
            answer_with(envelope, halted_answer(self.halted or "it was closed"))
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
            answer_with(envelope, halted_answer(self.halted or "it was closed"))

    # --- between the actors -------------------------------------------------------------------------------------------

    def _deliver(self, post: Post) -> None:
        if post.to == SENDER:
            assert self._sender is not None, "alerts are sent only where there is a sender"
            for send in each(post.message):
                self._sender.take(send)
        elif post.to == "everyone":
            recorded: Recorded = post.message
            kinds = set(map(type, recorded.events))
            for name, specialist in self._specialists.items():
                if not kinds.isdisjoint(specialist.follows):
                    self._tell(name, recorded)
            for follow in self._followers:
                follow(recorded.events)
        else:
            self._tell(post.to, post.message)

    def _tell(self, name: str, message: Any) -> None:
        try:
            self._refs[name].tell(message)
        except pykka.ActorDeadError:
            self._undelivered.keep(name, message)
            log.debug("undeliverable", to=name, message=type(message).__name__)

    def _tick(self, name: str, now: dt.datetime) -> None:
        self._tell(name, Tick(now))

    def _on_crash(self, crashed: Crashed) -> None:
        """Put another specialist in a failed one's place: its state is a fold of the log, so nothing is lost."""
        name = crashed.name
        if self._closed.is_set():
            return
        if not self._crashes.note(name, crashed.reason, self._clock.now()):
            self._tell(MANAGER, GivenUp(name, crashed.reason))
            return
        specialist = next(one for one in self._made_specialists() if one.name == name)
        self._specialists[name] = specialist
        left = (*crashed.left, *self._undelivered.take(name))
        failed: Callable[[str], None] = lambda reason: self._on_crash(Crashed(name, reason, left))  # noqa: E731
        self._tell(MANAGER, Takeover(specialist, self._start_specialist, failed, left))

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self._manager.ledger.rules.config

    @property
    def halted(self) -> str | None:
        """Why the fleet stopped by itself, if it did."""
        return self._manager.halted

    def follow(self, path: Path | str, by: str = "operator") -> Following:
        """Put a configuration file in force, and what it says later too, until the fleet is closed.

        A change of the file is one event, which changes only the keys that the file has changed. A file that is not
        valid changes nothing: the error is logged, and is ``error`` of what is returned until the file is corrected.

        Raises:
            ConfigError: the file cannot be read, or says something that is not allowed.
            RefusedConfig: it cannot be put in force on this fleet.
        """
        following = Following(self, Path(path), by)
        self._at_close.callback(following.stop)
        following.start()
        return following

    # --- time ---------------------------------------------------------------------------------------------------------

    def advance(self, until: dt.datetime) -> None:
        """With a clock of your own: let time pass, each timer that is due fire in order, and the fleet come to rest."""
        self._timekeeper.advance(until, self.quiesce)

    def quiesce(self, timeout: float = ANSWER_SECONDS) -> None:
        """Wait until everything that was handed in, and all that followed from it, is done.

        Raises:
            Unanswered: the fleet did not come to rest within ``timeout`` seconds.
        """
        settled, until = (-1, 0), time.monotonic() + timeout
        while settled != (reached := self._probe_round(timeout)):
            settled = reached
            if time.monotonic() > until:
                raise Unanswered(f"the fleet did not come to rest within {timeout:g} s")

    def _probe_round(self, timeout: float) -> tuple[int, int]:
        """Pass through every inbox, the manager's last; how many messages it took, and how many alerts were tried."""
        # A question goes through manager, reallocator, tracker, reallocator and back: two rounds see it through.
        for name in (MANAGER, *self._specialists, *self._specialists, MANAGER, MANAGER):
            self._probe(name, timeout)
        if self._sender is None:
            return self._manager.taken, 0
        if not self._sender.rest(timeout):
            raise Unanswered(f"an alert was on its way for more than {timeout:g} s")
        return self._manager.taken, self._sender.tried

    def _probe(self, name: str, timeout: float) -> None:
        """Pass through one inbox."""
        ref, reached, patience = self._refs[name], threading.Event(), timeout
        self._tell(name, Probe(reached.set))
        # A specialist that failed will not answer; its successor begins from the state, and is asked in the next round.
        while not reached.wait(min(patience, _LOOK_SECONDS)) and ref.is_alive():
            patience -= _LOOK_SECONDS
            if patience <= 0:
                raise Unanswered(f"{name} did not come to rest within {timeout:g} s")
        while not ref.is_alive() and self._is_awaited(name, ref):
            reached.wait(_LOOK_SECONDS / 10)

    def _is_awaited(self, name: str, dead: pykka.ActorRef[Any]) -> bool:
        """Whether a failed specialist will have a successor, and has none yet."""
        given_up = self._crashes.is_given_up(name) or self._closed.is_set()
        return self._refs[name] is dead and self._refs[MANAGER].is_alive() and not given_up

    @property
    def position(self) -> int:
        """The newest decided position."""
        return self._manager.ledger.position
