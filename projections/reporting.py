"""Reads reports, metrics and forecasts out of a keeper's rows."""

from collections.abc import Iterable

from tallystick.config.loader import restore
from tallystick.config.prices import PriceList
from tallystick.events.rules import Rules
from tallystick.projections import accuracy_view, agents_view, chronicle_view, fleet_view
from tallystick.projections.accuracy_view import AccuracyView
from tallystick.projections.agents_view import UNALLOCATED, AgentsView
from tallystick.projections.chronicle_view import ChronicleView
from tallystick.projections.fleet_view import FleetRow, FleetView
from tallystick.projections.keeper import Keeper
from tallystick.projections.metrics import Metrics, metrics
from tallystick.projections.report import Line, UsageReport, in_workflow, report
from tallystick.projections.status import Status


def report_of(keeper: Keeper, workflow: str | None = None) -> UsageReport:
    """The report on a workflow, or on the whole fleet, as of where the views are.

    Raises:
        NotKept: the rows cannot be read.
    """
    rows = keeper.whole((FleetView.name, AgentsView.name, ChronicleView.name)).rows
    fleet = _fleet(rows[FleetView.name])
    agents = {
        row.agent: row for row in map(agents_view.decode, rows[AgentsView.name]) if row.state != UNALLOCATED
    }
    stories = {row.agent: row for row in map(chronicle_view.decode, rows[ChronicleView.name])}
    chosen = agents.values() if workflow is None else in_workflow(agents, workflow)
    weights = Rules(restore(fleet.config), PriceList()).weights if fleet.config else {}
    return report(workflow, fleet, [Line(row, stories[row.agent]) for row in chosen], weights)


def metrics_of(keeper: Keeper) -> Metrics:
    """The quality metrics as of where the views are.

    Raises:
        NotKept: the rows cannot be read.
    """
    stages = keeper.whole((AccuracyView.name,)).rows[AccuracyView.name]
    status = Status(keeper)
    return metrics(status.fleet, status.quality, map(accuracy_view.decode, stages))


def _fleet(rows: Iterable[bytes]) -> FleetRow:
    return next(map(fleet_view.decode, rows), FleetRow())
