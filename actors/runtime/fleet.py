"""The fleet for Python programs: messages in, replies out. It starts the actors, supervises them, and closes them.

with Fleet.open("sqlite:///fleet.db", config) as fleet:
    reply = fleet.ask({"type": "ReportUsage", "agent": "a-1", "usage": {"tokens": 450}})
"""

import contextlib
import datetime as dt
import gc
import logging
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import pykka
import structlog

from tallystick.actors.errors import Unanswered
from tallystick.actors.manager import Manager
from tallystick.actors.runtime.access import Access
from tallystick.actors.runtime.clock import Clock, SteadyClock, SystemClock
from tallystick.actors.runtime.command_queue import check_principal
from tallystick.actors.runtime.control_socket import ControlSocket
from tallystick.actors.runtime.following import Following
from tallystick.actors.runtime.intake import Asker, Intake
from tallystick.actors.runtime.log_feed import LogFeed
from tallystick.actors.runtime.manager_actor import GivenUp, HaltNow, ManagerActor, Takeover
from tallystick.actors.runtime.messages import ENFORCER, MANAGER, SENDER, Post, Recorded, Tick, each
from tallystick.actors.runtime.opening import accept, load_config, logged, to_put_in_force
from tallystick.actors.runtime.pending import ANSWER_SECONDS, MANY, LoopPending, Pending
from tallystick.actors.runtime.quiescence import Quiescence
from tallystick.actors.runtime.reports import MakeReporter, NoReporter
from tallystick.actors.runtime.sender import AlertSender, Sender, send_by_apprise
from tallystick.actors.runtime.snapshot_maker import SnapshotMaker
from tallystick.actors.runtime.specialist import Crashed, Specialist, Undelivered
from tallystick.actors.runtime.supervision import Crashes
from tallystick.actors.runtime.team import Ref, attend, specialists, start
from tallystick.actors.runtime.timers import Timekeeper
from tallystick.actors.runtime.watch import Watch
from tallystick.config.found import GivenConfig, GivenPrices, config_for, prices_for
from tallystick.config.prices import PriceList
from tallystick.config.settings import Config
from tallystick.events import messages as c
from tallystick.events.catalog import ClockAccepted, Event
from tallystick.events.log.codec import Message
from tallystick.events.log.restoring import Opened, open_ledger
from tallystick.events.log.store import Store, open_store
from tallystick.events.messages import proposals as p

SWITCH_SECONDS = 0.0005
"""How long a busy Python thread keeps the interpreter from the manager. The default, ten times that, starves it: the
store releases the interpreter at every step of a statement."""
CLOSING_SECONDS = 5.0
"""How long a fleet that is closed waits for its specialists, and for an alert that is on its way."""
log = structlog.wrap_logger(logging.getLogger("tallystick.fleet"))


class Fleet:
    """A running fleet: messages in, replies out, from threads and from asyncio."""

    default_reporter: ClassVar[MakeReporter] = NoReporter
    """Reports are made from views, which the actors do not know: `tallystick.Fleet` names the one that knows them."""

    def __init__(
        self, opened: Opened, store: Store, clock: Clock, live: bool, sender: Sender | None, reporter: MakeReporter
    ) -> None:
        self._store = store
        self.records = LogFeed(store)
        """The log as it is stored."""
        self._clock = clock
        self._crashes = Crashes()
        self._manager = Manager(opened.ledger, store, opened.digest, self._crashes)
        self._intake = Intake(self._manager)
        self.access = Access(self._manager, self._intake, clock)
        self._sender = None if sender is None else AlertSender(sender, lambda sent: self._tell(ENFORCER, sent))
        self._reporter = reporter
        self._specialists: dict[str, Specialist] = {one.name: one for one in self._made_specialists()}
        self._refs: dict[str, Ref] = {}
        self._undelivered = Undelivered()
        self._followers: list[Callable[[Sequence[Event]], None]] = []
        self._control: ControlSocket | None = None
        self._at_close = contextlib.ExitStack()
        self._closed = threading.Event()
        self._timekeeper = Timekeeper(clock, [MANAGER, *self._specialists], self._tick, live)
        self._steady = clock if isinstance(clock, SteadyClock) else None
        self._watch = Watch(
            self._steady,
            store,
            self._intake.turn_away,
            lambda why: self._tell(MANAGER, HaltNow(why)),
            self._note_clock,
            self._timekeeper.look_again,
        )

    # --- opening and closing ------------------------------------------------------------------------------------------

    @classmethod
    def open(
        cls,
        store: Store | str,
        config: GivenConfig = None,
        prices: GivenPrices = None,
        *,
        clock: Clock | None = None,
        by: str = "operator",
        followers: Sequence[Callable[[Sequence[Event]], None]] = (),
        notify: bool | None = None,
        reporter: MakeReporter | None = None,
        begun: Opened | None = None,
    ) -> Self:
        """Open a fleet as its only writer: replay, start the actors, put configuration and prices in force.

        A configuration may be a mapping, the path of a file, or a `Config`, and so may prices, which are put over the
        published ones of the day. What is not given stays as it is in force; a new fleet begins with the files that the
        command line would find too, or else with what is packaged. In a fleet that has begun, what a configuration does
        not name stays in force. With a ``clock`` of your own, time passes only by `advance`, and no alerts go out,
        unless ``notify`` says otherwise; else the fleet listens on its control socket. Each of ``followers`` is called
        with the events of every recorded batch, in the manager's turn: it returns at once. ``reporter`` makes reports;
        the default is ``default_reporter``. ``begun`` is the state as of the store's newest record, where it is known.

        Raises:
            StoreError: the store cannot be opened; `WriterPresent` where another process writes the fleet.
            BrokenChain: the log was tampered with.
            ConfigError: the configuration or the prices cannot be read, or say something that is not allowed.
            RefusedConfig: the total would be below what is granted, held or spent already.
        """
        check_principal(by)
        opened = open_store(store, writer=True) if isinstance(store, str) else store
        try:
            is_new = opened.last() is None
            settings, price_list = config_for(config, is_new), prices_for(prices, is_new)
            sender = send_by_apprise if (clock is None if notify is None else notify) else None
            begun = begun or open_ledger(opened)
            time_source = clock or SteadyClock(SystemClock(), begun.ledger.now)
            fleet = cls(begun, opened, time_source, clock is None, sender, reporter or cls.default_reporter)
        except BaseException:
            opened.close()
            raise
        fleet._followers = list(followers)
        try:
            fleet._start()
            fleet._put_in_force(settings, price_list, by)
            gc.freeze()
            # Only now: nothing is sent to an address that is no longer in force.
            fleet._timekeeper.start()
            fleet._watch.start(fleet._manager.ledger.clock_apart_ms)
            if clock is None:
                fleet._control = ControlSocket.open(opened.url, fleet._intake)
                maker = SnapshotMaker.of(fleet._manager, opened, lambda coming: fleet._tell(MANAGER, coming))
                fleet._at_close.callback(maker.stop)
        except BaseException:
            fleet.close()
            raise
        return fleet

    def _start(self) -> None:
        """The manager first, then the specialists; each takes over from the state before the first message."""
        sys.setswitchinterval(SWITCH_SECONDS)
        for specialist in self._specialists.values():
            specialist.begin(self._manager.ledger)
        now, wake_at, work = self._clock.now, self._timekeeper.wake_at, lambda share: attend(self._refs, share)
        manager = ManagerActor.start(self._manager, self._intake.queue, now, self._deliver, wake_at, work)
        self._refs[MANAGER] = manager
        self._intake.begin(manager)
        for specialist in self._specialists.values():
            self._start_specialist(specialist)

    def _made_specialists(self) -> list[Specialist]:
        return [*specialists(delivers=self._sender is not None), self._reporter(self._store)]

    def _start_specialist(self, specialist: Specialist) -> None:
        manager, now, wake_at = self._refs[MANAGER], self._clock.now, self._timekeeper.wake_at
        self._refs[specialist.name] = start(specialist, manager, now, self._deliver, wake_at, self._on_crash)
        for message in self._undelivered.take(specialist.name):
            self._tell(specialist.name, message)

    def _put_in_force(self, config: Config | None, prices: PriceList | None, by: str) -> None:
        for command in to_put_in_force(self._manager.ledger, config, prices, self._clock.now()):
            accept(self._intake.record(command, by).result())

    def close(self) -> None:
        """Finish what was taken and what follows from it, answer, and close the store. Safe to call twice.

        Alerts that wait, and were not tried before, are sent.
        """
        if self._closed.is_set():
            return
        self._at_close.close()
        # Senders that go on asking would keep the fleet from coming to rest.
        if self._control is not None:
            self._control.stop_listening()
        self._intake.close()
        self._watch.stop()
        self._timekeeper.stop()
        self._finish()
        self._closed.set()
        if self._store.away() is not None:
            self._store.close()  # the manager waits for it, and nothing of what it writes was answered as done
        if self._sender is not None:
            self._sender.close()
        for name in (MANAGER, *self._specialists):
            ref = self._refs.get(name)
            if ref is not None and ref.is_alive():
                ref.stop(block=True, timeout=ANSWER_SECONDS)
        if self._control is not None:
            self._control.finish()
        self._store.close()
        gc.unfreeze()

    def _finish(self) -> None:
        """Let the specialists act on the last batch: later there is no occasion."""
        if self.halted is None and self._store.away() is None and all(ref.is_alive() for ref in self._refs.values()):
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

    def send(self, message: Message | Sequence[Message], by: str = "local", *, asker: Asker | None = None) -> Pending:
        """Hand in one message, or up to 1,000 that are committed together, without waiting.

        ``asker``: another process asks, through this program.
        """
        pending = Pending(isinstance(message, MANY))
        self._intake.hand_in(message, by, pending, asker)
        return pending

    def ask(
        self,
        message: Message | Sequence[Message],
        by: str = "local",
        timeout: float = ANSWER_SECONDS,
        *,
        asker: Asker | None = None,
    ) -> Any:
        """Hand in a message and wait: ``{"ok": …}`` or ``{"error": …}``; a list of them for a list.

        ``asker``: as for `send`.

        Raises:
            Unanswered: no answer within ``timeout`` seconds, beside those that the message itself asks to wait; the
                command may still be carried out.
        """
        pending = self.send(message, by, asker=asker)
        try:
            return pending.result(timeout + pending.waits_seconds)
        except BaseException:
            self._intake.leave(pending)
            raise

    async def ask_async(
        self,
        message: Message | Sequence[Message],
        by: str = "local",
        timeout: float = ANSWER_SECONDS,  # noqa: ASYNC109 - the same as ask(), which has one
        *,
        asker: Asker | None = None,
    ) -> Any:
        """`ask`, without blocking the event loop.

        Raises:
            Unanswered: as for `ask`.
        """
        pending = LoopPending(isinstance(message, MANY))
        self._intake.hand_in(message, by, pending, asker)
        try:
            return await pending.result(timeout + pending.waits_seconds)
        except BaseException:
            self._intake.leave(pending)
            raise

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
            if ClockAccepted in kinds:
                self._watch.follow_accepted(recorded.events)
            for follow in self._followers:
                follow(recorded.events)
            self.records.publish(recorded.records)
        else:
            self._tell(post.to, post.message)

    def _tell(self, name: str, message: Any) -> None:
        try:
            self._refs[name].tell(message)
        except pykka.ActorDeadError:
            self._undelivered.keep(name, message)
            log.debug("undeliverable", to=name, message=type(message).__name__)

    def _note_clock(self, apart_ms: int) -> None:
        note = p.NoteClock(apart_ms=apart_ms, id=c.internal_id(f"clock-{self._intake.new_id()}"))
        self._intake.record(note, "clock")

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

    def put_in_force(self, config: Mapping[str, Any], by: str = "operator") -> Any:
        """Put a configuration, or a part of one, in force, as `LoadConfig` does: addresses and paths too.

        Raises:
            Unanswered: no answer; it may still come into force.
        """
        check_principal(by)
        return logged(self._intake.record(load_config(dict(config), self.position), by).result())

    @property
    def store(self) -> Store:
        """Where the log is, for those who read it."""
        return self._store

    @property
    def log_time(self) -> bool:
        """Whether the fleet's time is that of its newest event: with a clock of one's own."""
        return self._steady is None

    @property
    def halted(self) -> str | None:
        """Why the fleet stopped by itself, if it did."""
        return self._manager.halted

    def follow(self, path: Path | str, by: str = "operator") -> Following:
        """Put what a configuration file names in force, and what it names later too, until the fleet is closed.

        A change of the file is one event with the keys that it has changed; see `Following` for what is read when.
        ``error`` of what is returned says why the file is not in force, ``omitted`` what it no longer names.

        Raises:
            ConfigError: the file cannot be read, or says something that is not allowed.
            RefusedConfig: it cannot be put in force on this fleet.
        """
        following = Following(self, Path(path), by)
        following.begin()
        self._at_close.callback(following.stop)
        following.start()
        return following

    # --- time ---------------------------------------------------------------------------------------------------------

    def advance(self, until: dt.datetime) -> None:
        """With a clock of your own: let time pass, each timer that is due fire in order, and the fleet come to rest."""
        self._timekeeper.advance(until, self.quiesce)

    def quiesce(self, timeout: float = ANSWER_SECONDS) -> None:
        """Wait until everything that was handed in, and all that followed from it, is done (see `Quiescence.wait`)."""
        Quiescence(self._manager, self._refs, self._sender, self._tell, self._has_successor).wait(timeout)

    def _has_successor(self, name: str) -> bool:
        """Whether a specialist that failed is replaced."""
        return not (self._crashes.is_given_up(name) or self._closed.is_set())

    @property
    def control_socket(self) -> Path | None:
        """Where other processes of this user reach the fleet; None in memory, and where there can be no socket."""
        return None if self._control is None else self._control.path

    @property
    def position(self) -> int:
        """The newest decided position."""
        return self._manager.ledger.position
