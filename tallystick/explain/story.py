"""The story of an agent or a task: what happened to it, in order, with its routine added up."""

from collections.abc import Iterator
from typing import NamedTuple

from tallystick.events import catalog as e
from tallystick.events.catalog import STORED_NAME
from tallystick.events.log.replaying import Replay
from tallystick.events.log.store import Store
from tallystick.explain.rows import sentence
from tallystick.explain.selection import Selection, concerns
from tallystick.projections.views.view import Progress
from tallystick.wording import counted, one_line, shown_time, used

_OF_THE_FLEET = (
    e.FleetResponseChanged,
    e.FleetPaused,
    e.FleetResumed,
    e.ReserveReleased,
    e.PeriodRenewed,
    e.DayBegan,
    e.BreakerTripped,
    e.BreakerClosed,
    e.LimitApproved,
    e.LimitWindowsBegan,
    e.LimitRaised,
)
"""What concerns every open agent, and every task that is not finished."""
_ROUTINE = (e.UsageReported, e.HoldPlaced, e.HoldExtended, e.HoldSettled, e.AgentHeard, e.LeaseExtended)
"""What an agent does all day: shown as sums."""

EVERYTHING = Selection()


class Entry(NamedTuple):
    """One line of a story: an event, or a run of routine from ``position`` to ``until``."""

    position: int
    until: int
    at: str
    by: str
    type: str
    text: str

    def line(self) -> str:
        """As text."""
        place = str(self.position) if self.until == self.position else f"{self.position}–{self.until}"
        by = f"  ({self.by})" if self.by else ""
        return one_line(f"{place:>11}  {self.at}  {self.text}{by}")


class _Routine:
    """Reports and holds in a row, added up."""

    def __init__(self) -> None:
        self._reports = self._holds = self._first = self._until = 0
        self._at = ""
        self._used = [0, 0, 0]

    def add(self, event: e.Event) -> None:
        if not self._first:
            self._first, self._at = event.position, shown_time(event.at)
        self._until = event.position
        if isinstance(event, e.UsageReported | e.HoldSettled):
            self._reports += 1
            for d, units in enumerate((event.tokens, event.time_ms, event.cost_nanos)):
                self._used[d] += units
        elif isinstance(event, e.HoldPlaced):
            self._holds += 1

    def entries(self) -> Iterator[Entry]:
        """One entry, or none where nothing was added."""
        if self._first:
            parts = [
                counted(count, what) for count, what in ((self._reports, "report"), (self._holds, "hold")) if count
            ]
            text = f"{' and '.join(parts) or 'heartbeats'}: {used(*self._used)} used"
            yield Entry(self._first, self._until, self._at, "", "routine", text)


def entry(event: e.Event) -> Entry:
    """One event as a line."""
    position, at = event.position, shown_time(event.at)
    return Entry(position, position, at, event.by, STORED_NAME[type(event)], sentence(event))


def story(store: Store, name: str, progress: Progress, selection: Selection = EVERYTHING) -> Iterator[Entry]:
    """What happened to an agent or a task, in order; only what is selected. The log is proved on the way.

    Raises:
        BrokenChain: a record is not what was written.
    """
    last = store.last()
    replay, routine = Replay(), _Routine()
    accounts, tasks = replay.ledger.accounts, replay.ledger.tasks
    for record in progress(store.read(), 0 if last is None else last.position):
        event = replay.prove(record)
        replay.apply(event)
        is_open = name in accounts or tasks.is_open(name)
        if not concerns(event, name) and not (type(event) in _OF_THE_FLEET and is_open):
            continue
        if not selection.takes(event):
            continue
        is_routine = isinstance(event, _ROUTINE) and not isinstance(event, e.HoldSpent)
        if is_routine and not getattr(event, "unpriced", False) and not getattr(event, "late", False):
            routine.add(event)
            continue
        yield from routine.entries()
        routine = _Routine()
        yield entry(event)
    yield from routine.entries()
