"""``--watch``: a view again and again, until Ctrl-C; and the views of tasks and alerts."""

import json
from pathlib import Path
from typing import Any

import click
import pytest

from tallystick.actors.runtime.fleet import Fleet
from tallystick.cli import watching
from tallystick.cli.main import main
from tests.support.cli import Run, lines

VIEWS = ("status", "queue", "tasks", "holds", "limits", "alerts", "cost", "metrics", "forecast", "report", "dashboard")


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Ctrl-C is pressed in the third pause; how long the pauses are."""
    found: list[float] = []

    def pause(seconds: float) -> None:
        found.append(seconds)
        if len(found) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(watching, "pause", pause)
    return found


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_can_be_watched_and_ctrl_c_is_no_failure(
    run: Run, fleet: Path, pauses: list[float], view: str
) -> None:
    result = run(view, "--watch", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert len([json.loads(line) for line in result.stdout.splitlines()]) == 3
    assert pauses == [2.0] * 3


def test_every_command_that_shows_a_moment_can_be_watched() -> None:
    ctx = click.Context(main)
    found = []
    for name in main.list_commands(ctx):
        command = main.get_command(ctx, name)
        assert command is not None
        if any(option.name == "at" for option in command.params):
            found.append(name)
            assert any(option.name == "watch" for option in command.params), name
    assert sorted(found) == sorted(VIEWS)


def test_where_no_terminal_is_there_is_one_block_after_another_with_its_time(
    run: Run, fleet: Path, pauses: list[float]
) -> None:
    result = run("alerts", "--watch", "0.5")
    assert result.exit_code == 0
    assert result.stdout.count("a has used up its tokens") == 3
    assert "\x1b" not in result.stdout
    assert pauses == [0.5] * 3


def test_what_changes_meanwhile_is_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with Fleet.open("sqlite:///tallystick.db") as live:
        seen: list[int] = []

        def pause(_: float) -> None:
            seen.append(1)
            if len(seen) == 3:
                raise KeyboardInterrupt
            live.ask({"type": "AllocateBudget", "agent": f"a-{len(seen)}", "budget": {"tokens": 5}})

        monkeypatch.setattr(watching, "pause", pause)
        result = run("status", "--json", "--watch")
    assert [json.loads(line)["agent_count"] for line in result.stdout.splitlines()] == [0, 1, 2]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--watch", "--at", "5"], 2, "--watch shows how it goes on"),
        (["--watch", "0"], 2, "found '0', allowed are seconds from 0.1 to 86400"),
        (["--watch", "soon"], 2, "found 'soon', allowed are seconds from 0.1 to 86400"),
        (["--watch", "--store", "sqlite:///none.db"], 1, "there is no fleet at sqlite:///none.db"),
    ],
)
def test_what_cannot_be_watched_is_said_in_one_line(
    run: Run, fleet: Path, words: list[str], code: int, said: str
) -> None:
    result = run("status", *words)
    assert result.exit_code == code
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


# --- tasks and alerts -------------------------------------------------------------------------------------------------

TASKS: list[dict[str, object]] = [
    {"at": "2026-03-04T12:00:00Z", "type": "SubmitTask", "task": "T-1", "agent_type": "qa", "product": "shop"},
    {"at": "2026-03-04T12:01:00Z", "type": "SubmitTask", "task": "T-2", "agent_type": "qa", "product": "shop"},
    {
        "at": "2026-03-04T12:02:00Z",
        "type": "SubmitTask",
        "task": "T-3",
        "agent_type": "qa",
        "product": "blog",
        "depends_on": ["T-2"],
    },
    {
        "at": "2026-03-04T12:10:00Z",
        "type": "CompleteTask",
        "task": "T-1",
        "outcome": "completed",
        "usage": {"tokens": 900, "cost_usd": "0.5"},
    },
    {"at": "2026-03-04T12:14:00Z", "type": "GetQueue"},
]


@pytest.fixture
def tasks(run: Run, tmp_path: Path) -> None:
    """One that is completed, one that runs after it, and one that waits for that."""
    (tmp_path / "limits.yml").write_text("max_concurrent: {total: 1}\nleases: {seconds: 7200}\n", encoding="utf-8")
    (tmp_path / "tasks.jsonl").write_text(lines(TASKS), encoding="utf-8")
    result = run("simulate", "tasks.jsonl", "--config", "limits.yml", "--store", "sqlite:///tallystick.db")
    assert result.exit_code == 0, result.stderr


def listed(run: Run, *words: str) -> list[dict[str, Any]]:
    result = run("tasks", "--json", *words)
    assert (result.exit_code, result.stderr) == (0, "")
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


@pytest.mark.usefixtures("tasks")
def test_tasks_are_listed_running_ones_first_with_their_waits_and_runs_and_what_they_used(run: Run) -> None:
    found = listed(run, "--at", "2026-03-04T12:13")
    assert [(one["task"], one["state"], one["waited_minutes"], one["ran_minutes"]) for one in found] == [
        ("T-2", "running", 9, 3),
        ("T-3", "waiting_on_dependencies", 0, 0),
        ("T-1", "completed", 0, 10),
    ]
    assert found[2]["used"] == {"tokens": 900, "cost_usd": "0.50"}
    assert [one["task"] for one in listed(run, "--state", "completed")] == ["T-1"]
    assert [one["task"] for one in listed(run, "--product", "blog", "--type", "qa")] == ["T-3"]
    earlier = listed(run, "--at", "2026-03-04T12:05")
    assert [(one["task"], one["state"]) for one in earlier] == [
        ("T-1", "running"),
        ("T-2", "queued"),
        ("T-3", "waiting_on_dependencies"),
    ]
    assert earlier[1]["waited_minutes"] == 4
    assert earlier[1]["reason"]["code"] is not None


@pytest.mark.usefixtures("tasks")
def test_tasks_for_people_fit_eighty_columns(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    text = run("tasks").stdout
    assert max(map(len, text.splitlines())) <= 100
    assert "0.50" in text
    assert "and 2 more" in run("tasks", "--limit", "1").stdout
    assert run("tasks", "--state", "failed").stdout == "No such task.\n"
    assert run("tasks", "--at", "1").stdout == "No tasks.\n"


def test_alerts_are_shown_the_newest_first_and_as_they_were_then(run: Run, fleet: Path) -> None:
    every = json.loads(run("alerts", "--json").stdout)
    events = [json.loads(line) for line in run("events", "--type", "alert-raised", "--json").stdout.splitlines()]
    assert [one["position"] for one in every] == [one["position"] for one in reversed(events)]
    assert [one["message"] for one in every] == [one["event"]["message"] for one in reversed(events)]
    code = every[0]["code"]
    assert {one["code"] for one in json.loads(run("alerts", "--code", code, "--json").stdout)} == {code}
    assert {one["agent"] for one in json.loads(run("alerts", "--agent", "a", "--json").stdout)} == {"a"}
    oldest = every[-1]["position"]
    assert json.loads(run("alerts", "--json", "--at", str(oldest)).stdout) == every[-1:]
    assert json.loads(run("alerts", "--json", "--at", str(oldest - 1)).stdout) == []
    assert json.loads(run("status", "--json").stdout)["alerts"] == len(every)


def test_burn_is_the_same_figure_for_machines_and_people(run: Run, fleet: Path) -> None:
    at = ("--at", "2026-03-04T12:11")
    burn = json.loads(run("status", "--json", *at).stdout)["burn"]
    assert f"{burn['tokens_per_hour']:,} tokens/h" in run("status", *at).stdout
    assert burn["window_seconds"] == 11 * 60
    assert burn["tokens_per_hour"] == (30_000 + 20_000 + 900 + 3_000) * 3_600 // (11 * 60)
    agent = json.loads(run("status", "--agent", "a", "--json", *at).stdout)["burn"]
    assert agent["tokens_per_hour"] == (30_000 + 20_000 + 900) * 3_600 // (11 * 60)
    assert json.loads(run("status", "--agent", "stranger", "--json", *at).stdout)["burn"] is None
