"""Follows what the fleet records: the views for the screen, the news, and the sums that no view keeps.

A view has one row per agent, which begins anew with each of its accounts. A task that lost its slot has several, so
that sums over all runs are counted here.
"""

import datetime as dt
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from tallystick.demo.news import Item, news
from tallystick.events import catalog as e
from tallystick.events.state.accounts import OVERDRAFT, POOL, RESERVE
from tallystick.events.state.money import ZERO, Money, money, plus
from tallystick.projections.reports.cost import Costs
from tallystick.projections.reports.status import Status
from tallystick.projections.reports.task_day import TaskDay
from tallystick.projections.store.view_store import MemoryViewStore, ViewStore
from tallystick.projections.views.all_views import Folding
from tallystick.projections.views.cost import DayRow

NEWS_KEPT: Final = 200
_RANK: Final = {name: rank for rank, name in enumerate(e.LEVELS)}


class Moved(NamedTuple):
    """How often budget was moved in some way, and how much of it in all."""

    times: int = 0
    amount: Money = ZERO


class Frame:
    """What the views say at one moment: the fleet and its open agents, the open tasks, and the day."""

    def __init__(self, views: ViewStore) -> None:
        self.status = Status(views)
        self.tasks = TaskDay(views, self.status.fleet.at)
        days = Costs(views).days
        self.day = days[-1] if days else DayRow(date="")

    @property
    def pressure(self) -> tuple[float, str]:
        """The fleet's pressure, and its response to it."""
        reply = self.status.queries(self.status.fleet.at).global_status()
        return reply.pressure, reply.response


class Tally:
    """What happened so far. `note` may be called by any thread; all else is for the one that calls `catch_up`."""

    def __init__(self) -> None:
        self.views = MemoryViewStore()
        self.events = 0
        self.kinds: Counter[str] = Counter()
        self.news: deque[Item] = deque(maxlen=NEWS_KEPT)
        self.worst: dict[str, int] = {}
        """The worst level that each agent was ever at."""
        self.warned_early: set[str] = set()
        self.refused: Counter[str] = Counter()
        self.alerts: Counter[str] = Counter()
        self.responses: list[str] = []
        self.first_start: dt.datetime | None = None
        """When the first task had a slot."""
        self._moved: dict[str, Moved] = {}
        self._folding = Folding(self.views.kinds, self.views.row)
        self._inbox: deque[Sequence[e.Event]] = deque()

    def note(self, events: Sequence[e.Event]) -> None:
        """Take a recorded batch; to be looked at later."""
        self._inbox.append(events)

    def catch_up(self) -> None:
        """Fold and count what was noted."""
        after, last = self.events, None
        while self._inbox:
            events = self._inbox.popleft()
            self._folding.fold(events)
            for last in events:
                self._count(last)
        if last is not None:
            self.views.keep(self._folding.changes(last), after, last.position, "")

    def frame(self) -> Frame:
        """What the views say now."""
        self.catch_up()
        return Frame(self.views)

    def reached(self, level: str) -> int:
        """How many agents were ever at this level or above."""
        return sum(worst >= _RANK[level] for worst in self.worst.values())

    def moved(self, how: str) -> Moved:
        """What was moved in one of the ways that `_moves` names."""
        return self._moved.get(how, Moved())

    def _count(self, event: e.Event) -> None:
        self.events += 1
        self.kinds[type(event).__name__] += 1
        item = news(event)
        if item is not None:
            self.news.append(item)
        match event:
            case e.LevelChanged():
                self.worst[event.agent] = max(self.worst.get(event.agent, 0), _RANK[event.level])
            case e.ExhaustionWarned():
                self.warned_early.add(event.agent)
            case e.RequestRefused():
                self.refused[event.code] += 1
            case e.AlertRaised():
                self.alerts[event.code] += 1
            case e.TaskStarted():
                self.first_start = self.first_start or event.at
            case e.FleetResponseChanged():
                self.responses.append(event.response)
            case _:
                for how, amount in _moves(event):
                    before = self.moved(how)
                    self._moved[how] = Moved(before.times + 1, plus(before.amount, amount))


def _moves(event: e.Event) -> Iterator[tuple[str, Money]]:
    """In which way an event moved budget, and how much."""
    match event:
        case e.BudgetMoved():
            how = "reclaimed_from_idle" if event.strategy == "idle" else "topped_up_on_demand"
            yield how, money(event.amount.triple)
        case e.BudgetDrawn():
            yield "borrowed", money(event.amount.triple)
        case e.UnusedReturned():
            yield "given_back_when_stopped", money(event.amount.triple)
        case e.UnusedRestored():
            yield "restored_after_stop", money(event.amount.triple)
        case e.BudgetReleased():
            yield "unused_at_release", money(event.unused.triple)
        case e.ReserveDrawn():
            yield "taken_from_reserve", money(event.amount.triple)
        case e.Covered() if event.target != POOL:
            yield "overruns_covered", money(event.amount.triple)
        case e.Covered() if event.source == RESERVE:
            yield "taken_from_reserve", money(event.amount.triple)
        case e.Covered() if event.source == OVERDRAFT:
            yield "taken_as_overdraft", money(event.amount.triple)
