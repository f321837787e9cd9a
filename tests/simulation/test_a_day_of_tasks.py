"""A day of tasks under the virtual clock: leases end, days begin, tasks start, and a restart only renews the leases."""

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick.actors import manager as manager_module
from tallystick.actors.runtime.messages import Envelope
from tallystick.actors.runtime.simulation import SimulatedFleet
from tallystick.config.loader import from_mapping
from tallystick.events import catalog as e
from tallystick.events.log import snapshot
from tallystick.events.log.codec import GENESIS, decode_event, read_message
from tallystick.events.log.restoring import open_ledger, replay
from tallystick.events.log.store import Store
from tallystick.events.log.store_memory import MemoryStore
from tallystick.events.state.conservation import check_conserved
from tallystick.events.state.ledger import Ledger
from tests.support.core import START, dump
from tests.support.driving import simulated
from tests.support.examples import examples
from tests.support.task_day import DAY, SCARCE, Message, day_of, decided, scarce_day, submit

CHANCE = settings(
    max_examples=examples(10),
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)
NO_LIMITS: dict[str, Any] = {"daily_limits": {"max_tokens_total": None, "max_cost_usd": None}, "products": {}}
ALL_OF_IT = {
    "day-began",
    "breaker-tripped",
    "alert-raised",
    "estimate-adjusted",
    "lease-lost",
    "lease-extended",
    "task-preempted",
    "task-completed",
    "task-queued",
    "task-started",
}


def events_of(store: Store) -> list[e.Event]:
    return [decode_event(record.data, record.name) for record in store.read()]


def test_every_task_of_a_day_is_finished_and_no_slot_is_given_twice() -> None:
    told = day_of(150, deaths=0.2, hours=4)
    happened = events_of(told.store)
    running: set[str] = set()
    leases: set[str] = set()
    for event in happened:
        match event:
            case e.TaskStarted():
                assert event.task not in running
                assert event.lease not in leases
                running.add(event.task)
                leases.add(event.lease)
            case e.TaskPreempted() | e.LeaseLost() | e.TaskCompleted():
                running.discard(event.task)
        assert len(running) <= 6
    ended = Counter(
        event.outcome if isinstance(event, e.TaskCompleted) else "failed"
        for event in happened
        if isinstance(event, e.TaskCompleted) or (isinstance(event, e.LeaseLost) and event.then == "failed")
    )
    assert sum(ended.values()) == 150
    assert ended["completed"] > 100
    ledger = open_ledger(told.store).ledger
    check_conserved(ledger)
    assert not ledger.tasks.running
    # What was reported, and only that, is what was used: nothing counts twice.
    assert ledger.spent[0] == sum(event.tokens for event in happened if isinstance(event, e.UsageReported))


def test_a_lease_ends_and_the_next_task_starts_without_a_message() -> None:
    fleet = SimulatedFleet.open(
        MemoryStore(), from_mapping({**DAY, "max_concurrent": {"total": 1, "per_type": {}}}), None, START
    )
    simulate(fleet, [submit("a"), submit("b")])
    fleet.pass_time(START + dt.timedelta(seconds=299))
    assert list(fleet.ledger.tasks.running) == ["a"]
    fleet.pass_time(START + dt.timedelta(seconds=300))
    assert len(fleet.ledger.tasks.running) == 1
    # `a` waits since before `b` did, and so it is tried again first.
    assert fleet.ledger.tasks.known["a"].attempt == 2


def test_what_a_daily_limit_kept_back_starts_at_midnight_without_a_message() -> None:
    limited = {**DAY, "daily_limits": {"max_tokens_total": 30_000, "max_cost_usd": None}, "timezone": "Europe/Zurich"}
    fleet = SimulatedFleet.open(MemoryStore(), from_mapping(limited), None, START)
    simulate(fleet, [submit("a"), submit("b")])
    assert list(fleet.ledger.tasks.running) == ["a"]
    done = {"type": "CompleteTask", "task": "a", "outcome": "completed", "usage": {"tokens": 20_000}}
    simulate(fleet, [done])
    midnight = dt.datetime(2026, 3, 4, 23, 0, tzinfo=dt.UTC)  # in Zurich
    fleet.pass_time(midnight - dt.timedelta(milliseconds=1))
    assert not fleet.ledger.tasks.running
    fleet.pass_time(midnight)
    assert list(fleet.ledger.tasks.running) == ["b"]
    assert fleet.ledger.tasks.known["b"].started_at == midnight


def simulate(fleet: SimulatedFleet, messages: Sequence[Message]) -> None:
    for message in messages:
        read = read_message(message, lambda: f"n-{fleet.ledger.position}")
        assert isinstance(read, tuple)
        fleet.ask(Envelope([read[0]], [read[1]], "local", None), fleet.ledger.now)


# --- a restart in the middle of all of it ----------------------------------------------------------------------------


def test_on_that_day_everything_does_happen() -> None:
    messages, until = scarce_day()
    outcome = simulated(messages, from_mapping({**DAY, **SCARCE}), until=until)
    names = {record.name.removesuffix(".v1") for record in outcome.records}
    assert names >= ALL_OF_IT
    assert outcome.ledger.outbox
    assert until > START + dt.timedelta(hours=12), "what the limit kept back waits for the next day"


@CHANCE
@given(st.floats(0, 1), st.booleans(), st.booleans())
def test_a_restart_in_the_middle_of_it_is_as_it_was(part: float, from_snapshot: bool, limited: bool) -> None:
    """Queue, breaker, estimates, alerts and outbox: the state is the same, and so is all that comes of it.

    Leases begin anew: what comes of it is compared with a fleet that goes on after its leases were renewed.

    But for seconds where a limit of the day is in the way: a fleet that opens tries at once whether there is room
    again, and one that goes on tries one kind every ten seconds.
    """
    messages, until = scarce_day()
    config = from_mapping({**DAY, **SCARCE, **({} if limited else NO_LIMITS)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manager_module, "SNAPSHOT_EVERY", 100)
        cut = int(part * len(messages))
        whole = simulated(messages, config, until=until, renewed_before=cut)
        store = MemoryStore()
        before = simulated(messages[:cut], config, store=store, until=START)
        if not from_snapshot:
            store = _copy(store)
        opened, full = open_ledger(store).ledger, Ledger()
        replay(full, GENESIS, store.rows())
        assert dump(opened) == dump(full) == dump(before.ledger)
        assert snapshot.dump(opened) == before.state
        after = simulated(messages[cut:], config, store=store, until=until)
    assert {task for _, _, task in decided(after.records)} == {task for _, _, task in decided(whole.records)}
    if not limited:
        assert decided(after.records) == decided(whole.records)
        assert pack_of(after.ledger) == pack_of(whole.ledger)


def _copy(store: MemoryStore) -> MemoryStore:
    """The same log, without its snapshots."""
    copy = MemoryStore()
    copy.append(list(store.read()))
    return copy


def pack_of(ledger: Ledger) -> Any:
    return (
        ledger.estimates.dump(),
        sorted(ledger.tasks.known),
        ledger.day.date,
        ledger.spent,
        sorted(ledger.day.counter.alerted or ()),
    )
