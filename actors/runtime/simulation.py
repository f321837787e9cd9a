"""The same manager and specialists on one thread, under a clock that is moved by hand.

Messages are taken one at a time, each after the fleet has come to rest, and every timer that is due in between fires
first, in order: so the same messages give the same log, to the byte, and the same log as the live actors when they are
driven in the same way.
"""

import asyncio
import datetime as dt
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Self

from tallystick.actors.manager import Manager
from tallystick.actors.runtime.clock import ManualClock
from tallystick.actors.runtime.messages import MANAGER, Envelope, Post, Recorded, Tick
from tallystick.actors.runtime.opening import accept, to_put_in_force
from tallystick.actors.runtime.reports import MakeReporter, NoReporter
from tallystick.actors.runtime.specialist import Specialist, must_not_be_lost
from tallystick.actors.runtime.supervision import Crashes
from tallystick.actors.runtime.team import specialists
from tallystick.config.prices import PriceList
from tallystick.config.settings import Config
from tallystick.events.log.codec import decode_answer, encode_command
from tallystick.events.log.restoring import open_ledger
from tallystick.events.log.store import Store
from tallystick.events.state.ledger import Ledger


class Answer:
    """Keeps the answers of one envelope."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.answers: Sequence[bytes] | None = None

    def set(self, answers: Sequence[bytes]) -> None:
        self.answers = answers


class SpecialistGroup(ABC):
    """The specialists on one thread, under a clock that is moved by hand. The manager's part is abstract.

    At equal moments the manager's timer fires first, then the specialists' in the order in which they are given.
    """

    def __init__(self, ledger: Ledger, specialists: Sequence[Specialist], clock: ManualClock) -> None:
        self._specialists = {specialist.name: specialist for specialist in specialists}
        self._clock = clock
        self._posts: deque[Post] = deque()
        for specialist in specialists:
            specialist.begin(ledger)
        self._first_due: tuple[dt.datetime, str] | None = None
        """The first timer, and the actor that it wakes. Only a message changes it."""

    @abstractmethod
    def _manager_due_at(self) -> dt.datetime | None:
        """When the manager is to be woken next."""

    @abstractmethod
    def _wake_manager(self, now: dt.datetime) -> None:
        """Let happen what is due at the manager."""

    @abstractmethod
    def _decide(self, message: Any, now: dt.datetime) -> None:
        """Take what is for the manager."""

    @abstractmethod
    def _publish(self, now: dt.datetime) -> Sequence[Post]:
        """What was decided since the last time, for the specialists."""

    def pass_time(self, until: dt.datetime) -> None:
        """Fire every timer that is due up to and including ``until``, in order."""
        while self._first_due is not None and self._first_due[0] <= until:
            due, name = self._first_due
            self._clock.move_to(due)
            self._deliver(Post(name, Tick(self._clock.now())))
            self._settle()
        self._clock.move_to(until)

    def _look_at_the_clock(self) -> None:
        """Find the first timer."""
        due = self._manager_due_at()
        first = None if due is None else (due, MANAGER)
        for name, specialist in self._specialists.items():
            due = specialist.due_at()
            # Of equal moments, the earlier specialist's comes first.
            if due is not None and (first is None or due < first[0]):
                first = (due, name)
        self._first_due = first

    def _settle(self) -> None:
        """Let the fleet come to rest: deliver what was sent, publish what was decided, until there is neither."""
        while True:
            while self._posts:
                self._deliver(self._posts.popleft())
            self._posts.extend(self._publish(self._clock.now()))
            if not self._posts:
                break
        self._look_at_the_clock()

    def _deliver(self, post: Post) -> None:
        now, message = self._clock.now(), post.message
        if post.to == "everyone":
            self._posts.extend(Post(name, message) for name in self._followers_of(message))
        elif post.to != MANAGER:
            self._posts.extend(self._handled(post, now))
        elif isinstance(message, Tick):
            self._wake_manager(now)
        else:
            self._decide(message, now)

    def _handled(self, post: Post, now: dt.datetime) -> Sequence[Post]:
        """What follows from a message to a specialist."""
        return self._specialists[post.to].handle(post.message, now)

    def _followers_of(self, recorded: Recorded) -> list[str]:
        """The specialists that follow a class of event that the batch holds."""
        kinds = set(map(type, recorded.events))
        return [name for name, one in self._specialists.items() if not kinds.isdisjoint(one.follows)]


class SimulatedFleet(SpecialistGroup):
    """The manager and the specialists, driven by hand."""

    def __init__(
        self,
        manager: Manager,
        specialists: Sequence[Specialist],
        clock: ManualClock,
        reporter: Callable[[], Specialist] | None = None,
        crashes: Crashes | None = None,
    ) -> None:
        super().__init__(manager.ledger, specialists, clock)
        self._manager = manager
        self._reporter = reporter
        self._crashes = crashes
        self._look_at_the_clock()

    @classmethod
    def open(
        cls,
        store: Store,
        config: Config | None,
        prices: PriceList | None,
        now: dt.datetime,
        by: str = "operator",
        reporter: MakeReporter = NoReporter,
        crashes: Crashes | None = None,
    ) -> Self:
        """Open a fleet as `Fleet.open` does with a clock of your own that shows ``now``.

        ``crashes`` says how often a specialist may fail and be replaced; without it, its errors are raised.

        Raises:
            StoreError, BrokenChain: as for `Fleet.open`.
            RefusedConfig: the total would be below what is granted, held or spent already.
            Halted: the fleet stopped.
        """
        ledger, digest = open_ledger(store)
        manager, made = cls.manager(ledger, store, digest, crashes), [*cls.specialists(), reporter(store)]
        fleet = cls(manager, made, ManualClock(now), lambda: reporter(store), crashes)
        for command in to_put_in_force(ledger, config, prices, now):
            (reply,) = fleet._answers(fleet._hand_in(Envelope([command], [encode_command(command)], by, None)))
            accept(decode_answer(reply))
        return fleet

    @staticmethod
    def manager(ledger: Ledger, store: Store, digest: bytes, crashes: Crashes | None = None) -> Manager:
        """The manager of this fleet."""
        return Manager(ledger, store, digest, crashes)

    @staticmethod
    def specialists() -> list[Specialist]:
        """The specialists of this fleet."""
        return specialists()

    @property
    def ledger(self) -> Ledger:
        """The state."""
        return self._manager.ledger

    def ask(self, envelope: Envelope, at: dt.datetime) -> Sequence[bytes]:
        """Let time pass until ``at``, hand in the envelope, and let the fleet come to rest. Where the answer waits for
        something (`GetTask`), time passes until it is there.

        Raises:
            Halted: the fleet stopped.
        """
        return self._answers(self.send(envelope, at))

    def send(self, envelope: Envelope, at: dt.datetime) -> Answer:
        """As `ask`, without waiting: the answer may come with a later message, or as time passes.

        Raises:
            Halted: the fleet stopped.
        """
        self.pass_time(at)
        return self._hand_in(envelope)

    def wait_for(self, answer: Answer) -> None:
        """Let time pass, timer by timer, until an answer is there."""
        while answer.answers is None:
            assert self._first_due is not None, "a question that waits has a timer for the end of its wait"
            self.pass_time(self._first_due[0])

    def _answers(self, answer: Answer) -> Sequence[bytes]:
        self.wait_for(answer)
        assert answer.answers is not None
        return answer.answers

    def _hand_in(self, envelope: Envelope) -> Answer:
        answer = Answer()
        envelope.reply = answer
        self._deliver(Post(MANAGER, envelope))
        self._settle()
        return answer

    def _manager_due_at(self) -> dt.datetime | None:
        return self._manager.due_at()

    def _wake_manager(self, now: dt.datetime) -> None:
        self._manager.wake(now)

    def _handled(self, post: Post, now: dt.datetime) -> Sequence[Post]:
        if self._crashes is None or post.to not in self._specialists:
            return super()._handled(post, now) if post.to in self._specialists else ()
        try:
            return super()._handled(post, now)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next one may not have it
            reason = f"{type(error).__name__}: {error}"
        if not self._crashes.note(post.to, reason, now):
            del self._specialists[post.to]
            self._manager.give_up_specialist(post.to, reason, now)
            return ()
        return self._replaced(post, now)

    def _replaced(self, post: Post, now: dt.datetime) -> Sequence[Post]:
        """Put another specialist in the place of one that failed with a message, from what is committed."""
        name = post.to
        self._posts.extend(self._publish(now))
        made = [*self.specialists(), *(() if self._reporter is None else (self._reporter(),))]
        successor = next(one for one in made if one.name == name)
        successor.begin(self.ledger)
        self._specialists[name] = successor
        posts = [one for each in self._posts for one in self._addressed(each)]
        # Its state has all that was recorded; what was asked is asked again.
        lasting = [one for one in posts if one.to != name or must_not_be_lost(one.message)]
        self._posts.clear()
        self._posts.extend(lasting)
        again = [post] if must_not_be_lost(post.message) or isinstance(post.message, Tick) else []
        return [*again, *self._manager.open_questions(name)]

    def _addressed(self, post: Post) -> Sequence[Post]:
        """A post for everyone as one for each follower."""
        return (
            [Post(name, post.message) for name in self._followers_of(post.message)] if post.to == "everyone" else [post]
        )

    def _decide(self, message: Any, now: dt.datetime) -> None:
        if isinstance(message, Envelope):
            self._manager.take(message, now)
        else:
            self._manager.receive(message, now)

    def _publish(self, now: dt.datetime) -> Sequence[Post]:
        return self._manager.commit(now) if self._manager.has_work else ()
