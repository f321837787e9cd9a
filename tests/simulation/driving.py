"""The same messages, one at a time, each after the house is quiet: through the live actors, and through one thread."""

import datetime as dt
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

from tallystick.actors.clock import ManualClock
from tallystick.actors.fleet import Fleet
from tallystick.actors.messages import Envelope, Recorded
from tallystick.actors.people import Probe
from tallystick.actors.simulation import House
from tallystick.config.settings import Config
from tallystick.events import snapshot
from tallystick.events.codec import Message, decode_answer, encode_answer, read_message
from tallystick.events.commands import WIRE, LoadConfig
from tallystick.events.ledger import Ledger, check_conserved
from tallystick.events.proposals import PlaceTask
from tallystick.events.replies import Refusal
from tallystick.events.store import Record, Store
from tallystick.events.store_memory import MemoryStore
from tests.law import START
from tests.strategies import Step

Timed = tuple[dt.datetime, Message]


class Outcome(NamedTuple):
    replies: list[Any]
    records: list[Record]
    state: bytes
    ledger: Ledger


class OneByOne(Fleet):
    """A live house in which each specialist is done with a batch before the next is told of it.

    Two that react to the same batch would else propose in either order.
    """

    def _tell(self, name: str, message: Any) -> None:
        super()._tell(name, message)
        # Only what the manager publishes: the people also wait for one another's answers.
        if isinstance(message, Recorded):
            reached, ref = threading.Event(), self._refs[name]
            super()._tell(name, Probe(reached.set))
            while not reached.wait(0.1) and ref.is_alive():
                pass


_WAIT_MAX = 300.0
"""The live house comes to rest after each tick of the reallocator: long waits cost time and show nothing new."""


def timed(steps: Sequence[Step]) -> list[Timed]:
    """Steps as messages with their moments; our own people's are left to our own people."""
    messages: list[Timed] = []
    now = START
    for command, seconds in steps:
        now += dt.timedelta(seconds=min(seconds, _WAIT_MAX))
        if isinstance(command, LoadConfig):
            config = {**command.config, "reallocation": {"interval_seconds": 25}}
            messages.append((now, LoadConfig(config=config, id=command.id)))
        elif isinstance(command, PlaceTask):
            wanted = command.submitted
            wanted.id = command.id
            messages.append((now, wanted))
        elif isinstance(command, WIRE):
            messages.append((now, command))
    return messages


def live(
    messages: Sequence[Timed], config: Config | None = None, store: Store | None = None, until: dt.datetime = START
) -> Outcome:
    """Driven through the actors: the clock is moved, the message asked, the house let come to rest."""
    store = MemoryStore() if store is None else store
    replies = []
    with OneByOne.open(store, config, clock=ManualClock(START)) as fleet:
        for at, message in messages:
            fleet.advance(at)
            replies.append(fleet.ask(message))
            fleet.quiesce()
        fleet.advance(until)
        assert fleet.halted is None
        ledger = fleet._manager.ledger
        check_conserved(ledger)
        return Outcome(replies, list(store.read()), snapshot.dump(ledger), ledger)


def simulated(
    messages: Sequence[Timed], config: Config | None = None, store: Store | None = None, until: dt.datetime = START
) -> Outcome:
    """Driven through the one-thread scheduler."""
    store = MemoryStore() if store is None else store
    house = House.open(store, config, None, START)
    replies = []
    for at, message in messages:
        read = read_message(message, lambda: "unnamed")
        if isinstance(read, Refusal):
            house.pass_time(at)
            replies.append(decode_answer(encode_answer(read)))
        else:
            (answer,) = house.ask(Envelope([read[0]], [read[1]], "local", None), at)
            replies.append(decode_answer(answer))
    house.pass_time(until)
    check_conserved(house.ledger)
    return Outcome(replies, list(store.read()), snapshot.dump(house.ledger), house.ledger)
