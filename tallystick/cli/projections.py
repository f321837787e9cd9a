"""``tallystick projections``: what the views of a fleet are, made again beside those that people read, or dropped."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.table import Table
from rich.text import Text

from tallystick.cli.common import console, json_option, json_text, make_way, progress_bar, reading, store_option
from tallystick.events.log.store import Store
from tallystick.events.log.store_place import is_in_memory
from tallystick.projections.store.kept_views import Inventory, KeptViews, Reached
from tallystick.projections.store.projector import is_of
from tallystick.projections.store.rebuilding import Rebuilt, rebuild
from tallystick.projections.store.runner import are_kept, kept_views, place_of
from tallystick.projections.store.view_damage import set_aside
from tallystick.projections.store.view_sides import Difference, Differs, KeptRow
from tallystick.projections.store.view_store import NotKept
from tallystick.projections.views.all_views import ALL_VIEWS, versions_of
from tallystick.wording import NONE, one_line

VERSIONS = versions_of(ALL_VIEWS)
_DIGITS = 12
"""Of a digest, in a table."""
_SHOWN = 80
"""Letters of a value in a sentence."""


class _View(click.Choice[str]):
    """A view by its name; the line of usage does not list all of them."""

    def get_metavar(self, *_: Any, **__: Any) -> None:
        return None


@click.group()
def projections() -> None:
    """What people see of the log: list the views, make them again and compare, or drop them.

    \b
    Example:
      tallystick projections list
    """


@contextlib.contextmanager
def _opened(store_url: str) -> Iterator[KeptViews]:
    """The views that are kept for a store.

    Raises:
        ClickException: the store keeps none.
        NotKept: they cannot be opened.
    """
    views = kept_views(store_url)
    if views is None:
        raise click.ClickException(f"{store_url} keeps no views: name a store like sqlite:///FILE")
    with contextlib.closing(views):
        yield views


# --- list ------------------------------------------------------------------------------------------------------------

_STATES = {
    "current": "up to date",
    "behind": "{behind:,} behind",
    "missing": "not there",
    "older": "of an older version",
    "newer": "of a newer version",
    "foreign": "of another log",
}


@projections.command("list", short_help="Show what views there are.")
@store_option
@json_option
def list_(store_url: str, as_json: bool) -> None:
    """Show each view: its version, how far it has come, its rows, and the SHA-256 of their bytes.

    A view that is behind the log, that is not there, or that is of an older version or of another log, is brought up or
    made when it is next read. The same log shows the same digests at the same position, wherever it is.

    \b
    Examples:
      tallystick projections list
      tallystick projections list --json
    """
    with reading(store_url) as store:
        last = store.last()
        end = 0 if last is None else last.position
        live, rebuilt = _inventories(store_url)
        views = [_listed(view, live, end, _is_foreign(store, live.reached)) for view in {**VERSIONS, **live.views}]
    if as_json:
        growing = rebuilt.position or None
        click.echo(json_text({"log_position": end, "rebuilt_position": growing, "views": views}))
    else:
        _print_list(views, end, rebuilt)


def _inventories(store_url: str) -> tuple[Inventory, Reached]:
    """What is live, and how far a rebuild has come that is under way, or was broken off."""
    if not is_in_memory(store_url) and not are_kept(store_url):
        return Inventory(Reached(0, ""), {}), Reached(0, "")
    with _opened(store_url) as kept, contextlib.closing(kept.beside()) as beside:
        return kept.inventory(progress_bar("reading the views")), beside.reached()


def _is_foreign(store: Store, reached: Reached) -> bool:
    return reached.position > 0 and not is_of(store, *reached)


def _listed(view: str, live: Inventory, end: int, is_foreign: bool) -> dict[str, Any]:
    held, position = live.views.get(view), live.reached.position
    if held is None:
        head = {"view": view, "state": "missing", "version": VERSIONS[view], "position": 0, "behind": end}
        return {**head, "rows": 0, "bytes": 0, "sha256": None}
    if held.version > VERSIONS.get(view, 0):
        state = "newer"
    elif held.version < VERSIONS[view]:
        state = "older"
    elif is_foreign:
        state = "foreign"
    else:
        state = "current" if position == end else "behind"
    behind = end if is_foreign else end - position
    return {"view": view, "state": state, "version": held.version, "position": position, "behind": behind} | {
        "rows": held.rows,
        "bytes": held.bytes,
        "sha256": held.sha256,
    }


def _print_list(views: list[dict[str, Any]], end: int, rebuilt: Reached) -> None:
    table = Table(caption=f"the log ends at position {end:,}")
    for column in ("view", "version", "position", "rows", "bytes"):
        table.add_column(column, justify="left" if column == "view" else "right")
    table.add_column("digest", no_wrap=True)
    table.add_column("state")
    for view in views:
        numbers = (f"{view[name]:,}" for name in ("version", "position", "rows", "bytes"))
        state = _STATES[view["state"]].format(**view)
        table.add_row(Text(one_line(view["view"])), *numbers, (view["sha256"] or NONE)[:_DIGITS], state)
    screen = console()
    screen.print(table)
    if rebuilt.position:
        screen.print(
            f"a rebuild has come to position {rebuilt.position:,}: it is under way, or the next one goes on there"
        )


# --- rebuild ---------------------------------------------------------------------------------------------------------


@projections.command("rebuild", short_help="Make views again, and compare.")
@click.argument("names", nargs=-1, type=_View(sorted(VERSIONS)))
@store_option
@json_option
@click.pass_context
def rebuild_(ctx: click.Context, names: tuple[str, ...], store_url: str, as_json: bool) -> None:
    """Make views (NAMES, or all) again from the first event, beside the live ones, and put them in their place.

    The live views can be read, and moved on, all the while; the log is only read. They are exchanged in one
    transaction, and only if the bytes are the same, or if there was no such view, or one of an older version. On a
    difference the live view stays as it is, and the exit code is 1. A rebuild that was broken off goes on where it was.
    Other processes on the machine go first.

    \b
    Examples:
      tallystick projections rebuild
      tallystick projections rebuild agents
    """
    make_way()  # the fleet whose views these are may be at work on the same machine
    wanted = list(dict.fromkeys(names)) or list(VERSIONS)
    with reading(store_url) as store, _opened(store_url) as kept:
        try:
            rebuilt = rebuild(store, kept, wanted, progress_bar("rebuilding"))
        except Differs as error:
            if as_json:
                click.echo(json_text({"difference": _difference_json(error.difference)}))
            click.echo(f"{ctx.command_path}: {one_line(_difference(error.difference))}", err=True)
            ctx.exit(1)
    if as_json:
        views = [{"view": view, "version": VERSIONS[view], "before": rebuilt.before.get(view)} for view in wanted]
        click.echo(json_text({"position": rebuilt.position, "views": views}))
    else:
        _print_rebuilt(wanted, rebuilt)


def _print_rebuilt(names: list[str], rebuilt: Rebuilt) -> None:
    table = Table(caption=f"rebuilt at position {rebuilt.position:,}")
    for column in ("view", "version", "result"):
        table.add_column(column, overflow="fold")
    for view in names:
        before = rebuilt.before.get(view)
        if before is None:
            result = "made: there was none"
        elif before == VERSIONS[view]:
            result = "the same bytes"
        else:
            result = f"in the place of version {before}"
        table.add_row(view, str(VERSIONS[view]), result)
    console().print(table)


def _difference(found: Difference) -> str:
    """What is not the same, and what can be done."""
    row = found.live or found.rebuilt
    what = f"row {row.id!r}" if row is not None else "a row without an id"
    return (
        f"{found.view}: {what} {_how(found.live, found.rebuilt)}; the live view was left as it is (look at it, then"
        f" `tallystick projections drop {found.view}`: it is made again when it is next read)"
    )


def _how(live: KeptRow | None, rebuilt: KeptRow | None) -> str:
    if rebuilt is None:
        return "is in the live view, and the log does not make it"
    if live is None:
        return "is not in the live view, and the log makes it"
    if live.live != rebuilt.live:
        return f"is marked live={live.live}, and the log makes it live={rebuilt.live}"
    ours, theirs = _content(live), _content(rebuilt)
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name in theirs | ours:
            if ours.get(name) != theirs.get(name):
                return f"says {name} {_short(ours.get(name))}, and the log makes it {_short(theirs.get(name))}"
    return "has other bytes than the log makes"


def _content(row: KeptRow) -> Any:
    """A row's JSON as values, or None where it is none."""
    try:
        return msgspec.json.decode(row.row) if isinstance(row.row, str) else None
    except (msgspec.DecodeError, UnicodeError):
        return None


def _short(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _difference_json(found: Difference) -> dict[str, Any]:
    """Both rows as they are; what is no text was not written by this program."""
    row = found.live or found.rebuilt
    sides = {"live": found.live, "rebuilt": found.rebuilt}
    rows = {name: None if kept is None else str(kept.row) for name, kept in sides.items()}
    return {"view": found.view, "id": None if row is None else str(row.id), **rows}


# --- drop ------------------------------------------------------------------------------------------------------------


@projections.command(short_help="Forget views.")
@click.argument("names", nargs=-1)
@store_option
@json_option
def drop(names: tuple[str, ...], store_url: str, as_json: bool) -> None:
    """Forget views (NAMES, or all). The log is not touched; what is dropped is made again when it is next read.

    A file of views that is damaged is renamed, with all views in it, whatever the NAMES.

    \b
    Examples:
      tallystick projections drop agents
      tallystick projections drop
    """
    with reading(store_url):
        place, aside = place_of(store_url), None
        try:
            dropped = _dropped(store_url, names)
            if not names and place is not None:
                aside = set_aside(Path(place.views))
        except NotKept:
            aside = None if place is None else set_aside(Path(place.views))
            if aside is None:
                raise
            dropped = sorted(VERSIONS)
    if as_json:
        moved = {} if aside is None else {"moved_to": str(aside)}
        click.echo(json_text({"dropped": dropped, **moved}))
    elif aside is not None:
        click.echo(f"the file was damaged: it is now {aside}, and all views are made again when they are next read")
    else:
        click.echo(f"dropped {', '.join(dropped)}" if dropped else "there was nothing to drop")


def _dropped(store_url: str, names: tuple[str, ...]) -> list[str]:
    """Forget views, where they can be read.

    Raises:
        BadParameter: a name is no view's.
        NotKept: they cannot be read or written.
    """
    with _opened(store_url) as kept:
        known = {*VERSIONS, *kept.versions()}
        for name in names:
            if name not in known:
                raise click.BadParameter(f"found {name!r}, allowed are {', '.join(sorted(known))}", param_hint="NAMES")
        return kept.drop(names or None)
