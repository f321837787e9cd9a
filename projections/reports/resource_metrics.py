"""Seed 000's ``resource-metrics.json``: how slots, money and the queue did today, with its keys and plain numbers."""

import msgspec

from tallystick.config.amounts import NANOS_PER_DOLLAR
from tallystick.projections.reports.resource_recommendations import resource_recommendations
from tallystick.projections.reports.task_day import Number, TaskDay, minutes, whole


class CostEfficiency(msgspec.Struct, frozen=True):
    """Of the tasks that were completed today, with all that they used in all their runs; None where there are none."""

    cost_per_task: Number | None
    tokens_per_task: int | None
    tasks_per_dollar: Number | None


class QueuePerformance(msgspec.Struct, frozen=True):
    """Minutes to one place: the average of those that waited (None where none did), the longest; and which part did."""

    avg_wait_time_minutes: Number | None
    max_wait_time_minutes: Number
    tasks_that_waited: Number | None


class ResourceMetrics(msgspec.Struct, frozen=True):
    """The file's content. ``agent_utilization`` is slot-time busy ÷ slot-time available since the day began, by type;
    None for a type that nothing limits.
    """

    agent_utilization: dict[str, Number | None]
    cost_efficiency: CostEfficiency
    queue_performance: QueuePerformance
    recommendations: list[str]


def resource_metrics(work: TaskDay) -> ResourceMetrics:
    """The metrics of the day."""
    return ResourceMetrics(
        agent_utilization={
            agent_type: None if slots.share is None else plain(slots.share)
            for agent_type, slots in work.slots().items()
        },
        cost_efficiency=_efficiency(work),
        queue_performance=_performance(work),
        recommendations=[found.text for found in resource_recommendations(work)],
    )


def _efficiency(work: TaskDay) -> CostEfficiency:
    done = work.done()
    if not done.tasks:
        return CostEfficiency(None, None, None)
    dollars = done.cost_nanos / NANOS_PER_DOLLAR
    return CostEfficiency(
        plain(dollars / done.tasks), round(done.tokens / done.tasks), plain(done.tasks / dollars) if dollars else None
    )


def _performance(work: TaskDay) -> QueuePerformance:
    waits = work.waits()
    return QueuePerformance(
        avg_wait_time_minutes=minutes(waits.waited_ms / waits.waited) if waits.waited else None,
        max_wait_time_minutes=minutes(waits.longest_ms),
        tasks_that_waited=plain(waits.waited / waits.runs) if waits.runs else None,
    )


def plain(value: float) -> Number:
    """A number to two places, as the seed has them; one below a hundredth to two digits, so that it is not nothing."""
    return whole(round(value, 2) if abs(value) >= 0.01 else float(f"{value:.2g}"))
