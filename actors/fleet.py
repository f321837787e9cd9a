"""The door for Python programs, and the wiring behind it: start order, supervision, time, and the way out.

    with Fleet.open("sqlite:///fleet.db", config) as fleet:
        reply = fleet.ask({"type": "ReportUsage", "agent": "a-1", "usage": {"tokens": 450}})
"""

import datetime as dt
import itertools
import secrets
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import pykka
import structlog

from tallystick.actors.allocator import Allocator
from tallystick.actors.clock import Clock, SystemClock
from tallystick.actors.enforcer import Enforcer
from tallystick.actors.manager import Manager, ManagerActor, Takeover, halted_answer
from tallystick.actors.messages import MANAGER, Envelope, Post, Recorded, Tick
from tallystick.actors.opening import open_ledger
from tallystick.actors.pending import Answers, LoopPending, Pending, Unanswered, refused
from tallystick.actors.people import Crashed, Person, PersonActor, Probe
from tallystick.actors.reallocator import Reallocator
from tallystick.actors.timekeeper import Timekeeper
from tallystick.actors.tracker import Tracker
from tallystick.config.loader import to_mapping
from tallystick.config.prices import PriceList
from tallystick.config.prices import to_mapping as prices_to_mapping
from tallystick.config.settings import Config
from tallystick.events import commands as c
from tallystick.events.catalog import Event
from tallystick.events.codec import decode_answer, encode_answer, encode_command, read_message
from tallystick.events.decide.operate import content_hash
from tallystick.events.ledger import Ledger
from tallystick.events.replies import Refusal
from tallystick.events.store import Store, open_store

Message = c.Command | Mapping[str, Any] | bytes | str
INBOX_MAX = 10_000
"""Envelopes that may wait at the door; beyond, it answers ``busy``."""
ANSWER_SECONDS = 30.0
SWITCH_SECONDS = 0.0005
"""How long a busy Python thread keeps the interpreter from the manager. The default, ten times that, starves it: the
store gives the interpreter up at every step of a statement."""
SILENT_AFTER_CRASHES = 3

log = structlog.get_logger("tallystick.fleet")


class RefusedConfig(ValueError):
    """The configuration cannot be put in force on this fleet; the text says why."""


def people() -> list[Person]:
    """The specialists, in the order in which equal timers fire."""
    return [Allocator(), Tracker(), Enforcer(), Reallocator()]


class Fleet:
    """A running house: messages in, replies out, from threads and from asyncio."""

    def __init__(self, store: Store, ledger: Ledger, digest: bytes, clock: Clock, live: bool) -> None:
        self._store = store
        self._clock = clock
        self._manager = Manager(ledger, store, digest)
        self._people: dict[str, Person] = {person.name: person for person in people()}
        self._refs: dict[str, pykka.ActorRef[Any]] = {}
        self._crashes: dict[str, int] = {}
        self._followers: list[Callable[[Sequence[Event]], None]] = []
        self._ids = itertools.count(1)
        self._prefix = f"m-{secrets.token_hex(6)}"
        self._closed = threading.Event()
        self.halted: str | None = None
        """Why the house stopped by itself, if it did."""
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
    ) -> Self:
        """Open a fleet as its only writer: replay, start the people, put configuration and prices in force.

        Without ``config`` what is in force stays so; a new fleet gets the defaults. With a ``clock`` of your own, time
        passes only by `advance`. Each of ``followers`` is called with the events of every recorded batch, in the
        manager's turn: it hands them on and returns at once.

        Raises:
            StoreError: the store cannot be opened; `WriterPresent` where another process writes the fleet.
            BrokenChain: the log was tampered with.
            RefusedConfig: the total would be below what is granted, held or spent already.
        """
        opened = open_store(store, writer=True) if isinstance(store, str) else store
        try:
            ledger, digest = open_ledger(opened)
            fleet = cls(opened, ledger, digest, clock or SystemClock(), live=clock is None)
        except BaseException:
            opened.close()
            raise
        fleet._followers = list(followers)
        try:
            fleet._start()
            fleet._put_in_force(config, prices, by)
        except BaseException:
            fleet.close()
            raise
        return fleet

    def _start(self) -> None:
        """The manager first, then who follows it; each takes over from the state before the first message."""
        sys.setswitchinterval(SWITCH_SECONDS)
        for person in self._people.values():
            person.begin(self._manager.ledger)
        self._refs[MANAGER] = ManagerActor.start(self._manager, self._clock.now, self._deliver, self._on_halt)
        for person in self._people.values():
            self._start_person(person)
        self._timekeeper.start()

    def _start_person(self, person: Person) -> None:
        self._refs[person.name] = PersonActor.start(
            person, self._clock.now, self._deliver, self._timekeeper.wake_at, self._on_crash
        )

    def _put_in_force(self, config: Config | None, prices: PriceList | None, by: str) -> None:
        """Configuration and prices are facts: they are recorded where they differ from what is in force."""
        rules, configured = self._manager.ledger.rules, self._manager.ledger.configured
        if not configured:
            config = config or Config()
        if config is not None and not (configured and rules.config == config):
            mapping = to_mapping(config)
            self._demand(c.LoadConfig(config=mapping), f"config-{content_hash(mapping)[:16]}", by)
        if prices is not None and prices != rules.prices:
            mapping = prices_to_mapping(prices)
            self._demand(c.LoadPrices(prices=mapping), f"prices-{content_hash(mapping)[:16]}", by)

    def _demand(self, command: c.Command, name: str, by: str) -> None:
        # The position makes the id new when a configuration comes back that was in force before.
        command.id = f"{name}-{self._manager.ledger.position}"
        pending = Pending()
        self._post([command], by, pending)
        answer = decode_answer(pending.result(ANSWER_SECONDS)[0])
        if "error" in answer:
            raise RefusedConfig(answer["error"]["detail"])

    def close(self) -> None:
        """Finish what was taken, answer it, and let go of the store. Safe to call twice."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._timekeeper.stop()
        for name in (MANAGER, *self._people):
            ref = self._refs.get(name)
            if ref is not None and ref.is_alive():
                ref.stop(block=True, timeout=ANSWER_SECONDS)
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # --- messages in, replies out -------------------------------------------------------------------------------------

    def send(self, message: Message | Sequence[Message], by: str = "local") -> "Sent":
        """Hand in one message, or up to 1,000 that are committed together, without waiting."""
        pending = Pending()
        return Sent(pending, self._hand_in(message, by, pending), isinstance(message, list | tuple))

    def ask(self, message: Message | Sequence[Message], by: str = "local", timeout: float = ANSWER_SECONDS) -> Any:
        """Hand in a message and wait: ``{"ok": …}`` or ``{"error": …}``; a list of them for a list.

        Raises:
            Unanswered: no answer within ``timeout`` seconds; the command may still be carried out.
        """
        return self.send(message, by).result(timeout)

    async def ask_async(
        self, message: Message | Sequence[Message], by: str = "local", timeout: float = ANSWER_SECONDS
    ) -> Any:
        """`ask`, without blocking the event loop.

        Raises:
            Unanswered: no answer within ``timeout`` seconds; the command may still be carried out.
        """
        pending = LoopPending()
        malformed = self._hand_in(message, by, pending)
        answers = await pending.result(timeout)
        return _merged(answers, malformed, isinstance(message, list | tuple))

    def _hand_in(self, message: Message | Sequence[Message], by: str, reply: Answers) -> "dict[int, bytes]":
        """Put well-formed commands into the manager's inbox; the answers to malformed ones, by their place."""
        messages = message if isinstance(message, list | tuple) else (message,)
        malformed: dict[int, bytes] = {}
        commands: list[c.Command] = []
        if len(messages) > c.MESSAGES_MAX:
            text = f"found {len(messages)} messages, allowed are up to {c.MESSAGES_MAX} together"
            malformed = dict.fromkeys(range(len(messages)), refused("invalid_message", text))
        else:
            for place, one in enumerate(messages):
                command = read_message(one)
                if type(command) is Refusal:
                    malformed[place] = encode_answer(command)
                    continue
                assert isinstance(command, c.Command)
                if command.id is None:
                    command.id = f"{self._prefix}-{next(self._ids)}"
                commands.append(command)
        if commands:
            self._post(commands, by, reply)
        else:
            reply.set(())
        return malformed

    def _post(self, commands: list[c.Command], by: str, reply: Answers) -> None:
        ref = self._refs[MANAGER]
        count = len(commands)
        if ref.actor_inbox.qsize() > INBOX_MAX:  # type: ignore[attr-defined]
            reply.set([refused("busy", "too many messages are waiting: try again", retry_after_seconds=1)] * count)
            return
        try:
            ref.tell(Envelope(commands, [encode_command(command) for command in commands], by, reply))
        except pykka.ActorDeadError:
            reply.set([halted_answer(self.halted or "it was closed")] * count)
            return
        if not ref.is_alive():
            # It died between our look and our message; whoever answers first is heard.
            reply.set([halted_answer(self.halted or "it was closed")] * count)

    # --- between the people -------------------------------------------------------------------------------------------

    def _deliver(self, post: Post) -> None:
        if post.to == "everyone":
            recorded: Recorded = post.message
            kinds = set(map(type, recorded.events))
            for name, person in self._people.items():
                if not kinds.isdisjoint(person.follows):
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
        self._crashes[crashed.name] = self._crashes.get(crashed.name, 0) + 1
        log.error("specialist_replaced", who=crashed.name, reason=crashed.reason, times=self._crashes[crashed.name])
        if self._crashes[crashed.name] > SILENT_AFTER_CRASHES:
            log.critical("specialist_given_up", who=crashed.name, reason=crashed.reason)
            return
        person = self._people[crashed.name] = type(self._people[crashed.name])()
        self._tell(MANAGER, Takeover(person, lambda: self._start_person(person)))

    def _on_halt(self, reason: str) -> None:
        self.halted = reason

    # --- time ---------------------------------------------------------------------------------------------------------

    def advance(self, until: dt.datetime) -> None:
        """With a clock of your own: let time pass, each timer that is due fire in order, and the house come to rest."""
        self._timekeeper.advance(until, self.quiesce)

    def quiesce(self, timeout: float = ANSWER_SECONDS) -> None:
        """Wait until everything that was handed in, and all that followed from it, is done.

        Raises:
            Unanswered: the house did not come to rest within ``timeout`` seconds.
        """
        settled = -1
        while settled != (position := self._probe_round(timeout)):
            settled = position

    def _probe_round(self, timeout: float) -> int:
        """Pass through every inbox, the manager's last; the position reached."""
        # A question goes through manager, reallocator, tracker, reallocator and back: two rounds see it through.
        for name in (MANAGER, *self._people, *self._people, MANAGER, MANAGER):
            if not self._refs[name].is_alive():
                continue
            reached = threading.Event()
            self._tell(name, Probe(reached.set))
            if not reached.wait(timeout):
                raise Unanswered(f"{name} did not come to rest within {timeout:g} s")
        return self._manager.ledger.position

    @property
    def position(self) -> int:
        """The newest decided position."""
        return self._manager.ledger.position


class Sent:
    """A message on its way."""

    __slots__ = ("_malformed", "_many", "_pending")

    def __init__(self, pending: Pending, malformed: dict[int, bytes], many: bool) -> None:
        self._pending = pending
        self._malformed = malformed
        self._many = many

    def result(self, timeout: float = ANSWER_SECONDS) -> Any:
        """The reply, or the list of replies.

        Raises:
            Unanswered: none within ``timeout`` seconds; the command may still be carried out.
        """
        return _merged(self._pending.result(timeout), self._malformed, self._many)


def _merged(answers: Sequence[bytes], malformed: dict[int, bytes], many: bool) -> Any:
    """The answers in the order of the messages, as Python programs read them."""
    if not malformed:
        return [decode_answer(answer) for answer in answers] if many else decode_answer(answers[0])
    good = iter(answers)
    total = len(answers) + len(malformed)
    merged = [decode_answer(malformed[i] if i in malformed else next(good)) for i in range(total)]
    return merged if many else merged[0]


