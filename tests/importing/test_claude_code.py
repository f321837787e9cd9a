"""Sessions of Claude Code: what counts of them, once."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from tallystick.importing import claude_code
from tallystick.importing.files import files_below
from tallystick.importing.notes import Notes
from tallystick.importing.staging import REPEATED
from tallystick.importing.used import Used
from tests.support.usage_files import answer, at, brought_together, opened, write


def found(folder: Path, notes: Notes | None = None) -> list[Used]:
    notes = notes or Notes()
    files = files_below([folder], claude_code.ENDINGS, notes)
    return brought_together((used for file in files for used in claude_code.read(opened(file, notes))), notes)


def in_short(uses: list[Used]) -> list[tuple[str, int]]:
    return [(used.source, used.tokens) for used in uses]


def test_a_call_has_its_tokens_with_cached_input_its_labels_and_its_time(tmp_path: Path) -> None:
    write(tmp_path / "projects/-srv-web/s-1.jsonl", answer(seconds=5))
    (used,) = found(tmp_path)
    assert (used.source, used.agent, used.tokens, used.model) == (
        "req_1", "claude-code/web", 1410, "claude-sonnet-4-5-20250929",
    )  # fmt: skip
    assert used.at.isoformat().startswith("2026-10-01T09:00:05")
    assert used.labels == {"project": "web", "session": "s-1", "branch": "main"}


@pytest.mark.parametrize("order", list(itertools.permutations((1, 40, 100))))
def test_of_the_lines_of_a_message_the_one_with_most_tokens_counts(tmp_path: Path, order: tuple[int, ...]) -> None:
    notes = Notes()
    write(tmp_path / "s-1.jsonl", *(answer(output=output, seconds=n) for n, output in enumerate(order)))
    (used,) = found(tmp_path, notes)
    assert used.counts["provider_usage"]["output_tokens"] == 100
    assert used.at.isoformat() == "2026-10-01T09:00:00+00:00"
    assert notes.dropped[REPEATED] == 2


SAME_CALL = {
    "the id of the request is missing in one line": ([answer(), answer(request=None, output=90)], "req_1"),
    "the id of the request comes with the last line": ([answer(request=None, output=1), answer()], "req_1"),
    "no line has an id of a request": ([answer(request=None), answer(request=None)], "msg_1"),
    "a side conversation repeats it under another request": (
        [answer(request="req_9", isSidechain=True), answer(request="req_1")],
        "req_1",
    ),
    "there is no id of a message": ([answer(id=None), answer(id=None)], "req_1"),
}


@pytest.mark.parametrize(("rows", "source"), SAME_CALL.values(), ids=SAME_CALL.keys())
def test_a_message_is_one_call_whichever_ids_its_lines_have(
    tmp_path: Path, rows: list[dict[str, Any]], source: str
) -> None:
    write(tmp_path / "s-1.jsonl", *rows)
    assert in_short(found(tmp_path)) == [(source, 1410)]


def test_a_line_without_any_id_is_known_by_its_time_and_its_tokens(tmp_path: Path) -> None:
    write(tmp_path / "s-1.jsonl", *(answer(None, None, seconds) for seconds in (0, 0, 1)))
    first, second = found(tmp_path)
    assert first.source != second.source
    assert first.source.startswith("claude-code/s-1/")


def test_sessions_that_were_resumed_or_forked_repeat_nothing(tmp_path: Path) -> None:
    first = [answer(f"msg_{n}", f"req_{n}", n) for n in range(5)]
    write(tmp_path / "a.jsonl", *first)
    copies = [{**row, "sessionId": "s-2"} for row in first]
    write(tmp_path / "b.jsonl", *copies, answer("msg_5", "req_5", 9))
    notes = Notes()
    uses = found(tmp_path, notes)
    assert [used.source for used in uses] == [f"req_{n}" for n in range(6)]
    assert [used.labels["session"] for used in uses] == ["s-1"] * 6
    assert notes.dropped[REPEATED] == 5


def test_sub_agents_have_files_of_their_own_and_steps_of_them_in_the_session_are_the_same_calls(tmp_path: Path) -> None:
    step = answer("msg_2", "req_2", 2, isSidechain=True, agentId="a9")
    progress = {"type": "progress", "sessionId": "s-1", "timestamp": at(2), "data": {"message": step}}
    write(tmp_path / "-srv-web/s-1.jsonl", answer(), progress)
    write(tmp_path / "-srv-web/s-1/subagents/agent-a9.jsonl", step)
    first, second = found(tmp_path)
    assert (first.source, second.source) == ("req_1", "req_2")
    assert second.labels["subagent"] == "a9"


def test_what_is_no_call_to_a_model_is_left_out(tmp_path: Path) -> None:
    user = {"type": "user", "timestamp": at(0), "message": {"role": "user", "content": '"usage": {"input_tokens": 9}'}}
    tool = {"type": "user", "timestamp": at(0), "toolUseResult": {"usage": {"input_tokens": 9}}}
    nothing = answer(
        "m", "r", usage={"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "input_tokens": 0}
    )
    nothing["message"]["usage"]["output_tokens"] = 0
    notes = Notes()
    write(tmp_path / "s-1.jsonl", user, tool, answer(model="<synthetic>"), nothing, {"type": "summary"}, "")
    assert found(tmp_path, notes) == []
    assert notes.dropped == {"of no model (<synthetic>)": 1, "of no use": 1}
    assert not notes.unreadable


def test_input_that_was_written_to_a_cache_for_an_hour_is_a_kind_of_its_own(tmp_path: Path) -> None:
    caches = {"cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200}}
    write(tmp_path / "s-1.jsonl", answer(usage=caches))
    (used,) = found(tmp_path)
    assert used.counts["provider_usage"]["cache_creation"] == caches["cache_creation"]
    assert used.tokens == 1410


def test_a_compaction_within_a_call_is_added_and_an_advisor_is_a_call_of_its_own(tmp_path: Path) -> None:
    parts = [
        {"type": "message", "input_tokens": 10, "output_tokens": 100},
        {"type": "compaction", "input_tokens": 5000, "output_tokens": 50},
        {"type": "advisor_message", "model": "claude-opus-4-5", "input_tokens": 700, "output_tokens": 7},
    ]
    write(tmp_path / "s-1.jsonl", answer(usage={"iterations": parts}), answer(usage={"iterations": parts}))
    uses = found(tmp_path)
    assert in_short(uses) == [("req_1", 1410 + 5050), ("req_1/within/1", 707)]
    assert uses[1].model == "claude-opus-4-5"


def test_a_cost_that_an_old_file_names_is_taken(tmp_path: Path) -> None:
    write(tmp_path / "s-1.jsonl", answer(costUSD=0.0123))
    assert str(found(tmp_path)[0].cost) == "0.0123"


def test_the_project_is_the_folder_that_the_session_began_in(tmp_path: Path) -> None:
    rows = [answer(f"m{n}", f"r{n}", n, cwd=cwd) for n, cwd in enumerate(("/srv/web", "/srv/web/src/api", "C:\\a\\b"))]
    write(tmp_path / "-srv-web/s-1.jsonl", *rows)
    assert [used.agent for used in found(tmp_path)] == ["claude-code/web", "claude-code/web", "claude-code/b"]
    write(tmp_path / "x/s-2.jsonl", answer("m9", "r9", 9, cwd=None))
    assert found(tmp_path / "x")[0].agent == "claude-code"


DAMAGED = {
    '{"type":"assistant","message":{"usage":': "line 2: not an object of JSON",
    '{"type":"assistant","message":{"usage":{}}': "line 2: not JSON",
    '{"usage": }': "line 2: not JSON",
    "\x00\x00\x00": "line 2: not an object of JSON",
}


@pytest.mark.parametrize(("damage", "said"), DAMAGED.items())
def test_a_damaged_line_is_named_and_the_rest_is_imported(tmp_path: Path, damage: str, said: str) -> None:
    notes = Notes()
    write(tmp_path / "s-1.jsonl", answer(), damage, answer("msg_2", "req_2", 1))
    assert [used.source for used in found(tmp_path, notes)] == ["req_1", "req_2"]
    assert notes.unreadable == 1
    assert f"s-1.jsonl, {said}" in notes.problems[0]


WRONG = {
    "usage.input_tokens: found '-1', allowed is a whole number, not negative": answer(usage={"input_tokens": -1}),
    "usage.output_tokens: found 'many', allowed is a number, not negative": answer(usage={"output_tokens": "many"}),
    "usage.input_tokens: found '1.5', allowed is a whole number": answer(usage={"input_tokens": 1.5}),
    "timestamp: found 'yesterday', allowed is a time": answer(timestamp="yesterday"),
    "timestamp: found nothing, allowed is a time": {**answer(), "timestamp": None},
    "costUSD: found '-1', allowed is an amount, not negative": answer(costUSD=-1),
}


@pytest.mark.parametrize(("said", "row"), WRONG.items(), ids=WRONG.keys())
def test_a_field_that_cannot_be_is_named_with_file_and_line(tmp_path: Path, said: str, row: dict[str, Any]) -> None:
    notes = Notes()
    write(tmp_path / "s-1.jsonl", row)
    assert found(tmp_path, notes) == []
    assert f"s-1.jsonl, line 1: {said}" in notes.problems[0]


def test_a_line_that_is_being_written_is_no_fault_and_is_imported_when_it_is_whole(tmp_path: Path) -> None:
    notes, file = Notes(), tmp_path / "s-1.jsonl"
    write(file, answer())
    with file.open("ab") as more:
        more.write(b'{"type":"assistant","mess')
    assert len(found(tmp_path, notes)) == 1
    assert not notes.unreadable
    assert "has no end yet" in notes.remarks[0]
