"""The fleet and its agents as the views say, at one position: what `tallystick status` shows."""

import datetime as dt
from collections import Counter
from functools import cached_property

from tallystick.events.catalog import LEVELS
from tallystick.projections.reports.query_adapter import QueryAdapter, Today
from tallystick.projections.reports.utilization import Quality, quality
from tallystick.projections.store.view_store import ViewStore
from tallystick.projections.views import agent_rows
from tallystick.projections.views import cost as cost_view
from tallystick.projections.views import fleet as fleet_view
from tallystick.projections.views import holds as holds_view
from tallystick.projections.views.agent_rows import UNALLOCATED, AgentRow
from tallystick.projections.views.agents import AgentsView
from tallystick.projections.views.cost import CostView, DayRow, PartRow
from tallystick.projections.views.fleet import FleetRow, FleetView
from tallystick.projections.views.holds import HoldsView


class Status:
    """The rows of views, read once: ``agents`` are open, ``unallocated`` those that report without an account."""

    def __init__(self, views: ViewStore) -> None:
        self._views = views
        rows = views.live().rows
        fleet = rows.get(FleetView.name)
        live = [agent_rows.decode(data) for data in rows.get(AgentsView.name, ())]
        self.fleet: FleetRow = fleet_view.decode(fleet[0]) if fleet else FleetRow()
        self.agents = {row.agent: row for row in live if row.state != UNALLOCATED}
        self._days = [cost_view.decode(data) for data in rows.get(CostView.name, ())]
        self._holds = [holds_view.decode(data) for data in rows.get(HoldsView.name, ())]
        self.unallocated = [row for row in live if row.state == UNALLOCATED]

    def agent(self, id: str) -> AgentRow | None:
        """One agent, open, released or without an account; None for an id that was never seen."""
        row = self.agents.get(id)
        if row is None:
            data = self._views.row(AgentsView.name, id)
            row = None if data is None else agent_rows.decode(data)
        return row

    def by_use(self) -> list[AgentRow]:
        """The open agents, most used first."""
        return sorted(self.agents.values(), key=lambda row: (-row.percentage, row.agent))

    def levels(self) -> dict[str, int]:
        """How many open agents are at each level."""
        counts = dict.fromkeys(LEVELS, 0)
        for row in self.agents.values():
            counts[row.level] += 1
        return counts

    def queries(self, now: dt.datetime) -> QueryAdapter:
        """The core's own queries, asked at ``now``, with nothing recorded since."""
        return QueryAdapter(self.fleet, self.agents, now, self._today)

    @cached_property
    def _today(self) -> Today:
        """The day at hand, with what holds set aside for the product that pays."""
        day = max((row for row in self._days if isinstance(row, DayRow)), key=lambda row: row.date, default=None)
        used = {
            row.name: row.used.tokens or 0
            for row in self._days
            if isinstance(row, PartRow) and row.by == "product" and day is not None and row.date == day.date
        }
        held: Counter[str] = Counter()
        for hold in self._holds:
            product = self._product_of(hold.agent)
            if product is not None:
                held[product] += hold.amount.tokens or 0
        return Today(day, {name: tokens for name, tokens in used.items() if name is not None}, held)

    def _product_of(self, agent: str) -> str | None:
        """The product of an open agent, or that of the nearest one above it that has one."""
        row = self.agents.get(agent)
        while row is not None and row.product is None and row.parent is not None:
            row = self.agents.get(row.parent)
        return None if row is None else row.product

    @cached_property
    def quality(self) -> Quality:
        """How well the budget is spread."""
        weights = self.queries(self.fleet.at).rules.weights
        return quality(self.fleet, self.agents.values(), weights)
