"""``tallystick queue``: what waits, best first, and why; and what runs."""

import datetime as dt

import click
from rich.table import Table
from rich.text import Text

from tallystick.cli.common import at_option, console, json_option, json_text, reading, reads_option, state_then
from tallystick.cli.numbers import WholeNumber
from tallystick.cli.watching import watch_option
from tallystick.events.log.restoring import open_ledger
from tallystick.events.messages.task_replies import QueuedTask, QueueStatus, RunningTask
from tallystick.events.state.ledger import Ledger
from tallystick.moments import Moment
from tallystick.reports.queue import queue_json, queue_of
from tallystick.wording import NONE, and_more, one_line

SHOWN = 20
"""Tasks in a table without --limit."""
_LISTED = 100


@click.command(short_help="Show what waits, best first, and what runs.")
@reads_option
@click.option(
    "--limit",
    type=WholeNumber(1, 1_000),
    metavar="N",
    help=f"Only the N foremost of those that wait. Without it a table shows {SHOWN}, and --json {_LISTED}.",
)
@at_option
@watch_option
@json_option
def queue(store_url: str, limit: int | None, at: Moment | None, as_json: bool) -> None:
    """Show the tasks that wait, best first: score and its terms, how long they wait, what is in their way, and when
    they are expected to start; and the tasks that run.

    It is what the message GetQueue answers, read off the log: it works while another process runs the fleet, and
    records nothing. Aged tasks go first, whatever their score; then those of products that recently used no more than
    their share, by score; then the others, by score.

    \b
    Examples:
      tallystick queue
      tallystick queue --json --limit 10
      tallystick queue --at 2026-03-04T12:00:00Z
    """
    with reading(store_url) as store:
        ledger = open_ledger(store).ledger if at is None else state_then(store, at).ledger
    now = dt.datetime.now(dt.UTC) if at is None else at.time or ledger.now
    waiting = ledger.tasks.queued
    found = queue_of(ledger, now, limit or (_LISTED if as_json else SHOWN))
    if as_json:
        click.echo(json_text(queue_json(found)))
    else:
        _show(ledger, found, waiting, max(now, ledger.now))


def _show(ledger: Ledger, found: QueueStatus, waiting: int, now: dt.datetime) -> None:
    screen = console()
    screen.print(_waiting(found.tasks, now) if found.tasks else "Nothing waits for a slot.")
    for line in and_more(waiting, len(found.tasks), " behind them: --limit shows up to 1,000"):
        screen.print(line)
    held_back = ledger.tasks.open - waiting - len(ledger.tasks.running)
    if held_back:
        screen.print(f"{held_back:,} more must first see the tasks completed that they depend on.")
    total = ledger.rules.config.max_concurrent.total
    slots = "" if total is None else f" of {total:,} slots"
    screen.print(_running(found.running, slots, now) if found.running else f"Nothing runs{slots and f': 0{slots}'}.")
    screen.print(f"as of position {ledger.position:,}")


def _waiting(tasks: list[QueuedTask], now: dt.datetime) -> Table:
    """Of each task what it is and what is in its way, and its score above its three terms."""
    table = Table(title="waiting, best first", title_justify="left", caption_justify="left", show_lines=True)
    table.caption = "score: priority + wait + blocking; aged tasks go first, then products within their share"
    table.add_column("task, and why it waits", overflow="fold")
    for name in ("minutes", "score", "expected"):
        table.add_column(name, justify="right")
    for task in tasks:
        terms = task.terms
        told = f"{terms.priority:.3f}+{terms.wait:.3f}+{terms.blocking:.3f}"
        score = f"aged  {task.score:.3f}" if task.aged else f"{task.score:.3f}"
        what = f"{_priority(task)}, {task.agent_type}, {task.product}"
        why = "it can start now" if task.reason is None else task.reason.message
        lines = [Text(one_line(task.task), style="bold"), Text(one_line(what)), Text(one_line(why))]
        if task.expected_start_reason is not None and not task.expected_start_reason.endswith(why):
            lines.append(Text(one_line(task.expected_start_reason)))
        table.add_row(
            Text("\n").join(lines), f"{task.waiting_minutes:,.1f}", f"{score}\n{told}", _when(task.expected_start, now)
        )
    return table


def _priority(task: QueuedTask) -> str:
    """A task's own priority, and what it ranks as where a task that waits for it has a higher one."""
    if not isinstance(task.inherited_from, str):
        return task.priority
    return f"{task.priority} (ranks as {task.effective_priority}, for {task.inherited_from})"


def _running(tasks: list[RunningTask], slots: str, now: dt.datetime) -> Table:
    running = sum(not task.stopping for task in tasks)
    table = Table(title=f"running: {running:,}{slots}", title_justify="left")
    for name in ("task", "what", "model"):
        table.add_column(name, overflow="fold")
    table.add_column("minutes", justify="right")
    table.add_column("lease until", justify="right")
    for task in tasks:
        minutes = (now - dt.datetime.fromisoformat(task.started_at)).total_seconds() / 60
        table.add_row(
            Text(one_line(task.task) + (" (stopping)" if task.stopping else "")),
            Text(one_line(f"{task.agent_type}, {task.product}")),
            Text(one_line(task.model or NONE)),
            f"{minutes:,.1f}",
            _when(task.lease_expires_at, now),
        )
    return table


def _when(at: str | None, now: dt.datetime) -> str:
    """The time of a day, with its date where that is another one."""
    if at is None:
        return NONE
    moment = dt.datetime.fromisoformat(at)
    return f"{moment:%H:%MZ}" if moment.date() == now.date() else f"{moment:%Y-%m-%d %H:%MZ}"
