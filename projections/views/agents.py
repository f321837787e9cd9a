"""One row per agent: how it stands, or how it stood when it was released.

An agent that reports without an account has a row too. An id that is allocated again has one row, the new account's.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar

import msgspec

from tallystick.config.amounts import DIMENSIONS, EDGE_NAMES, Amounts
from tallystick.config.kinds import Priority
from tallystick.events import catalog as e
from tallystick.events.evolve.account_read_model import AccountReadModel
from tallystick.events.state.accounts import Account, Balances
from tallystick.events.state.money import ZERO, Money, minus, money, plus
from tallystick.projections.views import agent_corrections
from tallystick.projections.views.view import Changes, Look, Row, Steps, encode, moved, within

OPEN, STOPPED, RELEASED, UNALLOCATED = "open", "stopped", "released", "unallocated"


class AgentRow(msgspec.Struct, kw_only=True, gc=False):
    """One agent; amounts in internal units (tokens, milliseconds, nano-dollars).

    ``allocated``, ``delegated``, ``held``, ``overrun`` and ``remaining`` name the dimensions that the account limits;
    ``consumed`` those and all that were used; the others where they are not zero. ``late`` is usage that was reported
    after the release, and that others paid. ``percentage`` is rounded to 6 places.
    """

    agent: str
    state: str
    agent_type: str | None
    product: str | None
    workflow: str | None
    priority: Priority
    parent: str | None
    allocated: Amounts
    delegated: Amounts
    consumed: Amounts
    held: Amounts
    borrowed: Amounts
    overrun: Amounts
    remaining: Amounts
    percentage: float
    level: str
    stopped: str | None
    throttle: str | None
    warned: bool
    reports: int
    opened_at: dt.datetime
    last_report_at: dt.datetime | None
    released_at: dt.datetime | None
    late: Amounts
    activity_at: dt.datetime
    cover: Amounts
    drawn: Amounts
    given_back: Amounts
    closed: Amounts
    reclaimed: bool
    task: bool
    life: int
    """The position at which it was opened; 0 for an id that never was."""
    held_above: Amounts
    """What it holds in dimensions that it does not limit: an account above it pays."""
    paid: Amounts = Amounts()
    """What it was charged for usage of others: of closed sub-agents, and of open ones in what they do not limit."""
    overdraft_max: Amounts = Amounts()
    """What others may cover for it at most."""
    overdrawn: bool = False
    """It is stopped, because others cover more for it than that."""
    beyond: Amounts = Amounts()
    """What it used then, which the fleet was charged for."""
    lease_ms: int = 0
    """How long it stays open without a message by it or from below it; 0: until it is released."""
    largest: Amounts = Amounts()
    called: int = 0


decode = msgspec.json.Decoder(AgentRow).decode


class AgentsView:
    """Folds the rows of agents, from which the shared ``balances`` go on."""

    name = "agents"
    version = 6

    def __init__(self, balances: Balances, look: Look) -> None:
        self._balances = balances
        self._look = look
        self._reports: dict[str, int] = {}
        """How often each open agent has reported."""
        self._paid: dict[str, Money] = {}
        """What each open agent was charged for others."""
        self._beyond: dict[str, Money] = {}
        """What each open agent used that the fleet was charged for."""
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

    # --- one step per class of event ----------------------------------------------------------------------------------

    def _named(self, event: Any) -> None:
        self._touched.add(event.agent)

    def _between(self, event: "e.BudgetMoved | e.Covered | e.CoverRepaid") -> None:
        self._touched.add(event.source)
        self._touched.add(event.target)

    def _used(self, event: e.UsageReported) -> None:
        self._touched.add(event.agent)
        if event.history:
            return
        if event.account in self._balances.accounts:
            self._reports[event.agent] = self._reports.get(event.agent, 0) + 1
            self._pay(self._balances.accounts[event.agent], event)
        else:
            self._used_without_account(event)

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
        event: "e.UsageReported | e.HoldSettled | e.UsageCorrected",
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
        for d, payer in enumerate(account.payers):
            charged = {account, payer} - ({account} if is_own else set())
            if but is not None:
                charged = set() if EDGE_NAMES[d] in but else {payer}
            for one in charged:
                if used[d] and one is not self._balances.root:
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
        row = self._kept(event.agent) or _unallocated(event)
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
        row = _row(account, self._reports.get(account.id, 0))
        row.paid = moved(self._paid.get(account.id, ZERO))
        row.beyond = moved(self._beyond.get(account.id, ZERO))
        return row

    steps: ClassVar[Steps] = {
        **dict.fromkeys((cls for cls in AccountReadModel.STEPS if "agent" in cls.__struct_fields__), _named),
        **dict.fromkeys((e.BudgetMoved, e.Covered, e.CoverRepaid), _between),
        e.UsageReported: _used,
        e.HoldSettled: _settled,
        e.HoldSpent: _settled,
        e.UsageCorrected: _corrected,
        e.BudgetReleased: _released,
        e.AgentStopped: _ordered,
        e.AgentResumed: _ordered,
    }


def _row(account: Account, reports: int) -> AgentRow:
    limits, parent = account.allocated, account.parent
    spent, closed = account.spent, account.closed
    consumed: list[int | None] = [(spent[d] + closed[d]) or None for d in DIMENSIONS]
    overrun: list[int | None] = [None, None, None]
    remaining: list[int | None] = [None, None, None]
    for d in account.dims:
        consumed[d] = used = spent[d] + closed[d]
        beyond = used - (limits[d] or 0)
        overrun[d] = beyond if beyond > 0 else 0
        remaining[d] = account.remaining(d)
    return AgentRow(
        agent=account.id,
        state=STOPPED if account.stopped is not None or account.overdrawn else OPEN,
        agent_type=account.agent_type,
        product=account.product,
        workflow=account.workflow,
        priority=account.priority,
        parent=None if parent is None or parent.parent is None else parent.id,
        allocated=Amounts(limits[0], limits[1], limits[2]),
        delegated=within(limits, account.delegated),
        consumed=Amounts(consumed[0], consumed[1], consumed[2]),
        held=within(limits, account.held),
        borrowed=moved(account.borrowed),
        overrun=Amounts(overrun[0], overrun[1], overrun[2]),
        remaining=Amounts(remaining[0], remaining[1], remaining[2]),
        percentage=round(account.ratio(), 6),
        level=e.LEVELS[account.level],
        stopped=account.stopped,
        throttle=None if account.throttle is None else str(account.throttle),
        warned=account.warned,
        reports=reports,
        opened_at=account.opened_at,
        last_report_at=account.last_report_at,
        released_at=None,
        late=moved(ZERO),
        activity_at=account.activity_at,
        cover=moved(account.cover),
        drawn=moved(account.drawn),
        given_back=moved(account.given_back),
        closed=moved(closed),
        reclaimed=account.reclaimed,
        task=account.is_run,
        life=account.life,
        held_above=_above(account),
        overdraft_max=Amounts(*account.overdraft_max),
        overdrawn=account.overdrawn,
        lease_ms=account.lease_ms,
        largest=moved(account.largest),
        called=account.called,
    )


def _above(account: Account) -> Amounts:
    held, limits = account.held, account.allocated
    if held is ZERO:
        return moved(ZERO)
    first, second, third = (held[d] if limits[d] is None else 0 for d in DIMENSIONS)
    return moved((first, second, third))


def account_of(rows: Mapping[str, AgentRow], agent: str, balances: Balances) -> Account:
    """The account that a row was made of, put into ``balances`` below those above it, which have rows too."""
    path: list[AgentRow] = []
    above: str | None = agent
    while above is not None and above not in balances.accounts:
        path.append(rows[above])
        above = path[-1].parent
    account = balances.root if above is None else balances.accounts[above]
    for row in reversed(path):
        account = _account_below(account, row, balances)
    return account


def _account_below(parent: Account, row: AgentRow, balances: Balances) -> Account:
    account = balances.accounts[row.agent] = Account.open(
        row.agent,
        parent,
        row.allocated.triple,
        row.opened_at,
        row.priority,
        row.agent_type,
        row.product,
        row.workflow,
        row.life,
        row.lease_ms,
    )
    account.overdraft_max, account.overdrawn = row.overdraft_max.triple, row.overdrawn
    if row.task:
        account.run = account.id
    account.cover, account.closed = money(row.cover.triple), money(row.closed.triple)
    held = plus(money(row.held.triple), money(row.held_above.triple))
    account.held, account.delegated = held, money(row.delegated.triple)
    consumed, granted = money(row.consumed.triple), account.granted
    account.spent = list(minus(consumed, account.closed))
    used = plus(plus(consumed, account.held), account.delegated)
    account.free = [granted[d] - used[d] if d in account.dims else 0 for d in DIMENSIONS]
    account.borrowed, account.drawn = money(row.borrowed.triple), money(row.drawn.triple)
    account.given_back, account.level = money(row.given_back.triple), e.LEVELS.index(row.level)
    account.throttle = None if row.throttle is None else Decimal(row.throttle)
    account.stopped, account.warned, account.reclaimed = row.stopped, row.warned, row.reclaimed
    account.largest, account.called = money(row.largest.triple), row.called
    account.activity_at, account.last_report_at = row.activity_at, row.last_report_at
    return account


def _unallocated(event: e.UsageReported) -> AgentRow:
    """The row of an id that reports and never had an account."""
    row = _row(Account.open(event.agent, None, (None, None, None), event.at), 0)
    row.state = UNALLOCATED
    return row
