"""Ids of messages are names: one that is misspelled opens nothing, and a report is not lost over it."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tallystick.actors.runtime.clock import ManualClock
from tallystick.actors.runtime.fleet import Fleet
from tallystick.cli.main import main
from tallystick.config.loader import from_mapping
from tallystick.events.catalog import UsageReported, rules_version
from tallystick.events.log.codec import decode_event
from tallystick.events.messages import WIRE
from tests.support.core import START
from tests.support.messages import good

CONFIG = {"total_budget": {"tokens": 100_000}, "token_budgets": {"writer": 100}}
WRONG = [
    ("a\u200bb", "U+200B ZERO WIDTH SPACE"),
    ("h-1 ", "U+0020 SPACE"),
    ("\u202e1-h", "U+202E RIGHT-TO-LEFT OVERRIDE"),
    ("a\nb", "U+000A LINE FEED"),
    ("cafe\u0301", "U+0065 LATIN SMALL LETTER E"),
]
FACTS = ("ReportUsage", "Settle", "CompleteTask")
TASK = {"type": "SubmitTask", "task": "t", "agent_type": "writer", "product": "shop"}


@pytest.fixture
def opened(tmp_path: Path) -> Callable[..., Fleet]:
    """A fleet on disk, opened again each time."""
    return lambda: Fleet.open(f"sqlite:///{tmp_path}/fleet.db", from_mapping(CONFIG), clock=ManualClock(START))


def begun(fleet: Fleet) -> None:
    for message in (
        {"type": "AllocateBudget", "agent": "a-agent", "budget": {"tokens": 1_000}},
        {"type": "Reserve", "agent": "a-agent", "estimate": {"tokens": 10}, "id": "h"},
        TASK,
    ):
        assert "ok" in fleet.ask(message)


def error(answer: Any) -> Any:
    return answer["error"]


def test_a_message_that_is_no_report_is_refused_under_a_misspelled_id_and_a_query_is_not(
    opened: Callable[..., Fleet],
) -> None:
    with opened() as fleet:
        begun(fleet)
        for command, (id, character) in itertools.product(WIRE, WRONG):
            if command.__name__ in FACTS:
                continue
            before = fleet._manager.ledger.position
            answer = fleet.ask({**good(command), "id": id})
            if command.query:
                assert answer.get("error", {}).get("field") != "id"
                continue
            assert error(answer)["code"] == "invalid_message"
            assert error(answer)["field"] == "id"
            assert error(answer)["character"] == character
            assert error(answer)["detail"].startswith(f"id: found {id!a} with {character}, allowed is ")
            assert fleet._manager.ledger.position == before, "nothing of it is recorded"


def test_a_dry_run_is_refused_over_its_id_as_the_hold_would_be(opened: Callable[..., Fleet]) -> None:
    with opened() as fleet:
        begun(fleet)
        asked = {"type": "Reserve", "agent": "a-agent", "estimate": {"tokens": 1}, "id": "h\u200b"}
        assert fleet.ask(asked) == fleet.ask({**asked, "dry_run": True})


@pytest.mark.parametrize(("id", "character"), WRONG)
def test_reports_under_misspelled_ids_are_recorded_once_each_and_flagged(
    id: str, character: str, opened: Callable[..., Fleet]
) -> None:
    report = {"type": "ReportUsage", "agent": "a-agent", "usage": {"tokens": 7}}
    with opened() as fleet:
        begun(fleet)
        # Its plain form is another id, of another report.
        plain = fleet.ask({**report, "usage": {"tokens": 100}, "id": "ab"})
        assert "repaired" not in plain["ok"]
        answer = fleet.ask({**report, "id": id})
        assert answer["ok"]["repaired"] is True
        assert fleet.ask({**report, "id": id}) == answer, "the same report again changes nothing"
        assert error(fleet.ask({**report, "usage": {"tokens": 8}, "id": id}))["code"] == "idempotency_conflict"
        assert fleet.ask({"type": "Settle", "hold": "h", "usage": {"tokens": 5}, "id": f".{id}"})["ok"]["repaired"]
        done = {"type": "CompleteTask", "task": "t", "outcome": "completed", "usage": {"tokens": 50}, "id": f"-{id}"}
        assert fleet.ask(done)["ok"]["repaired"] is True
    with opened() as fleet:
        assert fleet.ask({**report, "id": id}) == answer, "also after a restart"
        assert fleet.ask({"type": "GetGlobalStatus"})["ok"]["total_consumed"]["tokens"] == 7 + 100 + 5 + 50
        events = [decode_event(record.data, record.name) for record in fleet._store.read()]
        reports = [event for event in events if isinstance(event, UsageReported)]
        assert [event.repaired for event in reports] == [False, True, True]
        assert all(event.id.isprintable() and event.id == event.id.strip() for event in events)


def test_the_log_of_repaired_ids_is_verified_and_decided_again_as_it_is(
    opened: Callable[..., Fleet], tmp_path: Path
) -> None:
    with opened() as fleet:
        begun(fleet)
        for id, _ in WRONG:
            assert "ok" in fleet.ask({"type": "ReportUsage", "agent": "a-agent", "usage": {"tokens": 7}, "id": id})
    for command in (("audit", "verify"), ("whatif",)):
        result = CliRunner().invoke(main, [*command, "--store", f"sqlite:///{tmp_path}/fleet.db"])
        assert result.exit_code == 0, result.output
    assert "the same" in result.output


def test_an_id_that_an_earlier_log_remembers_stays_valid_as_it_is_spelled(
    opened: Callable[..., Fleet], monkeypatch: pytest.MonkeyPatch
) -> None:
    allocate = {"type": "AllocateBudget", "agent": "x", "budget": {"tokens": 10}, "id": "old "}
    report = {"type": "ReportUsage", "agent": "x", "usage": {"tokens": 10}, "id": "older "}
    with monkeypatch.context() as earlier:
        _spelled_anyhow(earlier)
        with opened() as fleet:
            answers = [fleet.ask(allocate), fleet.ask(report)]
    with opened() as fleet:
        assert [fleet.ask(allocate), fleet.ask(report)] == answers


def test_what_if_takes_the_names_that_an_earlier_log_took(
    opened: Callable[..., Fleet], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    odd = "bell\u200b"
    with monkeypatch.context() as earlier:
        _spelled_anyhow(earlier)
        with opened() as fleet:
            for message in (
                {"type": "LoadConfig", "config": {"products": {odd: {"weight": 2}}}},
                {"type": "AllocateBudget", "agent": odd, "budget": {"tokens": 500}, "product": odd, "id": odd},
                {"type": "ReportUsage", "agent": odd, "usage": {"tokens": 400}, "operation": odd},
                {"type": "Reserve", "agent": odd, "estimate": {"tokens": 5}, "labels": {odd: odd}, "id": f"h{odd}"},
                {"type": "Settle", "hold": f"h{odd}", "usage": {"tokens": 5}, "labels": {odd: odd}},
                {**TASK, "task": f"t{odd}", "product": odd, "workflow": odd},
                {"type": "CompleteTask", "task": f"t{odd}", "outcome": "completed", "usage": {"tokens": 90}},
            ):
                assert "ok" in fleet.ask(message), message
    # Under a larger total nothing else is decided: whatever differs would be a name that was refused.
    command = ("whatif", "--total", "tokens=200000", "--json", "--store", f"sqlite:///{tmp_path}/fleet.db")
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    other = json.loads(result.output)["what_if"]
    assert other["tasks"]["completed"] == 1
    assert other["at_the_end"]["pool"] == {"tokens": 200_000 - 20_000 - 500 - 90}, "less the reserve and what was used"


def _spelled_anyhow(earlier: pytest.MonkeyPatch) -> None:
    """As before names were judged, and under the rules of that time."""
    earlier.setattr("tallystick.events.decide.spelling.misspelled", lambda name: None)
    earlier.setattr("tallystick.config.building.misspelled", lambda name: None)
    earlier.setattr(rules_version, "RULES_VERSION", rules_version.RULES_VERSION - 1)
