"""``tallystick metrics``: how budget, slots and the queue did, and how what was foreseen came out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click
import msgspec
from rich.table import Table
from rich.text import Text

from tallystick.cli.common import at_option, console, json_option, json_text, output, reads_option
from tallystick.cli.viewing import moment_of, opened_views
from tallystick.cli.watching import watch_option
from tallystick.config.loader import restore
from tallystick.moments import Moment
from tallystick.projections.reports.quality_metrics import Accuracy, Aimed, Metrics, Starts, metrics_of
from tallystick.projections.reports.resource_metrics import ResourceMetrics, resource_metrics
from tallystick.projections.reports.resource_recommendations import resource_recommendations
from tallystick.projections.reports.status import Status
from tallystick.projections.reports.task_day import TaskDay, minutes
from tallystick.projections.views.fleet import FleetRow
from tallystick.wording import (
    DIMENSION_NAMES,
    NONE,
    counted,
    in_cents,
    number,
    one_line,
    percent,
    shown_time,
    to_two_places,
)

FOLDER: Final = Path(".claude")
DEFAULT_FILE: Final = FOLDER / "memory" / "metrics" / "resource-metrics.json"


@click.command(short_help="Show the quality metrics.")
@reads_option
@at_option
@watch_option
@json_option
@click.option("--write", is_flag=True, help="Write today's resource-metrics.json too, and say where.")
def metrics(store_url: str, at: Moment | None, as_json: bool, write: bool) -> None:
    """Show how well the budget is used and spread, and how often forecasts were right, beside what is aimed at; and of
    the newest day on record how busy the slots were, how long tasks waited, what one costs, and what to change.

    A forecast says at which step (report) a budget will be used up. It is right where it was within 10 % of the step at
    which that happened; the average rate's forecast, made at the same moment, stands beside it.

    --write puts the day's part where other tools look for it: the file that metrics_file in the configuration names, or
    else .claude/memory/metrics/resource-metrics.json, if there is a folder .claude here.

    \b
    Examples:
      tallystick metrics
      tallystick metrics --write
      tallystick metrics --at 2026-03-04T12:00:00Z --json
    """
    with opened_views(store_url, at) as views:
        found, fleet = metrics_of(views), Status(views).fleet
        work = TaskDay(views, moment_of(views, at))
        resources = resource_metrics(work)
    if write:
        click.echo(f"written to {_written(resources, fleet.config)}", err=True)
    if as_json:
        advice = resource_recommendations(work)
        shown = {**msgspec.structs.asdict(found), "resources": resources, "advice": advice}
        if fleet.estimated_settled:
            shown["estimated_holds"] = _estimated(fleet)
        click.echo(json_text(msgspec.to_builtins(shown)))
        return
    screen = console()
    screen.print(_spread(found))
    for provider, bill in found.bills.items():
        screen.print(
            f"Bill of {one_line(provider)} from {bill.first_day} to {bill.last_day}: ${bill.billed_usd},"
            f" {percent(bill.coverage)} explained, {percent(bill.reported)} reported by agents."
        )
    for name, word in DIMENSION_NAMES.items():
        if name in found.forecasts:
            screen.print(_forecasts(word, found.forecasts[name]))
    if not found.forecasts:
        screen.print("No forecast has been scored yet: that takes an agent that uses its budget up.")
    if fleet.estimated_settled:
        holds = _estimated(fleet)
        screen.print(
            f"Of {counted(fleet.estimated_settled, 'hold')} with a learned output {percent(holds['over'])} used more"
            f" than was held, with a quantile of {holds['quantile']}."
        )
    if work.lots:
        _show_resources(work, resources, found.expected_starts)
    screen.print(f"as of {shown_time(fleet.at)}, position {fleet.position:,}")


def _estimated(fleet: FleetRow) -> dict[str, Any]:
    """How often holds whose output was learned were too small, beside the quantile that is in force."""
    return {
        "settled": fleet.estimated_settled,
        "over": round(fleet.estimated_over / fleet.estimated_settled, 6),
        "quantile": str(restore(fleet.config).holds.quantile),
    }


def _written(resources: ResourceMetrics, config: Mapping[str, Any]) -> Path:
    """Where the file was written, whole or not at all.

    Raises:
        ClickException: there is no place for it.
        OSError: it cannot be written.
    """
    configured = config.get("metrics_file")
    if configured is None and not FOLDER.is_dir():
        raise click.ClickException(f"there is no {FOLDER} here: name the file with metrics_file in the configuration")
    file = DEFAULT_FILE if configured is None else Path(configured)
    file.parent.mkdir(parents=True, exist_ok=True)
    with output(file) as stream:
        stream.write(f"{json_text(msgspec.to_builtins(resources))}\n".encode())
    return file


def _show_resources(work: TaskDay, resources: ResourceMetrics, starts: Starts) -> None:
    screen = console()
    date = "" if work.day is None else work.day.date
    table = Table(title=f"tasks and slots on {date}", title_justify="left")
    table.add_column("agent type", overflow="fold")
    for name in ("slots", "busy", "runs", "waited", "longest"):
        table.add_column(name, justify="right")
    slots = work.slots()
    for agent_type in sorted({*slots, *(lot.agent_type for lot in work.lots)}):
        waits, one = work.waits(agent_type), slots.get(agent_type)
        limit = None if one is None else one.limit
        share = None if one is None else one.share
        table.add_row(
            Text(one_line(agent_type)),
            number(limit),
            percent(share),
            f"{waits.runs:,}",
            f"{waits.waited:,}",
            f"{minutes(waits.longest_ms):,} min",
        )
    screen.print(table)
    cost, queue = resources.cost_efficiency, resources.queue_performance
    if cost.cost_per_task is not None:
        dollars = f"{in_cents(cost.cost_per_task)}, {number(cost.tasks_per_dollar)} tasks per dollar"
        screen.print(f"A completed task took {cost.tokens_per_task:,} tokens and {dollars}.")
    if queue.avg_wait_time_minutes is not None:
        part = percent(queue.tasks_that_waited or 0)
        screen.print(f"{part} of the runs waited, {queue.avg_wait_time_minutes:,} minutes on average.")
    if starts.within is not None:
        told = f"{starts.scored:,} of {starts.told:,} tasks with an expected start have started"
        within = f"{percent(starts.within)} within {starts.tolerance_minutes} minutes of it"
        screen.print(f"{told}, {within}; {starts.median_error_minutes:,} minutes off at the median.")
    for text in resources.recommendations:
        screen.print(f"- {one_line(text)}")


def _spread(found: Metrics) -> Table:
    table = Table(title="how the budget is used and spread", title_justify="left")
    table.add_column("metric")
    for name in (*DIMENSION_NAMES.values(), "aim"):
        table.add_column(name, justify="right")
    rows: list[tuple[str, Aimed]] = [
        ("utilization", found.utilization),
        ("fairness", found.fairness),
        ("Jain's index", found.jain),
    ]
    for title, measure in rows:
        values = (to_two_places(getattr(measure, name)) for name in DIMENSION_NAMES)
        table.add_row(title, *values, "" if measure.aim is None else f"≥ {measure.aim:.2f}")
    of_bill = NONE if found.coverage is None else to_two_places(found.coverage)
    table.add_row("coverage by a bill", NONE, NONE, of_bill, "1.00")
    return table


def _forecasts(word: str, accuracy: Accuracy) -> Table:
    table = Table(title=f"forecasts of {word}, by share of the budget consumed", title_justify="left")
    table.add_column("consumed")
    for name in ("scored", "right", "average rate", "in the 80 % interval", "its width"):
        table.add_column(name, justify="right")
    for stage in accuracy.stages:
        table.add_row(
            f"{stage.stage * 10} %",
            f"{stage.scored:,}",
            percent(stage.accuracy),
            percent(stage.baseline),
            percent(stage.covered),
            percent(stage.width),
        )
    table.add_section()
    overall = (accuracy.accuracy, accuracy.baseline, accuracy.covered)
    table.add_row("all", f"{accuracy.scored:,}", *map(percent, overall), "")
    return table
