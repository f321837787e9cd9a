"""The accounts as a read model, folded from the recorded events: for specialists and for views.

It mirrors the accounts of the ledger in the figures that plans, forecasts and views use, and decides nothing. A plan is
checked again by `decide` when it is applied, so an old figure can cost a plan, never money.
"""

import datetime as dt
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from tallystick.config.amounts import DIMENSIONS, Triple
from tallystick.config.kinds import Priority
from tallystick.events import catalog as e
from tallystick.events.catalog.event import EPOCH
from tallystick.events.state.accounts import POOL, ZERO, Account, Money, less, minus, money, only, plus
from tallystick.events.state.ledger import Ledger


class AccountModel:
    """One open account; amounts by dimension in internal units."""

    __slots__ = (
        "activity_at",
        "agent_type",
        "allocated",
        "borrowed",
        "closed",
        "consumed",
        "cover",
        "delegated",
        "drawn",
        "given_back",
        "held",
        "id",
        "last_report_at",
        "level",
        "opened_at",
        "parent",
        "priority",
        "product",
        "reclaimed",
        "reports",
        "stopped",
        "task",
        "throttle",
        "warned",
        "workflow",
    )

    def __init__(
        self, id: str, parent: "AccountModel | None", priority: Priority, allocated: Triple, at: dt.datetime
    ) -> None:
        self.id = id
        self.parent = parent
        self.priority = priority
        self.allocated = allocated
        self.opened_at = at
        self.activity_at = at
        self.last_report_at: dt.datetime | None = None
        self.consumed = [0, 0, 0]
        """Its own usage, in every dimension; and its closed children's in those that it limits."""
        self.closed = ZERO
        """What of ``consumed`` its closed children had used."""
        self.held = ZERO
        self.delegated = ZERO
        self.cover = ZERO
        self.drawn = ZERO
        self.borrowed = ZERO
        self.given_back = ZERO
        """What it gave back when it turned black; its percentage is measured as if it had not."""
        self.agent_type: str | None = None
        self.product: str | None = None
        self.workflow: str | None = None
        self.level = 0
        self.throttle: str | None = None
        """The rate that an operator set, as a decimal."""
        self.stopped: str | None = None
        self.reports = 0
        self.reclaimed = False
        self.warned = False
        self.task = False
        """It is the account of a run: what it was granted is its token budget, and none of it is moved."""

    def source(self, d: int) -> "AccountModel | None":
        """Who grants in a dimension: the nearest ancestor that limits it; None for the pool."""
        above = self.parent
        while above is not None and above.allocated[d] is None:
            above = above.parent
        return above

    def remaining(self, d: int) -> int:
        """What it may still use of a limited dimension."""
        return max(0, (self.allocated[d] or 0) - self.delegated[d] - self.consumed[d] - self.held[d])

    def ratio(self) -> float:
        """Consumed / allocated, the largest over the limited dimensions."""
        most = 0.0
        for d in DIMENSIONS:
            allocated = self.allocated[d]
            if allocated is not None:
                base, consumed = allocated + self.given_back[d] - self.delegated[d], self.consumed[d]
                most = max(most, consumed / base if base > 0 else (1.0 if consumed > 0 else 0.0))
        return most

    @classmethod
    def of(cls, account: Account, parent: "AccountModel | None") -> "AccountModel":
        """The model of an account of the ledger."""
        model = cls(account.id, parent, account.priority, account.allocated, account.opened_at)
        model.activity_at, model.last_report_at = account.activity_at, account.last_report_at
        model.consumed = [account.consumed(d) for d in DIMENSIONS]
        model.closed, model.given_back = account.closed, account.given_back
        limits = account.allocated
        model.held = _where(limits, (account.held[0], account.held[1], account.held[2]))
        model.delegated = _where(limits, account.delegated)
        model.cover = _where(limits, minus(account.granted, money(limits)))
        model.drawn = account.drawn
        model.reports = 0 if account.last_report_at is None else 2
        model.reclaimed, model.warned = account.reclaimed, account.warned
        model.borrowed, model.level, model.stopped = account.borrowed, account.level, account.stopped
        model.throttle = None if account.throttle is None else str(account.throttle)
        model.agent_type, model.product = account.agent_type, account.product
        model.workflow = account.workflow
        return model


class AccountModels:
    """All open accounts."""

    def __init__(self, ledger: Ledger | None = None) -> None:
        self.agents: dict[str, AccountModel] = {}
        self.holds: dict[str, Money] = {}
        """What each hold that stands has set aside."""
        self.held = ZERO
        """What all holds have set aside."""
        self.pool = AccountModel(POOL, None, "critical", ZERO, EPOCH)
        """What the root is charged with itself (``consumed``, ``held``) and has granted to agents (``delegated``);
        nothing above it could be charged, so that it counts as limited in every dimension."""
        if ledger is None:
            return
        root, reserve = ledger.root, ledger.reserve
        self.pool.consumed = [root.consumed(d) for d in DIMENSIONS]
        self.pool.held = (root.held[0], root.held[1], root.held[2])
        self.pool.delegated = minus(root.delegated, reserve.granted)
        self.held = (ledger.held[0], ledger.held[1], ledger.held[2])
        for account in ledger.accounts.values():
            parent = None if account.parent is None else self.agents.get(account.parent.id)
            self.agents[account.id] = AccountModel.of(account, parent)
        for name in ledger.tasks.running:
            self.agents[name].task = True
        for hold in ledger.holds.values():
            self.holds[hold.id] = hold.amount

    def fold(self, events: Iterable[e.Event]) -> None:
        """Follow a recorded batch."""
        steps = self.STEPS
        for event in events:
            step = steps.get(type(event))
            if step is not None:
                step(self, event)

    def _used(self, event: "e.UsageReported | e.HoldSettled") -> None:
        charged = account = self.agents.get(event.agent) if getattr(event, "lease", None) is None else None
        if charged is None:
            # Without an open account: the event names the account that pays, or else the fleet does.
            charged = self.agents.get(getattr(event, "charged", None) or "", self.pool)
        for d, amount in ((0, event.tokens), (1, event.time_ms), (2, event.cost_nanos)):
            if amount:
                charged.consumed[d] += amount
                if charged.allocated[d] is None:
                    payer = self.pool if charged.parent is None else charged.source(d) or self.pool
                    payer.consumed[d] += amount
        if account is not None:
            account.last_report_at = account.activity_at = event.at
            account.reports += 1
            account.reclaimed = False

    def _hold_placed(self, event: e.HoldPlaced) -> None:
        account = self.agents[event.agent]
        self.holds[event.hold] = amount = money(event.amount.triple)
        self._set_aside(account, amount)
        account.activity_at = event.at
        account.reclaimed = False

    def _hold_extended(self, event: e.HoldExtended) -> None:
        self.agents[event.agent].activity_at = event.at

    def _hold_settled(self, event: e.HoldSettled) -> None:
        self._end_hold(event)
        self._used(event)

    def _hold_ended(self, event: e.HoldEnded) -> None:
        self._end_hold(event)
        self.agents[event.agent].activity_at = event.at

    def _end_hold(self, event: "e.HoldEnded | e.HoldSettled") -> None:
        self._set_aside(self.agents[event.agent], minus(ZERO, self.holds.pop(event.hold)))

    def _set_aside(self, account: AccountModel, amount: Money) -> None:
        self.held = plus(self.held, amount)
        for d in DIMENSIONS:
            if amount[d]:
                payer = account if account.allocated[d] is not None else account.source(d) or self.pool
                payer.held = plus(payer.held, only(d, amount[d]))

    def _allocated(self, event: e.BudgetAllocated) -> None:
        parent = None if event.parent is None else self.agents[event.parent]
        account = AccountModel(event.agent, parent, event.priority, event.amount.triple, event.at)
        account.agent_type, account.product, account.workflow = event.agent_type, event.product, event.workflow
        account.task = event.for_task
        self.agents[account.id] = account
        if event.on_demand:
            account.drawn = money(event.amount.triple)
        self._hand_on(account, money(event.amount.triple))

    def _drawn(self, event: e.BudgetDrawn) -> None:
        account = self._grant(event.agent, money(event.amount.triple))
        account.drawn = plus(account.drawn, money(event.amount.triple))
        if event.borrowed:
            account.borrowed = plus(account.borrowed, money(event.amount.triple))
        account.warned = False

    def _returned(self, event: e.BudgetReturned) -> None:
        units = money(event.amount.triple)
        account = self._grant(event.agent, minus(ZERO, units))
        account.drawn = less(account.drawn, units)
        account.borrowed = less(account.borrowed, units)

    def _moved(self, event: e.BudgetMoved) -> None:
        units = money(event.amount.triple)
        if event.strategy == "idle":
            self._grant(event.source, minus(ZERO, units)).reclaimed = True
        else:
            account = self._grant(event.target, units)
            account.drawn = plus(account.drawn, units)
            account.warned = False

    def _unused_returned(self, event: e.UnusedReturned) -> None:
        units = money(event.amount.triple)
        account = self._grant(event.agent, minus(ZERO, units))
        account.given_back = plus(account.given_back, units)

    def _unused_restored(self, event: e.UnusedRestored) -> None:
        self._grant(event.agent, money(event.amount.triple)).given_back = ZERO

    def _grant(self, agent: str, units: Money) -> AccountModel:
        account = self.agents[agent]
        limits = account.allocated
        account.allocated = (
            None if limits[0] is None else limits[0] + units[0],
            None if limits[1] is None else limits[1] + units[1],
            None if limits[2] is None else limits[2] + units[2],
        )
        self._hand_on(account, units)
        return account

    def _hand_on(self, account: AccountModel, units: Money) -> None:
        """What an account is granted is no longer its sources' own."""
        for d in DIMENSIONS:
            if units[d] and account.allocated[d] is not None:
                source = account.source(d) or self.pool
                source.delegated = plus(source.delegated, only(d, units[d]))

    def _covered(self, event: e.Covered) -> None:
        account = self.agents.get(event.target)
        if account is not None:
            units = money(event.amount.triple)
            account.cover = plus(account.cover, units)
            self._hand_on(account, units)

    def _repaid(self, event: e.CoverRepaid) -> None:
        account = self.agents.get(event.source)
        if account is not None:
            units = minus(ZERO, money(event.amount.triple))
            account.cover = plus(account.cover, units)
            self._hand_on(account, units)

    def _released(self, event: e.BudgetReleased) -> None:
        account = self.agents.pop(event.agent)
        self._hand_on(account, minus(ZERO, plus(money(account.allocated), account.cover)))
        for d in DIMENSIONS:
            if account.allocated[d] is not None:
                source, consumed = account.source(d) or self.pool, account.consumed[d]
                source.consumed[d] += consumed
                source.closed = plus(source.closed, only(d, consumed))

    def _warned(self, event: e.ExhaustionWarned) -> None:
        self.agents[event.agent].warned = True

    def _level_changed(self, event: e.LevelChanged) -> None:
        self.agents[event.agent].level = e.LEVELS.index(event.level)

    def _throttled(self, event: e.AgentThrottled) -> None:
        self.agents[event.agent].throttle = event.rate

    def _stopped(self, event: e.AgentStopped) -> None:
        self.agents[event.agent].stopped = event.reason

    def _resumed(self, event: e.AgentResumed) -> None:
        account = self.agents[event.agent]
        account.stopped = account.throttle = None

    STEPS: ClassVar[dict[type[e.Event], Callable[["AccountModels", Any], None]]] = {
        e.UsageReported: _used,
        e.HoldPlaced: _hold_placed,
        e.HoldExtended: _hold_extended,
        e.HoldSettled: _hold_settled,
        e.HoldEnded: _hold_ended,
        e.BudgetAllocated: _allocated,
        e.BudgetDrawn: _drawn,
        e.BudgetReturned: _returned,
        e.BudgetMoved: _moved,
        e.UnusedReturned: _unused_returned,
        e.UnusedRestored: _unused_restored,
        e.Covered: _covered,
        e.CoverRepaid: _repaid,
        e.BudgetReleased: _released,
        e.ExhaustionWarned: _warned,
        e.LevelChanged: _level_changed,
        e.AgentThrottled: _throttled,
        e.AgentStopped: _stopped,
        e.AgentResumed: _resumed,
    }
    """What an event changes, by its class; what is not here changes nothing."""


def _where(limits: Triple, values: Money) -> Money:
    """``values`` in the limited dimensions, zero elsewhere."""
    return (
        0 if limits[0] is None else values[0],
        0 if limits[1] is None else values[1],
        0 if limits[2] is None else values[2],
    )
