"""The row of an agent, made of its account; and the account, made of its row."""

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal

import msgspec

from tallystick.config.amounts import DIMENSIONS, Amounts
from tallystick.config.kinds import Priority
from tallystick.config.limits import AccountLimit
from tallystick.events import catalog as e
from tallystick.events.state.accounts import Account, Balances
from tallystick.events.state.money import ZERO, limited, minus, money, plus
from tallystick.events.state.terms import Terms, shared
from tallystick.projections.views.view import moved, within

OPEN, STOPPED, RELEASED, UNALLOCATED = "open", "stopped", "released", "unallocated"


class ChildRow(msgspec.Struct, kw_only=True, gc=False):
    """Where the account is the total of another fleet: its id, and what of its draws, returns and use is booked."""

    fleet: str | None = None
    number: int = 0
    booked: int = 0
    returned: Amounts = Amounts()


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
    labels: dict[str, str] | None = None
    limits: tuple[AccountLimit, ...] = ()
    """Its own limits. Without a carve-out, ``percentage`` is what the greatest of them was at its last level change:
    what counts in them is no view's.
    """
    auto: bool = False
    """It has opened by itself."""
    child: ChildRow | None = None
    """The other fleet whose total it is."""


decode = msgspec.json.Decoder(AgentRow).decode


def row_of(account: Account, reports: int) -> AgentRow:
    """An open account's row."""
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
        overdraft_max=Amounts(*account.terms.overdraft_max),
        overdrawn=account.overdrawn,
        lease_ms=account.terms.lease_ms,
        largest=moved(account.largest),
        called=account.called,
        labels=account.terms.labels,
        limits=account.terms.limits,
        auto=account.terms.auto,
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
        shared(Terms(row.overdraft_max.triple, row.lease_ms, row.labels, row.limits, row.auto, row.child is not None)),
    )
    account.overdrawn = row.overdrawn
    if row.task:
        account.run = account.id
    account.cover, account.closed = money(row.cover.triple), money(row.closed.triple)
    held = plus(money(row.held.triple), money(row.held_above.triple))
    account.held, account.delegated = held, money(row.delegated.triple)
    consumed, granted = money(row.consumed.triple), account.granted
    account.spent = minus(consumed, account.closed)
    used = plus(plus(consumed, account.held), account.delegated)
    account.free = money(limited(account.allocated, minus(granted, used)))
    account.borrowed, account.drawn = money(row.borrowed.triple), money(row.drawn.triple)
    account.given_back, account.level = money(row.given_back.triple), e.LEVELS.index(row.level)
    account.throttle = None if row.throttle is None else Decimal(row.throttle)
    account.stopped, account.warned, account.reclaimed = row.stopped, row.warned, row.reclaimed
    account.largest, account.called = money(row.largest.triple), row.called
    account.activity_at, account.last_report_at = row.activity_at, row.last_report_at
    return account


def unallocated_row(event: e.UsageReported) -> AgentRow:
    """The row of an id that reports and never had an account."""
    row = row_of(Account.open(event.agent, None, (None, None, None), event.at), 0)
    row.state = UNALLOCATED
    return row
