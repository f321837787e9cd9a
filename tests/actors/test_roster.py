"""The allocator's picture of the tasks after any commands: followed or begun anew it is the same, and every start is by right."""

import datetime as dt

from hypothesis import HealthCheck, given, settings

from tallystick.actors.allocator import Allocator
from tallystick.actors.messages import ALLOCATOR, Envelope
from tallystick.actors.roster import Roster
from tallystick.actors.simulation import House
from tallystick.events.codec import decode_event, read_message
from tallystick.events.replies import Refusal
from tallystick.events.store_memory import MemoryStore
from tests.law import START
from tests.simulation.driving import simulated, timed
from tests.slots import Slots
from tests.strategies import Step, commands

CHANCE = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), print_blob=False
)


def rosters(steps: list[Step]) -> tuple[Roster, Roster]:
    """The picture that followed all events, and one that begins from the state they led to."""
    house = House.open(MemoryStore(), None, None, START)
    for at, message in timed(steps):
        read = read_message(message, lambda: "unnamed")
        if not isinstance(read, Refusal):
            house.ask(Envelope([read[0]], [read[1]], "local", None), at)
    allocator = house._people[ALLOCATOR]
    assert isinstance(allocator, Allocator)
    return allocator._roster, Roster(house.ledger)


@CHANCE
@given(commands(50))
def test_a_picture_that_followed_is_the_one_that_begins_anew(steps: list[Step]) -> None:
    followed, begun = rosters(steps)
    assert not followed._starting
    assert not followed._yielding
    now = START + dt.timedelta(days=2)
    assert followed.tasks.known.keys() == begun.tasks.known.keys()
    assert [r.waiting for r in followed.queue.ranked(followed.moment(now))] == [
        r.waiting for r in begun.queue.ranked(begun.moment(now))
    ]
    assert followed.running() == begun.running()
    for task in begun.tasks.known.values():
        assert followed.slots.left(followed.kind(task)) == begun.slots.left(begun.kind(task))
    assert followed.slot_times.dump() == begun.slot_times.dump()
    assert followed.estimates.dump() == begun.estimates.dump()


@CHANCE
@given(commands(50))
def test_whatever_is_asked_of_the_house_every_start_is_by_right(steps: list[Step]) -> None:
    outcome = simulated(timed(steps), until=START + dt.timedelta(hours=1))
    slots = Slots()
    for record in outcome.records:
        slots.keep(decode_event(record.data, record.name))
    assert set(slots.running) == set(outcome.ledger.tasks.running)
