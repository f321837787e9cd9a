"""``tallystick audit``: prove the log, anchor it, go back in it, ask it why, and hand it on."""

import datetime as dt
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.table import Table

from tallystick.cli.common import (
    MomentType,
    console,
    json_option,
    json_text,
    reading,
    state_then,
    store_option,
)
from tallystick.cli.explain import explain
from tallystick.cli.exporting import export
from tallystick.cli.verify import verify
from tallystick.config.amounts import edge
from tallystick.events import messages as c
from tallystick.events.decide.answers import stamp, status, used
from tallystick.events.decide.queries import get_global_status
from tallystick.events.decide.turn import Turn
from tallystick.events.log.codec import digest_of
from tallystick.events.log.replaying import Replay
from tallystick.events.log.store_place import shown
from tallystick.moments import Moment
from tallystick.wording import amounts, exact_percent, one_line, shown_time


@click.group()
def audit() -> None:
    """Prove what happened, go back to any moment, and ask why.

    \b
    Example:
      tallystick audit verify
    """


audit.add_command(verify)
audit.add_command(explain)
audit.add_command(export)


# --- anchor ----------------------------------------------------------------------------------------------------------


@audit.command(short_help="Print the log's head, to be kept outside.")
@store_option
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), help="Append to this file, kept somewhere else."
)
def anchor(store_url: str, out: Path | None) -> None:
    """Print the log's head as POSITION:DIGEST TIME, to be kept where a writer of the store cannot write.

    An anchor shows later that no record up to it was lost or changed: tallystick audit verify --anchor-file FILE.

    \b
    Example:
      tallystick audit anchor --out /media/elsewhere/anchors.txt
    """
    with reading(store_url) as store:
        last = store.last()
    if last is None:
        raise click.ClickException(f"there is nothing to anchor at {shown(store_url)}: its log is empty")
    line = f"{last.position}:{digest_of(last.data).hex()} {stamp(dt.datetime.now(dt.UTC).replace(microsecond=0))}"
    if out is None:
        click.echo(line)
        return
    with out.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


# --- replay ----------------------------------------------------------------------------------------------------------


@audit.command(short_help="Show the state as it was.")
@click.option("--until", type=MomentType(), required=True, help="The last position, or the last moment, that counts.")
@store_option
@json_option
def replay(until: Moment, store_url: str, as_json: bool) -> None:
    """Show the state as it was: totals, pool, reserve, overdraft, every open account and hold.

    It is replayed from the first record, each proved. What the clock was about to do counts when it was recorded.

    \b
    Examples:
      tallystick audit replay --until 1000
      tallystick audit replay --until 2026-03-04T12:00:00Z --json
    """
    with reading(store_url) as store:
        then = state_then(store, until)
    if as_json:
        click.echo(json_text(_state(then, until)))
    else:
        _show(then)


def _state(then: Replay, until: Moment) -> dict[str, Any]:
    """The whole state in plain values, amounts as every edge shows them."""
    ledger = then.ledger
    turn = Turn(ledger, until.time or ledger.now, "", "")
    fleet = msgspec.to_builtins(get_global_status(turn, c.GetGlobalStatus(limit=0)))
    del fleet["agent_statuses"]
    return {
        "position": ledger.position,
        "at": stamp(ledger.now),
        "digest": then.digest.hex(),
        "fleet": fleet,
        "accounts": [msgspec.to_builtins(status(turn, ledger.accounts[name])) for name in ledger.names],
        "holds": [
            {
                "hold": hold.id,
                "agent": hold.account.id,
                "amount": edge((hold.amount[0] or None, hold.amount[1] or None, hold.amount[2] or None)),
                "expires_at": stamp(hold.expires_at),
            }
            for hold in ledger.holds.values()
        ],
    }


def _show(then: Replay) -> None:
    ledger = then.ledger
    out = console()
    for name, value in (
        ("position", f"{ledger.position:,} at {shown_time(ledger.now)}"),
        ("digest", then.digest.hex()),
        ("total", amounts(ledger.total)),
        ("consumed", amounts(ledger.consumed)),
        ("pool", amounts(ledger.pool)),
        ("reserve", amounts(ledger.in_reserve)),
        ("overdraft", amounts(ledger.overdraft)),
    ):
        out.print(f"{name:<10} {value}", soft_wrap=True)
    if ledger.accounts:
        out.print(_accounts(then))
    if ledger.holds:
        out.print(_holds(then))


def _accounts(then: Replay) -> Table:
    table = Table(box=None, pad_edge=False, title="open accounts", title_justify="left")
    for column in ("agent", "parent", "allocated", "consumed", "remaining", "level", "used"):
        table.add_column(column)
    turn = Turn(then.ledger, then.ledger.now, "", "")
    for name in then.ledger.names:
        account = then.ledger.accounts[name]
        shown = status(turn, account)
        table.add_row(
            one_line(name),
            one_line(shown.parent or ""),
            amounts(account.allocated),
            amounts(used(account)),
            amounts(account.remaining_all()),
            shown.status,
            exact_percent(shown.percentage),
        )
    return table


def _holds(then: Replay) -> Table:
    table = Table(box=None, pad_edge=False, title="holds", title_justify="left")
    for column in ("hold", "agent", "amount", "until"):
        table.add_column(column)
    for hold in then.ledger.holds.values():
        amount = amounts((hold.amount[0] or None, hold.amount[1] or None, hold.amount[2] or None))
        table.add_row(one_line(hold.id), one_line(hold.account.id), amount, shown_time(hold.expires_at))
    return table
