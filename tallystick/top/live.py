"""The loop: keys and figures in, a screen out, until it is quit."""

import sys
from typing import Final

from rich.console import Console
from rich.live import Live

from tallystick.top.figures import Reader
from tallystick.top.gathering import Gatherer
from tallystick.top.keys import Hungup, Keys
from tallystick.top.screen import Drawn
from tallystick.top.state import State
from tallystick.top.terminal import Terminal, keys_one_by_one, stop_until_continued

_LOOK_SECONDS: Final = 0.1


def show(store_url: str, named: str, every_seconds: float) -> None:
    """Show a fleet on this terminal until ``q``, Ctrl-C or the terminal's end.

    Raises:
        StoreError, BrokenChain: the store cannot be read (any more); the terminal is as it was before.
    """
    fd = sys.stdin.fileno()
    if hasattr(sys.stdout, "reconfigure"):
        # A terminal that is not UTF-8 shows a mark in the place of what it cannot.
        sys.stdout.reconfigure(errors="replace")
    console = Console(highlight=False, markup=False, emoji=False)
    gatherer = Gatherer(lambda: Reader(store_url), every_seconds)
    with keys_one_by_one(fd) as terminal:
        try:
            with Live(console=console, screen=True, auto_refresh=False, redirect_stderr=False) as live:
                gatherer.start()
                _loop(gatherer, Keys(fd), console, live, terminal, named)
        except (KeyboardInterrupt, Hungup):
            pass  # that is how it ends: it is no failure
        finally:
            gatherer.stop()


def _loop(gatherer: Gatherer, keys: Keys, console: Console, live: Live, terminal: Terminal, named: str) -> None:
    state, shown = State(), None
    before: object = None
    while True:
        newest = gatherer.newest()
        shown = shown if state.is_paused and shown is not None and not _is_opening(state, shown) else newest
        size = console.size
        drawn = Drawn(shown, state, named, size.width, size.height)
        if before != (shown is newest, id(shown), size, repr(state)):
            before = (shown is newest, id(shown), size, repr(state))
            live.update(drawn, refresh=True)
        for key in keys.read(_LOOK_SECONDS):
            action = state.press(key, drawn.ids, drawn.page)
            if action == "quit":
                return
            if action == "suspend":
                live.stop()
                terminal.leave()
                stop_until_continued()
                terminal.enter()
                live.start()
                before = None
            gatherer.want(state.opened)


def _is_opening(state: State, shown: object) -> bool:
    """What was opened while the screen is held still has to be read first."""
    details = getattr(shown, "details", None)
    return state.opened is not None and (details is None or details.opened != state.opened)
