"""``tallystick audit``: prove the log, anchor it, go back in it, ask it why, and hand it on."""

import contextlib
import datetime as dt
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.table import Table

from tallystick.cli.common import (
    Moment,
    MomentType,
    console,
    json_option,
    json_text,
    reading,
    state_then,
    store_option,
    with_progress,
)
from tallystick.cli.explain import explain
from tallystick.cli.exporting import export
from tallystick.config.amounts import edge
from tallystick.events import messages as c
from tallystick.events.decide.answers import stamp, status, used
from tallystick.events.decide.queries import get_global_status
from tallystick.events.decide.turn import Turn
from tallystick.events.log.audit import Anchor, Replay, Report, Verification
from tallystick.events.log.codec import digest_of
from tallystick.projections.store.runner import place_of
from tallystick.projections.store.view_file import ViewFile
from tallystick.projections.store.view_store import NotKept
from tallystick.wording import amounts, exact_percent, one_line, shown_time


@click.group()
def audit() -> None:
    """Prove what happened, go back to any moment, and ask why.

    \b
    Example:
      tallystick audit verify
    """


audit.add_command(explain)
audit.add_command(export)


_VIEWS = "the file of views"

# --- verify and anchor -----------------------------------------------------------------------------------------------


class AnchorType(click.ParamType[Anchor]):
    """``POSITION:DIGEST``."""

    name = "POSITION:DIGEST"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Anchor:
        try:
            return Anchor.read(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@audit.command(short_help="Prove the whole log.")
@store_option
@click.option("--anchor", type=AnchorType(), help="What `audit anchor` printed earlier.")
@click.option(
    "--anchor-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Many such, one a line."
)
@click.pass_context
def verify(ctx: click.Context, store_url: str, anchor: Anchor | None, anchor_file: Path | None) -> None:
    """Prove the whole log from its first record; exit with 1 and the first bad position where something is wrong.

    Proved are the chain of digests, order and gapless positions, that every event could follow the one before it, that
    all money is where the accounts say it is, and that the snapshots are what a replay adds up to. Nothing that is
    stored is trusted.

    A log cannot show by itself that its tail was cut off, or that all of it was written anew. Keep an anchor outside,
    now and then, and hand it in.

    \b
    Examples:
      tallystick audit verify
      tallystick audit verify --anchor-file anchors.txt
    """
    anchors = [] if anchor is None else [anchor]
    if anchor_file is not None:
        anchors += _anchors_of(anchor_file)
    with reading(store_url) as store:
        last = store.last()
        end = 0 if last is None else last.position
        # Views and snapshots are read first: a writer at work may add some, but none of these is from behind the end.
        verification = Verification(store.snapshots(), [*anchors, *_views(store_url)])
        report = verification.run(with_progress(store.read(), end, "verifying"))
        stray = store.stray()
    lines = list(_reported(report, len(anchors)))
    if stray is not None:
        lines.append(f"not of the log  {stray}")
    click.echo("\n".join(map(one_line, lines)))
    if report.problems or stray is not None:
        first = min(report.problems, key=lambda problem: problem.position, default=None)
        click.echo(f"{ctx.command_path}: {one_line(str(first or stray))}", err=True)
        ctx.exit(1)


def _views(store_url: str) -> list[Anchor]:
    """What the views say they have followed: no proof, because they lie beside the log, but a careless cut shows."""
    place = place_of(store_url)
    if place is None or not Path(place.views).exists():
        return []
    try:
        with contextlib.closing(ViewFile(place.views)) as file:
            position, digest = file.reached()
    except NotKept:
        return []
    return [Anchor.read(f"{position}:{digest}")._replace(by=_VIEWS)] if position else []


def _anchors_of(file: Path) -> list[Anchor]:
    """The anchors of a file, one a line; blank lines are passed over.

    Raises:
        BadParameter: a line is none; its number is named.
    """
    anchors = []
    for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if line.strip():
            try:
                anchors.append(Anchor.read(line))
            except ValueError as error:
                raise click.BadParameter(f"{file}:{number}: {error}", param_hint="'--anchor-file'") from None
    return anchors


def _reported(report: Report, anchors: int) -> list[str]:
    """The findings, a line each."""
    bad = bool(report.problems)
    span = f", {shown_time(report.first_at)} to {shown_time(report.last_at)}" if report.events else ""
    proved = "proved events" if bad else "events"
    lines = [
        f"{proved:<15} {report.events:,}{span}, without a gap, each chained to the one before it",
        f"{'proved up to' if bad else 'head':<15} {report.events}:{report.digest.hex()}",
    ]
    if report.problems:
        lines += [f"{'bad':<15} {problem}" for problem in report.problems]
    if report.proofs:
        lines.append(f"{'conservation':<15} all money accounted for, proved in full {_times(report.proofs)}")
    for checked in report.snapshots:
        lines.append(f"{'snapshot':<15} the one at position {checked.position} {checked.verdict}")
    missing = report.snapshots_recorded - len(report.snapshots)
    if missing > 0:
        lines.append(f"{'snapshot':<15} {missing} older or deleted: not compared, and not needed")
    lines += [f"{'views':<15} agree with the log at position {a.position}" for a in report.agreeing if a.by == _VIEWS]
    lines.append(f"{'anchors':<15} {_anchored(report, anchors)}")
    if not bad:
        lines.append(f"{'result':<15} sound")
    return lines


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _anchored(report: Report, given: int) -> str:
    if not given:
        return (
            "none given, so not checked: whether the tail was cut off, or all of the log was written anew"
            " (tallystick audit anchor --out FILE keeps one)"
        )
    return f"{sum(anchor.by != _VIEWS for anchor in report.agreeing)} of {given} agree with the log"


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
        raise click.ClickException(f"there is nothing to anchor at {store_url}: its log is empty")
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
