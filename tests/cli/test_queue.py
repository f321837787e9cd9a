"""``queue``, ``dashboard`` and ``metrics`` of a fleet with tasks, as people and programs call them."""

import json
from pathlib import Path

import pytest

from tallystick.config.loader import PACKAGED_FILE
from tallystick.fleet import Fleet
from tests.support.cli import Run, lines

NOW = "2026-01-26T14:42:00Z"
CONFIG = (
    "leases: {seconds: 86400}\nmax_concurrent: {total: 5, per_type: {backend-engineer: 2}}\n"
    "token_budgets: {default: 80000}\ndaily_limits: {max_tokens_total: 2000000, max_cost_usd: 100}\n"
)


def submitted(at: str, task: str, **rest: object) -> dict[str, object]:
    message = {"at": f"2026-01-26T{at}:00Z", "type": "SubmitTask", "task": task, "agent_type": "backend-engineer"}
    return {**message, "product": "billing", **rest}


DAY = [
    submitted("13:00", "TASK-039", estimated_minutes=30, estimated_tokens=50_000),
    {
        "at": "2026-01-26T13:30:00Z",
        "type": "CompleteTask",
        "task": "TASK-039",
        "outcome": "completed",
        "usage": {"tokens": 50_000, "cost_usd": 2},
    },
    submitted("13:30", "TASK-040", estimated_minutes=90),
    submitted("13:40", "TASK-041", estimated_minutes=90),
    submitted("14:00", "TASK-043", priority="high", blocks=2, estimated_minutes=30),
    submitted("14:30", "TASK-042", product="analytics-dashboard"),
    submitted("14:31", "TASK-044", product="analytics-dashboard", depends_on=["TASK-042"]),
]


@pytest.fixture
def day(run: Run, tmp_path: Path) -> Run:
    """A fleet in the default store of this test's folder: two run, two wait, one waits for another."""
    (tmp_path / "day.jsonl").write_text(lines(DAY), encoding="utf-8")
    (tmp_path / "limits.yml").write_text(CONFIG, encoding="utf-8")
    result = run("simulate", "day.jsonl", "--config", "limits.yml", "--store", "sqlite:///tallystick.db")
    assert result.exit_code == 0, result.output
    return run


def said(result: object) -> str:
    assert getattr(result, "exit_code", None) == 0, result
    return str(getattr(result, "stdout", ""))


# --- the queue --------------------------------------------------------------------------------------------------------


def test_the_queue_for_machines_is_the_answer_to_get_queue_with_the_seeds_record(day: Run) -> None:
    found = json.loads(said(day("queue", "--json", "--at", NOW)))
    assert [task["task"] for task in found["tasks"]] == ["TASK-043", "TASK-042"]
    record = {
        "task_id": "TASK-042",
        "product": "analytics-dashboard",
        "agent": "backend-engineer",
        "priority": "normal",
        "queued_at": "2026-01-26T14:30:00Z",
        "estimated_tokens": 80_000,
        "reason_queued": "max backend-engineer (2) already running",
        "expected_start": "2026-01-26T15:10:00Z",
    }
    assert {key: found["tasks"][1][key] for key in record} == record
    assert [(task["task"], task["stopping"]) for task in found["running"]] == [("TASK-040", False), ("TASK-041", False)]


def test_the_fleet_answers_the_same(day: Run) -> None:
    with Fleet.open("sqlite:///tallystick.db") as fleet:
        answer = fleet.ask({"type": "GetQueue"})["ok"]
        position = fleet.ask({"type": "GetGlobalStatus"})["ok"]["position"]
    found = json.loads(said(day("queue", "--json", "--at", str(position))))
    own = {"task_id", "agent", "reason_queued"}
    told = [{key: value for key, value in task.items() if key not in own} for task in found["tasks"]]
    # Between the two nothing passed but time.
    moving = {"waiting_minutes", "score", "terms", "expected_start", "reason"}
    assert [{k: v for k, v in task.items() if k not in moving} for task in told] == [
        {k: v for k, v in task.items() if k not in moving} for task in answer["tasks"]
    ]
    assert [set(task) for task in told] == [set(task) for task in answer["tasks"]]


def test_the_queue_for_people_says_why_a_task_waits_and_what_its_score_is_made_of(day: Run) -> None:
    shown = said(day("queue", "--at", NOW))
    assert "max backend-engineer (2) already running" in shown
    assert "0.350" in shown
    assert "0.250+0.060+0.040" in shown
    assert "aged  1.295" in shown
    assert "1 more must first see the tasks completed that they depend on." in shown
    assert "running: 2 of 5 slots" in shown


def test_the_queue_names_no_more_than_was_asked_for(day: Run) -> None:
    shown = said(day("queue", "--at", NOW, "--limit", "1"))
    assert "TASK-042" not in shown
    assert "and 1 more behind them" in shown
    assert len(json.loads(said(day("queue", "--json", "--limit", "1")))["tasks"]) == 1


def test_the_queue_is_shown_as_it_was_then_and_reading_it_records_nothing(day: Run) -> None:
    assert said(day("queue", "--at", "2026-01-26T13:10:00Z")).startswith("Nothing waits for a slot.")
    before = said(day("status", "--json"))
    said(day("queue"))
    assert json.loads(said(day("status", "--json")))["position"] == json.loads(before)["position"]


def test_a_fleet_without_tasks_has_an_empty_queue(run: Run) -> None:
    said(run("send", '{"type": "GetGlobalStatus"}', "--config", str(PACKAGED_FILE)))
    shown = said(run("queue"))
    assert shown.splitlines()[:2] == ["Nothing waits for a slot.", "Nothing runs: 0 of 5 slots."]
    assert json.loads(said(run("queue", "--json"))) == {"tasks": [], "running": []}


# --- the dashboard ----------------------------------------------------------------------------------------------------


def test_the_dashboard_is_markdown_or_the_values_that_it_is_made_of(day: Run) -> None:
    shown = said(day("dashboard", "--at", NOW))
    assert shown.startswith("## Resource Usage\n\n**Today (2026-01-26)**\n")
    assert "- Active: 2/5 (40% utilization)\n- Queue: 2 tasks waiting\n- Avg wait time: 27 minutes\n" in shown
    assert "- Tokens used: 50,000 / 2,000,000 (2%)\n- Cost: $2 / $100 (2%)\n" in shown
    found = json.loads(said(day("dashboard", "--at", NOW, "--json")))
    assert (found["active"], found["slots"], found["waiting"]) == (2, 5, 2)
    assert found["cost"] == {"used": "2.00", "limit": "100.00", "percent": 2, "alert": False}


# --- the comparison ---------------------------------------------------------------------------------------------------


def test_the_cost_of_a_task_is_laid_beside_that_of_the_other_models(day: Run) -> None:
    (found,) = json.loads(said(day("cost", "--compare", "--json", "--at", NOW)))
    assert (found["task"], found["cost_usd"]) == ("TASK-039", "2.00")
    assert {one["model"] for one in found["instead"]} == {"opus", "haiku"}
    # The task said that it cost $2.00, far above the list price of 50,000 tokens on any model.
    assert "haiku $0.01 (saves 99 %)" in said(day("cost", "--compare", "--at", NOW))
    assert said(day("cost", "--compare", "--at", "2026-01-26T13:10:00Z")).startswith("No task was completed")
    assert day("cost", "--compare", "--month").exit_code == 2


# --- the metrics ------------------------------------------------------------------------------------------------------


def test_metrics_tell_of_the_day_and_keep_what_they_said_before(day: Run) -> None:
    found = json.loads(said(day("metrics", "--json", "--at", NOW)))
    assert found["utilization"]["aim"] == 0.85
    assert found["expected_starts"]["told"] == 2
    assert found["resources"]["cost_efficiency"] == {
        "cost_per_task": 2,
        "tokens_per_task": 50_000,
        "tasks_per_dollar": 0.5,
    }
    assert [advice["text"] for advice in found["advice"]] == found["resources"]["recommendations"]
    shown = said(day("metrics", "--at", NOW))
    assert "tasks and slots on 2026-01-26" in shown
    assert "A completed task took 50,000 tokens and $2.00, 0.5 tasks per dollar." in shown
    assert "40 % of the runs waited, 27 minutes on average." in shown


def test_the_metrics_file_is_written_where_claude_is(day: Run, tmp_path: Path) -> None:
    refused = day("metrics", "--write")
    assert refused.exit_code == 1
    assert "there is no .claude here: name the file with metrics_file in the configuration" in refused.stderr
    (tmp_path / ".claude").mkdir()
    result = day("metrics", "--write", "--json", "--at", NOW)
    file = Path(".claude/memory/metrics/resource-metrics.json")
    assert result.stderr == f"written to {file}\n"
    written = json.loads(file.read_text(encoding="utf-8"))
    assert written == json.loads(result.stdout)["resources"]
    assert list(written) == ["agent_utilization", "cost_efficiency", "queue_performance", "recommendations"]
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_the_metrics_file_is_written_where_the_configuration_says(run: Run, tmp_path: Path) -> None:
    (tmp_path / "limits.yml").write_text("metrics_file: out/metrics.json\n", encoding="utf-8")
    said(run("send", "--config", "limits.yml", '{"type": "GetGlobalStatus"}'))
    assert run("metrics", "--write").exit_code == 0
    assert json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))["recommendations"] == []
