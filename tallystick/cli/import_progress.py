"""How far an import is, on stderr, where a person may look and it takes a while."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from tallystick.cli.common import with_progress
from tallystick.importing.used import Used

_PATIENCE_SECONDS: Final = 1.0


@contextmanager
def reading(total: int) -> Iterator[Callable[[int], None]]:
    """A bar of the bytes that are read; what is given is called with how many more."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    began, done = time.monotonic(), 0
    with ExitStack() as stack:
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
        bar = Progress(*columns, console=console, transient=True)
        task = bar.add_task("reading", total=total)
        shown = False

        def moved(more: int) -> None:
            nonlocal done, shown
            done += more
            if not shown and time.monotonic() - began > _PATIENCE_SECONDS:
                stack.enter_context(bar)
                shown = True
            bar.update(task, completed=done)

        yield moved


def reporting(uses: Iterator[Used], total: int) -> Iterator[Used]:
    """A bar of the uses that are reported."""
    return with_progress(uses, total, "reporting")
