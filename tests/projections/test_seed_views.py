"""The views of seed 000 with the seed's own numbers, out of days that the fleet went through message by message.

One history cannot give all of them, because the seed's figures are of different days: its dashboard has 25 tasks for
$80.00, which is not $4.50 per task; and its waits are 12 minutes on average there and 18 in the metrics file.
"""

import datetime as dt
import json
from typing import Any

import msgspec

from tallystick.actors.runtime.messages import Envelope
from tallystick.actors.runtime.simulation import SimulatedFleet
from tallystick.config.loader import from_mapping
from tallystick.events.log.codec import decode_answer, read_message
from tallystick.events.log.store_memory import MemoryStore
from tallystick.events.messages.replies import Refusal
from tallystick.projections.reports.resource_metrics import resource_metrics
from tallystick.projections.reports.task_day import TaskDay
from tallystick.projections.store.runner import catch_up
from tallystick.projections.store.view_store import MemoryViewStore
from tallystick.reports.dashboard import dashboard_markdown, dashboard_of
from tallystick.reports.queue import queue_of, record_of
from tests.support.limits import with_seed_limits

MIDNIGHT = dt.datetime(2026, 1, 26, tzinfo=dt.UTC)
LONG_LEASES = {"leases": {"seconds": 86_400}, "total_budget": {"tokens": 60_000_000, "cost_usd": 3_000}}


class Fleet:
    """A fleet whose clock is moved by its messages; times are minutes from midnight."""

    def __init__(self, **config: Any) -> None:
        self.store = MemoryStore()
        first = MIDNIGHT - dt.timedelta(days=config.pop("days_before", 0))
        self.simulated = SimulatedFleet.open(
            self.store, from_mapping(with_seed_limits({**LONG_LEASES, **config})), None, first
        )

    def say(self, at: float, kind: str, **message: Any) -> dict[str, Any]:
        read = read_message({"type": kind, **message}, lambda: f"m-{self.simulated.ledger.position}")
        assert not isinstance(read, Refusal), read
        envelope = Envelope([read[0]], [read[1]], "local", None)
        answer = decode_answer(self.simulated.ask(envelope, MIDNIGHT + dt.timedelta(minutes=at))[0])
        assert "ok" in answer, answer
        ok: dict[str, Any] = answer["ok"]
        return ok

    def submit(self, at: float, task: str, agent_type: str, product: str = "shop", **rest: Any) -> None:
        self.say(at, "SubmitTask", task=task, agent_type=agent_type, product=product, **rest)

    def complete(self, at: float, task: str, tokens: int, cost: str) -> None:
        self.say(at, "CompleteTask", task=task, outcome="completed", usage={"tokens": tokens, "cost_usd": cost})

    def views(self) -> MemoryViewStore:
        view_store = MemoryViewStore()
        catch_up(self.store, view_store)
        return view_store


def test_the_queued_tasks_record() -> None:
    fleet = Fleet()
    fleet.submit(13 * 60 + 30, "TASK-040", "backend-engineer", estimated_minutes=90)
    fleet.submit(14 * 60, "TASK-041", "backend-engineer", estimated_minutes=90)
    fleet.submit(14 * 60 + 30, "TASK-042", "backend-engineer", "analytics-dashboard")
    now = MIDNIGHT + dt.timedelta(hours=14, minutes=42)
    (waiting,) = queue_of(fleet.simulated.ledger, now, 10).tasks
    assert msgspec.to_builtins(record_of(waiting)) == {
        "task_id": "TASK-042",
        "product": "analytics-dashboard",
        "agent": "backend-engineer",
        "priority": "normal",
        "queued_at": "2026-01-26T14:30:00Z",
        "estimated_tokens": 80_000,
        # The seed writes "Max backend engineers (2) already running": the type is named as the configuration names it.
        "reason_queued": "max backend-engineer (2) already running",
        "expected_start": "2026-01-26T15:00:00Z",
    }
    assert (waiting.waiting_minutes, waiting.score) == (12, 0.25 + 0.3 * 12 / 60)


DASHBOARD = """\
## Resource Usage

**Today (2026-01-26)**

### Agents
- Active: 3/5 (60% utilization)
- Queue: 2 tasks waiting
- Avg wait time: 12 minutes

### Costs
- Tokens used: 1,600,000 / 2,000,000 (80%) ⚠️
- Cost: $80 / $100 (80%) ⚠️
- Projected EOD: $95

### Models
- Haiku: 5 tasks, $1.50
- Sonnet: 18 tasks, $72.50
- Opus: 2 tasks (critical), $6.00

### By Product
- gpu-calculator: 35% of tokens
- it4it-dashboard: 45% of tokens
- tech-management-helper: 20% of tokens
"""


def test_the_dashboard() -> None:
    fleet = Fleet(days_before=5)
    for day in range(-5, 0):  # each of the days before cost $80 until the afternoon, and $95 in all
        for hour, cost in ((9, 80), (20, 15)):
            fleet.say((day * 24 + hour) * 60, "ReportUsage", agent="someone", usage={"tokens": 1, "cost_usd": cost})
    tasks = [("gpu-calculator", 80_000, "4", {})] * 7
    tasks += [("it4it-dashboard", 80_000, "4", {})] * 9
    tasks += [("tech-management-helper", 80_000, "4", {}), ("tech-management-helper", 40_000, "4.5", {})]
    tasks += [("tech-management-helper", 20_000, "0.3", {"estimated_minutes": 5})] * 5
    tasks += [("tech-management-helper", 50_000, "3", {"priority": "critical"})] * 2
    for number, (product, tokens, cost, rest) in enumerate(tasks):
        name, at = f"T-{number}", 9 * 60 + number
        done = number >= 3
        agent_type = "architect" if done or number == 0 else "backend-engineer"
        fleet.submit(at, name, agent_type, product, **rest)
        usage = {"tokens": tokens, "cost_usd": cost}
        if done:
            fleet.complete(at + 0.5, name, tokens, cost)
        else:
            fleet.say(at + 0.5, "ReportUsage", task=name, usage=usage)
    fleet.submit(14 * 60 + 14, "W-1", "backend-engineer", "it4it-dashboard")
    fleet.submit(14 * 60 + 22, "W-2", "backend-engineer", "gpu-calculator")
    shown = dashboard_of(fleet.views(), MIDNIGHT + dt.timedelta(hours=14, minutes=30))
    assert dashboard_markdown(shown) == DASHBOARD


METRICS = {
    "agent_utilization": {"backend-engineer": 0.75, "frontend-engineer": 0.80, "qa-engineer": 0.45, "architect": 0.30},
    "cost_efficiency": {"cost_per_task": 4.50, "tokens_per_task": 90_000, "tasks_per_dollar": 0.22},
    "queue_performance": {"avg_wait_time_minutes": 18, "max_wait_time_minutes": 45, "tasks_that_waited": 0.35},
}
RUNS = {
    # Of each type its runs: when one begins and ends, in minutes from midnight, and how long it waited before.
    "backend-engineer": [
        *((0, 450, 0), (0, 90, 0), (90, 180, 45), (180, 270, 27), (270, 360, 18), (360, 450, 12)),
    ],
    "frontend-engineer": [(0, 480, 0), (0, 120, 0), (120, 240, 9), (240, 360, 9), (360, 480, 6)],
    "qa-engineer": [(180, 270, 0), (270, 360, 0), (360, 450, 0), (450, 540, 0), (450, 570, 0), (540, 600, 0)],
    "architect": [(0, 60, 0), (60, 120, 0), (120, 180, 0)],
}


def test_the_metrics_file() -> None:
    # The seed's architects have no limit of their own; five slots in all could not be that busy with 0.30 of them.
    per_type = {"backend-engineer": 2, "frontend-engineer": 2, "qa-engineer": 2, "architect": 1}
    fleet = Fleet(
        max_concurrent={"total": 5, "per_type": per_type},
        daily_limits={"max_tokens_total": None, "max_cost_usd": None},
        auto_model_selection={"rules": [{"condition": "default", "model": "haiku"}]},
    )
    doings = []
    for agent_type, runs in RUNS.items():
        for number, (begins, ends, waited) in enumerate(runs):
            name = f"{agent_type}-{number}"
            # At one moment, ends come before submissions.
            doings += [(begins - waited, 1, name, agent_type), (ends, 0, name, agent_type)]
    for at, is_new, name, agent_type in sorted(doings):
        if is_new:
            fleet.submit(at, name, agent_type, estimated_tokens=90_000)
        else:
            fleet.complete(at, name, 90_000, "4.50")
    work = TaskDay(fleet.views(), MIDNIGHT + dt.timedelta(hours=10))
    found = json.loads(msgspec.json.encode(resource_metrics(work)))
    recommendations = found.pop("recommendations")
    assert found == METRICS
    # The seed's three sentences, each with its numbers.
    assert recommendations == [
        "Consider reducing the qa-engineer limit of 2 (underutilized: 45 % busy)",
        "At good utilization: backend-engineer 75 %, frontend-engineer 80 %",
        "Queue wait times acceptable (18 minutes on average, 45 at most)",
    ]
