"""``tallystick metrics``: how well the budget is spread and used, and how the forecasts came out."""

import click
import msgspec
from rich.table import Table

from tallystick.cli.common import Moment, at_option, console, json_option, shown_time, store_option
from tallystick.cli.common import as_json as json_text
from tallystick.cli.viewing import views
from tallystick.projections.metrics import Accuracy, Aimed, Metrics
from tallystick.projections.reporting import metrics_of
from tallystick.projections.status import Status

_DIMENSIONS = (("tokens", "tokens"), ("time_seconds", "time"), ("cost_usd", "cost"))


@click.command(short_help="Show the quality metrics.")
@store_option
@at_option
@json_option
def metrics(store_url: str, at: Moment | None, as_json: bool) -> None:
    """Show how well the budget is used and spread, and how often forecasts were right, beside what is aimed at.

    A forecast says at which step (report) a budget will be used up. It is right where it was within 10 % of the step at
    which that happened; the average rate's forecast, made at the same moment, stands beside it.

    \b
    Examples:
      tallystick metrics
      tallystick metrics --at 2026-03-04T12:00:00Z --json
    """
    with views(store_url, at) as keeper:
        found, moment = metrics_of(keeper), Status(keeper).fleet
    if as_json:
        click.echo(json_text(msgspec.to_builtins(found)))
        return
    screen = console()
    screen.print(_spread(found))
    for name, word in _DIMENSIONS:
        if name in found.forecasts:
            screen.print(_forecasts(word, found.forecasts[name]))
    if not found.forecasts:
        screen.print("No forecast has been scored yet: that takes an agent that uses its budget up.")
    screen.print(f"as of {shown_time(moment.at)}, position {moment.position:,}")


def _spread(found: Metrics) -> Table:
    table = Table(title="how the budget is used and spread", title_justify="left")
    table.add_column("metric")
    for name in (*(word for _, word in _DIMENSIONS), "aim"):
        table.add_column(name, justify="right")
    rows: list[tuple[str, Aimed]] = [
        ("utilization", found.utilization),
        ("fairness", found.fairness),
        ("Jain's index", found.jain),
    ]
    for title, measure in rows:
        values = (_number(getattr(measure, name)) for name, _ in _DIMENSIONS)
        table.add_row(title, *values, "" if measure.aim is None else f"≥ {measure.aim:.2f}")
    table.add_row("coverage by a bill", *["–"] * 3, "1.00")
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
            _percent(stage.accuracy),
            _percent(stage.baseline),
            _percent(stage.covered),
            _percent(stage.width),
        )
    table.add_section()
    overall = (accuracy.accuracy, accuracy.baseline, accuracy.covered)
    table.add_row("all", f"{accuracy.scored:,}", *map(_percent, overall), "")
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _percent(share: float) -> str:
    return f"{int(share * 100)} %"
