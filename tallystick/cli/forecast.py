"""``tallystick forecast``: forecasts of agents, of all of them together, and of the day."""

import datetime as dt

import click
import msgspec
from rich.table import Table
from rich.text import Text

from tallystick.cli.common import at_option, console, json_option, json_text, reads_option
from tallystick.cli.completion import agent_names
from tallystick.cli.viewing import opened_views
from tallystick.cli.watching import watch_option
from tallystick.events.catalog.forecasts import Prediction
from tallystick.moments import Moment
from tallystick.reports.forecasts import AgentForecast, Estimate, Forecasts, forecasts_of
from tallystick.wording import DIMENSION_NAMES, NONE, and_more, edge_amount, one_line, percent

SHOWN = 20
NOT_MEASURED = "not measured yet"


@click.command(short_help="Show forecasts.")
@reads_option
@click.option("--agent", metavar="ID", shell_complete=agent_names, help="One agent only.")
@click.option("--workflow", metavar="NAME", help="Only the agents of this workflow, and those below them.")
@at_option
@watch_option
@json_option
def forecast(store_url: str, agent: str | None, workflow: str | None, at: Moment | None, as_json: bool) -> None:
    """Show at which step (report) each agent's budget will be used up, what all open agents will have used together
    when they have finished, and what the fleet will have used at the end of the day.

    An agent's forecast is the newest that the fleet made: when another tenth of its budget was consumed, when the
    message Forecast asked for it, or when it was acted on. An interval holds the true value in 80 of 100 cases.

    \b
    Examples:
      tallystick forecast
      tallystick forecast --agent a-7 --json
      tallystick forecast --at 2026-03-04T12:00:00Z
    """
    with opened_views(store_url, at) as views:
        found = forecasts_of(views, workflow, dt.datetime.now(dt.UTC) if at is None else at.time)
    if agent is not None:
        found = msgspec.structs.replace(found, agents=[one for one in found.agents if one.agent == agent])
        if not found.agents:
            raise click.ClickException(f"there is no forecast for an open agent {agent!r}: that takes two reports")
    if as_json:
        click.echo(json_text(msgspec.to_builtins(found)))
        return
    screen = console()
    if found.agents:
        screen.print(_agents(found.agents))
        for line in and_more(len(found.agents), SHOWN, ", whose budgets will last longer: --json shows all"):
            screen.print(line)
    else:
        screen.print("There is no forecast for an open agent.")
    if agent is None:
        for table in _sums(found):
            screen.print(table)
    screen.print(f"as of position {found.position:,}")


def _agents(agents: list[AgentForecast]) -> Table:
    table = Table(title="when budgets will be used up, soonest first", title_justify="left")
    table.add_column("agent", overflow="fold")
    table.add_column("budget")
    for name in ("steps so far", "used up at step", "80 % interval", "right at this stage"):
        table.add_column(name, justify="right")
    table.add_column("method")
    table.add_column("made at", justify="right")
    for one in agents[:SHOWN]:
        for place, p in enumerate(one.predictions):
            name, steps = ("", "") if place else (one_line(one.agent), f"{one.steps:,}")
            table.add_row(Text(name), *_prediction(p, steps), f"{one.position:,}")
    return table


def _prediction(p: Prediction, steps: str) -> tuple[str, ...]:
    interval = f"{p.low:,.1f} to {p.high:,.1f}"
    return (
        DIMENSION_NAMES[p.dimension],
        steps,
        f"{p.predicted:,.1f}",
        interval,
        NOT_MEASURED if p.confidence is None else percent(p.confidence),
        p.method.replace("_", " "),
    )


def _sums(found: Forecasts) -> list[Table]:
    tables = []
    if found.together:
        title = f"all agents together, when all have finished ({found.finished:,} have, {found.open:,} have not)"
        tables.append(_estimates(title, found.together))
    if found.day:
        tables.append(_estimates(f"the whole fleet on {found.date} ({found.timezone})", found.day))
    return tables


def _estimates(title: str, estimates: dict[str, Estimate]) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("")
    for name in ("used so far", "expected at the end", "80 % interval"):
        table.add_column(name, justify="right")
    for name, one in estimates.items():
        interval = NONE if one.low is None else f"{edge_amount(one.low)} to {edge_amount(one.high)}"
        table.add_row(DIMENSION_NAMES[name], edge_amount(one.used), edge_amount(one.expected), interval)
    return table
