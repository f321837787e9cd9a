"""How a budget stands is noted beside the answer, as it would be answered if it was asked; traces are recorded."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick import Fleet
from tallystick.actors.runtime.clock import ManualClock
from tallystick.actors.runtime.intake import Asker
from tallystick.actors.runtime.messages import BudgetNote
from tallystick.cli.main import main
from tallystick.events.log.codec import exchange_of
from tallystick.explain.one_event import explain_position, paragraphs
from tests.support.core import START
from tests.support.examples import examples
from tests.support.running import QUIET, OpenFleet

CONFIG = QUIET | {
    "limits": [
        {"name": "pace", "per": "account", "window": {"minutes": 1}, "max": {"tokens": 300}, "then": "wait"},
        {"name": "all", "window": "hour", "max": {"tokens": 4_000}, "then": "refuse"},
    ],
}
TRACE = "0af7651916cd43dd8448eb211c80319c"


def noted(fleet: Fleet, message: Any) -> tuple[Any, BudgetNote]:
    note = BudgetNote()
    return fleet.ask(message, asker=Asker(b"", None, note=note)), note


def asked(fleet: Fleet, agent: str) -> tuple[int | None, int | None, str, str]:
    """What two more messages would say."""
    status = fleet.ask({"type": "GetStatus", "agent": agent})["ok"]
    enforced = fleet.ask({"type": "CheckEnforcement", "agent": agent})["ok"]
    return status["allocated"].get("tokens"), status["remaining"].get("tokens"), enforced["status"], enforced["action"]


def said(note: BudgetNote) -> tuple[int | None, int | None, str | None, str | None]:
    return note.allocated, note.remaining, note.level, note.action


MESSAGES = st.one_of(
    st.fixed_dictionaries(
        {
            "type": st.just("ReportUsage"),
            "agent": st.sampled_from(["a", "b", "b/sub", "free"]),
            "usage": st.fixed_dictionaries({"tokens": st.integers(0, 900)}),
        }
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("Reserve"),
            "agent": st.sampled_from(["a", "b", "b/sub", "free"]),
            "estimate": st.fixed_dictionaries({"tokens": st.integers(1, 900)}),
        }
    ),
    st.fixed_dictionaries(
        {"type": st.just("BorrowFromPool"), "agent": st.just("a"), "amount": st.just({"tokens": 100})}
    ),
    st.fixed_dictionaries({"type": st.just("Throttle"), "agent": st.sampled_from(["a", "b"]), "rate": st.just(0.5)}),
    st.fixed_dictionaries(
        {"type": st.just("Stop"), "agent": st.sampled_from(["b", "free"]), "reason": st.just("test")}
    ),
    st.fixed_dictionaries({"type": st.just("Resume"), "agent": st.sampled_from(["a", "b", "free"])}),
    st.fixed_dictionaries({"type": st.just("PauseAll"), "reason": st.just("test")}),
    st.just({"type": "ResumeAll"}),
)


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(MESSAGES, max_size=12))
def test_what_is_noted_is_what_the_next_question_would_be_answered(messages: list[dict[str, Any]]) -> None:
    with Fleet.open("memory:", CONFIG, clock=ManualClock(START)) as fleet:
        fleet.ask(
            [
                {"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 1_000}},
                {"type": "AllocateBudget", "agent": "b", "budget": {"tokens": 2_000, "cost_usd": 1}},
                {"type": "AllocateBudget", "agent": "b/sub", "parent": "b", "budget": {"tokens": 500}},
                {"type": "AllocateBudget", "agent": "free", "limits": [{"max": {"tokens": 700}, "window": "day"}]},
            ]
        )
        for message in messages:
            _, note = noted(fleet, message)
            if "agent" in message:
                assert said(note) == asked(fleet, message["agent"]), message
            else:
                assert said(note) == (None, None, None, None)


def test_a_limit_that_is_reached_is_noted_as_it_would_be_answered() -> None:
    with Fleet.open("memory:", CONFIG, clock=ManualClock(START)) as fleet:
        fleet.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 1_000}})
        one = {"type": "ReportUsage", "agent": "a", "usage": {"tokens": 110}}
        actions = [noted(fleet, one)[1].action for _ in range(3)]
        assert actions == ["continue", "continue", "throttle"]
        assert asked(fleet, "a")[3] == "throttle"


def test_the_account_of_a_hold_and_of_a_task_is_found(open_fleet: OpenFleet) -> None:
    fleet = open_fleet()
    fleet.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 1_000}})
    noted(fleet, {"type": "Reserve", "agent": "a", "estimate": {"tokens": 300}, "id": "h"})
    assert said(noted(fleet, {"type": "Heartbeat", "hold": "h"})[1])[:2] == (1_000, 700)
    assert said(noted(fleet, {"type": "Settle", "hold": "h", "usage": {"tokens": 200}})[1])[:2] == (1_000, 800)
    submit = {"type": "SubmitTask", "task": "t", "agent_type": "w", "product": "p", "estimated_tokens": 500}
    assert noted(fleet, submit)[0]["ok"]["state"] == "running"
    _, note = noted(fleet, {"type": "ReportUsage", "task": "t", "usage": {"tokens": 10}})
    assert said(note) == asked(fleet, "t")


def test_without_an_open_account_nothing_is_noted(open_fleet: OpenFleet) -> None:
    fleet = open_fleet()
    for message in ({"type": "GetStatus", "agent": "unknown"}, {"type": "Settle", "hold": "unknown"}, {"type": "Nope"}):
        assert said(noted(fleet, message)[1]) == (None, None, None, None)


# --- traces -----------------------------------------------------------------------------------------------------------


def traces(fleet: Fleet) -> dict[str, str]:
    """The traces of the log by the type of the event that carries them."""
    found = [(record.name, exchange_of(record.data).trace) for record in fleet.records.page(0, 1_000, 10**7)]
    return {name: trace for name, trace in found if trace}


def test_a_trace_is_recorded_with_what_was_asked_however_it_is_decided(open_fleet: OpenFleet) -> None:
    fleet = open_fleet()
    asker = Asker(b"", None, trace=TRACE)
    fleet.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 1_000}}, asker=asker)
    fleet.ask([{"type": "ReportUsage", "agent": "a", "usage": {"tokens": 1}}], asker=asker)
    fleet.ask({"type": "SubmitTask", "task": "t", "agent_type": "w", "product": "p"}, asker=asker)
    fleet.ask({"type": "Rebalance"}, asker=asker)
    fleet.ask({"type": "Reserve", "agent": "a", "estimate": {"tokens": 999}, "id": "h"})
    waits = fleet.send({"type": "Reserve", "agent": "a", "estimate": {"tokens": 500}, "wait_seconds": 60}, asker=asker)
    fleet.ask({"type": "CancelHold", "hold": "h"})
    assert "ok" in waits.result()
    found = traces(fleet)
    assert set(found.values()) == {TRACE}
    assert {"budget-allocated.v1", "usage-reported.v1", "task-submitted.v1", "hold-placed.v1"} <= set(found)


def test_what_is_explained_names_the_trace(tmp_path: Path, open_fleet: OpenFleet) -> None:
    fleet = open_fleet(f"sqlite:///{tmp_path / 'fleet.db'}")
    fleet.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 9}}, asker=Asker(b"", None, trace=TRACE))
    explained = explain_position(fleet._store, fleet.position, lambda records, _: records)
    assert explained["trace"] == TRACE
    assert f"  in the trace {TRACE}" in list(paragraphs(explained))
    assert "peer" not in explained
    shown = CliRunner().invoke(main, ["events", "--json", "--store", f"sqlite:///{tmp_path / 'fleet.db'}"])
    assert json.loads(shown.stdout.splitlines()[-1])["trace"] == TRACE
    # It is decided again as it is recorded.
    verified = CliRunner().invoke(main, ["audit", "verify", "--store", f"sqlite:///{tmp_path / 'fleet.db'}"])
    assert verified.exit_code == 0, verified.output


@pytest.mark.parametrize("peer", [b"", b'{"user":"ada","uid":1,"process":2}'])
def test_a_record_with_a_trace_is_json_and_its_digest_is_over_all_of_it(open_fleet: OpenFleet, peer: bytes) -> None:
    fleet = open_fleet()
    fleet.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 9}}, asker=Asker(peer, None, trace=TRACE))
    (record,) = fleet.records.page(fleet.position - 1, 1, 1)
    fields = json.loads(record.data)
    assert list(fields)[-2:] == ["trace", "digest"]
    assert fields.get("peer") == (json.loads(peer) if peer else None)
