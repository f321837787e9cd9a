"""What ``tallystick import`` says at its end."""

from decimal import Decimal
from typing import Any

import click
from rich.table import Table

from tallystick.cli.common import console, json_text
from tallystick.config.amounts import dollars
from tallystick.config.kinds import NAME_MAX
from tallystick.importing.notes import Notes
from tallystick.importing.reporting import Outcome
from tallystick.wording import counted, number, one_line

_MODELS_SHOWN = 10


def show(
    notes: Notes, outcome: Outcome, rates: dict[str, Decimal], cost_nanos: int | None, dry_run: bool, as_json: bool
) -> None:
    """Print what was read and what became of it; what could not be read goes to stderr."""
    for text in (*notes.said(), *outcome.refusals):
        click.echo(f"tallystick: {text}", err=True)
    if outcome.refused > len(outcome.refusals):
        click.echo(f"tallystick: {outcome.refused - len(outcome.refusals):,} more were refused", err=True)
    if as_json:
        click.echo(json_text(_document(notes, outcome, rates, cost_nanos, dry_run)))
        return
    table = Table("", "", title=f"{counted(notes.files, 'file')}, {counted(notes.lines, 'line')}", show_header=False)
    table.columns[1].justify = "right"
    for name, value in _rows(notes, outcome, rates, cost_nanos, dry_run):
        table.add_row(name, value)
    console().print(table)


def _rows(
    notes: Notes, outcome: Outcome, rates: dict[str, Decimal], cost_nanos: int | None, dry_run: bool
) -> list[tuple[str, str]]:
    rows = [(f"dropped: {one_line(why)}", number(count)) for why, count in sorted(notes.dropped.items())]
    if notes.unreadable:
        rows.append(("could not be read", number(notes.unreadable)))
    rows.append(("found", number(notes.calls)))
    would = "would be " if dry_run else ""
    rows.append((f"{would}recorded", number(outcome.recorded)))
    if outcome.recorded:
        rows.append(("  tokens", number(outcome.tokens)))
        if cost_nanos is not None:
            rows.append(("  cost", f"${dollars(cost_nanos)}"))
        rows += [(f"  in {name}, at ${rates[name]:f}", f"{amount:f}") for name, amount in outcome.foreign.items()]
        if outcome.history:
            rows.append(("  of before this budget's period, charged to nothing", number(outcome.history)))
        if outcome.unallocated:
            rows.append(("  without an account, charged to the fleet", number(outcome.unallocated)))
    if outcome.raised:
        rows.append((f"{would}corrected to a larger figure", number(outcome.raised)))
    if outcome.known:
        rows.append(("dropped: recorded already", number(outcome.known)))
    if outcome.refused:
        rows.append((f"{would}refused", number(outcome.refused)))
    models = outcome.unpriced.most_common()
    rows += [
        (f"no price known: {one_line(model[:NAME_MAX])}", number(count)) for model, count in models[:_MODELS_SHOWN]
    ]
    if len(models) > _MODELS_SHOWN:
        rest = sum(count for _, count in models[_MODELS_SHOWN:])
        rows.append((f"no price known: {len(models) - _MODELS_SHOWN} more models", number(rest)))
    return rows


def _document(
    notes: Notes, outcome: Outcome, rates: dict[str, Decimal], cost_nanos: int | None, dry_run: bool
) -> dict[str, Any]:
    document: dict[str, Any] = {
        "dry_run": dry_run,
        "files": notes.files,
        "lines": notes.lines,
        "dropped": dict(sorted(notes.dropped.items())),
        "unreadable": notes.unreadable,
        "found": notes.calls,
        "recorded": outcome.recorded,
        "tokens": outcome.tokens,
        "history": outcome.history,
        "corrected": outcome.raised,
        "known": outcome.known,
        "refused": outcome.refused,
        "unpriced": dict(sorted(outcome.unpriced.items())),
    }
    if cost_nanos is not None:
        document["cost_usd"] = dollars(cost_nanos)
    if outcome.foreign:
        document["currencies"] = {
            name: {"amount": f"{amount:f}", "rate": f"{rates[name]:f}"} for name, amount in outcome.foreign.items()
        }
    return document
