"""A fleet at one position: its views, and the core's state where that is needed."""

import datetime as dt
from collections.abc import Callable
from functools import cached_property

from tallystick.events.decide.clock import pass_time
from tallystick.events.state.ledger import Ledger
from tallystick.projections.reports.burn import Pace
from tallystick.projections.reports.cost import Costs, MonthCost
from tallystick.projections.reports.query_adapter import QueryAdapter
from tallystick.projections.reports.status import Status
from tallystick.projections.reports.task_day import TaskDay
from tallystick.projections.store.view_store import ViewStore


class State:
    """A fleet at a position, as of ``now``; ``asked_time`` is the time that was asked for, if one was."""

    def __init__(
        self,
        views: ViewStore,
        now: dt.datetime | None,
        make_ledger: Callable[[], Ledger],
        live: bool,
        asked_time: dt.datetime | None = None,
        shared: Callable[[], Ledger] | None = None,
    ) -> None:
        """``make_ledger`` makes a state of its own; ``shared`` gives one that must not be changed, and that will move
        on with the log: for a state that is used at once.
        """
        self.views, self.live, self.asked_time = views, live, asked_time
        self._make_ledger, self._shared = make_ledger, shared
        self.now = self.found.fleet.at if now is None else now

    @cached_property
    def found(self) -> Status:
        return Status(self.views)

    @property
    def position(self) -> int:
        return self.found.fleet.position

    @cached_property
    def pace(self) -> Pace:
        return Pace(self.views, self.found, self.now)

    @cached_property
    def costs(self) -> Costs:
        return Costs(self.views)

    @cached_property
    def costs_of_month(self) -> MonthCost:
        return Costs(self.views, whole=True).month()

    @cached_property
    def work(self) -> TaskDay:
        return TaskDay(self.views, self.now)

    @cached_property
    def queries(self) -> QueryAdapter:
        """The core's queries, with what limits have counted where there are any."""
        queries = self.found.queries(self.now)
        if queries.rules.limits or any(row.limits for row in self.found.agents.values()):
            queries.count_limits(self.counted)
        return queries

    @cached_property
    def counted(self) -> Ledger:
        """The core's state; windows that are over by now are not shown as if they were at hand."""
        if self._shared is not None and (ledger := self._shared()).due_at() > self.now:
            return ledger
        ledger = self._make_ledger()
        if self.live:
            pass_time(ledger, self.now)
        return ledger

    def ledger(self) -> Ledger:
        """The core's state, for one use that may change it."""
        return self._make_ledger()
