"""One row per agent: how it stands, or how it stood when it was released.

An agent that reports without an account has a row too. An id that is allocated again has one row, the new account's.
"""

import datetime as dt
from collections.abc import Iterable
from typing import Any, ClassVar

import msgspec

from tallystick.config.amounts import DIMENSIONS, Amounts
from tallystick.config.kinds import Priority
from tallystick.events import catalog as e
from tallystick.events.evolve.account_read_model import AccountModel, AccountModels
from tallystick.events.state.accounts import ZERO, money, plus
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


decode = msgspec.json.Decoder(AgentRow).decode


class AgentsView:
    """Folds the rows of agents, from which the shared ``standings`` go on."""

    name = "agents"
    version = 2

    def __init__(self, standings: AccountModels, look: Look) -> None:
        self._standings = standings
        self._look = look
        self._touched: set[str] = set()
        self._ended: dict[str, AgentRow] = {}
        """Changed rows of ids without an open account."""

    def changes(self, last: e.Event) -> Changes:
        """The rows of those whom events named, and of all above them, whose figures follow."""
        agents, rows = self._standings.agents, {}
        for name in self._touched:
            standing = agents.get(name)
            while standing is not None and standing.id not in rows:
                rows[standing.id] = Row(encode(_row(standing)), live=True)
                standing = standing.parent
        for name, ended in self._ended.items():
            if name not in agents:
                rows[name] = Row(encode(ended), live=ended.state == UNALLOCATED)
        self._touched.clear()
        self._ended.clear()
        return rows

    def restore(self, rows: Iterable[bytes]) -> None:
        agents, parents = self._standings.agents, {}
        for data in rows:
            row = decode(data)
            if row.state != UNALLOCATED:
                agents[row.agent] = _standing(row)
                parents[row.agent] = row.parent
        for name, parent in parents.items():
            agents[name].parent = None if parent is None else agents[parent]

    # --- one step per class of event ----------------------------------------------------------------------------------

    def _named(self, event: Any) -> None:
        self._touched.add(event.agent)

    def _between(self, event: "e.BudgetMoved | e.Covered | e.CoverRepaid") -> None:
        self._touched.add(event.source)
        self._touched.add(event.target)

    def _used(self, event: e.UsageReported) -> None:
        self._touched.add(event.agent)
        if event.agent not in self._standings.agents:
            self._used_without_account(event)
        elif event.lease is not None and event.charged is not None:
            self._touched.add(event.charged)  # it was for a run that is over, and a later one is open

    def _released(self, event: e.BudgetReleased) -> None:
        """Keep the last figures, from the moment before the release; those above are touched while they are known."""
        standing = self._standings.agents[event.agent]
        above = standing.parent
        while above is not None:
            self._touched.add(above.id)
            above = above.parent
        row = _row(standing)
        row.state, row.released_at = RELEASED, event.at
        self._ended[event.agent] = row

    def _used_without_account(self, event: e.UsageReported) -> None:
        """A late report is shown on the released account's row, another one on a row of its own.

        An account that pays for it is named.
        """
        if event.charged is not None:
            self._touched.add(event.charged)
        row = self._ended.get(event.agent)
        if row is None:
            kept = self._look(self.name, event.agent)
            row = _stranger(event) if kept is None else decode(kept)
        used = (event.tokens, event.time_ms, event.cost_nanos)
        if row.state == RELEASED:
            row.late = moved(plus(money(row.late.triple), used))
        else:
            row.consumed = moved(plus(money(row.consumed.triple), used))
        row.reports += 1
        row.last_report_at = row.activity_at = event.at
        self._ended[event.agent] = row

    steps: ClassVar[Steps] = {
        **dict.fromkeys((cls for cls in AccountModels.STEPS if "agent" in cls.__struct_fields__), _named),
        **dict.fromkeys((e.BudgetMoved, e.Covered, e.CoverRepaid), _between),
        e.UsageReported: _used,
        e.BudgetReleased: _released,
    }


def _row(standing: AccountModel) -> AgentRow:
    limits, used, held, delegated = standing.allocated, standing.consumed, standing.held, standing.delegated
    consumed: list[int | None] = [None, None, None]
    overrun: list[int | None] = [None, None, None]
    remaining: list[int | None] = [None, None, None]
    for d in DIMENSIONS:
        limit = limits[d]
        if limit is not None:
            consumed[d] = used[d]
            overrun[d] = used[d] - limit if used[d] > limit else 0
            left = limit - delegated[d] - used[d] - held[d]
            remaining[d] = left if left > 0 else 0
        elif used[d]:
            consumed[d] = used[d]
    return AgentRow(
        agent=standing.id,
        state=OPEN if standing.stopped is None else STOPPED,
        agent_type=standing.agent_type,
        product=standing.product,
        workflow=standing.workflow,
        priority=standing.priority,
        parent=None if standing.parent is None else standing.parent.id,
        allocated=Amounts(limits[0], limits[1], limits[2]),
        delegated=within(limits, delegated),
        consumed=Amounts(consumed[0], consumed[1], consumed[2]),
        held=within(limits, held),
        borrowed=moved(standing.borrowed),
        overrun=Amounts(overrun[0], overrun[1], overrun[2]),
        remaining=Amounts(remaining[0], remaining[1], remaining[2]),
        percentage=round(standing.ratio(), 6),
        level=e.LEVELS[standing.level],
        stopped=standing.stopped,
        throttle=standing.throttle,
        warned=standing.warned,
        reports=standing.reports,
        opened_at=standing.opened_at,
        last_report_at=standing.last_report_at,
        released_at=None,
        late=moved(ZERO),
        activity_at=standing.activity_at,
        cover=moved(standing.cover),
        drawn=moved(standing.drawn),
        given_back=moved(standing.given_back),
        closed=moved(standing.closed),
        reclaimed=standing.reclaimed,
        task=standing.task,
    )


def _standing(row: AgentRow) -> AccountModel:
    """What `_row` was made of; its parent is not known yet."""
    standing = AccountModel(row.agent, None, row.priority, row.allocated.triple, row.opened_at)
    standing.agent_type, standing.product, standing.workflow = row.agent_type, row.product, row.workflow
    standing.activity_at, standing.last_report_at, standing.reports = row.activity_at, row.last_report_at, row.reports
    standing.consumed, standing.closed = list(money(row.consumed.triple)), money(row.closed.triple)
    standing.held, standing.delegated = money(row.held.triple), money(row.delegated.triple)
    standing.cover, standing.given_back = money(row.cover.triple), money(row.given_back.triple)
    standing.drawn, standing.borrowed = money(row.drawn.triple), money(row.borrowed.triple)
    standing.level, standing.stopped, standing.throttle = e.LEVELS.index(row.level), row.stopped, row.throttle
    standing.reclaimed, standing.warned, standing.task = row.reclaimed, row.warned, row.task
    return standing


def _stranger(event: Any) -> AgentRow:
    """The row of an id that reports and never had an account."""
    standing = AccountModel(event.agent, None, "normal", (None, None, None), event.at)
    row = _row(standing)
    row.state = UNALLOCATED
    return row
