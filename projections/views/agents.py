"""One row per agent: how it stands, or how it stood when it was released.

An agent that reports without an account has a row too. An id that is allocated again has one row, the new account's.
"""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from tallystick.config.amounts import EDGE_NAMES
from tallystick.events import catalog as e
from tallystick.events.evolve.account_read_model import AccountReadModel
from tallystick.events.state.accounts import Account, Balances
from tallystick.events.state.money import ZERO, Money, money, plus
from tallystick.projections.views import agent_corrections
from tallystick.projections.views.agent_rows import (
    RELEASED,
    UNALLOCATED,
    AgentRow,
    ChildRow,
    account_of,
    decode,
    row_of,
    unallocated_row,
)
from tallystick.projections.views.summed_use import SummedUse
from tallystick.projections.views.view import Changes, Look, Row, Steps, encode, moved


class AgentsView:
    """Folds the rows of agents, from which the shared ``balances`` go on."""

    name = "agents"
    version = 8

    def __init__(self, balances: Balances, look: Look) -> None:
        self._balances = balances
        self._look = look
        self._reports: dict[str, int] = {}
        """How often each open agent has reported."""
        self._paid: dict[str, Money] = {}
        """What each open agent was charged for others."""
        self._beyond: dict[str, Money] = {}
        """What each open agent used that the fleet was charged for."""
        self._parts: dict[str, float] = {}
        """Of open agents without a carve-out, what of a limit was used when their level changed."""
        self._children: dict[str, ChildRow] = {}
        """The fleets whose totals open agents are."""
        self._touched: set[str] = set()
        self._ended: dict[str, AgentRow] = {}
        """Changed rows of ids without an open account."""

    def changes(self, last: e.Event) -> Changes:
        """The rows of the accounts that events named, and of those that pay for them, whose figures follow."""
        rows: dict[str, Row] = {}
        for account in self._changed():
            rows[account.id] = Row(encode(self._row(account)), live=True)
        for name, ended in self._ended.items():
            if name not in self._balances.accounts:
                rows[name] = Row(encode(ended), live=ended.state == UNALLOCATED)
        self._touched.clear()
        self._ended.clear()
        return rows

    def _changed(self) -> Iterable[Account]:
        changed: dict[Account, None] = {}
        for name in self._touched:
            account = self._balances.accounts.get(name)
            if account is not None and account.parent is not None:
                changed.update(dict.fromkeys((account, *account.payers, *account.parent.payers)))
        changed.pop(self._balances.root, None)
        return changed

    def restore(self, rows: Iterable[bytes]) -> None:
        kept = {row.agent: row for row in map(decode, rows) if row.state != UNALLOCATED}
        for name, row in kept.items():
            account_of(kept, name, self._balances)
            if row.reports:
                self._reports[name] = row.reports
            if (paid := money(row.paid.triple)) != ZERO:
                self._paid[name] = paid
            if (beyond := money(row.beyond.triple)) != ZERO:
                self._beyond[name] = beyond
            if row.limits and row.percentage and self._balances.accounts[name].carves_nothing:
                self._parts[name] = row.percentage
            if row.child is not None:
                self._children[name] = row.child

    # --- one step per class of event ----------------------------------------------------------------------------------

    def _named(self, event: Any) -> None:
        self._touched.add(event.agent)

    def _opened(self, event: e.BudgetAllocated) -> None:
        self._touched.add(event.agent)
        if event.delegated:
            self._children[event.agent] = ChildRow()

    def _bound(self, event: e.ChildBound) -> None:
        self._touched.add(event.agent)
        self._children[event.agent].fleet = event.fleet

    def _drawn(self, event: "e.BudgetDrawn | e.BudgetReturned") -> None:
        self._touched.add(event.agent)
        child = self._children.get(event.agent)
        if child is not None and event.number:
            child.number = event.number
            if isinstance(event, e.BudgetReturned):
                child.returned = moved(plus(money(child.returned.triple), money(event.amount.triple)))

    def _leveled(self, event: e.LevelChanged) -> None:
        self._touched.add(event.agent)
        if self._balances.accounts[event.agent].carves_nothing:
            self._parts[event.agent] = event.percentage

    def _between(self, event: "e.BudgetMoved | e.Covered | e.CoverRepaid") -> None:
        self._touched.add(event.source)
        self._touched.add(event.target)

    def _used(self, event: e.UsageReported) -> None:
        self._touched.add(event.agent)
        if event.child_upto and event.agent in self._children:
            self._children[event.agent].booked = event.child_upto
        if event.history:
            return
        charged = event.account
        account = None if charged is None else self._balances.accounts.get(charged)
        if account is not None:
            self._reports[event.agent] = self._reports.get(event.agent, 0) + 1
            self._pay(account, event)
        else:
            self._used_without_account(event)

    def _summed(self, use: SummedUse) -> None:
        self._touched.add(use.agent)
        self._reports[use.agent] = self._reports.get(use.agent, 0) + use.reports
        self._pay(use.account, use)

    def _ordered(self, event: "e.AgentStopped | e.AgentResumed") -> None:
        """An id without an open account is stopped, or may go on."""
        self._touched.add(event.agent)
        row = None if event.agent in self._balances.accounts else self._kept(event.agent)
        if row is not None:
            row.stopped = event.reason if isinstance(event, e.AgentStopped) else None
            self._ended[event.agent] = row

    def _settled(self, event: e.HoldSettled) -> None:
        self._touched.add(event.agent)
        if event.history:
            return
        self._reports[event.agent] = self._reports.get(event.agent, 0) + 1
        self._pay(self._balances.accounts[event.agent], event)

    def _pay(
        self,
        account: Account,
        event: "e.UsageReported | e.HoldSettled | e.UsageCorrected | SummedUse",
        *,
        is_own: bool = True,
        but: Sequence[str] | None = None,
    ) -> None:
        """Note who is charged for what was used in the name of another.

        ``but``: it was left by closed accounts, and in these dimensions is part of what closed ones used.
        """
        used = (event.tokens, event.time_ms, event.cost_nanos)
        if not isinstance(event, e.UsageCorrected) and event.overdrawn is not None:
            self._beyond[account.id] = plus(self._beyond.get(account.id, ZERO), used)
            return
        root = self._balances.root
        for d, payer in enumerate(account.payers):
            if not used[d]:
                continue
            if but is None and is_own:
                charged: tuple[Account, ...] = () if payer is account else (payer,)
            elif but is None:
                charged = (account,) if payer is account else (account, payer)
            else:
                charged = () if EDGE_NAMES[d] in but else (payer,)
            for one in charged:
                if one is not root:
                    paid = list(self._paid.get(one.id, ZERO))
                    paid[d] += used[d]
                    self._paid[one.id] = (paid[0], paid[1], paid[2])

    def _released(self, event: e.BudgetReleased) -> None:
        """Keep the last figures, from the moment before the release; those that pay are named while they are known."""
        account = self._balances.accounts[event.agent]
        row = self._row(account)
        row.state, row.released_at = RELEASED, event.at
        self._ended[event.agent] = row
        self._reports.pop(event.agent, None)
        self._paid.pop(event.agent, None)
        self._beyond.pop(event.agent, None)
        self._parts.pop(event.agent, None)
        self._children.pop(event.agent, None)
        assert account.parent is not None
        self._touched.update(payer.id for payer in account.parent.payers)

    def _used_without_account(self, event: e.UsageReported) -> None:
        """A late report is shown on the released account's row, another one on a row of its own.

        An account that pays for it is named. What belongs to an earlier account than the row's is only in that one.
        """
        if event.charged is not None:
            self._touched.add(event.charged)
            self._pay(self._balances.accounts[event.charged], event, is_own=False)
        if event.agent in self._balances.accounts:
            return  # another account, or a later run, is open under the id
        row = self._kept(event.agent) or unallocated_row(event)
        if row.state == RELEASED and event.life not in (None, row.life):
            return
        used = (event.tokens, event.time_ms, event.cost_nanos)
        if row.state == RELEASED:
            row.late = moved(plus(money(row.late.triple), used))
        else:
            row.consumed = moved(plus(money(row.consumed.triple), used))
        row.reports += 1
        row.last_report_at = row.activity_at = event.at
        self._ended[event.agent] = row

    def _corrected(self, event: e.UsageCorrected) -> None:
        """The figures of open accounts follow; the rows of those that are closed are corrected here."""
        self._touched.update(name for name in (event.agent, event.charged) if name is not None)
        if event.record.history:
            return
        if event.record.overdrawn is not None:
            self._beyond_corrected(event)
            return
        if event.charged is not None:
            payer = self._balances.accounts[event.charged]
            if event.closed is None:
                self._pay(payer, event, is_own=event.is_own)
            else:
                self._pay(payer, event, is_own=False, but=event.closed_in)
        if not event.is_own and event.agent not in self._balances.accounts:
            row = self._kept(event.agent)
            if row is not None and agent_corrections.correct_late(row, event):
                self._ended[event.agent] = row
        rows = agent_corrections.closed_rows(event, self._closed_row)
        self._ended.update(agent_corrections.correct_closed(rows, event))

    def _beyond_corrected(self, event: e.UsageCorrected) -> None:
        """What was charged to the fleet, as an account was beyond its bound, becomes more."""
        account = self._balances.accounts.get(event.agent)
        row = None if account is not None else self._closed_row(event.agent)
        if account is not None and account.life < event.record.position:
            self._beyond[account.id] = plus(self._beyond.get(account.id, ZERO), event.difference)
        elif row is not None and row.life < event.record.position:
            row.beyond = moved(plus(money(row.beyond.triple), event.difference))
            self._ended[event.agent] = row

    def _closed_row(self, agent: str) -> AgentRow | None:
        row = None if agent in self._balances.accounts else self._kept(agent)
        return row if row is not None and row.state == RELEASED else None

    def _kept(self, agent: str) -> AgentRow | None:
        """The row of an id without an open account."""
        row = self._ended.get(agent)
        if row is None:
            kept = self._look(self.name, agent)
            row = None if kept is None else decode(kept)
        return row

    def _row(self, account: Account) -> AgentRow:
        row = row_of(account, self._reports.get(account.id, 0))
        row.paid = moved(self._paid.get(account.id, ZERO))
        row.beyond = moved(self._beyond.get(account.id, ZERO))
        row.percentage = self._parts.get(account.id, row.percentage)
        row.child = self._children.get(account.id)
        return row

    steps: ClassVar[Steps] = {
        **dict.fromkeys((cls for cls in AccountReadModel.STEPS if "agent" in cls.__struct_fields__), _named),
        e.BudgetAllocated: _opened,
        e.ChildBound: _bound,
        e.BudgetDrawn: _drawn,
        e.BudgetReturned: _drawn,
        **dict.fromkeys((e.BudgetMoved, e.Covered, e.CoverRepaid), _between),
        e.UsageReported: _used,
        SummedUse: _summed,
        e.HoldSettled: _settled,
        e.HoldSpent: _settled,
        e.UsageCorrected: _corrected,
        e.BudgetReleased: _released,
        e.LevelChanged: _leveled,
        e.AgentStopped: _ordered,
        e.AgentResumed: _ordered,
    }
