"""Reads reports, metrics and forecasts out of a keeper's rows."""

from collections import Counter
from collections.abc import Iterable

from tallystick.config.loader import restore
from tallystick.config.prices import PriceList
from tallystick.events.catalog.event import EPOCH
from tallystick.events.state.rules import Rules
from tallystick.projections.reports.comparison import ComparedTask, compared_tasks
from tallystick.projections.reports.metrics import Metrics, metrics
from tallystick.projections.reports.report import Line, UsageReport, in_workflow, report
from tallystick.projections.reports.status import Status
from tallystick.projections.reports.task_report import tasks_report
from tallystick.projections.store.view_store import ViewStore
from tallystick.projections.views import accuracy as accuracy_view
from tallystick.projections.views import agents as agents_view
from tallystick.projections.views import fleet as fleet_view
from tallystick.projections.views import task_rows
from tallystick.projections.views import timeline as chronicle_view
from tallystick.projections.views.accuracy import AccuracyView
from tallystick.projections.views.agents import UNALLOCATED, AgentRow, AgentsView
from tallystick.projections.views.fleet import FleetRow, FleetView
from tallystick.projections.views.task_rows import DayRow, TaskRow
from tallystick.projections.views.tasks import TasksView
from tallystick.projections.views.timeline import TimelineRow, TimelineView


def report_of(keeper: ViewStore, workflow: str | None = None) -> UsageReport:
    """The report on a workflow, or on the whole fleet, as of where the views are.

    Raises:
        NotKept: the rows cannot be read.
    """
    rows = keeper.whole((FleetView.name, AgentsView.name, TimelineView.name, TasksView.name)).rows
    fleet = _fleet(rows[FleetView.name])
    agents = {row.agent: row for row in map(agents_view.decode, rows[AgentsView.name]) if row.state != UNALLOCATED}
    stories = {row.agent: row for row in map(chronicle_view.decode, rows[TimelineView.name])}
    chosen = agents.values() if workflow is None else in_workflow(agents, workflow)
    weights = Rules(restore(fleet.config), PriceList()).weights if fleet.config else {}
    tasks = {row.task: row for row in _tasks(rows[TasksView.name])}
    names = {row.agent for row in chosen}
    own = [row for row in tasks.values() if workflow in (None, row.workflow) or not names.isdisjoint(_payers(row))]
    done = Counter(name for row in own for name in _payers(row) if row.state == "completed")
    lines = [_line(row, stories[row.agent], tasks.get(row.agent), done.get(row.agent)) for row in chosen]
    return report(workflow, fleet, lines, tasks_report(own, fleet.at), weights)


def _payers(task: TaskRow) -> set[str]:
    """The accounts that a task is for: its own, and the one that pays for it."""
    return {task.task} if task.parent is None else {task.task, task.parent}


def _line(row: AgentRow, story: TimelineRow, task: TaskRow | None, done: int | None) -> Line:
    return Line(row, story, task.token_budget if task is not None and row.task else None, done)


def metrics_of(keeper: ViewStore) -> Metrics:
    """The quality metrics as of where the views are.

    Raises:
        NotKept: the rows cannot be read.
    """
    rows = keeper.whole((AccuracyView.name, TasksView.name)).rows
    status = Status(keeper)
    stages = map(accuracy_view.decode, rows[AccuracyView.name])
    return metrics(status.fleet, status.quality, stages, _tasks(rows[TasksView.name]))


def compared_of(keeper: ViewStore) -> list[ComparedTask]:
    """The tasks that were completed on the newest day on record, with what other models would have cost.

    Raises:
        NotKept: the rows cannot be read.
    """
    rows = [task_rows.decode(row) for row in keeper.whole((TasksView.name,)).rows[TasksView.name]]
    began_at = max((row.began_at for row in rows if isinstance(row, DayRow)), default=EPOCH)
    tasks = (row for row in rows if isinstance(row, TaskRow))
    return compared_tasks(task for task in tasks if task.ended_at is not None and task.ended_at >= began_at)


def _tasks(rows: Iterable[bytes]) -> list[TaskRow]:
    return [row for row in map(task_rows.decode, rows) if isinstance(row, TaskRow)]


def _fleet(rows: Iterable[bytes]) -> FleetRow:
    return next(map(fleet_view.decode, rows), FleetRow())
