"""Sessions of Codex: totals that are said again, and forks that repeat their parents."""

from pathlib import Path
from typing import Any

import pytest

from tallystick.importing import codex
from tallystick.importing.files import files_below
from tallystick.importing.notes import Notes
from tallystick.importing.used import Used
from tests.support.usage_files import brought_together, count, counts_of, meta, minted, opened, rollout, turn

PARENT, CHILD, SIBLING = minted(0, "a"), minted(100, "b"), minted(200, "c")
HISTORY = [(1000, 0, 50, 10), (2000, 900, 60, 0), (3000, 1900, 70, 20)]


def found(folder: Path, notes: Notes | None = None) -> list[Used]:
    notes = notes or Notes()
    files = files_below([folder], codex.ENDINGS, notes)
    sessions = codex.sessions_of(files)
    return brought_together((used for file in files for used in codex.read(opened(file, notes), sessions)), notes)


def sums(uses: list[Used]) -> dict[str, int]:
    found: dict[str, int] = {}
    for used in uses:
        session = used.labels["session"]
        found[session] = found.get(session, 0) + used.tokens
    return found


def test_a_response_has_its_tokens_its_model_and_its_labels(tmp_path: Path) -> None:
    rollout(tmp_path, PARENT, meta(PARENT), turn(0), *counts_of((1000, 600, 50, 10)))
    (used,) = found(tmp_path)
    assert used.counts == {
        "input_tokens": 1000,
        "cached_tokens": 600,
        "output_tokens": 50,
        "reasoning_tokens": 10,
        "cache_write_tokens": 0,
    }
    assert (used.tokens, used.model, used.agent) == (1050, "gpt-5.2-codex", "codex/web")
    assert used.source == f"codex/{PARENT}/1000.600.50.10"
    assert used.labels == {"project": "web", "session": PARENT, "branch": "main"}


def test_the_same_total_again_is_no_response(tmp_path: Path) -> None:
    first, second = counts_of(*HISTORY[:2])
    notes = Notes()
    rollout(tmp_path, PARENT, meta(PARENT), turn(0), first, first, second, count(9, None, None), second)
    assert sums(found(tmp_path, notes)) == {PARENT: 1050 + 2060}
    assert notes.dropped == {"the same total again": 2}


def test_two_responses_of_the_same_size_are_two(tmp_path: Path) -> None:
    rollout(tmp_path, PARENT, meta(PARENT), turn(0), *counts_of(*[(1000, 0, 50, 10)] * 3))
    assert [used.source.removeprefix(f"codex/{PARENT}/") for used in found(tmp_path)] == [
        "1000.0.50.10", "1000.0.50.10/2", "1000.0.50.10/3",
    ]  # fmt: skip


def test_without_the_last_response_it_is_the_difference_of_totals(tmp_path: Path) -> None:
    rows = [count(1, None, (1000, 0, 50, 10)), count(2, None, (3000, 900, 110, 10))]
    rollout(tmp_path, PARENT, meta(PARENT), turn(0), *rows)
    assert [used.tokens for used in found(tmp_path)] == [1050, 2060]


def test_a_model_that_changes_counts_from_then_on(tmp_path: Path) -> None:
    first, second = counts_of(*HISTORY[:2])
    rollout(tmp_path, PARENT, meta(PARENT), turn(0), first, turn(1, "gpt-5.2-mini"), second)
    assert [used.model for used in found(tmp_path)] == ["gpt-5.2-codex", "gpt-5.2-mini"]


def forked(child: str, began: float, own: list[Any], of_turn: float | None, **rest: Any) -> list[Any]:
    """A fork: its head, the parent's, what the parent said with new times, and what is its own."""
    replayed = [{**row, "timestamp": meta(child, began)["timestamp"]} for row in counts_of(*HISTORY)]
    ids = {} if of_turn is None else {"turn_id": minted(1)}
    mine = {} if of_turn is None else {"turn_id": minted(of_turn)}
    return [
        meta(child, began, **rest), {**meta(PARENT), "timestamp": meta(child, began)["timestamp"]},
        turn(began, **ids), *replayed, turn(began + 5, **mine), *own,
    ]  # fmt: skip


OWN = [count(110, (7000, 6000, 80, 0), (13000, 8800, 260, 30))]
FORKS = {
    "a fork": {"forked_from_id": PARENT},
    "a sub-agent": {"source": {"subagent": {"thread_spawn": {"parent_thread_id": PARENT, "agent_role": "explorer"}}}},
    "a sub-agent whose session is that of its parent": {"forked_from_id": PARENT, "session_id": PARENT},
}


@pytest.mark.parametrize("rest", FORKS.values(), ids=FORKS.keys())
@pytest.mark.parametrize("of_turn", [105, None], ids=["turns have times", "turns have none"])
@pytest.mark.parametrize("parent_is_there", [True, False], ids=["its parent is there", "its parent is gone"])
def test_what_a_fork_repeats_is_cut(
    tmp_path: Path, rest: dict[str, Any], of_turn: float | None, parent_is_there: bool
) -> None:
    if parent_is_there:
        rollout(tmp_path, PARENT, meta(PARENT), turn(0, turn_id=minted(1)), *counts_of(*HISTORY))
    rollout(tmp_path, CHILD, *forked(CHILD, 100, OWN, of_turn, **rest))
    notes = Notes()
    expected = {CHILD: 7080} | ({PARENT: 1050 + 2060 + 3070} if parent_is_there else {})
    assert sums(found(tmp_path, notes)) == expected
    assert notes.dropped == {"replayed by a fork": 3}


def test_siblings_that_used_the_same_stay_apart(tmp_path: Path) -> None:
    rollout(tmp_path, PARENT, meta(PARENT), turn(0), *counts_of(*HISTORY))
    for child, began in ((CHILD, 100), (SIBLING, 200)):
        rollout(tmp_path, child, *forked(child, began, OWN, None, forked_from_id=PARENT))
    assert sums(found(tmp_path)) == {PARENT: 6180, CHILD: 7080, SIBLING: 7080}


def test_a_sub_agent_that_repeats_nothing_keeps_its_first_response(tmp_path: Path) -> None:
    rollout(tmp_path, PARENT, meta(PARENT), turn(0), *counts_of(*HISTORY))
    spawn = {"source": {"subagent": {"thread_spawn": {"parent_thread_id": PARENT}}}}
    head = [meta(CHILD, 100, **spawn), {**meta(PARENT), "timestamp": meta(CHILD, 100)["timestamp"]}]
    rollout(tmp_path, CHILD, *head, turn(100), *counts_of((800, 0, 5, 0), (900, 0, 6, 0), seconds=103))
    assert sums(found(tmp_path)) == {PARENT: 6180, CHILD: 805 + 906}


def test_a_fork_of_a_fork_repeats_both(tmp_path: Path) -> None:
    rollout(tmp_path, PARENT, meta(PARENT), turn(0), *counts_of(*HISTORY))
    first = forked(CHILD, 100, OWN, None, forked_from_id=PARENT)
    rollout(tmp_path, CHILD, *first)
    again = [{**row, "timestamp": meta(SIBLING, 200)["timestamp"]} for row in first]
    own = count(210, (500, 0, 1, 0), (13500, 8800, 261, 30))
    rollout(tmp_path, SIBLING, meta(SIBLING, 200, forked_from_id=CHILD), *again, turn(205), own)
    assert sums(found(tmp_path)) == {PARENT: 6180, CHILD: 7080, SIBLING: 501}


def test_a_session_that_is_resumed_in_its_file_is_one(tmp_path: Path) -> None:
    first, second = counts_of(*HISTORY[:2])
    rollout(tmp_path, PARENT, meta(PARENT), turn(0), first, meta(PARENT, 50), turn(51), second)
    assert sums(found(tmp_path)) == {PARENT: 1050 + 2060}


def test_an_archived_copy_of_a_session_is_the_same(tmp_path: Path) -> None:
    rows = [meta(PARENT), turn(0), *counts_of(*HISTORY)]
    rollout(tmp_path / "sessions", PARENT, *rows)
    rollout(tmp_path / "archived_sessions", PARENT, *rows)
    assert sums(found(tmp_path)) == {PARENT: 6180}


def test_a_damaged_line_is_named_and_the_rest_is_imported(tmp_path: Path) -> None:
    first, second = counts_of(*HISTORY[:2])
    notes = Notes()
    wrong = count(3, (-5, 0, 1, 0), (4000, 0, 1, 0))
    rollout(tmp_path, PARENT, meta(PARENT), turn(0), first, '{"type":"event_msg","payl', wrong, second)
    assert [used.tokens for used in found(tmp_path, notes)] == [1050, 2060]
    assert "line 4: not JSON" in notes.problems[0]
    assert "line 5: last_token_usage.input_tokens: found '-5'" in notes.problems[1].replace("payload.info.", "")
