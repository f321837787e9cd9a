"""What happened, in a few plain words: one short line per event that a watcher may care for."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from tallystick.config.amounts import Amounts, Triple
from tallystick.config.amounts import percent as percent_of
from tallystick.events import catalog as e
from tallystick.events.state.accounts import OVERDRAFT, POOL, RESERVE
from tallystick.events.state.day import DAILY_ALERTS
from tallystick.wording import compact, minutes_and_seconds, percent, short_amounts

UNITS: Final = {"tokens": "tokens", "time_seconds": "time", "cost_usd": "dollars"}
LEVEL_STYLES: Final = {
    "green": "green",
    "yellow": "yellow",
    "orange": "dark_orange",
    "red": "bold red",
    "black": "bold white on grey23",
}
INTERNAL: Final = (POOL, RESERVE, OVERDRAFT)
_STRONG: Final = "bold red"
_MOVES: Final = "cyan"
_FAINT: Final = "dim"


class Item(NamedTuple):
    """A line of news: where it stands in the log, when it was, what to say, and in which colour."""

    position: int
    time: str
    text: str
    style: str


def news(event: e.Event) -> Item | None:
    """The line for an event; None for those that come by the thousand, such as each report."""
    tell = _TELLERS.get(type(event))
    told = None if tell is None else tell(event)
    if told is None:
        return None
    text, style = told
    return _item(event, text, style)


def _item(event: e.Event, text: str, style: str) -> Item:
    return Item(event.position, event.at.strftime("%H:%M:%S"), text, style)


def _some(amount: Amounts) -> str:
    return short_amounts(amount.triple)


def _level(event: e.LevelChanged) -> tuple[str, str]:
    if e.LEVELS.index(event.level) < e.LEVELS.index(event.before):
        return f"{event.agent} is back to {event.level}", LEVEL_STYLES[event.level]
    used = f"{percent(event.percentage)} of its {UNITS[event.dimension]} used"
    return f"{event.agent} turns {event.level}: {used}", LEVEL_STYLES[event.level]


_RESPONSE_WORDS: Final = {
    "none": "the fleet is at ease again",
    "throttle": "the whole fleet is throttled",
    "degrade": "all but critical agents are degraded",
    "stop": "all but critical agents are stopped; the reserve opens for those",
    "stop_all": "the whole fleet is stopped",
}


def _response(event: e.FleetResponseChanged) -> tuple[str, str]:
    return f"{_RESPONSE_WORDS[event.response]} ({percent(event.pressure)} of its {UNITS[event.dimension]})", _STRONG


def topped_up(event: e.BudgetMoved, agents: int, amount: Triple) -> Item:
    """One line for all whom a plan gave more; ``event`` is the newest of its moves."""
    who = f"{event.target} gets" if agents == 1 else f"{agents} agents get"
    why = "it will need more" if agents == 1 else "they will need more"
    return _item(event, f"{who} {short_amounts(amount)}: {why}", _MOVES)


def _moved(event: e.BudgetMoved) -> tuple[str, str] | None:
    if event.strategy != "idle":
        return None  # told together, see `topped_up`
    return f"{event.source} is idle: {_some(event.amount)} reclaimed", _MOVES


def _alert(event: e.AlertRaised) -> tuple[str, str] | None:
    if event.code in DAILY_ALERTS:
        return f"ALERT {event.message}", _STRONG
    # The other alerts follow an event that has a line of its own.
    return (f"ALERT {event.agent} has used up its budget", _STRONG) if event.code == "budget_exhausted" else None


def _covered(event: e.Covered) -> tuple[str, str]:
    source, target = (f"the {name}" if name in INTERNAL else name for name in (event.source, event.target))
    return f"{source} covers {_some(event.amount)} for {target}", "magenta"


def _refused(event: e.RequestRefused) -> tuple[str, str]:
    if event.code == "pool_exhausted":
        return f"{event.agent} asks for budget in vain: the pool cannot give it", _FAINT
    return f"{event.agent}: {event.request} refused, {event.code}", _FAINT


def _released(event: e.BudgetReleased) -> tuple[str, str]:
    used = percent_of((event.consumed.tokens or 0), (event.allocated.tokens or 0))
    return f"{event.agent} leaves: {used} % of its tokens used, {_some(event.unused)} go back", _FAINT


def _allocated(event: e.BudgetAllocated) -> tuple[str, str] | None:
    # That of a task is told with its start.
    return None if event.for_task else (f"{event.agent} begins with {_some(event.amount)}", _FAINT)


def _started(event: e.TaskStarted) -> tuple[str, str]:
    waited = (event.at - event.queued_at).total_seconds()
    how = f" after {minutes_and_seconds(waited)}" if waited else ""
    limit = "" if event.max_tokens is None else f", at most {compact(event.max_tokens)} tokens"
    return f"{event.task} has a slot{how}: {event.model}{limit}", "green"


def _queued(event: e.TaskQueued) -> tuple[str, str] | None:
    return None if event.message is None else (f"{event.task} waits: {event.message}", _FAINT)


def _budget_passed(event: e.TokenBudgetPassed) -> tuple[str, str]:
    return f"{event.task} is past its token budget of {compact(event.token_budget)}", "yellow"


def _overdue(event: e.TaskOverdue) -> tuple[str, str] | None:
    # A level that may not wait at all is overdue as soon as it waits, which is told already.
    minutes = event.waited_ms // 60_000
    return (f"ALERT {event.task} has waited {minutes} minutes", _STRONG) if minutes else None


def _completed(event: e.TaskCompleted) -> tuple[str, str] | None:
    # A success is told with the budget that goes back.
    return (f"{event.task} has failed", "red") if event.outcome == "failed" else None


_TELLERS: Final[dict[type[e.Event], Callable[[Any], tuple[str, str] | None]]] = {
    e.TotalBudgetSet: lambda x: (f"the budget of all is {_some(x.budget)}, {_some(x.reserve)} in reserve", "bold"),
    e.BudgetAllocated: _allocated,
    e.TaskQueued: _queued,
    e.TaskStarted: _started,
    e.TaskPreempted: lambda x: (f"{x.beneficiary} takes the slot of {x.task}, which waits again", "magenta"),
    e.TokenBudgetPassed: _budget_passed,
    e.TaskOverdue: _overdue,
    e.LeaseLost: lambda x: (f"{x.task} gave no sign of life: its slot is free, it is {x.then}", "red"),
    e.TaskCompleted: _completed,
    e.TaskCancelled: lambda x: (f"{x.task} gives up", "red"),
    e.BreakerTripped: lambda x: (f"ALERT the breaker trips: {x.because}", _STRONG),
    e.BreakerClosed: lambda _: ("the breaker is closed", "green"),
    e.BudgetReleased: _released,
    e.LevelChanged: _level,
    e.AlertRaised: _alert,
    e.FleetResponseChanged: _response,
    e.PoolExhausted: lambda x: (f"the pool has run dry: {_some(x.available)} left", _STRONG),
    e.ExhaustionWarned: lambda x: (f"{x.agent} warned early: {x.exhausted_in_seconds} s of budget left", "yellow"),
    e.BudgetMoved: _moved,
    e.BudgetDrawn: lambda x: (f"{x.agent} borrows {_some(x.amount)}", _MOVES),
    e.UnusedReturned: lambda x: (f"{x.agent} is stopped and gives {_some(x.amount)} back", _MOVES),
    e.UnusedRestored: lambda x: (f"{x.agent} may go on and gets {_some(x.amount)} back", _MOVES),
    e.ReserveDrawn: lambda x: (f"the reserve gives {_some(x.amount)} for {x.agent}", "magenta"),
    e.Covered: _covered,
    e.HoldEnded: lambda x: (f"a hold of {x.agent} has {x.how}", _FAINT) if x.how == "expired" else None,
    e.RequestRefused: _refused,
}
