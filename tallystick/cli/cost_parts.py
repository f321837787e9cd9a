"""``cost --by A,B --per SPAN``: what each combination used, in each span of time."""

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import click
import msgspec
from rich.table import Table
from rich.text import Text

from tallystick.cli.common import console, json_text
from tallystick.projections.reports.breakdown import PLAIN, Days, Line, Per, breakdown, total_of
from tallystick.projections.reports.cost import Costs, last_of_month
from tallystick.projections.store.view_store import ViewStore
from tallystick.projections.views.cost import LABEL
from tallystick.wording import NONE, and_more, in_cents, one_line

Command = TypeVar("Command", bound=Callable[..., Any])
SHOWN = 100
"""Lines in a table."""
WIDTH = 80
_LEAST = 6
"""Letters of the narrowest column of names."""


class Dimensions(click.ParamType[tuple[str, ...]]):
    """Some of `By`, or ``label:KEY``, with commas between them. A key that holds a comma goes last."""

    name = "by"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        rest, found = str(value), list[str]()
        while rest:
            name, comma, behind = rest.partition(",")
            if name.startswith(LABEL) and behind and not _begins_with_one(behind):
                name, comma, behind = rest, "", ""
            if name not in PLAIN and (not name.startswith(LABEL) or name == LABEL):
                self._refuse(str(value), param, ctx)
            if name in found:
                self.fail(f"{one_line(name)} is named twice", param, ctx)
            found.append(name)
            rest = behind
            if comma and not behind:
                self._refuse(str(value), param, ctx)
        return tuple(found) if found else self._refuse(str(value), param, ctx)

    def _refuse(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        self.fail(f"found {value!r}, allowed is one of {', '.join(PLAIN)}, or {LABEL}KEY", param, ctx)


def _begins_with_one(text: str) -> bool:
    name = text.partition(",")[0]
    return name in PLAIN or (name.startswith(LABEL) and name != LABEL)


class Date(click.ParamType[str]):
    """``2026-03-04``."""

    name = "DATE"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        if not _is_date(text):
            self.fail(f"found {text!r}, allowed is a day like 2026-03-04", param, ctx)
        return text


def days_options(function: Command) -> Command:
    """``--since DATE`` and ``--until DATE``, of which the first may not be later than the second."""

    def take(ctx: click.Context, _: click.Parameter, until: str | None) -> str | None:
        since = ctx.params.get("since")
        if since is not None and until is not None and since > until:
            raise click.UsageError(f"--since and --until: found {since} and {until}, allowed is the earlier day first")
        return until

    since_option = click.option("--since", type=Date(), is_eager=True, help="From this day on, in the fleet's zone.")
    until_option = click.option("--until", type=Date(), callback=take, help="Up to this day.")
    return since_option(until_option(function))


def _is_date(text: str) -> bool:
    try:
        return dt.date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


class Span(NamedTuple):
    """Which days were asked for."""

    since: str | None
    until: str | None
    month: bool


def show_breakdown(views: ViewStore, by: Sequence[str], per: Per | None, span: Span, as_json: bool) -> None:
    """Print what each combination used on these days, as a table or as JSON."""
    costs = Costs(views)
    if costs.date is None:
        click.echo("[]" if as_json else "Nothing has been recorded yet.")
        return
    lines = breakdown(views, by, per, _days(costs.date, per, span), costs.zone, costs.aliases)
    if as_json:
        click.echo(json_text(msgspec.to_builtins(lines)))
        return
    screen = console()
    if not lines:
        screen.print("Nothing was used on these days.")
        return
    screen.print(_table(_title(costs.date, by, per, span), by, per, lines))
    for line in and_more(len(lines), SHOWN, ": --json shows all"):
        screen.print(line)


def _days(newest: str, per: Per | None, span: Span) -> Days:
    """The days that were asked for; else the newest one, its month by days, or all by weeks and months."""
    if span.since is not None or span.until is not None:
        return Days(span.since, span.until)
    if span.month or per == "day":
        return Days(f"{newest[:7]}-01", last_of_month(newest))
    return Days() if per in ("week", "month") else Days(newest, newest)


def _title(newest: str, by: Sequence[str], per: Per | None, span: Span) -> str:
    if span.since is not None or span.until is not None:
        when = " ".join(filter(None, (span.since and f"from {span.since}", span.until and f"up to {span.until}")))
    elif span.month or per == "day":
        when = newest[:7]
    else:
        when = "all days" if per in ("week", "month") else newest
    parts = [when, *([f"by {', '.join(by)}"] if by else []), *([f"per {per}"] if per else [])]
    return one_line(", ".join(parts))


def _table(title: str, by: Sequence[str], per: Per | None, lines: Sequence[Line]) -> Table:
    """One line a combination; the span stands once, before its first line."""
    tokens, cost = total_of(lines)
    shown = lines[:SHOWN]
    when = [_when(line, per) for line in shown]
    figures = [f"{tokens:,}", *(f"{line.tokens_used:,}" for line in shown)]
    money = [in_cents(cost), *(in_cents(line.cost_usd) for line in shown)]
    taken = max(map(len, figures)) + max(map(len, money)) + len("of all") + (max(map(len, when)) if per else 0)
    columns = len(by) + (4 if per else 3)
    room = max(_LEAST, (WIDTH - taken - 3 * columns - 1) // max(1, len(by)))
    table = Table(title=Text(title), title_justify="left", show_footer=True)
    if per is not None:
        table.add_column(per, "all", no_wrap=True)
    for place, name in enumerate(by):
        footer = "all" if per is None and place == 0 else ""
        table.add_column(Text(one_line(name)), footer, overflow="fold", max_width=room)
    table.add_column("tokens", f"{tokens:,}", justify="right", no_wrap=True)
    table.add_column("cost", in_cents(cost), justify="right", no_wrap=True)
    table.add_column("of all" if per is None else "of it", justify="right", no_wrap=True)
    before = None
    for line, text in zip(shown, when, strict=True):
        names = [Text(NONE if name is None else one_line(name)) for name in line.by.values()]
        spans = [] if per is None else ["" if line.per == before else text]
        before = line.per
        table.add_row(*spans, *names, f"{line.tokens_used:,}", in_cents(line.cost_usd), f"{line.percent} %")
    return table


def _when(line: Line, per: Per | None) -> str:
    if line.per is None:
        return ""
    return line.per[:16].replace("T", " ") if per == "hour" else line.per
