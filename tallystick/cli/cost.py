"""``tallystick cost``: what the day costs, against its limits; by what; and the month beside its plan."""

import datetime as dt
from typing import get_args

import click
import msgspec
from rich.table import Table
from rich.text import Text

from tallystick.cli.common import at_option, console, json_option, json_text, reads_option
from tallystick.cli.cost_parts import Dimensions, Span, days_options, show_breakdown
from tallystick.cli.viewing import opened_views
from tallystick.cli.watching import watch_option
from tallystick.moments import Moment
from tallystick.projections.reports.breakdown import Per
from tallystick.projections.reports.cost import Costs, DayCost, MonthCost, Part
from tallystick.projections.reports.model_comparison import ComparedTask, compared_of
from tallystick.projections.reports.status import Status
from tallystick.reports.day_end import projected_eod
from tallystick.wording import NONE, and_more, in_cents, number, one_line

SHOWN = 20
"""Tasks in a table."""


@click.command(short_help="Show what the day and the month cost.")
@reads_option
@click.option(
    "--by",
    type=Dimensions(),
    metavar="product|model|type|agent|label:KEY",
    help="What each of them used, the most expensive first; label:KEY: each value of a label of holds. Several with"
    " commas: each combination.",
)
@click.option("--per", type=click.Choice(get_args(Per)), help="In each hour, day, week or month, in the fleet's zone.")
@days_options
@click.option("--month", is_flag=True, help="The month instead of the day: planned, actual and deviation.")
@click.option("--compare", is_flag=True, help="Each completed task of the day, and what it would have cost elsewhere.")
@at_option
@watch_option
@json_option
def cost(
    store_url: str,
    by: tuple[str, ...] | None,
    per: Per | None,
    since: str | None,
    until: str | None,
    month: bool,
    compare: bool,
    at: Moment | None,
    as_json: bool,
) -> None:
    """Show what the newest day on record used and cost, against its limits, and what it will have cost at its end.

    Days begin at midnight in the fleet's time zone. With --by it says why the costs are what they are; with --month it
    lays the month beside its plan: the total budget, where its period is a month, or else the daily limit on each day.
    With --compare it lays each completed task beside what as many tokens cost on the other models of the catalogue.
    With --per each hour is shown by itself (those of the newest day), or each day (of its month), week or month (all).

    \b
    Examples:
      tallystick cost
      tallystick cost --by product
      tallystick cost --by label:user
      tallystick cost --by product,model --per day
      tallystick cost --by agent --per hour --since 2026-03-04 --until 2026-03-05
      tallystick cost --month --json
      tallystick cost --compare
    """
    spans = per is not None or since is not None or until is not None
    if compare and (by is not None or month or spans):
        raise click.UsageError("--compare goes with none of --by, --month, --per, --since and --until")
    if month and (since is not None or until is not None):
        raise click.UsageError("--month goes with neither --since nor --until")
    with opened_views(store_url, at) as views:
        if compare:
            _show_compared(compared_of(views), as_json)
            return
        if spans or (by is not None and len(by) > 1):
            show_breakdown(views, by or (), per, Span(since, until, month), as_json)
            return
        costs = Costs(views, whole=month)
        now = Status(views).fleet.at if at is not None else dt.datetime.now(dt.UTC)
        found = costs.month() if month else costs.day(projected_eod(views, costs, now))
        parts = None if by is None else costs.by(by[0], costs.month().month if month else None)
    shown = found if parts is None else parts
    if as_json:
        click.echo(json_text(msgspec.to_builtins(shown)))
        return
    screen = console()
    if costs.date is None:
        screen.print("Nothing has been recorded yet.")
    elif parts is not None and by is not None:
        screen.print(_parts(by[0], parts, costs.date[:7] if month else costs.date))
    elif isinstance(found, MonthCost):
        screen.print(_month(found))
    else:
        _day(found, costs.breaker)


def _show_compared(tasks: list[ComparedTask], as_json: bool) -> None:
    if as_json:
        click.echo(json_text(msgspec.to_builtins(tasks)))
        return
    screen = console()
    if not tasks:
        screen.print("No task was completed on the newest day that used tokens of a model with a price.")
        return
    table = Table(title="completed tasks, the most expensive first", title_justify="left")
    table.add_column("task", overflow="fold")
    table.add_column("model", overflow="fold")
    for name in ("tokens", "cost", "on another model"):
        table.add_column(name, justify="right")
    for task in tasks[:SHOWN]:
        others = [f"{one.model} {in_cents(one.cost_usd)}{_saved(one.saved_percent)}" for one in task.instead]
        table.add_row(
            Text(one_line(task.task)),
            Text(one_line(f"{task.model or NONE}{' (critical)' if task.critical else ''}")),
            f"{task.tokens_used:,}",
            in_cents(task.cost_usd),
            Text("\n".join(map(one_line, others))),
        )
    screen.print(table)
    for line in and_more(len(tasks), SHOWN, ", which cost less: --json shows all"):
        screen.print(line)


def _saved(percent: int | None) -> str:
    if percent is None:
        return ""
    return f" (saves {percent} %)" if percent >= 0 else f" ({-percent} % more)"


def _day(day: DayCost, breaker: str | None) -> None:
    table = Table(title=f"{day.date}", title_justify="left")
    for name in ("", "used", "limit", "of it"):
        table.add_column(name, justify="right" if name else "left")
    limits, percents = day.limits, day.percent_used
    table.add_row(
        "tokens",
        f"{day.tokens_used:,}",
        "none" if limits.tokens is None else number(limits.tokens),
        _of_limit(percents.tokens),
    )
    table.add_row(
        "cost",
        in_cents(day.cost_usd),
        "none" if limits.cost is None else in_cents(limits.cost),
        _of_limit(percents.cost),
    )
    screen = console()
    screen.print(table)
    if day.projected_eod is not None:
        screen.print(f"Projected at the end of the day: {in_cents(day.projected_eod)}")
    for told in day.alerts_triggered:
        screen.print(f"{told.time}  {told.message}", markup=False)
    if breaker is not None:
        screen.print(f"The circuit breaker is open: {breaker}", markup=False)


def _month(month: MonthCost) -> Table:
    table = Table(title=f"{month.month}, so far", title_justify="left", show_footer=True)
    table.add_column("day", "all")
    table.add_column("tokens", f"{month.tokens_used:,}", justify="right")
    table.add_column("cost", in_cents(month.actual_usd), justify="right")
    for day in month.days:
        table.add_row(day.date, f"{day.tokens_used:,}", in_cents(day.cost_usd))
    if month.planned_usd is not None:
        percent = "" if month.deviation_percent is None else f", {month.deviation_percent:+.1f} %"
        table.caption = (
            f"planned {in_cents(month.planned_usd)}, actual {in_cents(month.actual_usd)}"
            f" ({in_cents(month.deviation_usd)}{percent})"
        )
        table.caption_justify = "left"
    return table


def _parts(by: str, parts: list[Part], when: str) -> Table:
    table = Table(title=Text(one_line(f"{when}, by {by}")), title_justify="left")
    table.add_column(Text(one_line(by)), overflow="fold")
    for name in ("tokens", "cost", "of all"):
        table.add_column(name, justify="right")
    for part in parts:
        name = "(not said)" if part.name is None else part.name
        table.add_row(Text(one_line(name)), f"{part.tokens_used:,}", in_cents(part.cost_usd), f"{part.percent} %")
    return table


def _of_limit(percent: float | None) -> str:
    return NONE if percent is None else f"{percent} %"
