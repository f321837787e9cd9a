"""Tasks, open and ended, as `tallystick tasks` lists them."""

import datetime as dt
from typing import Any, Final

import msgspec

from tallystick.config.amounts import edge
from tallystick.projections.reports.task_day import Number, TaskDay, minutes
from tallystick.projections.store.view_store import ViewStore
from tallystick.projections.views.task_rows import TaskRow, tasks_in
from tallystick.projections.views.tasks import TasksView

ORDER: Final = ("running", "queued", "waiting_on_dependencies")
"""Of open tasks; those that have ended follow, the newest first."""
_MILLISECOND = dt.timedelta(milliseconds=1)


class ListedTask(msgspec.Struct, frozen=True):
    """One task. ``reason`` is what was in its way when it was queued, or why it ended; minutes are of all its runs.

    ``used`` is its own usage and that of its sub-agents. ``model`` is what it runs on, or ran on last.
    """

    task: str
    state: str
    agent_type: str
    product: str
    priority: str | None
    workflow: str | None
    parent: str | None
    model: str | None
    attempt: int
    submitted_at: str
    started_at: str | None
    ended_at: str | None
    expected_start: str | None
    waited_minutes: Number
    ran_minutes: Number
    used: dict[str, Any]
    reason: dict[str, str | None] | None


def listed_tasks(views: ViewStore, now: dt.datetime) -> list[ListedTask]:
    """All tasks, as of ``now``: those that run, the longest first; those that wait, likewise; and those that ended.

    Raises:
        NotKept: the rows cannot be read.
    """
    rows = tasks_in(views.whole((TasksView.name,)).rows.get(TasksView.name, ()))
    moment = TaskDay(views, now).now
    return [_listed(row, moment) for row in sorted(rows, key=_place)]


def _place(row: TaskRow) -> tuple[int, float, str]:
    if row.is_open:
        return ORDER.index(row.state), row.since.timestamp(), row.task
    return len(ORDER), -(row.ended_at or row.since).timestamp(), row.task


def _listed(row: TaskRow, now: dt.datetime) -> ListedTask:
    start = row.expected_start if row.state == "queued" else None
    so_far = max(0, (now - row.since) // _MILLISECOND)
    return ListedTask(
        task=row.task,
        state=row.state,
        agent_type=row.agent_type,
        product=row.product,
        priority=row.priority,
        workflow=row.workflow,
        parent=row.parent,
        model=row.model,
        attempt=row.attempt,
        submitted_at=_stamp(row.submitted_at) or "",
        started_at=_stamp(row.started_at),
        ended_at=_stamp(row.ended_at),
        expected_start=_stamp(start and max(start, now)),
        waited_minutes=minutes(row.waited_ms + (so_far if row.state == "queued" else 0)),
        ran_minutes=minutes(row.busy_ms + (so_far if row.state == "running" else 0)),
        used=edge(row.used.triple),
        reason=None if row.code is None and row.message is None else {"code": row.code, "message": row.message},
    )


def _stamp(at: dt.datetime | None) -> str | None:
    return None if at is None else at.isoformat().replace("+00:00", "Z")
