"""``--watch``: a view, shown again and again until Ctrl-C."""

import contextlib
import datetime as dt
import functools
import io
import json
import sys
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from tallystick.cli.common import WATCHED_ON
from tallystick.cli.numbers import Seconds
from tallystick.wording import shown_time

Command = TypeVar("Command", bound=Callable[..., Any])

EVERY_SECONDS: Final = 2.0
LEAST_SECONDS: Final = 0.1
MOST_SECONDS: Final = 86_400.0


def watch_option(function: Command) -> Command:
    """``--watch [SECONDS]``, for a command that shows a view.

    On a terminal it is shown in place, elsewhere one block after another; with ``--json`` one document a line.
    """

    @click.option(
        "--watch",
        type=Seconds(LEAST_SECONDS, MOST_SECONDS),
        is_flag=False,
        flag_value=EVERY_SECONDS,
        metavar="[SECONDS]",
        help=f"Show it again and again until Ctrl-C, every {EVERY_SECONDS:g} seconds where none are given.",
    )
    @functools.wraps(function)
    def shown(*args: Any, watch: float | None, **kwargs: Any) -> None:
        if watch is None:
            function(*args, **kwargs)
        elif kwargs.get("at") is not None:
            raise click.UsageError("--watch shows how it goes on, and --at how it was: give one of them")
        else:
            _again_and_again(functools.partial(function, *args, **kwargs), watch, kwargs["as_json"])

    return shown  # type: ignore[return-value]


def _again_and_again(show: Callable[[], None], seconds: float, as_json: bool) -> None:
    screen = Console(highlight=False, markup=False, emoji=False)
    # That is how watching ends: it is no failure.
    with contextlib.suppress(KeyboardInterrupt):
        if as_json or not screen.is_terminal:
            _one_after_another(show, seconds, as_json)
        else:
            _in_place(show, seconds, screen)


def _one_after_another(show: Callable[[], None], seconds: float, as_json: bool) -> None:
    while True:
        text = _printed(show)
        if as_json:
            sys.stdout.write(f"{json.dumps(json.loads(text), ensure_ascii=False)}\n")
        else:
            sys.stdout.write(f"{_now()}\n{text}\n")
        sys.stdout.flush()
        pause(seconds)


def _in_place(show: Callable[[], None], seconds: float, screen: Console) -> None:
    with Live(console=screen, screen=True, auto_refresh=False) as live:
        while True:
            with WATCHED_ON.put(screen):
                text = Text.from_ansi(_printed(show), no_wrap=True, overflow="crop")
            head = Text(f"{_now()}, every {seconds:g} s; Ctrl-C ends it", style="dim")
            live.update(Group(head, text), refresh=True)
            pause(seconds)


def pause(seconds: float) -> None:
    """Wait."""
    time.sleep(seconds)


def _printed(show: Callable[[], None]) -> str:
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        show()
    return text.getvalue()


def _now() -> str:
    return shown_time(dt.datetime.now(dt.UTC))
