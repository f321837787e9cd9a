"""The views as a ledger for the core's own queries, so that the same question has one answer everywhere.

It has what queries read and nothing else: no command may be decided on it.
"""

import datetime as dt
from collections.abc import Mapping
from typing import NamedTuple

from msgspec.structs import replace

from tallystick.config.loader import restore
from tallystick.config.prices import PriceList
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide.answers import status
from tallystick.events.decide.daily_limits import day_of
from tallystick.events.decide.own_limits import is_by_limits, level_now, percentage
from tallystick.events.decide.queries import get_global_status
from tallystick.events.decide.subtree import Memory
from tallystick.events.decide.turn import Turn
from tallystick.events.messages.replies import BudgetStatus, GlobalStatus
from tallystick.events.state.accounts import Account
from tallystick.events.state.delegation import Child, Delegation
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.money import money
from tallystick.events.state.rules import Rules
from tallystick.projections.views.agent_rows import AgentRow, account_of
from tallystick.projections.views.cost import DayRow
from tallystick.projections.views.fleet import FleetRow, restore_root


class Today(NamedTuple):
    """What rows say of the day at hand: what was used in it, and tokens used and held by product."""

    row: DayRow | None = None
    by_product: Mapping[str, int] = {}
    held_by_product: Mapping[str, int] = {}


class QueryAdapter:
    """What the core answers at ``now``, out of the rows of the fleet and of its open agents."""

    def __init__(
        self, fleet: FleetRow, agents: Mapping[str, AgentRow], now: dt.datetime, day: "Today | None" = None
    ) -> None:
        self._agents = agents
        self._ledger = _ledger_of(fleet)
        _set_day(self._ledger, day or Today(), now)
        self._turn = Turn(self._ledger, now, "status", "")
        self._count = fleet.agents_open
        self._counted: Ledger | None = None
        self._memory: Memory | None = None

    @property
    def rules(self) -> Rules:
        """The configuration in force."""
        return self._ledger.rules

    def budget_status(self, agent: str) -> BudgetStatus:
        """One open account, as `GetStatus` answers."""
        counted = self._counted
        if counted is not None and agent in counted.accounts:
            self._memory = {} if self._memory is None else self._memory
            return status(Turn(counted, self._turn.now, "status", ""), counted.accounts[agent], self._memory)
        if self._memory is None:
            self._memory = {}
            self._open_all()
        return status(self._turn, self.account(agent), self._memory)

    def count_limits(self, ledger: Ledger) -> None:
        """Limits are counted in the core's state alone: it says what an agent is answered under them."""
        self._counted, self._memory = ledger, None
        ledger.looked_at = self._turn.now

    def as_counted(self, row: AgentRow) -> AgentRow:
        """The row of an open account; without a carve-out with the percentage and level that its limits have now."""
        counted = self._counted
        account = None if counted is None or not row.limits else counted.accounts.get(row.agent)
        if counted is None or account is None or not is_by_limits(account):
            return row
        return replace(row, percentage=percentage(counted, account), level=e.LEVELS[level_now(counted, account)])

    def _open_all(self) -> None:
        """Every account is found below its parent."""
        for name in self._agents:
            account = self.account(name)
            parent = account.parent
            if parent is not None and parent is not self._ledger.root:
                parent.children = parent.children or {}
                parent.children[name] = account

    def global_status(self) -> GlobalStatus:
        """The fleet, as `GetGlobalStatus` answers; its page of agents is empty."""
        reply = get_global_status(self._turn, c.GetGlobalStatus(limit=0))
        reply.agent_count = self._count
        return reply

    def account(self, agent: str) -> Account:
        """An open account below its parents."""
        account, child = account_of(self._agents, agent, self._ledger), self._agents[agent].child
        if child is not None:
            back = money(child.returned.triple)
            self._ledger.delegated[agent] = Child(account.life, child.fleet, child.number, child.booked, back)
        return account


def _set_day(ledger: Ledger, today: Today, now: dt.datetime) -> None:
    day, row = ledger.day, today.row or DayRow(date="")
    day.date, day.ends_at = row.date, day_of(ledger.rules.config, now)[1]
    day.tripped = row.breaker
    day.configure(ledger.rules.limits, 0)
    day.counter.used, day.counter.held, day.counter.opened = list(money(row.used.triple)), [*ledger.held], 0
    day.approve(row.approved)
    for product, state in day.products.items():
        counter = state.counters[product]
        counter.used, counter.held = [today.by_product.get(product, 0)], [today.held_by_product.get(product, 0)]


def _ledger_of(row: FleetRow) -> Ledger:
    ledger = Ledger()
    if row.config:
        ledger.rules = Rules(restore(row.config), PriceList())
        if (settings := ledger.rules.config.delegate) is not None:
            granted, back = row.granted.triple, money(row.given_back.triple)
            ledger.delegation = Delegation(settings.account, granted=granted, returned=back, booked=row.booked)
    restore_root(ledger, row)
    ledger.position, ledger.now = row.position, row.at
    ledger.bills = dict(row.bills)
    ledger.clock_apart_ms = row.clock_apart_ms
    ledger.response, ledger.paused = e.RESPONSES.index(row.response), row.paused
    ledger.given_up, ledger.stopped_above = row.given_up, row.stopped_above
    ledger.reserve_open, ledger.period_ends = row.reserve_open, row.period_ends_at
    return ledger
