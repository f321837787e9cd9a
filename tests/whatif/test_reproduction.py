"""With the same policy, a log's decisions, replies and digests are made again as they are recorded, byte for byte."""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from tallystick.actors import manager as manager_module
from tallystick.actors.manager import Manager
from tallystick.actors.runtime.fleet import Fleet
from tallystick.actors.runtime.messages import Envelope, Proposal
from tallystick.config.amounts import Amounts
from tallystick.config.loader import from_mapping
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.log.broken_chain import BrokenChain
from tallystick.events.log.codec import GENESIS, decode_event, encode_command, exchange_of, seal
from tallystick.events.log.store import Record, open_store
from tallystick.events.log.store_memory import MemoryStore
from tallystick.events.messages import proposals as p
from tallystick.events.state.ledger import Ledger
from tallystick.whatif.steps import steps_of
from tests.support.busy_day import CONFIG, busy_day
from tests.support.core import START
from tests.support.driving import live, simulated, timed
from tests.support.examples import examples
from tests.support.late_fleet import TickingClock, busy_fleet
from tests.support.strategies import Step, commands
from tests.support.whatif import USED_UP, after, allocate, first_mismatch, log, reproduce, reserve, sealed_again, use

CHANCE = settings(
    max_examples=examples(25),
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)


@CHANCE
@given(commands(50))
def test_whatever_a_simulated_fleet_was_asked(steps: list[Step]) -> None:
    messages = timed(steps)
    reproduce(simulated(messages, until=messages[-1][0] + dt.timedelta(minutes=5)).records)


@settings(CHANCE, max_examples=examples(15))
@given(commands(40))
def test_whatever_a_live_fleet_was_asked(steps: list[Step]) -> None:
    messages = timed(steps)
    reproduce(live(messages, until=messages[-1][0] + dt.timedelta(minutes=5)).records)


@CHANCE
@given(commands(60))
def test_whatever_the_manager_decided_proposals_of_any_kind_included(steps: list[Step]) -> None:
    store, now = MemoryStore(), START
    manager = Manager(Ledger(), store, GENESIS)
    for command, seconds in steps:
        now += dt.timedelta(seconds=seconds)
        if type(command).__name__ != "Rebalance":
            manager.take(Envelope([command], [encode_command(command)], "tester", None), now)
            manager.commit(now)
    reproduce(list(store.read()))


@pytest.mark.parametrize("seed", range(6))
def test_days_in_which_every_timer_fires_and_plans_are_asked_for(seed: int) -> None:
    """Periods end, holds expire, warnings are given, idle budget moves, `Rebalance` is answered."""
    records = simulated(busy_day(seed), from_mapping(CONFIG), until=START + dt.timedelta(hours=13)).records
    names = {record.name for record in records}
    assert {"period-renewed.v1", "hold-ended.v1", "exhaustion-warned.v1", "budget-moved.v1"} <= names
    assert any(type(step.command).__name__ == "Rebalance" for step in steps_of(records) if step.own)
    reproduce(records)


def test_a_plan_that_was_asked_for_and_refused() -> None:
    """The log has why it was refused, and not the plan."""
    store = MemoryStore()
    manager = Manager(Ledger(), store, GENESIS)
    asked = c.Rebalance(id="q")
    manager.take(Envelope([asked], [encode_command(asked)], "op", None), START)
    (post,) = manager.commit(START)
    plan = p.ApplyMoves(moves=[p.Move("ghost", "pool", Amounts(tokens=5), "a test", "idle")], asked=True)
    manager.take_proposal(Proposal(plan, "reallocator", post.message), START)
    manager.commit(START)
    assert [record.name for record in store.read()] == ["request-refused.v1"]
    reproduce(list(store.read()))


def test_a_live_fleet_of_many_threads_whose_people_are_always_a_little_late() -> None:
    store, clock = MemoryStore(), TickingClock(START)
    with Fleet.open(store, from_mapping(CONFIG), clock=clock) as fleet:
        busy_fleet(fleet, clock)
        assert fleet.halted is None
    reproduce(list(store.read()))


def test_a_log_that_was_interrupted_and_has_snapshots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that opens the fleet again begins from a snapshot; the log does not tell, and need not."""
    monkeypatch.setattr(manager_module, "SNAPSHOT_EVERY", 40)
    store = open_store(f"sqlite:///{tmp_path}/fleet.db", writer=True)
    messages = busy_day(3)
    for part in (messages[:60], messages[60:110], messages[110:]):
        simulated(part, from_mapping(CONFIG), store=store, until=part[-1][0])
    records = list(store.read())
    store.close()
    assert sum(record.name == "snapshot-recorded.v1" for record in records) >= 3
    reproduce(records)


def test_what_was_due_while_the_fleet_ran_comes_before_it_is_opened_again_at_the_same_moment(tmp_path: Path) -> None:
    """A hold ends by the timer, and at that moment the fleet is closed and opened: it notes that first, and the lease
    of its task begins anew.
    """
    store = open_store(f"sqlite:///{tmp_path}/fleet.db", writer=True)
    closed = after(303)
    started = {"type": "SubmitTask", "task": "t", "agent_type": "x", "product": "p", "id": "started"}
    first = [(after(1), allocate("a", 500)), (after(3), reserve("a", "held", 100)), (after(200), started)]
    simulated([(at, {"id": f"m-{at}", **message}) for at, message in first], store=store, until=closed)
    simulated([(closed, {**use("a", 1), "id": "on"})], store=store, until=closed)
    records = list(store.read())
    store.close()
    names = [record.name for record in records]
    assert names.index("hold-ended.v1") < names.index("fleet-opened.v1")
    at = {record.name: decode_event(record.data, record.name).at for record in records}
    assert at["hold-ended.v1"] == at["fleet-opened.v1"] == closed
    reproduce(records)


# --- and where it is not so ------------------------------------------------------------------------------------------


def test_a_decision_that_the_core_does_not_make_is_found_with_both_sides() -> None:
    records = log(*USED_UP)
    (place,) = [record.position for record in records if b'"level":"black"' in record.data]

    def milder(event: Any) -> Any:
        event.level = "red"
        return event

    mismatch, step = first_mismatch(sealed_again(records, place, milder))
    assert mismatch.position == place
    assert isinstance(mismatch.recorded, e.LevelChanged)
    assert isinstance(mismatch.new, e.LevelChanged)
    assert (mismatch.recorded.level, mismatch.new.level) == ("red", "black")
    assert step.id == "m-3"


def test_a_decision_too_few_and_one_too_many_are_found() -> None:
    records = log(*USED_UP)
    mismatch, _ = first_mismatch(records[:-1])
    assert (mismatch.position, mismatch.recorded) == (len(records), None)
    assert isinstance(mismatch.new, e.AlertRaised)
    extra = e.AlertRaised(alert="x", code="x", message="x")
    extra.position, extra.at, extra.id, extra.by = len(records) + 1, records_end(records), "m-3", "local"
    data, _ = seal(extra, None, None, bytes.fromhex(records[-1].data[-66:-2].decode()))
    mismatch, _ = first_mismatch([*records, Record(extra.position, "alert-raised.v1", data)])
    assert (mismatch.position, mismatch.new) == (extra.position, None)
    assert isinstance(mismatch.recorded, e.AlertRaised)


def records_end(records: Sequence[Record]) -> dt.datetime:
    return decode_event(records[-1].data, records[-1].name).at


def test_a_reply_that_was_not_the_cores_is_found() -> None:
    records = log(*USED_UP)
    (place,) = [record.position for record in records if b'"tokens":960' in record.data and b'"ok"' in record.data]
    mismatch, _ = first_mismatch(sealed_again(records, place, lambda event: event, b'{"ok":{}}'))
    assert mismatch.position == place
    assert mismatch.recorded_reply == b'{"ok":{}}'
    assert b'"action":"degrade"' in mismatch.new_reply


# --- logs of another version -----------------------------------------------------------------------------------------

TOO_MUCH = (*USED_UP, allocate("bob", 1_000_000))


def worded(event: Any) -> Any:
    """The event as a version writes it that has other words for people."""
    if isinstance(event, e.AlertRaised):
        event.message = "in other words"
    else:
        event.detail = "in other words"
    return event


def test_a_sentence_that_another_version_words_otherwise_is_no_other_decision() -> None:
    records = log(*TOO_MUCH)
    (alert,) = [one.position for one in records if one.name == "alert-raised.v1" and b"budget_exhausted" in one.data]
    (refusal,) = [record.position for record in records if record.name == "request-refused.v1"]
    reply = exchange_of(records[refusal - 1].data).reply
    detail = msgspec.json.decode(reply)["error"]["detail"]
    other_reply = bytes(reply).replace(detail.encode(), b"in other words")
    changed = sealed_again(sealed_again(records, alert, worded), refusal, worded, other_reply)
    assert reproduce(changed).reworded == 2
    assert reproduce(records).reworded == 0


def test_a_record_is_not_like_another_for_its_sentence() -> None:
    """The words may be others, and nothing else: neither a code, nor a number of the reply."""
    records = log(*TOO_MUCH)
    (refusal,) = [record.position for record in records if record.name == "request-refused.v1"]

    def recoded(event: Any) -> Any:
        event.code = "pool_share_exceeded"
        return worded(event)

    mismatch, _ = first_mismatch(sealed_again(records, refusal, recoded))
    assert mismatch.position == refusal
    reply = bytes(exchange_of(records[refusal - 1].data).reply)
    for other in (b"{}", reply.replace(b"1000000", b"1000001"), reply.replace(b'"detail":"', b'"detail":5,"x":"')):
        mismatch, _ = first_mismatch(sealed_again(records, refusal, worded, other))
        assert mismatch.position == refusal


def test_a_record_that_somebody_changed_is_a_broken_log_and_no_other_decision() -> None:
    records = log(*USED_UP)
    place = next(record.position for record in records if b'"tokens":960' in record.data)
    records[place - 1] = records[place - 1]._replace(data=records[place - 1].data.replace(b"960", b"961", 1))
    with pytest.raises(BrokenChain, match=f"position {place}: the digest does not match"):
        first_mismatch(records)


def test_a_record_that_is_missing_is_a_broken_log() -> None:
    records = log(*USED_UP)
    del records[3]
    with pytest.raises(BrokenChain, match="position 4"):
        first_mismatch(records)


# --- steps -----------------------------------------------------------------------------------------------------------


def test_what_time_brought_to_a_message_without_a_trace_is_a_step_of_its_own() -> None:
    status = {"type": "GetStatus", "agent": "ann"}
    records = log(allocate("ann", 1_000), reserve("ann", "h", 5, ttl_seconds=10), {**status, "at": 100}, use("ann", 1))
    steps = list(steps_of(records))
    (quiet,) = [step for step in steps if not step.own]
    assert [record.name for record in quiet.due] == ["hold-ended.v1"]
    assert [record for step in steps for record in step.records] == records


def test_a_record_without_a_command_before_it_is_a_broken_log() -> None:
    records = log(*USED_UP)
    stray = next(record for record in records if b'"command":' not in record.data)
    with pytest.raises(BrokenChain, match=f"position {stray.position}: the record belongs to no command before it"):
        list(steps_of([stray]))


@pytest.mark.parametrize("data", [b"{", b"\xff", b'{"type":"x"}', b"[" * 100_000])
def test_a_record_that_cannot_be_read_is_a_broken_log(data: bytes) -> None:
    with pytest.raises(BrokenChain, match="position 7: the record cannot be read"):
        list(steps_of([Record(7, "usage-reported.v1", data)]))


def test_a_command_that_this_version_does_not_know_is_named_with_its_position() -> None:
    records = log(*USED_UP)
    place = records[-1].position
    data = b'{"type":"x","at":"2026-03-04T12:00:00Z","id":"a","command":{"type":"Levitate"},"reply":{}}'
    (step,) = steps_of([Record(place, "x", data)])
    with pytest.raises(BrokenChain, match=f"position {place}: Levitate is no command that this"):
        _ = step.command
