"""What the screen shows, and what each key changes: no terminal and no fleet is needed to try it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

Panel = Literal["agents", "tasks", "limits", "alerts", "events"]
Action = Literal["quit", "suspend", "look"]
PANELS: Final[tuple[Panel, ...]] = ("agents", "tasks", "limits", "alerts", "events")
SORTS: Final[dict[Panel, tuple[str, ...]]] = {
    "agents": ("exhaustion", "used", "tokens/h", "cost/h", "name"),
    "tasks": ("state", "waiting", "tokens", "name"),
    "limits": ("taken", "name"),
    "alerts": ("newest", "oldest"),
    "events": ("newest", "oldest"),
}
FILTER_MAX: Final = 60


class Opened(NamedTuple):
    """What was drilled down into: a row of a panel."""

    panel: Panel
    id: str


@dataclass
class State:
    """Which panel, in which order, of what, and where in it."""

    panel: Panel = "agents"
    sorts: dict[Panel, int] = field(default_factory=dict)
    reversed: bool = False
    filter: str = ""
    is_typing: bool = False
    """The keys are letters of the filter."""
    selected: str | None = None
    """The id of the row, which stays while rows move; None for the first."""
    opened: Opened | None = None
    scrolled: int = 0
    """Lines of what was opened that are above the screen."""
    is_paused: bool = False
    is_help: bool = False

    @property
    def sort(self) -> str:
        return SORTS[self.panel][self.sorts.get(self.panel, 0)]

    def place(self, ids: Sequence[str]) -> int:
        """Where the selected row is; the first where it is gone."""
        return ids.index(self.selected) if self.selected in ids else 0

    def press(self, key: str, ids: Sequence[str], page: int) -> Action | None:
        """Take a key; ``ids`` are those of the panel's rows in their order, ``page`` how many of them are shown."""
        if self.is_typing:
            self._type(key)
        elif key in ("q", "Q"):
            return "quit"
        elif key == "suspend":
            return "suspend"
        elif self.is_help:
            self.is_help = False
        elif key in ("?", "h"):
            self.is_help = True
        elif key == " ":
            self.is_paused = not self.is_paused
        elif self.opened is not None and self._read(key, page):
            pass
        elif key.isdigit() and 1 <= int(key) <= len(PANELS):
            self._go(PANELS[int(key) - 1])
        elif key == "tab":
            self._go(PANELS[(PANELS.index(self.panel) + 1) % len(PANELS)])
        else:
            return self._list(key, ids, page)
        return "look"

    def _type(self, key: str) -> None:
        if key == "enter":
            self.is_typing = False
        elif key == "escape":
            self.is_typing, self.filter = False, ""
        elif key == "backspace":
            self.filter = self.filter[:-1]
        elif len(key) == 1 and len(self.filter) < FILTER_MAX:
            self.filter += key

    def _go(self, panel: Panel) -> None:
        self.panel, self.selected, self.opened, self.reversed, self.filter = panel, None, None, False, ""

    def _read(self, key: str, page: int) -> bool:
        """Take a key while something is opened; whether it meant anything there."""
        steps = {"up": -1, "k": -1, "down": 1, "j": 1, "page up": -page, "page down": page}
        if key in ("escape", "backspace", "enter"):
            self.opened = None
        elif key in steps:
            self.scrolled = max(0, self.scrolled + steps[key])
        elif key == "home":
            self.scrolled = 0
        else:
            return False
        return True

    def _list(self, key: str, ids: Sequence[str], page: int) -> Action | None:
        place, last = self.place(ids), len(ids) - 1
        moves = {
            "up": place - 1,
            "k": place - 1,
            "down": place + 1,
            "j": place + 1,
            "page up": place - page,
            "page down": place + page,
            "home": 0,
            "end": last,
        }
        if key in moves:
            self.selected = ids[max(0, min(last, moves[key]))] if ids else None
        elif key == "s":
            self.sorts[self.panel] = (self.sorts.get(self.panel, 0) + 1) % len(SORTS[self.panel])
        elif key == "r":
            self.reversed = not self.reversed
        elif key == "/":
            self.is_typing, self.filter = True, ""
        elif key == "escape":
            self.filter, self.selected = "", None
        elif key == "enter" and ids:
            self.opened, self.scrolled = Opened(self.panel, ids[place]), 0
        else:
            return None
        return "look"
