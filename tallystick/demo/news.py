"""Which events a watcher sees go by, and in which colour; what they say is `explain`'s."""

from typing import Final, NamedTuple

from tallystick.events import catalog as e
from tallystick.events.state.day import DAILY_ALERTS
from tallystick.explain.row import BRIEF
from tallystick.explain.rows import sentence

LEVEL_STYLES: Final = {
    "green": "green",
    "yellow": "yellow",
    "orange": "dark_orange",
    "red": "bold red",
    "black": "bold white on grey23",
}
_STRONG: Final = "bold red"
_MOVES: Final = "cyan"
_HELP: Final = "magenta"
_FAINT: Final = "dim"
_MS_PER_MINUTE: Final = 60_000


class Item(NamedTuple):
    """A line of news: where it stands in the log, when it was, what to say, and in which colour."""

    position: int
    time: str
    text: str
    style: str


def news(event: e.Event) -> Item | None:
    """The line for an event; None for those that come by the thousand, such as each report."""
    style = _style(event)
    if style is None:
        return None
    return Item(event.position, f"{event.at:%H:%M:%S}", sentence(event, BRIEF), style)


def _style(event: e.Event) -> str | None:
    """The colour of an event; None where it is no news, or follows another that is."""
    match event:
        case e.LevelChanged():
            return LEVEL_STYLES[event.level]
        case e.AlertRaised():
            return _STRONG if event.code in (*DAILY_ALERTS, "budget_exhausted") else None
        case e.TaskCompleted():
            return "red" if event.outcome == "failed" else None
        case e.BudgetAllocated():
            return None if event.for_task else _FAINT
        case e.TaskQueued():
            return _FAINT if event.code is not None else None
        case e.TaskOverdue():
            # A task that may not wait at all is overdue as soon as it is queued.
            return _STRONG if event.waited_ms >= _MS_PER_MINUTE else None
        case e.HoldEnded():
            return _FAINT if event.how == "expired" else None
    return _STYLES.get(type(event))


_STYLES: Final[dict[type[e.Event], str]] = {
    e.TotalBudgetSet: "bold",
    e.TaskStarted: "green",
    e.TaskPreempted: _HELP,
    e.TokenBudgetPassed: "yellow",
    e.LeaseLost: "red",
    e.TaskCancelled: "red",
    e.BreakerTripped: _STRONG,
    e.BreakerClosed: "green",
    e.BudgetReleased: _FAINT,
    e.FleetResponseChanged: _STRONG,
    e.PoolExhausted: _STRONG,
    e.ExhaustionWarned: "yellow",
    e.BudgetMoved: _MOVES,
    e.BudgetDrawn: _MOVES,
    e.UnusedReturned: _MOVES,
    e.UnusedRestored: _MOVES,
    e.ReserveDrawn: _HELP,
    e.Covered: _HELP,
    e.RequestRefused: _FAINT,
}
