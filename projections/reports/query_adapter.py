"""The views as a ledger that can be asked: the law's own queries answer from it, so that nobody answers differently.

It has what queries read and nothing else: no command may ever be decided on it.
"""

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal

from tallystick.config.amounts import DIMENSIONS
from tallystick.config.loader import restore
from tallystick.config.prices import PriceList
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide.answers import status
from tallystick.events.decide.queries import get_global_status
from tallystick.events.decide.turn import Turn
from tallystick.events.messages.replies import BudgetStatus, GlobalStatus
from tallystick.events.state.accounts import Account, minus, money, plus
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.rules import Rules
from tallystick.projections.views.agents import AgentRow
from tallystick.projections.views.fleet import FleetRow


class QueryAdapter:
    """What the law would answer, asked at ``now`` of the rows of the fleet and of its open agents."""

    def __init__(self, fleet: FleetRow, agents: Mapping[str, AgentRow], now: dt.datetime) -> None:
        self._agents = agents
        self._ledger = _fleet(fleet)
        self._turn = Turn(self._ledger, now, "status", "")
        self._count = fleet.agents_open

    @property
    def rules(self) -> Rules:
        """The configuration in force."""
        return self._ledger.rules

    def budget_status(self, agent: str) -> BudgetStatus:
        """One open account, as `GetStatus` answers."""
        return status(self._turn, self.account(agent))

    def global_status(self) -> GlobalStatus:
        """The fleet, as `GetGlobalStatus` answers; its page of agents is empty."""
        reply = get_global_status(self._turn, c.GetGlobalStatus(limit=0))
        reply.agent_count = self._count
        return reply

    def account(self, agent: str) -> Account:
        """An open account below its parents."""
        ledger = self._ledger
        account = ledger.accounts.get(agent)
        if account is None:
            row = self._agents[agent]
            parent = ledger.root if row.parent is None else self.account(row.parent)
            account = ledger.accounts[agent] = _account(row, parent)
        return account


def _fleet(row: FleetRow) -> Ledger:
    ledger = Ledger()
    if row.config:
        ledger.rules = Rules(restore(row.config), PriceList())
    root, reserve = ledger.root, ledger.reserve
    opening, total = money(row.opening.triple), row.total.triple
    root.allocated = (
        None if total[0] is None else total[0] + opening[0],
        None if total[1] is None else total[1] + opening[1],
        None if total[2] is None else total[2] + opening[2],
    )
    root.cover = money(row.overdraft.triple)
    root.free = list(money(row.pool.triple))
    root.spent, root.held = list(money(row.charged.triple)), money(row.charged_holds.triple)
    reserve.cover = money(row.reserve.triple)
    reserve.free = list(reserve.granted)
    root.delegated = plus(money(row.allocated.triple), reserve.granted)
    ledger.spent = list(plus(opening, money(row.consumed.triple)))
    ledger.held = list(money(row.held.triple))
    ledger.opening, ledger.position, ledger.now = opening, row.position, row.at
    ledger.response, ledger.paused = e.RESPONSES.index(row.response), row.paused
    ledger.reserve_open, ledger.period_ends = row.reserve_open, row.period_ends_at
    return ledger


def _account(row: AgentRow, parent: Account) -> Account:
    account = Account.open(
        row.agent,
        parent,
        row.allocated.triple,
        row.opened_at,
        row.priority,
        row.agent_type,
        row.product,
        row.workflow,
    )
    closed, held, delegated = money(row.closed.triple), money(row.held.triple), money(row.delegated.triple)
    consumed = money(row.consumed.triple)
    account.cover = money(row.cover.triple)
    account.spent, account.held = list(minus(consumed, closed)), held
    account.closed, account.delegated = closed, delegated
    used = plus(plus(consumed, held), delegated)
    granted = account.granted
    account.free = [granted[d] - used[d] if d in account.dims else 0 for d in DIMENSIONS]
    account.borrowed, account.drawn = money(row.borrowed.triple), money(row.drawn.triple)
    account.given_back, account.level = money(row.given_back.triple), e.LEVELS.index(row.level)
    account.throttle = None if row.throttle is None else Decimal(row.throttle)
    account.stopped, account.warned, account.reclaimed = row.stopped, row.warned, row.reclaimed
    account.activity_at, account.last_report_at = row.activity_at, row.last_report_at
    return account
