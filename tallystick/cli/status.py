"""``tallystick status``: how the fleet and its agents stand, now or as it was then."""

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import click
import msgspec
from rich.table import Table
from rich.text import Text

from tallystick.cli.burning import add_burn
from tallystick.cli.common import at_option, console, json_option, json_text, reads_option
from tallystick.cli.completion import agent_names
from tallystick.cli.numbers import WholeNumber
from tallystick.cli.viewing import counted, opened_views
from tallystick.cli.watching import watch_option
from tallystick.cli.webhooks import add_webhooks, progress_of
from tallystick.config.amounts import DIMENSIONS, EDGE_NAMES, Amounts, Triple, cents, percent
from tallystick.config.total_budget import addresses
from tallystick.events.state.money import money
from tallystick.moments import Moment
from tallystick.projections.reports.burn import Burn, Pace
from tallystick.projections.reports.cost import Costs
from tallystick.projections.reports.query_adapter import QueryAdapter
from tallystick.projections.reports.status import Status
from tallystick.projections.reports.task_day import TaskDay
from tallystick.projections.reports.utilization import Measure
from tallystick.projections.views.agent_rows import AgentRow
from tallystick.reports.status import agent_json, limits_of_account, status_json
from tallystick.wording import (
    DIMENSION_NAMES,
    NONE,
    amount,
    and_more,
    one_line,
    rounded_amounts,
    shown_time,
    text_of_limit,
)

COLOURS = {"green": "green", "yellow": "yellow", "orange": "dark_orange", "red": "red", "black": "bold reverse"}
_UNITS = ("tokens", "seconds", "cost")
SHOWN = 20
"""Agents in a table without --limit."""


@click.command()
@reads_option
@click.option("--agent", metavar="ID", shell_complete=agent_names, help="One agent only, also one that was released.")
@at_option
@watch_option
@click.option(
    "--limit",
    type=WholeNumber(min=1),
    metavar="N",
    help=f"Only the N most used agents. Without it a table shows {SHOWN}, and --json all.",
)
@json_option
def status(store_url: str, agent: str | None, at: Moment | None, limit: int | None, as_json: bool) -> None:
    """Show how the fleet and its agents stand: who has used how much, and what is left.

    It works while another process runs the fleet. What was read is kept beside the log, in a file that may be deleted
    at any time.

    \b
    Examples:
      tallystick status
      tallystick status --agent a-7 --json
      tallystick status --at 2026-03-04T12:00:00Z
    """
    with opened_views(store_url, at) as views:
        found = Status(views)
        now = _now(found, at)
        queries, work, costs = found.queries(now), TaskDay(views, now), Costs(views)
        pace = Pace(views, found, now)
        if queries.rules.limits or any(row.limits for row in found.agents.values()):
            queries.count_limits(counted(store_url, at))
            # Of accounts without a carve-out, views have what was so at the last change of level.
            found.agents = {name: queries.as_counted(row) for name, row in found.agents.items()}
        if agent is not None:
            _show_agent(found, queries, agent, pace, as_json)
        elif as_json:
            known = progress_of(store_url, found.fleet.config, found.fleet.position) if at is None else []
            more = {"webhooks": known} if known else {}
            _print_json({**msgspec.to_builtins(status_json(found, queries, work, costs, pace, limit)), **more})
        else:
            table = _fleet_table(found, queries, work, costs.breaker, pace.fleet())
            if at is None:
                add_webhooks(table, store_url, found.fleet.config, found.fleet.position)
            console().print(table)
            _print_agents(found, queries, limit or SHOWN)


def _now(found: Status, at: Moment | None) -> dt.datetime:
    """The moment that idle times and waits are measured to."""
    if at is None:
        return dt.datetime.now(dt.UTC)
    return found.fleet.at if at.time is None else at.time


# --- for machines ----------------------------------------------------------------------------------------------------


def _print_json(value: Any) -> None:
    click.echo(json_text(msgspec.to_builtins(value)))


# --- for people ------------------------------------------------------------------------------------------------------


def _show_agent(found: Status, queries: QueryAdapter, id: str, pace: Pace, as_json: bool) -> None:
    row = found.agent(id)
    if row is None:
        raise click.ClickException(f"no agent {id!r} was ever seen here: `tallystick status` lists those there are")
    answered = agent_json(row, queries if id in found.agents else None)
    burn = pace.agent(row) if id in found.agents else None
    answered["burn"] = msgspec.to_builtins(burn)
    if as_json:
        _print_json(answered)
        return
    table = _grid()
    for name, value in answered.items():
        if isinstance(getattr(row, name, None), Amounts):
            exact = _triple(value) if row.limits and isinstance(value, dict) else getattr(row, name).triple
            table.add_row(_label(name), Text(rounded_amounts(exact)))
        elif name in ("covered", "subtree", "child"):
            _add_shared(table, name, value, answered)
        elif name == "percentage":
            table.add_row("used", f"{int(value * 100) if row.limits else used_percent(row)} %")
        elif name == "status":
            table.add_row("level", level_text(row.level))
        elif name == "burn":
            if burn is not None:
                add_burn(table, burn)
        elif name in ("limits", "obstacles"):
            _add_bounds(table, name, row, value)
        elif value is not None:
            table.add_row(_label(name), Text(one_line(str(value))))
    console().print(table)


def _add_bounds(table: Table, name: str, row: AgentRow, obstacles: Any) -> None:
    """Its limits, or what would refuse its next hold."""
    if name == "limits":
        for limit, one in limits_of_account(row):
            table.add_row("limit", Text(one_line(f"{limit}: {text_of_limit(one)}")))
        return
    for obstacle in obstacles or ():
        table.add_row("in the way", Text(one_line(f"{obstacle['code']}: {obstacle['detail']}"), style="yellow"))


def _add_shared(table: Table, name: str, value: Any, answered: Mapping[str, Any]) -> None:
    """What others pay for the account, what is used and held below it, and whose total it is, where there is any."""
    if name == "child":
        if value is not None:
            number, booked = f"{value['number']:,}", f"{value['booked']:,}"
            text = f"{value['fleet'] or 'not heard of yet'}; booked: use up to position {booked}, request {number}"
            table.add_row("total of the fleet", Text(one_line(text)))
        return
    if name == "covered":
        if any(_triple(value)):
            table.add_row("covered", Text(f"{rounded_amounts(_triple(value))}, paid by other budgets"))
    elif value not in (None, {"consumed": answered["consumed"], "held": answered["held"]}):
        used, held = (rounded_amounts(_triple(value[part])) for part in ("consumed", "held"))
        table.add_row("with sub-agents", Text(f"{used} used; {held} held"))


def _triple(edge: Mapping[str, Any]) -> Triple:
    """The units of amounts that a reply shows; None where it shows none."""
    tokens, seconds, cost = (None if (found := edge.get(name)) is None else Decimal(str(found)) for name in EDGE_NAMES)
    return (
        None if tokens is None else int(tokens),
        None if seconds is None else int(seconds * 1_000),
        None if cost is None else int(cost * 1_000_000_000),
    )


def _print_agents(found: Status, queries: QueryAdapter, limit: int) -> None:
    screen, rows = console(), found.by_use()
    if rows:
        screen.print(_agents_table(rows[:limit], queries))
    for line in and_more(len(rows), limit, f", less used: --limit {len(rows)} shows all"):
        screen.print(line)
    for model, cost_nanos in sorted(found.fleet.unpriced.items()):
        text = f"unpriced: {model} has no price; {cents(cost_nanos)} is a guess until prices.yml names it"
        screen.print(Text(one_line(text), style="yellow"))
    for row in found.unallocated:
        text = f"unallocated: {row.agent} used {rounded_amounts(row.consumed.triple)} without an account"
        screen.print(Text(one_line(text), style="yellow"))


def _fleet_table(found: Status, queries: QueryAdapter, work: TaskDay, breaker: str | None, burn: Burn) -> Table:
    fleet, reply, quality = found.fleet, queries.global_status(), found.quality
    granted = money(fleet.allocated.triple)
    limits = fleet.total.triple
    table = _grid()
    for name, units in (
        ("total", limits),
        ("allocated", tuple(None if limits[d] is None else granted[d] for d in DIMENSIONS)),
        ("consumed", fleet.consumed.triple),
        ("pool", fleet.pool.triple),
        ("reserve", fleet.reserve.triple),
        ("overdraft", fleet.overdraft.triple),
    ):
        table.add_row(name, rounded_amounts((units[0], units[1], units[2])))
    add_burn(table, burn)
    table.add_row("pressure", f"{percent(round(reply.pressure * 1_000_000), 1_000_000)} %")
    table.add_row("response", reply.response)
    table.add_row("paused", Text(one_line(fleet.why_paused), style="red") if reply.paused else "no")
    if (settings := fleet.config.get("delegate")) is not None:
        where = ", ".join(addresses(settings["parent"]))
        table.add_row("parent", Text(one_line(f"account {settings['account']} at {where}")))
        there, back = rounded_amounts(fleet.granted.triple), rounded_amounts(fleet.given_back.triple)
        text = f"{there} in all, {back} given back; use booked up to position {fleet.booked:,}"
        if fleet.granted == Amounts():
            text = "nothing that this fleet has heard of"
        table.add_row("granted there", Text(text))
    for name, reason in fleet.given_up.items():
        table.add_row("given up", Text(one_line(f"{name}: {reason}"), style="red"))
    if apart := reply.clock_apart_seconds:
        way = "ahead of the fleet's time; see AcceptClock" if apart > 0 else "behind the fleet's time"
        table.add_row("clock", Text(f"{abs(apart):,} s {way}", style="red"))
    if breaker is not None:
        table.add_row("breaker", Text(f"open: {one_line(breaker)}", style="red"))
    if work.running or work.waiting:
        table.add_row("tasks", f"{len(work.running):,} running, {len(work.waiting):,} waiting for a slot")
    counts = Text(", ").join(
        level_text(level, f"{count:,} {level}") for level, count in found.levels().items() if count
    )
    table.add_row("agents", Text.assemble(f"{reply.agent_count:,}", " open" if not counts else " open: ", counts))
    for name, measure in (
        ("utilization", quality.utilization),
        ("fairness", quality.fairness),
        ("Jain's index", quality.jain),
    ):
        table.add_row(name, _measured(measure))
    moment = f"{shown_time(fleet.at)}, position {fleet.position:,}" if fleet.position else "nothing was recorded yet"
    table.add_row("as of", moment)
    return table


def _agents_table(rows: list[AgentRow], queries: QueryAdapter) -> Table:
    """Consumed of allocated, in every dimension that one of the agents limits or has used."""
    dims = [d for d in DIMENSIONS if any(row.consumed.triple[d] is not None for row in rows)]
    table = Table(caption="consumed of allocated" if dims else None)
    table.add_column("agent", overflow="fold")
    for name in ("level", "action"):
        table.add_column(name)
    for name in ("used", *(_UNITS[d] for d in dims)):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            Text(one_line(row.agent)),
            level_text(row.level),
            queries.budget_status(row.agent).action,
            f"{used_percent(row)} %",
            *(_of(row.consumed.triple[d], row.allocated.triple[d], d) for d in dims),
        )
    return table


def _of(consumed: int | None, allocated: int | None, d: int) -> str:
    if consumed is None:
        return NONE
    return amount(consumed, d) + ("" if allocated is None else f" of {amount(allocated, d)}")


def _grid() -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    return table


def _label(name: str) -> str:
    return name.replace("_", " ")


def level_text(level: str, text: str | None = None) -> Text:
    """A level in its colour; ``text`` in its place."""
    return Text(text or level, style=COLOURS[level])


def used_percent(row: AgentRow) -> int:
    """What an agent used of its own budget, floored, in the dimension that is used most; without a carve-out of its
    limits.
    """
    if row.limits and row.allocated == Amounts():
        return int(row.percentage * 100)
    given_back, delegated = money(row.given_back.triple), money(row.delegated.triple)
    consumed, limits = money(row.consumed.triple), row.allocated.triple
    return max(
        (
            percent(consumed[d], limit + given_back[d] - delegated[d])
            for d in DIMENSIONS
            if (limit := limits[d]) is not None
        ),
        default=0,
    )


def _measured(measure: Measure) -> str:
    values = ((getattr(measure, dimension), name) for dimension, name in DIMENSION_NAMES.items())
    return ", ".join(f"{value:.2f} {name}" for value, name in values if value is not None) or NONE
