"""The allocator's index after any commands: followed or built anew it is the same, and every start is by right."""

import datetime as dt

from hypothesis import HealthCheck, given, settings

from tallystick.actors.policies.scheduling.index import SchedulerIndex
from tallystick.actors.runtime.messages import Envelope
from tallystick.actors.runtime.simulation import SimulatedFleet
from tallystick.events.log.codec import decode_event, read_message
from tallystick.events.log.store_memory import MemoryStore
from tallystick.events.messages.replies import Refusal
from tests.support.core import START
from tests.support.driving import simulated, timed
from tests.support.examples import examples
from tests.support.slots import Slots
from tests.support.strategies import Step, commands

CHANCE = settings(
    max_examples=examples(40),
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)


def rosters(steps: list[Step]) -> tuple[SchedulerIndex, SchedulerIndex]:
    """The picture that followed all events, and one that begins from the state they led to."""
    fleet = SimulatedFleet.open(MemoryStore(), None, None, START)
    for at, message in timed(steps):
        read = read_message(message, lambda: "unnamed")
        if not isinstance(read, Refusal):
            fleet.ask(Envelope([read[0]], [read[1]], "local", None), at)
    allocator = fleet._manager._allocator
    assert allocator is not None
    return allocator._index, SchedulerIndex(fleet.ledger)


@CHANCE
@given(commands(50))
def test_a_picture_that_followed_is_the_one_that_begins_anew(steps: list[Step]) -> None:
    followed, begun = rosters(steps)
    now = START + dt.timedelta(days=2)
    assert [r.waiting for r in followed.queue.ranked(followed.moment(now))] == [
        r.waiting for r in begun.queue.ranked(begun.moment(now))
    ]
    assert followed.running() == begun.running()
    for task in begun.tasks.known.values():
        assert followed.slots.left(followed.kind(task)) == begun.slots.left(begun.kind(task))
    assert set(followed.queue) == {task.id for task in begun.tasks.known.values() if task.state == "queued"}


@CHANCE
@given(commands(50))
def test_whatever_is_asked_of_the_fleet_every_start_is_by_right(steps: list[Step]) -> None:
    outcome = simulated(timed(steps), until=START + dt.timedelta(hours=1))
    slots = Slots()
    for record in outcome.records:
        slots.keep(decode_event(record.data, record.name))
    assert set(slots.running) == set(outcome.ledger.tasks.running)
