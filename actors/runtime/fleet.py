"""The door for Python programs, and the wiring behind it: start order, supervision, time, and the way out.

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
from types import TracebackType
from typing import Any, Self

import pykka
import structlog

from tallystick.actors.allocator import Allocator
from tallystick.actors.enforcer import Enforcer
from tallystick.actors.manager import Manager, halted_answer
from tallystick.actors.notifier import Notifier
from tallystick.actors.reallocator import Reallocator
from tallystick.actors.runtime.clock import Clock, SystemClock
from tallystick.actors.runtime.command_queue import WAKE_UP, CommandQueue, check_principal
from tallystick.actors.runtime.manager_actor import AdjacentSpecialist, ManagerActor, Ref, Takeover
from tallystick.actors.runtime.messages import (
    ALLOCATOR,
    MANAGER,
    NOTIFIER,
    SENDER,
    Envelope,
    Post,
    Recorded,
    Tick,
    each,
)
from tallystick.actors.runtime.opening import open_ledger, to_put_in_force
from tallystick.actors.runtime.pending import ANSWER_SECONDS, LoopPending, Pending, Unanswered, answer_with, refused
from tallystick.actors.runtime.reports import NoReporter
from tallystick.actors.runtime.sender import AlertSender, Sender, send_by_apprise
from tallystick.actors.runtime.specialist import Crashed, Probe, Specialist, SpecialistActor
from tallystick.actors.runtime.timers import Timekeeper
from tallystick.actors.tracker import Tracker
from tallystick.config.prices import PriceList
from tallystick.config.settings import Config
from tallystick.events import messages as c
from tallystick.events.catalog import Event
from tallystick.events.log.codec import Message, encode_answer, encode_command, read_message
from tallystick.events.log.store import Store, open_store
from tallystick.events.messages.replies import Refusal
from tallystick.events.state.ledger import Ledger

INBOX_MAX = 10_000
"""Envelopes that may wait at the door; beyond, it answers ``busy``."""
SWITCH_SECONDS = 0.0005
"""How long a busy Python thread keeps the interpreter from the manager. The default, ten times that, starves it: the
store gives the interpreter up at every step of a statement."""
CLOSING_SECONDS = 5.0
"""How long a fleet that is closed waits for its specialists, and for an alert that is on its way."""
CRASHES_MAX = 3
CRASHES_WITHIN = dt.timedelta(minutes=10)
"""A specialist that dies more often than this is not put back: its error is the same each time."""
_LOOK_SECONDS = 0.1
"""How often one who waits for a person looks whether that person lives."""

log = structlog.wrap_logger(logging.getLogger("tallystick.fleet"))


class RefusedConfig(ValueError):
    """The configuration cannot be put in force on this fleet; the text says why."""


def specialists() -> list[Specialist]:
    """Those who judge, in the order in which equal timers fire."""
    return [Allocator(), Tracker(), Enforcer(), Reallocator()]


class Fleet:
    """A running fleet: messages in, replies out, from threads and from asyncio."""

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        digest: bytes,
        clock: Clock,
        live: bool,
        sender: Sender | None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._manager = Manager(ledger, store, digest)
        self._door = CommandQueue()
        self._messenger = None if sender is None else AlertSender(sender, lambda sent: self._tell(NOTIFIER, sent))
        self._people: dict[str, Specialist] = {person.name: person for person in self._made_people()}
        self._refs: dict[str, Ref] = {}
        self._crashes: dict[str, list[dt.datetime]] = {}
        self._followers: list[Callable[[Sequence[Event]], None]] = []
        self._ids = itertools.count(1)
        self._prefix = f"m-{secrets.token_hex(6)}"
        self._at_close = contextlib.ExitStack()
        self._closing, self._closed = threading.Event(), threading.Event()
        self._timekeeper = Timekeeper(clock, list(self._people), self._tick, live)

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
    ) -> Self:
        """Open a fleet as its only writer: replay, start the people, put configuration and prices in force.

        What is not given stays as it is in force; a new fleet gets the packaged configuration and prices. ``prices`` are
        put over the published ones of the day. With a ``clock`` of your own, time passes only by `advance`. Each of
        ``followers`` is called with the events of every recorded batch, in the manager's turn: it hands them on and
        returns at once. Alerts go out to the configured addresses, but not from a fleet with a clock of its own, unless
        ``notify`` says otherwise.

        Raises:
            StoreError: the store cannot be opened; `WriterPresent` where another process writes the fleet.
            BrokenChain: the log was tampered with.
            RefusedConfig: the total would be below what is granted, held or spent already.
        """
        check_principal(by)
        opened = open_store(store, writer=True) if isinstance(store, str) else store
        try:
            ledger, digest = open_ledger(opened)
            sender = send_by_apprise if (clock is None if notify is None else notify) else None
            fleet = cls(opened, ledger, digest, clock or SystemClock(), clock is None, sender)
        except BaseException:
            opened.close()
            raise
        fleet._followers = list(followers)
        try:
            fleet._start()
            fleet._put_in_force(config, prices, by)
            gc.freeze()
            # Only now: nobody is told anything at an address that is no longer in force.
            fleet._timekeeper.start()
        except BaseException:
            fleet.close()
            raise
        return fleet

    def _start(self) -> None:
        """The manager first, then who follows it; each takes over from the state before the first message."""
        sys.setswitchinterval(SWITCH_SECONDS)
        for person in self._people.values():
            person.begin(self._manager.ledger)
        self._refs[MANAGER] = ManagerActor.start(self._manager, self._door, self._clock.now, self._deliver)
        for person in self._people.values():
            self._start_person(person)

    def _made_people(self) -> list[Specialist]:
        couriers: list[Specialist] = [] if self._messenger is None else [Notifier()]
        return [*specialists(), *couriers, self._made_reporter()]

    def _made_reporter(self) -> Specialist:
        """Who answers `GenerateReport`: that needs views, which the people do not know."""
        return NoReporter(self._store)

    def _start_person(self, person: Specialist) -> None:
        if person.name == ALLOCATOR:
            self._refs[ALLOCATOR] = seat = AdjacentSpecialist(
                person, self._refs[MANAGER], self._timekeeper.wake_at, self._on_crash
            )
            self._manager.seat(person, seat.hear)
            return
        self._refs[person.name] = SpecialistActor.start(
            person, self._clock.now, self._deliver, self._timekeeper.wake_at, self._on_crash
        )

    def _put_in_force(self, config: Config | None, prices: PriceList | None, by: str) -> None:
        for command in to_put_in_force(self._manager.ledger, config, prices, self._clock.now()):
            pending = Pending()
            self._post(Envelope([command], [encode_command(command)], by, pending))
            answer = pending.result()
            if "error" in answer:
                raise RefusedConfig(answer["error"]["detail"])

    def close(self) -> None:
        """Finish what was taken and what follows from it, answer, and let go of the store. Safe to call twice.

        Alerts that wait, and were not tried before, are sent.
        """
        if self._closed.is_set():
            return
        self._at_close.close()
        # Whoever went on asking would keep the fleet from coming to rest.
        self._closing.set()
        self._timekeeper.stop()
        self._finish()
        self._closed.set()
        if self._messenger is not None:
            self._messenger.close()
        for name in (MANAGER, *self._people):
            ref = self._refs.get(name)
            if ref is not None and ref.is_alive():
                ref.stop(block=True, timeout=ANSWER_SECONDS)
        self._store.close()
        gc.unfreeze()

    def _finish(self) -> None:
        """Let the specialists have their say about the last batch: nobody would say it later."""
        if self.halted is None and all(ref.is_alive() for ref in self._refs.values()):
            if NOTIFIER in self._refs:
                self._tick(NOTIFIER, self._clock.now())
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
        timeout: float = ANSWER_SECONDS,  # noqa: ASYNC109 - the same door as ask(), which has one
    ) -> Any:
        """`ask`, without blocking the event loop.

        Raises:
            Unanswered: no answer within ``timeout`` seconds; the command may still be carried out.
        """
        pending = LoopPending(isinstance(message, list | tuple))
        self._hand_in(message, by, pending)
        return await pending.result(timeout)

    def _hand_in(self, message: Message | Sequence[Message], by: str, reply: Pending | LoopPending) -> None:
        """Leave well-formed commands at the manager's door; malformed ones are answered here, in their place."""
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
        door, ref = self._door, self._refs[MANAGER]
        if self._closing.is_set():
            answer_with(envelope, halted_answer(self.halted or "it was closed"))
            return
        if len(door.waiting) >= INBOX_MAX:
            answer_with(envelope, refused("busy", "too many messages are waiting: try again", retry_after_seconds=1))
            return
        if door.put(envelope):
            try:
                ref.tell(WAKE_UP)
            except pykka.ActorDeadError:
                door.rung = False
        if not ref.is_alive():
            # Nobody answers the door any more; whoever answers first is heard.
            answer_with(envelope, halted_answer(self.halted or "it was closed"))

    # --- between the people -------------------------------------------------------------------------------------------

    def _deliver(self, post: Post) -> None:
        if post.to == SENDER:
            assert self._messenger is not None, "the courier is here without a messenger"
            for send in each(post.message):
                self._messenger.take(send)
        elif post.to == "everyone":
            recorded: Recorded = post.message
            kinds = set(map(type, recorded.events))
            for name, person in self._people.items():
                if name != ALLOCATOR and not kinds.isdisjoint(person.follows):
                    self._tell(name, recorded)
            for follow in self._followers:
                follow(recorded.events)
        else:
            self._tell(post.to, post.message)

    def _tell(self, name: str, message: Any) -> None:
        try:
            self._refs[name].tell(message)
        except pykka.ActorDeadError:
            log.debug("undeliverable", to=name, message=type(message).__name__)

    def _tick(self, name: str, now: dt.datetime) -> None:
        self._tell(name, Tick(now))

    def _on_crash(self, crashed: Crashed) -> None:
        """Put a new shell in a dead one's place: its state is a fold of the log, so nothing is lost."""
        if self._closed.is_set():
            return
        now = self._clock.now()
        lately = [at for at in self._crashes.get(crashed.name, []) if now - at < CRASHES_WITHIN]
        self._crashes[crashed.name] = [*lately, now]
        log.error("specialist_died", who=crashed.name, reason=crashed.reason, times=len(lately) + 1)
        if self._is_given_up(crashed.name):
            log.critical("specialist_given_up", who=crashed.name, reason=crashed.reason)
            return
        person = next(person for person in self._made_people() if person.name == crashed.name)
        self._people[crashed.name] = person
        self._tell(MANAGER, Takeover(person, lambda: self._start_person(person)))

    def _is_given_up(self, name: str) -> bool:
        return len(self._crashes.get(name, ())) > CRASHES_MAX

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self._manager.ledger.rules.config

    @property
    def halted(self) -> str | None:
        """Why the fleet stopped by itself, if it did."""
        return self._manager.halted

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
        """Pass through every inbox, the manager's last; how many messages it has taken, and how many alerts were carried."""
        # A question goes through manager, reallocator, tracker, reallocator and back: two rounds see it through.
        for name in (MANAGER, *self._people, *self._people, MANAGER, MANAGER):
            self._probe(name, timeout)
        if self._messenger is None:
            return self._manager.taken, 0
        if not self._messenger.rest(timeout):
            raise Unanswered(f"an alert was on its way to somebody for more than {timeout:g} s")
        return self._manager.taken, self._messenger.carried

    def _probe(self, name: str, timeout: float) -> None:
        """Pass through one inbox."""
        ref, reached, patience = self._refs[name], threading.Event(), timeout
        self._tell(name, Probe(reached.set))
        # One who died will not answer; its follower begins from the state, and is asked in the next round.
        while not reached.wait(min(patience, _LOOK_SECONDS)) and ref.is_alive():
            patience -= _LOOK_SECONDS
            if patience <= 0:
                raise Unanswered(f"{name} did not come to rest within {timeout:g} s")
        while not ref.is_alive() and self._is_awaited(name, ref):
            reached.wait(_LOOK_SECONDS / 10)

    def _is_awaited(self, name: str, dead: Ref) -> bool:
        """Whether a dead specialist's place will be taken, and is not yet."""
        given_up = self._is_given_up(name) or self._closed.is_set()
        return self._refs[name] is dead and self._refs[MANAGER].is_alive() and not given_up

    @property
    def position(self) -> int:
        """The newest decided position."""
        return self._manager.ledger.position
