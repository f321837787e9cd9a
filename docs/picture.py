"""Draws docs/demo.svg, the picture in the README: the live screen of the real demonstration at one moment.

.venv/bin/python docs/picture.py
"""  # noqa: INP001 - a script beside the pages, no package

import io
import logging
import re
import threading
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import structlog
from rich.console import Console
from rich.terminal_theme import TerminalTheme

from tallystick.demo.campaign import Campaign
from tallystick.demo.generate import generate
from tallystick.demo.plan import too_small
from tallystick.demo.screen import Screen
from tallystick.demo.show import run
from tallystick.demo.tally import Tally
from tallystick.events.log.store import open_store

PICTURE: Final = Path(__file__).with_name("demo.svg")
MOMENT: Final = 0.7
"""How much of the work is done in the picture: agents at all levels, a queue that waits for budget, and an alert."""
WIDTH, HEIGHT = 150, 32
THEME: Final = TerminalTheme(
    (22, 24, 29),
    (204, 208, 214),
    [
        (34, 37, 44),
        (224, 92, 92),
        (126, 186, 97),
        (222, 189, 76),
        (86, 133, 207),
        (187, 112, 190),
        (74, 174, 183),
        (204, 208, 214),
    ],
    [
        (98, 104, 115),
        (240, 120, 120),
        (150, 210, 120),
        (240, 210, 110),
        (110, 160, 230),
        (210, 140, 215),
        (110, 200, 210),
        (255, 255, 255),
    ],
)
FONTS: Final = "Menlo, Consolas, DejaVu Sans Mono, Liberation Mono, monospace"
"""A reader's own: the picture asks nobody for a font."""


class Photographer:
    """Looks at the campaign until the moment has come, draws the screen once, and ends the show."""

    def __init__(self, console: Console, tally: Tally, title: str, speed: float, stop: threading.Event) -> None:
        self._console = console
        self._screen = Screen(console, tally, title, speed)
        self._stop = stop

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def look(self, campaign: Campaign) -> None:
        steps = sum(len(agent.run.steps) for agent in campaign.agents)
        if self._stop.is_set() or campaign.steps_settled < steps * MOMENT:
            return
        self._console.print(self._screen.drawn(campaign))
        self._stop.set()


def main() -> None:
    """Run the demonstration up to the moment, and write the picture."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    console = Console(
        record=True,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        width=WIDTH,
        height=HEIGHT,
        highlight=False,
        markup=False,
    )
    workload, tally, stop = generate(), Tally(), threading.Event()
    watcher = Photographer(console, tally, workload.title, workload.lasts_ms / 1000 / 30, stop)
    run(workload, too_small(workload), open_store("memory:"), None, watcher, tally, stop)
    drawn = console.export_svg(title="tallystick demo", theme=THEME)
    drawn = re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)
    PICTURE.write_text(re.sub(r"font-family: [^;]*;", f"font-family: {FONTS};", drawn), encoding="utf-8")


if __name__ == "__main__":
    main()
