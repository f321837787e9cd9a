"""What the screen shows of one moment, read off a store: the figures of `status`, `queue`, `limits` and `alerts`."""

import datetime as dt
from collections import deque
from collections.abc import Iterable
from contextlib import closing
from typing import Final, NamedTuple

import msgspec

from tallystick.actors.runtime.clock import APART
from tallystick.cli.common import open_to_read
from tallystick.cli.viewing import opened_at_end
from tallystick.demo.news import news
from tallystick.events.decide.clock import pass_time
from tallystick.events.decide.limit_status import get_limits
from tallystick.events.decide.turn import Turn
from tallystick.events.log import snapshot
from tallystick.events.log.restoring import open_ledger, replay
from tallystick.events.log.store import Record
from tallystick.events.messages.limit_replies import LimitStatus, LimitStatuses
from tallystick.events.messages.track import GetLimits
from tallystick.events.state.ledger import Ledger
from tallystick.explain.one_event import facts
from tallystick.explain.selection import Selection, newest
from tallystick.explain.story import entry
from tallystick.projections.reports.burn import Burn, Pace
from tallystick.projections.reports.cost import Costs
from tallystick.projections.reports.query_adapter import QueryAdapter
from tallystick.projections.reports.status import Status
from tallystick.projections.reports.task_day import TaskDay
from tallystick.projections.store.one_moment import OneMoment
from tallystick.projections.store.projector import Projector
from tallystick.projections.store.runner import catch_up
from tallystick.projections.store.view_store import ViewsMissing
from tallystick.projections.views import alerts as alerts_view
from tallystick.projections.views.agent_rows import AgentRow
from tallystick.projections.views.alerts import AlertRow, AlertsView
from tallystick.projections.views.task_rows import TaskRow
from tallystick.top.state import Opened

EVENTS_KEPT: Final = 500
_LIMITS_SHOWN: Final = 200
_STORY: Final = 30
"""Events that are shown of what was opened."""


class EventLine(NamedTuple):
    """An event as `events` shows it, and its colour."""

    position: int
    text: str
    style: str


class AgentLine(NamedTuple):
    """An open agent and its pace."""

    row: AgentRow
    burn: Burn

    @property
    def empty_in(self) -> int | None:
        """Seconds until its budget is empty, at this rate; 0 where it is."""
        return 0 if self.row.percentage >= 1 else self.burn.empty_in_seconds


class Details(NamedTuple):
    """What was opened, and the newest events about it."""

    opened: Opened
    facts: dict[str, object]
    events: list[EventLine]


class Figures(NamedTuple):
    """All that is shown of one moment."""

    at: dt.datetime
    status: Status
    queries: QueryAdapter
    burn: Burn
    breaker: str | None
    agents: list[AgentLine]
    tasks: list[TaskRow]
    limits: list[LimitStatus]
    alerts: list[AlertRow]
    events: list[EventLine]
    details: Details | None


class Reader:
    """Reads a store again and again, and each time only what is new; it is used by one thread.

    Raises:
        StoreError: the store cannot be read.
        BrokenChain: a record is not what was written.
    """

    def __init__(self, url: str) -> None:
        self._store = open_to_read(url)
        try:
            self._views = opened_at_end(self._store)
            self._projector = Projector(self._store, self._views)
            self._ledger, self._digest = open_ledger(self._store)
        except BaseException:
            self._store.close()
            raise
        self._events: deque[EventLine] = deque(maxlen=EVENTS_KEPT)
        self._read_at: dt.datetime | None = None
        self._has_own_clock = False
        last = self._ledger.position
        self._take(newest(self._store, Selection(), EVENTS_KEPT, last))

    def close(self) -> None:
        with closing(self._views), closing(self._store):
            pass

    def has_news(self) -> bool:
        """Whether the log has gone on."""
        last = self._store.last()
        return last is not None and last.position > self._ledger.position

    def read(self, now: dt.datetime, opened: Opened | None = None) -> Figures:
        """The figures as of ``now``, or as of the newest event where the fleet has a clock of its own."""
        before = self._ledger.position
        views = self._brought_up()
        self._digest = replay(self._ledger, self._digest, self._store.rows(before))
        self._take(Selection().among(self._store.read(before, self._ledger.position)))
        now = self._time_of_fleet(now, came=self._ledger.position > before)
        status = Status(views)
        queries, pace, work = status.queries(now), Pace(views, status, now), TaskDay(views, now)
        limits: list[LimitStatus] = []
        if queries.rules.limits or any(row.limits for row in status.agents.values()):
            ledger = self._as_of(now)
            queries.count_limits(ledger)
            found = get_limits(Turn(ledger, now, "", ""), GetLimits(count=_LIMITS_SHOWN))
            limits = found.limits if isinstance(found, LimitStatuses) else []
        rows = views.live().rows.get(AlertsView.name, ())
        return Figures(
            at=now,
            status=status,
            queries=queries,
            burn=pace.fleet(),
            breaker=Costs(views).breaker,
            agents=[AgentLine(row, pace.agent(row)) for row in status.agents.values()],
            tasks=[task for task in work.tasks if task.is_open],
            limits=limits,
            alerts=[alerts_view.decode(data) for data in rows],
            events=list(self._events),
            details=None if opened is None else self._details(opened, limits),
        )

    def _time_of_fleet(self, now: dt.datetime, *, came: bool) -> dt.datetime:
        """What time it is in the fleet: a demonstration's clock is not the machine's, nor as fast.

        An event that came since the last look, and is older than that look or yet to come, is of another clock.
        """
        newest, looked = self._ledger.now, self._read_at
        self._read_at = now
        if came and looked is not None:
            self._has_own_clock = not looked - APART <= newest <= now + APART
        return newest if self._has_own_clock else max(now, newest)

    def _brought_up(self) -> OneMoment:
        """The views, with what is new folded in: they are not restored each time."""
        try:
            self._projector.catch_up()
            views = OneMoment(self._views)
            views.live()
        except ViewsMissing:
            # Another process has exchanged views, or dropped them.
            catch_up(self._store, self._views)
            self._projector = Projector(self._store, self._views)
            views = OneMoment(self._views)
        return views

    def _take(self, found: Iterable[tuple[Record, object]]) -> None:
        for record, _ in found:
            self._events.append(_line(record))

    def _as_of(self, now: dt.datetime) -> Ledger:
        """The core's state with the windows of ``now``; a copy, since the state goes on with the log."""
        copy = snapshot.load(snapshot.dump(self._ledger))
        assert copy is not None, "it was written by this program"
        pass_time(copy, now)
        return copy

    def _details(self, opened: Opened, limits: list[LimitStatus]) -> Details:
        panel, id = opened
        selection = {"agents": Selection(agent=id), "tasks": Selection(task=id)}.get(panel)
        story = [] if selection is None else newest(self._store, selection, _STORY, self._ledger.position)
        events = [_line(record) for record, _ in reversed(story)]
        if panel == "limits":
            found = next((one for one in limits if limit_id(one) == id), None)
            return Details(opened, {} if found is None else msgspec.to_builtins(found), [])
        if panel in ("alerts", "events"):
            record = self._store.record(int(id))
            event = next((event for _, event in Selection().among([record] if record else [])), None)
            return Details(opened, {} if event is None or record is None else facts(event, record.name), [])
        return Details(opened, {}, events)


def limit_id(limit: LimitStatus) -> str:
    """What a counter of a limit is known by."""
    return f"{limit.limit}\n{limit.value or ''}\n{limit.window}"


def _line(record: Record) -> EventLine:
    ((_, event),) = Selection().among([record])
    item = news(event)
    return EventLine(record.position, entry(event).line(), "" if item is None else item.style)
