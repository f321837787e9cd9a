"""How the webhooks of a fleet stand, as `tallystick status` shows it: out of what is kept beside the log."""

from collections.abc import Mapping
from typing import Any

import msgspec
from rich.table import Table
from rich.text import Text

from tallystick.cli.common import is_served
from tallystick.events.log.store import StoreError
from tallystick.webhooks.progress import Progress, kept_for
from tallystick.wording import one_line


class Shown(msgspec.Struct, omit_defaults=True):
    """A webhook: ``behind`` events of the log are not accepted yet. Without a problem, ``problem`` is left out."""

    webhook: str
    position: int
    behind: int
    passed_over: int
    problem: str | None = None


def progress_of(store_url: str, config: Mapping[str, Any], position: int) -> list[Shown]:
    """How each configured webhook stands; of a server that is asked by its URL, its ``/metrics`` say it.

    Raises:
        StoreError: what is kept cannot be read.
    """
    names = config.get("webhooks", {})
    if not names or is_served(store_url):
        return []
    kept = kept_for(store_url)
    try:
        found = kept.load()
    finally:
        kept.close()
    return [_shown(name, found.get(name, Progress()), position) for name in names]


def _shown(name: str, one: Progress, position: int) -> Shown:
    return Shown(name, one.position, max(0, position - one.position), one.passed_over, one.problem)


def add_webhooks(table: Table, store_url: str, config: Mapping[str, Any], position: int) -> None:
    """A line for each webhook."""
    try:
        shown = progress_of(store_url, config, position)
    except StoreError as error:
        table.add_row("webhooks", Text(one_line(str(error)), style="red"))
        return
    for one in shown:
        words = [f"{one.webhook}: accepted up to position {one.position:,}, {one.behind:,} behind"]
        if one.passed_over:
            words.append(f"{one.passed_over:,} passed over")
        if one.problem is not None:
            words.append(one.problem)
        style = "red" if one.problem is not None else ""
        table.add_row("webhook", Text(one_line("; ".join(words)), style=style))
