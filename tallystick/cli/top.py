"""``tallystick top``: a live screen of a fleet."""

import importlib
import os
import sys

import click

from tallystick.cli.common import is_served, reading, reads_option
from tallystick.cli.numbers import Seconds
from tallystick.cli.watching import LEAST_SECONDS, MOST_SECONDS
from tallystick.events.log.store_place import file_of, shown

EVERY_SECONDS = 2.0


@click.command(short_help="Watch a fleet on a live screen.")
@reads_option
@click.option(
    "--every",
    type=Seconds(LEAST_SECONDS, MOST_SECONDS),
    default=EVERY_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How often rates are measured; what is recorded is shown at once.",
)
def top(store_url: str, every: float) -> None:
    """Watch a fleet on a live screen, beside the process that writes it: the agents nearest to exhaustion, how fast
    budgets are used and when they will be empty, the queue, limits, alerts, and events as they come.

    Keys: 1 to 5 change the panel, s sorts, / filters, Enter opens a row, ? lists all keys, q quits. It needs a
    terminal; elsewhere see status --watch and events --follow.

    \b
    Examples:
      tallystick top
      tallystick top --store sqlite:////var/lib/fleet.db --every 5
      tallystick top --url http://127.0.0.1:8321
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or _is_dumb():
        raise click.UsageError("top needs a terminal that can move its cursor; see status --watch and events --follow")
    try:
        live = importlib.import_module("tallystick.top.live")
    except ModuleNotFoundError:  # not on every system
        raise click.ClickException("top needs a Unix terminal; see status --watch and events --follow") from None
    with reading(store_url) as store:
        store.last()  # what is wrong with it is said before the screen is taken
    named = store_url if is_served(store_url) else str(file_of(store_url) or shown(store_url))
    live.show(store_url, named, every)


def _is_dumb() -> bool:
    return os.environ.get("TERM", "") in ("", "dumb", "unknown")
