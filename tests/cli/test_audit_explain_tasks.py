"""``audit explain`` of tasks, the day and the breaker: why queued, admitted, preempted, lost, tripped, approved."""

import json
from pathlib import Path
from typing import Any

import pytest

from tallystick.events.log.store import open_store
from tests.support.cli import Run, lines
from tests.support.cli_logs import place_of

SETTINGS = """
total_budget: {tokens: 1000000}
emergency_reserve_percent: 0
max_concurrent: {total: 1, per_type: {}}
token_budgets: {default: 1000}
leases: {seconds: 60, max_attempts: 2}
daily_limits: {max_tokens_total: 8000, max_cost_usd: null}
circuit_breaker: {trip_conditions: ["tokens_daily > 3000"]}
estimates: {over_tasks: 1}
reallocation: {enabled: false}
"""


def submit(task: str, **rest: Any) -> dict[str, Any]:
    return {"type": "SubmitTask", "task": task, "agent_type": "coder", "product": "shop", **rest}


DAY: list[tuple[str, dict[str, Any]]] = [
    ("12:00:00", submit("build", priority="low", estimated_tokens=100, estimated_minutes=1)),
    ("12:00:01", submit("test", depends_on=["build"])),
    ("12:00:02", submit("later", priority="low")),
    ("12:00:10", {"type": "Heartbeat", "task": "build"}),
    ("12:00:20", submit("fire", priority="critical")),
    ("12:00:21", {"type": "Heartbeat", "task": "build"}),
    ("12:00:30", {"type": "ReportUsage", "task": "fire", "usage": {"tokens": 1100}}),
    ("12:00:40", {"type": "CompleteTask", "task": "fire", "outcome": "completed", "usage": {"tokens": 1200}}),
    ("12:00:50", {"type": "CompleteTask", "task": "build", "outcome": "completed", "usage": {"tokens": 500}}),
    # `test` and `later` are left alone by their agents: each loses two leases, and has failed.
    ("12:00:55", {"type": "CompleteTask", "task": "build", "outcome": "completed"}),
    ("12:10:00", submit("after", depends_on=["test"])),
    ("12:10:01", submit("shift")),
    ("12:10:02", submit("doc", depends_on=["shift"])),
    ("12:10:03", {"type": "CancelTask", "task": "shift"}),
    ("12:10:10", submit("huge", priority="high")),
    ("12:10:20", {"type": "ReportUsage", "task": "huge", "usage": {"tokens": 1400}}),
    ("12:10:30", submit("stuck")),
    ("12:10:31", {"type": "ApproveLimit", "max_tokens_total": 9000}),
    ("12:10:32", {"type": "ResetBreaker", "reason": "it is worth it"}),
    ("12:10:40", {"type": "OverridePriority", "product": "shop", "priority": "high", "reason": "the launch"}),
    ("12:10:50", {"type": "CompleteTask", "task": "huge", "outcome": "completed"}),
    ("12:11:00", submit("next")),
    ("12:11:01", {"type": "GetQueue"}),
    ("12:40:00", {"type": "GetQueue"}),
]


@pytest.fixture
def day(run: Run, tmp_path: Path) -> Path:
    (tmp_path / "day.yml").write_text(SETTINGS, encoding="utf-8")
    messages = [{"at": f"2026-03-04T{time}Z", **message} for time, message in DAY]
    messages.append({"at": "2026-03-05T00:00:01Z", "type": "GetGlobalStatus"})
    (tmp_path / "day.jsonl").write_text(lines(messages), encoding="utf-8")
    result = run("simulate", "day.jsonl", "--config", "day.yml", "--store", "sqlite:///tallystick.db")
    assert result.exit_code == 0, result.stderr
    return tmp_path / "tallystick.db"


def explained(run: Run, fleet: Path, name: str, nth: int = 0) -> str:
    result = run("audit", "explain", str(place_of(fleet, name, nth)))
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_every_position_of_the_day_can_be_explained(run: Run, day: Path) -> None:
    store = open_store(f"sqlite:///{day}")
    records = list(store.read())
    store.close()
    for record in records:
        one = json.loads(run("audit", "explain", str(record.position), "--json").stdout)
        assert one["text"]
        assert all(entry["position"] < record.position for entry in one["led_to_by"])


def test_why_a_task_was_queued(run: Run, day: Path) -> None:
    text = explained(run, day, "task-queued.v1")
    assert "later was queued, total_concurrency" in text
    assert "max_concurrent.total, in force since position 1" in text
    assert "the limit was 1, and 1 counted against it" in text
    assert "build was admitted" in text  # who has the slot led to it


def test_why_a_task_was_admitted(run: Run, day: Path) -> None:
    text = explained(run, day, "task-started.v1", 2)
    assert "it had waited 0.7 minutes: nothing was in its way any more" in text
    assert "1,500 tokens is its token budget of 1,000 × 1.5" in text
    assert "its lease ends 60 s after the last heartbeat (leases.seconds)" in text
    assert "what led to it" in text
    assert "fire was completed" in text  # which gave the slot back


def test_why_a_task_was_preempted(run: Run, day: Path) -> None:
    text = explained(run, day, "task-preempted.v1")
    assert "build lost its slot" in text
    assert "fire is critical, build is normal (inherited from test, which waits for it)" in text
    assert "critical may take a slot from a lower priority (priority_levels.critical.preempt_lower" in text
    assert "is not preempted again for 10 minutes (preemption_cooldown_minutes)" in text


def test_what_a_task_inherits_is_said_where_it_begins(run: Run, day: Path) -> None:
    assert "build ranks as normal as long as test waits for it" in explained(run, day, "dependencies-awaited.v1")


def test_a_start_says_what_the_task_inherits(run: Run, day: Path) -> None:
    text = explained(run, day, "task-started.v1", 2)
    assert "build was admitted" in text
    assert "it is low by itself, and ranks as normal (inherited from test, which waits for it)" in text


def test_why_a_lease_was_lost_and_a_task_has_failed(run: Run, day: Path) -> None:
    losses = {nth: explained(run, day, "lease-lost.v1", nth) for nth in range(4)}
    for text in losses.values():
        assert "there was no heartbeat for 60 s (leases.seconds" in text
        assert "was admitted" in text
    of_test = [text for text in losses.values() if " of test was lost" in text.splitlines()[1]]
    first, last = of_test
    assert "lost in attempt 1: test waits again" in first
    assert (
        "attempt 1 of 2 (leases.max_attempts): it waits again, and its wait counts from when it was first queued"
        in first
    )
    assert "lost in attempt 2: test has failed" in last
    assert "attempt 2 of 2 (leases.max_attempts): it has failed" in last
    assert "waits again" not in last


def test_why_a_task_was_rejected_or_given_up(run: Run, day: Path) -> None:
    assert "after was rejected, dependency_failed: test, which it depends on, was failed" in explained(
        run, day, "task-rejected.v1"
    )
    text = explained(run, day, "task-given-up.v1")
    assert "doc was cancelled, dependency_failed: it depends on shift" in text
    assert "shift is cancelled: a task that depends on one that is not completed can never run" in text


def test_why_the_breaker_tripped_and_was_closed(run: Run, day: Path) -> None:
    text = explained(run, day, "breaker-tripped.v1")
    assert "tokens_daily > 3000 became true (circuit_breaker.trip_conditions" in text
    assert "tokens_daily was 3" in text
    assert "huge reported 1,400 tokens" in text
    closed = explained(run, day, "breaker-closed.v1")
    assert "it ignores tokens_daily > 3000" in closed
    assert "the circuit breaker tripped" in closed


def test_why_a_limit_was_approved(run: Run, day: Path) -> None:
    text = explained(run, day, "limit-approved.v1")
    assert "limits were raised for 2026-03-04: 9,000 tokens" in text
    assert "configured is 8,000 tokens a day (daily_limits" in text
    assert "circuit_breaker.when_tripped.allow_override" in text


def test_why_a_day_began_and_a_priority_holds(run: Run, day: Path) -> None:
    assert "days begin at midnight in UTC (timezone" in explained(run, day, "day-began.v1")
    overridden = explained(run, day, "priority-overridden.v1")
    assert "all tasks of shop are high from here on: the launch" in overridden


def test_why_an_estimate_changed(run: Run, day: Path) -> None:
    text = explained(run, day, "estimate-adjusted.v1")
    assert "more than estimated, at the median" in text
    assert "80th percentile" in text


def test_a_refusal_about_a_task_leads_back_to_its_end(run: Run, day: Path) -> None:
    text = explained(run, day, "request-refused.v1")
    assert "CompleteTask of build was refused, already_finished" in text
    assert f"{place_of(day, 'task-completed.v1', 1)}  build was completed" in text


def test_the_story_of_a_task(run: Run, day: Path) -> None:
    text = run("audit", "explain", "build").stdout
    happened = [
        "build was submitted: low coder for shop, estimated at 100 tokens and 1 minute",
        "build was admitted on",
        "heartbeats",
        "build lost its slot (lease-",
        "the agent of build under",
        "build was admitted on",
        "build was completed in attempt 1",
    ]
    start = 0
    for words in happened:
        start = text.index(words, start) + 1
    assert "later" not in text
