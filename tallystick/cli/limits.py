"""``tallystick limits``: how the limits stand, nearest to exhaustion first."""

import click
import msgspec
from rich.table import Table
from rich.text import Text

from tallystick.cli.common import at_option, console, json_option, json_text, reads_option
from tallystick.cli.completion import agent_names
from tallystick.cli.numbers import WholeNumber
from tallystick.cli.viewing import answer_of, counted
from tallystick.cli.watching import watch_option
from tallystick.events.decide.limit_status import get_limits
from tallystick.events.messages.limit_replies import LimitStatus, LimitStatuses
from tallystick.events.messages.track import GetLimits
from tallystick.moments import Moment
from tallystick.wording import NONE, edge_amount, number, one_line, percent

SHOWN = 100
"""Counters without --count."""
_ANY_WIDTH = 10_000


@click.command(short_help="Show how limits stand, nearest to exhaustion first.")
@reads_option
@click.option(
    "--agent",
    metavar="ID",
    shell_complete=agent_names,
    help="Only the limits that this agent's next operation would count in.",
)
@click.option("--limit", metavar="NAME", help="Only this limit.")
@click.option("--value", metavar="VALUE", help="With --limit: only this value of its scope.")
@click.option("--after", metavar="VALUE", help="With --limit: its counters by value, those behind this one.")
@click.option("--count", type=WholeNumber(1, 1_000), default=SHOWN, show_default=True, metavar="N", help="At most.")
@at_option
@watch_option
@json_option
def limits(store_url: str, count: int, at: Moment | None, as_json: bool, **asked: str | None) -> None:
    """Show the counters of limits: what is used, held and left in each window.

    It is what the message GetLimits answers, read off the log: it works while another process runs the fleet, and
    records nothing.

    \b
    Examples:
      tallystick limits
      tallystick limits --agent a-7
      tallystick limits --limit user-day --value ann --json
      tallystick limits --limit user-day --after '' --count 1000
    """
    if asked["limit"] is None and (asked["value"] is not None or asked["after"] is not None):
        raise click.UsageError("--value and --after: found without --limit, allowed is beside it only")
    ledger = counted(store_url, at)
    query = msgspec.convert({"type": "GetLimits", "count": count, **asked}, GetLimits)
    found = answer_of(ledger, at, get_limits, query)
    if as_json:
        click.echo(json_text(msgspec.to_builtins(found)))
    else:
        _show(found)


def _show(found: LimitStatuses) -> None:
    screen = console()
    if not found.limits:
        screen.print("No limits.")
        return
    table = _wide(found)
    if screen.measure(table, options=screen.options.update(width=_ANY_WIDTH)).maximum > screen.width:
        table = _narrow(found)
    screen.print(table)
    if found.counters > len(found.limits):
        screen.print(Text(f"{found.counters:,} counters in all"))


def _wide(found: LimitStatuses) -> Table:
    table = Table()
    for name in ("limit", "of", "window"):
        table.add_column(name, overflow="fold")
    for name in ("taken", "used", "held", "left", "max"):
        table.add_column(name, justify="right")
    table.add_column("until")
    table.add_column("then")
    for one in found.limits:
        table.add_row(
            Text(one_line(one.limit)),
            Text(one_line(one.value or NONE)),
            one.window,
            percent(one.percentage),
            amounts_of(one.used),
            amounts_of(one.held),
            amounts_of(one.left),
            amounts_of(one.max),
            one.ends_at or NONE,
            _then(one),
        )
    return table


def _narrow(found: LimitStatuses) -> Table:
    """For a terminal that ten columns do not fit. The maximum is left out: it is what the three amounts add up to."""
    table = Table()
    table.add_column("limit, of what,\nuntil when, and then", overflow="fold")
    for name in ("taken", "used", "held", "left"):
        table.add_column(name, justify="right", overflow="fold")
    for one in found.limits:
        value = one_line(one.value or NONE)
        about = (one_line(one.limit), f"{value}, {one.window}", one.ends_at or NONE, _then(one))
        table.add_row(
            Text("\n".join(about)),
            percent(one.percentage),
            amounts_of(one.used),
            amounts_of(one.held),
            amounts_of(one.left),
            end_section=True,
        )
    return table


def _then(one: LimitStatus) -> str:
    then = one.then if one.raised_until is None else f"{one.then} (raised until {one.raised_until})"
    return then if one.rate_limited_until is None else f"{then} (rate limited until {one.rate_limited_until})"


def amounts_of(by_measure: dict[str, int | float | str]) -> str:
    """Amounts by measure, one a line."""
    return "\n".join(_amount(measure, value) for measure, value in by_measure.items()) or NONE


def _amount(measure: str, value: float | str) -> str:
    if isinstance(value, str):
        return edge_amount(value)
    return f"{number(value)} {'s' if measure == 'time_seconds' else measure.replace('_', ' ')}"
