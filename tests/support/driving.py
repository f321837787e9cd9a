"""The same messages, one at a time, each after the fleet is quiet: through the live actors, and through one thread."""

import datetime as dt
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

from tallystick.actors.runtime.clock import ManualClock
from tallystick.actors.runtime.fleet import Fleet
from tallystick.actors.runtime.guest import Guest
from tallystick.actors.runtime.messages import Envelope, Recorded
from tallystick.actors.runtime.opening import to_put_in_force
from tallystick.actors.runtime.reports import MakeReporter, NoReporter
from tallystick.actors.runtime.simulation import SimulatedFleet
from tallystick.actors.runtime.specialist import Probe
from tallystick.config.settings import Config
from tallystick.events.log import snapshot
from tallystick.events.log.codec import Message, decode_answer, encode_answer, encode_command, read_message
from tallystick.events.log.store import Record, Store
from tallystick.events.log.store_memory import MemoryStore
from tallystick.events.messages import WIRE, LoadConfig
from tallystick.events.messages.proposals import PlaceTask
from tallystick.events.messages.replies import Refusal
from tallystick.events.state.conservation import check_conserved
from tallystick.events.state.ledger import Ledger
from tests.support.core import START
from tests.support.few_prices import prices_for
from tests.support.strategies import Step

Timed = tuple[dt.datetime, Message]


class Outcome(NamedTuple):
    replies: list[Any]
    records: list[Record]
    state: bytes
    ledger: Ledger


class OneByOne(Fleet):
    """A live fleet in which each specialist is done with a batch before the next gets it.

    Two that react to the same batch would else propose in either order.
    """

    def _tell(self, name: str, message: Any) -> None:
        super()._tell(name, message)
        # Only what the manager publishes: the specialists also wait for one another's answers.
        if isinstance(message, Recorded):
            reached, ref = threading.Event(), self._refs[name]
            super()._tell(name, Probe(reached.set))
            # A guest's turn is this one: it comes to nothing while others wait for it.
            wait = 0.0 if isinstance(ref, Guest) else 0.1
            while not reached.wait(wait) and ref.is_alive():
                if isinstance(ref, Guest):
                    ref.work()


_WAIT_MAX = 300.0
"""The live fleet comes to rest after each tick of the reallocator: long waits cost time and show nothing new."""


def timed(steps: Sequence[Step]) -> list[Timed]:
    """Steps as messages with their moments; those of specialists are left to the specialists."""
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
    """Driven through the actors: the clock is moved, the message asked, the fleet let come to rest."""
    store = MemoryStore() if store is None else store
    replies = []
    with OneByOne.open(store, config, prices_for(store), clock=ManualClock(START)) as fleet:
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
    messages: Sequence[Timed],
    config: Config | None = None,
    store: Store | None = None,
    until: dt.datetime = START,
    renewed_before: int | None = None,
    reporter: MakeReporter = NoReporter,
) -> Outcome:
    """Driven through the one-thread scheduler.

    ``renewed_before``: before the message of this number the fleet records what it would if it were opened again.
    """
    store = MemoryStore() if store is None else store
    simulated = SimulatedFleet.open(store, config, prices_for(store), START, reporter=reporter)
    replies = []
    for number, (at, message) in enumerate(messages):
        if number == renewed_before:
            _renew(simulated, config)
        read = read_message(message, lambda: "unnamed")
        if isinstance(read, Refusal):
            simulated.pass_time(at)
            replies.append(decode_answer(encode_answer(read)))
        else:
            (answer,) = simulated.ask(Envelope([read[0]], [read[1]], "local", None), at)
            replies.append(decode_answer(answer))
    simulated.pass_time(until)
    check_conserved(simulated.ledger)
    return Outcome(replies, list(store.read()), snapshot.dump(simulated.ledger), simulated.ledger)


def _renew(fleet: SimulatedFleet, config: Config | None) -> None:
    now = fleet.ledger.now
    for command in to_put_in_force(fleet.ledger, config, None, now):
        fleet.ask(Envelope([command], [encode_command(command)], "operator", None), now)
