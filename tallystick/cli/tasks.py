"""``tallystick tasks``: every task, where it stands, how long it waited and ran, and what it used."""

from typing import get_args

import click
import msgspec
from rich.table import Table
from rich.text import Text

from tallystick.cli.common import at_option, console, json_option, json_text, reads_option
from tallystick.cli.numbers import WholeNumber
from tallystick.cli.viewing import moment_of, opened_views
from tallystick.cli.watching import watch_option
from tallystick.events.state.tasks import State
from tallystick.moments import Moment
from tallystick.projections.reports.task_list import ListedTask, listed_tasks
from tallystick.wording import NONE, and_more, edge_amount, number, one_line

SHOWN = 20
_SHORT = {"waiting_on_dependencies": "dependent"}


@click.command(short_help="Show tasks: open ones, and those that ended.")
@reads_option
@click.option("--state", type=click.Choice(get_args(State)), help="Only tasks in this state.")
@click.option("--product", metavar="NAME", help="Only tasks of this product.")
@click.option("--type", "agent_type", metavar="NAME", help="Only tasks of this agent type.")
@click.option(
    "--limit",
    type=WholeNumber(min=1),
    metavar="N",
    help=f"Only the first N. Without it a table shows {SHOWN}, and --json all.",
)
@at_option
@watch_option
@json_option
def tasks(
    store_url: str,
    state: str | None,
    product: str | None,
    agent_type: str | None,
    limit: int | None,
    at: Moment | None,
    as_json: bool,
) -> None:
    """Show the tasks that run, the longest first, then those that wait, then those that ended, the newest first; with
    how long each waited and ran in all, and what it used.

    What waits in which order, and why, shows tallystick queue.

    \b
    Examples:
      tallystick tasks
      tallystick tasks --state failed --product shop
      tallystick tasks --at 2026-03-04T12:00 --json
    """
    with opened_views(store_url, at) as views:
        found = [
            task
            for task in listed_tasks(views, moment_of(views, at))
            if state in (None, task.state) and product in (None, task.product) and agent_type in (None, task.agent_type)
        ]
    if as_json:
        click.echo(json_text(msgspec.to_builtins(found[:limit])))
        return
    screen, shown = console(), limit or SHOWN
    if not found:
        screen.print("No tasks." if (state, product, agent_type) == (None, None, None) else "No such task.")
        return
    screen.print(_table(found[:shown]))
    for line in and_more(len(found), shown, f": --limit {len(found)} shows all"):
        screen.print(line)


def _table(found: list[ListedTask]) -> Table:
    table = Table()
    table.add_column("task", overflow="fold")
    table.add_column("state")
    table.add_column("what", overflow="fold")
    for name in ("waited", "ran", "tokens", "cost"):
        table.add_column(name, justify="right")
    for task in found:
        what = f"{task.agent_type}, {task.product}{'' if task.model is None else f', {task.model}'}"
        lines = [what, *([] if task.reason is None else [task.reason["message"] or task.reason["code"] or ""])]
        table.add_row(
            Text(one_line(task.task)),
            _SHORT.get(task.state, task.state),
            Text("\n".join(map(one_line, lines))),
            f"{task.waited_minutes:,} m",
            f"{task.ran_minutes:,} m",
            number(task.used.get("tokens")),
            edge_amount(task.used["cost_usd"]) if "cost_usd" in task.used else NONE,
        )
    return table
