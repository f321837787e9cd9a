"""``tallystick alerts``: what operators should know, the newest first."""

import click
from rich.table import Table
from rich.text import Text

from tallystick.cli.common import at_option, console, json_option, json_text, reads_option
from tallystick.cli.completion import agent_names
from tallystick.cli.numbers import WholeNumber
from tallystick.cli.viewing import opened_views
from tallystick.cli.watching import watch_option
from tallystick.moments import Moment
from tallystick.projections.views.alerts import AlertRow
from tallystick.reports.alerts import alert_json, alerts_of
from tallystick.wording import and_more, one_line, shown_time

SHOWN = 20


@click.command(short_help="Show alerts, the newest first.")
@reads_option
@click.option("--agent", metavar="ID", shell_complete=agent_names, help="Only alerts about this agent.")
@click.option("--code", metavar="CODE", help="Only alerts with this code, such as budget_exhausted.")
@click.option(
    "--limit",
    type=WholeNumber(min=1),
    metavar="N",
    help=f"Only the newest N. Without it a table shows {SHOWN}, and --json all.",
)
@at_option
@watch_option
@json_option
def alerts(
    store_url: str, agent: str | None, code: str | None, limit: int | None, at: Moment | None, as_json: bool
) -> None:
    """Show the alerts, the newest first: what happened, and which of the names of `notifications` learned of it.

    \b
    Examples:
      tallystick alerts
      tallystick alerts --agent a-7 --json
      tallystick alerts --code breaker_tripped --at 2026-03-04
    """
    with opened_views(store_url, at) as views:
        rows = alerts_of(views)
    found = [row for row in rows if agent in (None, row.agent) and code in (None, row.code)]
    if as_json:
        click.echo(json_text([alert_json(row) for row in found[:limit]]))
        return
    screen, shown = console(), limit or SHOWN
    if not found:
        screen.print("No alerts." if not rows else "No such alert.")
        return
    screen.print(_table(found[:shown]))
    for line in and_more(len(found), shown, f", older: --limit {len(found)} shows all"):
        screen.print(line)


def _table(rows: list[AlertRow]) -> Table:
    table = Table()
    table.add_column("at")
    table.add_column("alert", overflow="fold")
    for row in rows:
        lines = [Text(one_line(row.message)), Text(f"{row.code}, position {row.position:,}", style="dim")]
        if row.notify:
            parts = [("for", row.notify), ("delivered to", row.delivered), ("not accepted by", row.failed)]
            lines.append(Text("; ".join(f"{what} {', '.join(map(one_line, to))}" for what, to in parts if to)))
        table.add_row(shown_time(row.at), Text("\n").join(lines))
    return table
