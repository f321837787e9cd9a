"""Corrections in a log that is decided anew: what they correct is looked up, and made where it was used."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from tallystick.events import catalog as e
from tallystick.events.log.store import Record
from tallystick.whatif.question import Question
from tests.support.whatif import ask, events_of, first_mismatch, log, policy, reproduce, sealed_again

OPENED = {"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 1_000}}


def report(used: int, **more: Any) -> dict[str, Any]:
    return {"type": "ReportUsage", "agent": "a", "usage": {"tokens": used}, **more}


def corrected(position: int, used: int) -> dict[str, Any]:
    return {"type": "CorrectUsage", "position": position, "usage": {"tokens": used}, "reason": "counted twice"}


def logged(*messages: dict[str, Any]) -> tuple[Sequence[Record], list[int]]:
    """A log, and the positions of its reports."""
    records = log(*messages)
    return records, [event.position for event in events_of(list(records)) if isinstance(event, e.UsageReported)]


def with_correction(used: int, by: int = 1) -> list[Record]:
    """A log with two reports of 300, the last of which is corrected."""
    messages = [OPENED, report(300), report(300)]
    _, positions = logged(*messages)
    return list(logged(*messages, *(corrected(positions[-1], used + n) for n in range(by)))[0])


@pytest.mark.parametrize("by", [1, 2])
def test_a_log_with_corrections_is_decided_again_as_recorded(by: int) -> None:
    reproduce(with_correction(30, by))


@pytest.mark.parametrize("name", ["record", "counted", "counts", "day", "tokens"])
def test_what_a_correction_says_of_its_record_is_not_believed(name: str) -> None:
    records = with_correction(30)
    (position,) = [event.position for event in events_of(records) if isinstance(event, e.UsageCorrected)]

    def forge(event: Any) -> Any:
        value = getattr(event, name)
        other = "2026-01-01" if name == "day" else 7 if name == "tokens" else msgspec.structs.replace(value, tokens=77)
        return msgspec.structs.replace(event, **{name: other})

    mismatch, _ = first_mismatch(sealed_again(records, position, forge))
    assert mismatch.position == position


def test_under_the_same_policy_a_corrected_log_comes_to_the_same() -> None:
    rerun = ask(with_correction(30), Question(policy()))
    assert rerun.difference is None
    assert rerun.other.used == rerun.recorded.used == (330, 0, 0)


def test_what_was_not_used_is_not_corrected_and_its_corrected_figure_is_what_was_saved() -> None:
    messages = [OPENED, report(850), report(100)]
    _, positions = logged(*messages)
    records, _ = logged(*messages, corrected(positions[-1], 30))
    rerun = ask(records, Question(policy(enforcement={"stop_at": "0.8", "degrade_at": "0.8"})))
    assert rerun.recorded.used == (880, 0, 0)
    assert rerun.other.used == (850, 0, 0)
    assert rerun.message_filter.saved_in_all.used == (30, 0, 0)
