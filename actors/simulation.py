"""The same people under a scheduler of one thread and a clock that is moved by hand.

Messages are taken one at a time, each after the house is quiet, and every timer that is due in between fires first, in
order: so the same messages give the same log, to the byte, and the same log as the live actors when they are driven in
the same way.
"""

import asyncio
import datetime as dt
from collections import deque
from collections.abc import Sequence
from typing import Any, Self

from tallystick.actors.clock import ManualClock
from tallystick.actors.fleet import MakeReporter, RefusedConfig, people
from tallystick.actors.manager import Manager
from tallystick.actors.messages import MANAGER, Answered, Envelope, Post, Proposal, Recorded, Tick
from tallystick.actors.opening import open_ledger, to_put_in_force
from tallystick.actors.people import Person
from tallystick.actors.reports import NoReporter
from tallystick.config.prices import PriceList
from tallystick.config.settings import Config
from tallystick.events.codec import decode_answer, encode_command
from tallystick.events.ledger import Ledger
from tallystick.events.store import Store


class Answer:
    """Keeps the answers of one envelope."""

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self.answers: Sequence[bytes] | None = None

    def set(self, answers: Sequence[bytes]) -> None:
        self.answers = answers


class House:
    """The manager and the specialists, driven by hand. People are in the order in which equal timers fire."""

    def __init__(self, manager: Manager, people: Sequence[Person], clock: ManualClock) -> None:
        self._manager = manager
        self._people = {person.name: person for person in people}
        self._clock = clock
        self._posts: deque[Post] = deque()
        for person in people:
            person.begin(manager.ledger)

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
            Halted: the house stopped.
        """
        ledger, digest = open_ledger(store)
        house = cls(Manager(ledger, store, digest), people(store, reporter), ManualClock(now))
        for command in to_put_in_force(ledger, config, prices):
            (reply,) = house._hand_in(Envelope([command], [encode_command(command)], by, None))
            answer = decode_answer(reply)
            if "error" in answer:
                raise RefusedConfig(answer["error"]["detail"])
        return house

    @property
    def ledger(self) -> Ledger:
        """The state of the law."""
        return self._manager.ledger

    def ask(self, envelope: Envelope, at: dt.datetime) -> Sequence[bytes]:
        """Let time pass until ``at``, hand in the envelope, and let the house come to rest.

        Raises:
            Halted: the house stopped.
        """
        self.pass_time(at)
        return self._hand_in(envelope)

    def _hand_in(self, envelope: Envelope) -> Sequence[bytes]:
        answer = Answer()
        envelope.reply = answer
        self._deliver(Post(MANAGER, envelope))
        self._settle()
        assert answer.answers is not None
        return answer.answers

    def pass_time(self, until: dt.datetime) -> None:
        """Fire every timer that is due up to and including ``until``, in order."""
        while (first := self._first_due()) is not None and first[0] <= until:
            due, _, person = first
            self._clock.move_to(due)
            self._deliver(Post(person.name, Tick(self._clock.now())))
            self._settle()
        self._clock.move_to(until)

    def _first_due(self) -> tuple[dt.datetime, int, Person] | None:
        waiting = [
            (due, rank, person)
            for rank, person in enumerate(self._people.values())
            if (due := person.due_at()) is not None
        ]
        return min(waiting, default=None, key=lambda entry: entry[:2])

    def _settle(self) -> None:
        while self._posts or self._manager.has_work:
            if self._posts:
                self._deliver(self._posts.popleft())
            else:
                self._posts.extend(self._manager.commit(self._clock.now()))

    def _deliver(self, post: Post) -> None:
        now, message = self._clock.now(), post.message
        if post.to == "everyone":
            self._posts.extend(Post(name, message) for name in wanting(message, self._people))
        elif post.to == MANAGER:
            if isinstance(message, Proposal):
                self._manager.take_proposal(message, now)
            elif isinstance(message, Answered):
                self._manager.take_answer(message)
            else:
                self._manager.take(message, now)
        else:
            self._posts.extend(self._people[post.to].handle(message, now))


def wanting(recorded: Recorded, people: dict[str, Any]) -> list[str]:
    """The names of those who follow a class of event that the batch holds."""
    kinds = set(map(type, recorded.events))
    return [name for name, person in people.items() if not kinds.isdisjoint(person.follows)]
