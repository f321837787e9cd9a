"""``tallystick events``: the log, readable, and as it happens."""

import contextlib
import sys
from collections.abc import Iterable, Iterator

import click
import msgspec
from rich.console import Console
from rich.text import Text

from tallystick.cli.common import console, reading, reads_option
from tallystick.cli.completion import agent_names, task_names
from tallystick.cli.numbers import WholeNumber
from tallystick.cli.selecting import EventType, between, refused_option, since_option, until_option
from tallystick.demo.news import news
from tallystick.events.catalog import Event
from tallystick.events.log.codec import exchange_of
from tallystick.events.log.store import Record, Store
from tallystick.explain.one_event import facts
from tallystick.explain.selection import Selection, newest
from tallystick.explain.story import entry
from tallystick.moments import Moment

BEFORE = 10
"""Events from before that --follow begins with, where it is not said since when."""


@click.command(short_help="Show the log, also as it happens.")
@since_option
@until_option
@click.option("--agent", metavar="ID", shell_complete=agent_names, help="Only what names this agent.")
@click.option(
    "--task", metavar="ID", shell_complete=task_names, help="Only what names this task, or the account of its run."
)
@click.option(
    "--type",
    "types",
    type=EventType(),
    multiple=True,
    metavar="TYPE",
    help="Only events of this type, such as level-changed; may be given several times.",
)
@refused_option
@click.option("--limit", "-n", type=WholeNumber(min=1), metavar="N", help="Only the newest N of them.")
@click.option(
    "--follow",
    "-f",
    is_flag=True,
    help=f"Go on with what comes, after the newest {BEFORE}, or those of --limit, or all since --since.",
)
@reads_option
@click.option("--json", "as_json", is_flag=True, help="For machines: one JSON object a line.")
def events(
    since: Moment | None,
    until: Moment | None,
    agent: str | None,
    task: str | None,
    types: tuple[type[Event], ...],
    refused: bool,
    limit: int | None,
    follow: bool,
    store_url: str,
    as_json: bool,
) -> None:
    """Show the log, one event a line: position, time, what happened, and who asked for it.

    It works while another process runs the fleet. With --follow it goes on until Ctrl-C. A time may be a date or a
    minute; without a zone it is in UTC, as all times are shown. What is shown is not proved: see audit verify.

    \b
    Examples:
      tallystick events --follow
      tallystick events --limit 5 --refused
      tallystick events --since 2026-03-04T12:00 --until 2026-03-04T13:00
      tallystick events --agent a-7 --type level-changed --type agent-stopped --json
    """
    if follow and until is not None:
        raise click.UsageError("--follow goes on: it does not go with --until")
    selection = between(since, until)._replace(agent=agent, task=task, types=frozenset(types), refused=refused)
    with reading(store_url) as store:
        if follow:
            # That is how following ends: it is no failure.
            with contextlib.suppress(KeyboardInterrupt):
                _show(_following(store, selection, limit), as_json)
            return
        shown = _show(_there(store, selection, limit), as_json)
    if not shown and not as_json:
        click.echo("No event fits.")


def _there(store: Store, selection: Selection, limit: int | None) -> Iterable[tuple[Record, Event]]:
    """What there is: all of it, or the newest."""
    behind, upto = selection.bounds(store)
    if limit is None:
        return selection.among(store.read(behind, upto))
    end = _end(store)
    return newest(store, selection, limit, end if upto is None else min(upto, end), behind)


def _following(store: Store, selection: Selection, limit: int | None) -> Iterator[tuple[Record, Event]]:
    """What there is, and then what comes."""
    behind, _ = selection.bounds(store)
    if limit is not None or selection.since is None:
        end = _end(store)
        yield from newest(store, selection, limit or BEFORE, end, behind)
        behind = max(behind, end)
    yield from selection.among(store.subscribe(behind))


def _end(store: Store) -> int:
    last = store.last()
    return 0 if last is None else last.position


def _show(found: Iterable[tuple[Record, Event]], as_json: bool) -> bool:
    """Print events, each as it comes; whether there were any."""
    screen = console()
    any_shown = False
    for record, event in found:
        if as_json:
            said = facts(event, record.name) | _trace(record)
            sys.stdout.write(f"{msgspec.json.encode(said).decode()}\n")
        else:
            _print(screen, event)
        sys.stdout.flush()
        any_shown = True
    return any_shown


def _trace(record: Record) -> dict[str, str]:
    """The trace in which the event was asked for, where it is known."""
    trace = exchange_of(record.data).trace if b',"trace":"' in record.data else ""
    return {"trace": trace} if trace else {}


def _print(screen: Console, event: Event) -> None:
    line, item = entry(event).line(), news(event)
    if screen.is_terminal:
        screen.print(Text(line, style="" if item is None else item.style), soft_wrap=True)
    else:
        sys.stdout.write(f"{line}\n")
