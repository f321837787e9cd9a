"""A deep chain of sub-agents, a wide fan and a task with many dependencies work, and every page shows them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tallystick.actors import manager as manager_module
from tallystick.events.log import snapshot
from tallystick.events.log.restoring import open_ledger
from tallystick.events.log.store import open_store
from tests.support.cli import Run, lines
from tests.support.shapes import PAGES, Step, chain, dependencies, fan, played, timed

BEYOND_RECURSION = 1_200
"""Above the 1,000 frames that Python allows."""


def prove(run: Run, path: Path, steps: Iterator[Step]) -> list[dict[str, Any]]:
    """Play the steps, restart, and ask for every page; the answers."""
    answers: list[dict[str, Any]] = timed("messages", lambda: played(path, steps))
    url = f"sqlite:///{path}"
    timed("restart", lambda: restart(url))
    for page in PAGES:
        result = timed(" ".join(page), lambda page=page: run(*page, "--store", url))  # type: ignore[misc]
        assert result.exit_code == 0, (page, result.output)
    return answers


def restart(url: str) -> None:
    store = open_store(url)
    try:
        with_snapshot = open_ledger(store)
        assert snapshot.load(snapshot.dump(with_snapshot.ledger)) is not None
    finally:
        store.close()


def all_is_given_back(answers: list[dict[str, Any]]) -> None:
    assert [answer for answer in answers if "error" in answer] == []
    (released,) = [answer["ok"] for answer in answers if "final_report" in answer["ok"]]
    assert released["agent"] == "d0"
    status = answers[-2]["ok"]
    assert status["agent_count"] == 0
    total, consumed = status["total"], status["total_consumed"]
    assert status["pool_available"]["tokens"] == total["tokens"] - consumed["tokens"]


@pytest.mark.parametrize("shape", [chain, fan])
def test_a_tree_of_any_shape_lives_and_ends_and_every_page_shows_it(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: Callable[[int], Iterator[Step]]
) -> None:
    monkeypatch.setattr(manager_module, "SNAPSHOT_EVERY", 5_000)
    all_is_given_back(prove(run, tmp_path / "tree.db", shape(BEYOND_RECURSION)))


def test_a_task_may_wait_for_thousands_and_thousands_for_it(run: Run, tmp_path: Path) -> None:
    answers = prove(run, tmp_path / "tasks.db", dependencies(1_500))
    assert {answer["error"]["code"] for answer in answers if "error" in answer} <= {"not_running"}
    assert answers[-3]["ok"]["state"] == "cancelled"


def test_a_chain_of_700_is_released_and_every_message_is_answered(run: Run, tmp_path: Path) -> None:
    """The case ``deep-tree-release``."""
    at = "2026-03-04T12:00:0{}Z"
    scenario: list[dict[str, Any]] = [
        {"at": at.format(0), "type": "AllocateBudget", "agent": f"d{i}", "budget": {"tokens": 1_000 - i}}
        | ({"parent": f"d{i - 1}"} if i else {})
        for i in range(700)
    ]
    scenario.append({"at": at.format(1), "type": "ReleaseBudget", "agent": "d0"})
    scenario.append({"at": at.format(2), "type": "GetGlobalStatus", "limit": 1})
    (tmp_path / "deep.jsonl").write_text(lines(scenario))
    result = run("simulate", str(tmp_path / "deep.jsonl"), "--out", str(tmp_path / "out.jsonl"))
    assert result.exit_code == 0, result.output
    replies = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert all("ok" in line["reply"] for line in replies[:-1])
    assert replies[-2]["reply"]["ok"]["agent_count"] == 0
    assert replies[-1]["end"]["conserved"] is True


# --- `make large` ----------------------------------------------------------------------------------------------------


@pytest.mark.large
@pytest.mark.parametrize(("shape", "n"), [(chain, 10_000), (fan, 100_000)])
def test_the_largest_trees(run: Run, tmp_path: Path, shape: Callable[[int], Iterator[Step]], n: int) -> None:
    all_is_given_back(prove(run, tmp_path / "tree.db", shape(n)))
    for subject in ("d0", f"d{n - 1}", "5", str(2 * n)):
        explained = timed(f"audit explain {subject}", lambda subject=subject: run("audit", "explain", subject))  # type: ignore[misc]
        assert explained is not None


@pytest.mark.large
def test_the_largest_number_of_dependencies(run: Run, tmp_path: Path) -> None:
    prove(run, tmp_path / "tasks.db", dependencies(10_000))
