"""``tallystick holds``: what is set aside, by whom and until when; and holds that have ended."""

import click
import msgspec
from rich.table import Table
from rich.text import Text

from tallystick.cli.common import at_option, console, json_option, json_text, reading, reads_option, state_then
from tallystick.cli.completion import agent_names
from tallystick.cli.numbers import WholeNumber
from tallystick.cli.viewing import answer_of
from tallystick.cli.watching import watch_option
from tallystick.events.decide.get_holds import get_holds
from tallystick.events.log.restoring import open_ledger
from tallystick.events.messages.replies import EdgeAmounts, Holds, HoldStatus
from tallystick.events.messages.track import GetHolds
from tallystick.moments import Moment
from tallystick.wording import NONE, edge_amount, number, one_line

SHOWN = 100
"""Holds without --limit."""


@click.command(short_help="Show what is set aside, and holds that have ended.")
@reads_option
@click.option("--agent", metavar="ID", shell_complete=agent_names, help="Only the holds of this agent.")
@click.option("--hold", metavar="ID", help="One hold.")
@click.option(
    "--state",
    type=click.Choice(("open", "settled", "cancelled", "expired")),
    help="Only holds in this state; those that have ended are shown while they are remembered.",
)
@click.option("--limit", type=WholeNumber(1, 1_000), default=SHOWN, show_default=True, metavar="N", help="A page.")
@click.option("--after", metavar="ID", help="The page begins after this hold.")
@at_option
@watch_option
@json_option
def holds(store_url: str, limit: int, at: Moment | None, as_json: bool, **asked: str | None) -> None:
    """Show holds in the order of their ids: what was placed, what of it is still held, what was booked, and until when.

    It is what the message GetHolds answers, read off the log: it works while another process runs the fleet, and
    records nothing. A hold whose end is not recorded yet still stands.

    \b
    Examples:
      tallystick holds
      tallystick holds --agent a-7 --state expired
      tallystick holds --hold call-17 --json
    """
    with reading(store_url) as store:
        ledger = open_ledger(store).ledger if at is None else state_then(store, at).ledger
    query = msgspec.convert({"type": "GetHolds", "limit": limit, **asked}, GetHolds)
    found = answer_of(ledger, at, get_holds, query)
    if as_json:
        click.echo(json_text(msgspec.to_builtins(found)))
    else:
        _show(found)


def _show(found: Holds) -> None:
    screen = console()
    if not found.holds:
        screen.print("No such hold.")
        return
    table = Table()
    for name in ("hold, and what for", "agent", "state"):
        table.add_column(name, overflow="fold")
    for name in ("placed", "held", "booked"):
        table.add_column(name, justify="right")
    table.add_column("until", overflow="fold")
    for hold in found.holds:
        table.add_row(
            Text(one_line(_what(hold))),
            Text(one_line(hold.agent)),
            hold.state,
            _amount(hold.placed),
            _amount(hold.held),
            _amount(hold.booked),
            hold.expires_at or hold.ended_at or NONE,
        )
    screen.print(table)
    if found.after is not None:
        screen.print(Text(one_line(f"there are more: --after {found.after}")))


def _what(hold: HoldStatus) -> str:
    labels = ", ".join(f"{key}={value}" for key, value in (hold.labels or {}).items())
    said = [part for part in (hold.operation, labels, hold.reason, hold.ended_reason) if part]
    return hold.hold + (f": {'; '.join(said)}" if said else "")


def _amount(amount: EdgeAmounts) -> str:
    parts = [] if amount.tokens is None else [f"{amount.tokens:,} tokens"]
    parts += [] if amount.time_seconds is None else [f"{number(amount.time_seconds)} s"]
    parts += [] if amount.cost_usd is None else [edge_amount(amount.cost_usd)]
    return ", ".join(parts) or NONE
