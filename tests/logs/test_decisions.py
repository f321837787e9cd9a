"""Decisions change only together with the version of the rules.

`decisions/` holds logs that the present version decided. `make logs` records them anew.
"""

from collections import Counter

import pytest

from tallystick.events import catalog as e
from tallystick.events.catalog import rules_version
from tallystick.events.log import snapshot
from tallystick.events.log.codec import decode_event
from tallystick.events.log.store import Record
from tallystick.whatif.reproduction import Reproduction
from tallystick.whatif.steps import steps_of
from tests.support import decision_logs as record

KEPT = record.kept()


@pytest.mark.parametrize("name", sorted(KEPT.heads))
def test_a_recorded_log_is_decided_again_as_it_was(name: str) -> None:
    if KEPT.rules != rules_version.RULES_VERSION:
        pytest.fail(f"RULES_VERSION is {rules_version.RULES_VERSION} now: record its logs (make logs)")
    records = record.records_of(name)
    assert record.head_of(records) == KEPT.heads[name]
    reproduction = Reproduction()
    for step in steps_of(records):
        mismatch = reproduction.take(step)
        if mismatch is not None:
            pytest.fail(
                f"decisions changed (position {mismatch.position} of {name}): raise RULES_VERSION and record the new"
                " heads (CONTRIBUTING.md, Change a decision)"
                f"\nrecorded {mismatch.recorded}, {mismatch.recorded_reply!r}"
                f"\nnow      {mismatch.new}, {mismatch.new_reply!r}"
            )
    reproduction.finish()
    assert reproduction.decisions
    assert bool(reproduction.stretches.others) == (name == "older")


@pytest.mark.parametrize("name", sorted(KEPT.heads))
def test_a_recorded_log_is_decided_as_it_was_by_a_state_that_was_just_read_from_a_snapshot(name: str) -> None:
    """What a snapshot does not have, no decision depends on: a restart before any step changes nothing."""
    reproduction = Reproduction()
    for step in steps_of(record.records_of(name)):
        reproduction.ledger = snapshot.load(snapshot.dump(reproduction.ledger)) or reproduction.ledger
        assert reproduction.take(step) is None
    reproduction.finish()


def test_the_recorded_logs_are_of_many_kinds() -> None:
    names = {one.name for name in KEPT.heads for one in record.records_of(name)}
    assert names >= {"period-renewed.v1", "day-began.v1", "task-preempted.v1", "budget-moved.v1", "covered.v1"}
    assert names >= {"hold-settled.v1", "breaker-tripped.v1", "reserve-drawn.v1", "unused-returned.v1"}


def test_the_log_of_a_day_under_limits_has_what_they_and_leases_decide() -> None:
    records = record.limited()
    names = {one.name for one in records}
    assert names >= {"limit-line.v1", "limit-raised.v1", "limit-windows-began.v1", "last-call-given.v1"}
    assert names >= {"agent-lease-ended.v1", "hold-spent.v1", "usage-corrected.v1", "task-started.v1"}
    refused = Counter(event.code for event in map(_event, records) if isinstance(event, e.RequestRefused))
    assert refused["limit_reached"] > 5
    assert refused["budget_exhausted"] > 0
    estimated = {event.estimated_by for event in map(_event, records) if isinstance(event, e.HoldPlaced)}
    assert estimated == {None, "maximum", "quantile"}
    reproduction = Reproduction()
    assert [reproduction.take(step) for step in steps_of(records)] == [None] * len(list(steps_of(records)))


def _event(one: Record) -> e.Event:
    return decode_event(one.data, one.name)
