"""The quality metrics of spec 2 from the log: how well budget is spread and used, and how forecasts came out."""

from collections.abc import Iterable, Mapping
from statistics import median
from typing import Final

import msgspec

from tallystick.config.amounts import EDGE_NAMES
from tallystick.events.decide.answers import stamp
from tallystick.events.decide.bills import bill_statuses
from tallystick.events.messages.bill_status import BillStatus
from tallystick.projections.reports.status import Status
from tallystick.projections.reports.utilization import Measure, Quality
from tallystick.projections.store.view_store import ViewStore
from tallystick.projections.views.accuracy import AccuracyView, StageRow, decode
from tallystick.projections.views.fleet import FleetRow
from tallystick.projections.views.task_rows import TaskRow, tasks_in
from tallystick.projections.views.tasks import TasksView

UTILIZATION_AIM: Final = 0.85
FAIRNESS_AIM: Final = 0.90
ACCURACY_AIM: Final = 0.85
COVERAGE_AIM: Final = 0.80
START_TOLERANCE_MINUTES: Final = 5
"""A task that starts this close to when it was expected to has started as expected."""
_MS_PER_MINUTE: Final = 60_000


class StageAccuracy(msgspec.Struct, frozen=True):
    """How the forecasts came out that were made when ``stage`` tenths of a budget were consumed; shares to 6 places.

    ``accuracy`` is the share within 10 % of the step at which the budget was used up, ``baseline`` the same of the
    average rate; ``covered`` the share of 80 % intervals that held it, ``width`` their mean width as a share of it.
    """

    stage: int
    scored: int
    accuracy: float
    baseline: float
    covered: float
    width: float


class Accuracy(msgspec.Struct, frozen=True):
    """The forecasts of one dimension, over all stages and by stage."""

    scored: int
    accuracy: float
    baseline: float
    covered: float
    stages: list[StageAccuracy]


class Aimed(msgspec.Struct, frozen=True):
    """A measure by dimension, and what it should at least be."""

    aim: float | None
    tokens: float | None
    time_seconds: float | None
    cost_usd: float | None


class Starts(msgspec.Struct, frozen=True):
    """How the expected starts of tasks came out: for ``told`` tasks an expected start was announced, and ``scored`` of
    them have started since.

    Each is scored by the last announcement, at its newest start. ``within`` is the share of those that started within
    ``tolerance_minutes`` of it, earlier or later; the median is of the distances, to 2 places. None where nothing was
    scored.
    """

    told: int
    scored: int
    tolerance_minutes: int
    within: float | None
    median_error_minutes: float | None


class Metrics(msgspec.Struct, frozen=True):
    """All metrics at a position of the log.

    ``coverage`` is what is explained of what was billed, over the newest bill of each provider, to 6 places, rounded
    down: null until one was reconciled. ``bills`` are these bills.
    """

    position: int
    at: str
    utilization: Aimed
    fairness: Aimed
    jain: Aimed
    forecast_accuracy_aim: float
    interval_coverage_aim: float
    forecasts: dict[str, Accuracy]
    coverage: float | None
    expected_starts: Starts
    bills: dict[str, BillStatus]


def metrics_of(views: ViewStore) -> Metrics:
    """The quality metrics as of where the views are.

    Raises:
        NotKept: the rows cannot be read.
    """
    rows = views.whole((AccuracyView.name, TasksView.name)).rows
    status = Status(views)
    stages = map(decode, rows[AccuracyView.name])
    return metrics(status.fleet, status.quality, stages, tasks_in(rows[TasksView.name]))


def metrics(fleet: FleetRow, quality: Quality, stages: Iterable[StageRow], tasks: Iterable[TaskRow]) -> Metrics:
    """The metrics of these rows."""
    by_dimension: dict[str, list[StageRow]] = {}
    for row in stages:
        by_dimension.setdefault(row.dimension, []).append(row)
    return Metrics(
        position=fleet.position,
        at=stamp(fleet.at),
        utilization=_aimed(quality.utilization, UTILIZATION_AIM),
        fairness=_aimed(quality.fairness, FAIRNESS_AIM),
        jain=_aimed(quality.jain, None),
        forecast_accuracy_aim=ACCURACY_AIM,
        interval_coverage_aim=COVERAGE_AIM,
        forecasts=_accuracies(by_dimension),
        coverage=_coverage(fleet),
        expected_starts=_starts(tasks),
        bills=bill_statuses(fleet.bills) or {},
    )


def _starts(tasks: Iterable[TaskRow]) -> Starts:
    announced = [task for task in tasks if task.told]
    errors_ms = [abs(task.late_ms) for task in announced if task.late_ms is not None]
    within = sum(error_ms <= START_TOLERANCE_MINUTES * _MS_PER_MINUTE for error_ms in errors_ms)
    return Starts(
        told=len(announced),
        scored=len(errors_ms),
        tolerance_minutes=START_TOLERANCE_MINUTES,
        within=round(within / len(errors_ms), 6) if errors_ms else None,
        median_error_minutes=round(median(errors_ms) / _MS_PER_MINUTE, 2) if errors_ms else None,
    )


def _coverage(fleet: FleetRow) -> float | None:
    """What is explained of all that was billed."""
    billed = sum(bill.billed for bill in fleet.bills.values())
    if not fleet.bills:
        return None
    return sum(bill.explained for bill in fleet.bills.values()) * 10**6 // billed / 10**6 if billed else 1.0


def _aimed(measure: Measure, aim: float | None) -> Aimed:
    return Aimed(aim, measure.tokens, measure.time_seconds, measure.cost_usd)


def _accuracies(by_dimension: Mapping[str, list[StageRow]]) -> dict[str, Accuracy]:
    return {name: _accuracy(by_dimension[name]) for name in EDGE_NAMES if name in by_dimension}


def _accuracy(rows: list[StageRow]) -> Accuracy:
    scored = sum(row.scored for row in rows)
    return Accuracy(
        scored=scored,
        accuracy=round(sum(row.hits for row in rows) / scored, 6),
        baseline=round(sum(row.baseline_hits for row in rows) / scored, 6),
        covered=round(sum(row.covered for row in rows) / scored, 6),
        stages=[
            StageAccuracy(
                stage=row.stage,
                scored=row.scored,
                accuracy=round(row.hits / row.scored, 6),
                baseline=round(row.baseline_hits / row.scored, 6),
                covered=round(row.covered / row.scored, 6),
                width=round(row.width / row.scored, 6),
            )
            for row in sorted(rows, key=lambda row: row.stage)
        ],
    )
