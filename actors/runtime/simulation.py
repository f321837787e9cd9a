"""The same people under a scheduler of one thread and a clock that is moved by hand.

Messages are taken one at a time, each after the fleet is quiet, and every timer that is due in between fires first, in
order: so the same messages give the same log, to the byte, and the same log as the live actors when they are driven in
the same way.
"""

import asyncio
import datetime as dt
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import Any, Self

from tallystick.actors.manager import Manager
from tallystick.actors.runtime.clock import ManualClock
from tallystick.actors.runtime.fleet import RefusedConfig, specialists
from tallystick.actors.runtime.messages import ALLOCATOR, MANAGER, Envelope, Post, Recorded, Tick
from tallystick.actors.runtime.opening import open_ledger, to_put_in_force
from tallystick.actors.runtime.reports import MakeReporter, NoReporter
from tallystick.actors.runtime.specialist import Specialist
from tallystick.config.prices import PriceList
from tallystick.config.settings import Config
from tallystick.events.log.codec import decode_answer, encode_command
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
    """The specialists on one thread, under a clock that is moved by hand; who decides is left open.

    People are in the order in which equal timers fire. Whoever has the manager's place says what becomes of what they
    propose (`_decide`), and what they are told of it (`_publish`).
    """

    _beside: str | None = None
    """Who is consulted before anything is published, and so has heard it."""

    def __init__(self, ledger: Ledger, people: Sequence[Specialist], clock: ManualClock) -> None:
        self._people = {person.name: person for person in people}
        self._clock = clock
        self._posts: deque[Post] = deque()
        for person in people:
            person.begin(ledger)
        self._first_due = self._look_at_the_clock()
        """Who wants to be woken next, and when. Only a message changes what a person wants."""

    @abstractmethod
    def _decide(self, message: Any, now: dt.datetime) -> None:
        """Take what is for the manager."""

    @abstractmethod
    def _publish(self, now: dt.datetime) -> Sequence[Post]:
        """What there is to tell of what was decided since the last time."""

    def pass_time(self, until: dt.datetime) -> None:
        """Fire every timer that is due up to and including ``until``, in order."""
        while self._first_due is not None and self._first_due[0] <= until:
            due, person = self._first_due
            self._clock.move_to(due)
            self._deliver(Post(person.name, Tick(self._clock.now())))
            self._settle()
        self._clock.move_to(until)

    def _look_at_the_clock(self) -> tuple[dt.datetime, Specialist] | None:
        first: tuple[dt.datetime, Specialist] | None = None
        for person in self._people.values():
            due = person.due_at()
            # Of equal moments, the earlier person's comes first.
            if due is not None and (first is None or due < first[0]):
                first = (due, person)
        return first

    def _settle(self) -> None:
        """Let the fleet come to rest: deliver what was said, publish what was decided, until there is neither."""
        while True:
            while self._posts:
                self._deliver(self._posts.popleft())
            self._posts.extend(self._publish(self._clock.now()))
            if not self._posts:
                break
        self._first_due = self._look_at_the_clock()

    def _deliver(self, post: Post) -> None:
        now, message = self._clock.now(), post.message
        if post.to == "everyone":
            self._posts.extend(Post(name, message) for name in wanting(message, self._people) if name != self._beside)
        elif post.to == MANAGER:
            self._decide(message, now)
        else:
            self._posts.extend(self._people[post.to].handle(message, now))


class SimulatedFleet(SpecialistGroup):
    """The manager and the specialists, driven by hand."""

    _beside = ALLOCATOR

    def __init__(self, manager: Manager, people: Sequence[Specialist], clock: ManualClock) -> None:
        super().__init__(manager.ledger, people, clock)
        self._manager = manager
        manager.seat(self._people[ALLOCATOR], self._hear)

    @classmethod
    def open(
        cls,
        store: Store,
        config: Config | None,
        prices: PriceList | None,
        now: dt.datetime,
        by: str = "operator",
        reporter: MakeReporter = NoReporter,
    ) -> Self:
        """Open a fleet as `Fleet.open` does with a clock of one's own that stands at ``now``.

        Raises:
            StoreError, BrokenChain: as for `Fleet.open`.
            RefusedConfig: the total would be below what is granted, held or spent already.
            Halted: the fleet stopped.
        """
        ledger, digest = open_ledger(store)
        fleet = cls(Manager(ledger, store, digest), [*cls.specialists(), reporter(store)], ManualClock(now))
        for command in to_put_in_force(ledger, config, prices, now):
            (reply,) = fleet._answers(fleet._hand_in(Envelope([command], [encode_command(command)], by, None)))
            answer = decode_answer(reply)
            if "error" in answer:
                raise RefusedConfig(answer["error"]["detail"])
        return fleet

    @staticmethod
    def specialists() -> list[Specialist]:
        """Those who judge in this fleet."""
        return specialists()

    @property
    def ledger(self) -> Ledger:
        """The state of the law."""
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
            assert self._first_due is not None, "whoever waits for something wakes at the end of the wait"
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

    def _decide(self, message: Any, now: dt.datetime) -> None:
        if isinstance(message, Envelope):
            self._manager.take(message, now)
        else:
            self._manager.hear(message, now)

    def _publish(self, now: dt.datetime) -> Sequence[Post]:
        return self._manager.commit(now) if self._manager.has_work else ()

    def _hear(self, messages: Sequence[Any], now: dt.datetime) -> list[Post]:
        return [post for message in messages for post in self._people[ALLOCATOR].handle(message, now)]


def wanting(recorded: Recorded, people: dict[str, Any]) -> list[str]:
    """The names of those who follow a class of event that the batch holds."""
    kinds = set(map(type, recorded.events))
    return [name for name, person in people.items() if not kinds.isdisjoint(person.follows)]
