"""One node of the budget tree, and what is set aside in it.

An account keeps its money by dimension. What changes with every report stands in a slot for each dimension, so that no
account has lists of its own; the rest changes seldom and is kept in tuples, which accounts share while they are zero.
For each dimension that the account limits, this holds after every event::

    granted = free + held + spent + delegated + closed

where ``delegated`` is granted to open children, ``closed`` was spent by closed ones, and ``granted`` is the allocation
and the cover. In a dimension that the account does not limit, ``spent`` and ``held`` say what it used itself;
the money is charged to the nearest ancestor that limits the dimension (`Account.payers`).
"""

import datetime as dt
from copy import copy
from decimal import Decimal
from typing import Any

import msgspec

from tallystick.config.amounts import NOTHING, Triple
from tallystick.config.kinds import Priority
from tallystick.events.catalog.event import EPOCH
from tallystick.events.catalog.forecasts import Prediction
from tallystick.events.state.growth import NO_STEPS
from tallystick.events.state.limit_rules import LimitRule
from tallystick.events.state.limited_holds import Limited
from tallystick.events.state.money import ZERO, Money, limited, limited_dimensions, money, plus
from tallystick.events.state.terms import USUAL, Terms

ROOT = "fleet"
POOL = "pool"
RESERVE = "reserve"
OVERDRAFT = "overdraft"
RESERVED_NAMES = frozenset({ROOT, POOL, RESERVE, OVERDRAFT})
LATER: Any = None
"""Stands where a link to another object is made by `Account.link`, or when a snapshot is loaded."""


class Notes(msgspec.Struct, array_like=True, frozen=True):
    """What messages say about a hold; None in place of it where they say nothing."""

    labels: dict[str, str] | None = None
    operation: str | None = None
    reason: str | None = None
    ended_reason: str | None = None


class Hold(msgspec.Struct, array_like=True, eq=False):
    """An amount set aside before an operation, not yet spent.

    Here and in `Account`, the fields without a default are what a snapshot keeps, in its order; the others are found
    again from them.
    """

    id: str
    agent: str
    amount: Money
    ttl_ms: int
    expires_at: dt.datetime
    lease: str | None
    """Of the run that has placed it: a later run of the same task does not pay for it."""
    placed: Money
    """What was set aside in all; ``amount`` is what still is, and ``booked`` what parts of the use have been."""
    booked: Money
    placed_at: dt.datetime
    rejects_overage: bool
    notes: Notes | None
    spends: bool
    """Its expiry books what it still has as used: the provider may have billed it."""
    model: str | None
    last_call: bool
    estimated: bool
    """What it set aside was learned from earlier outputs."""
    got: int | None
    """The tokens of output that parts of the use have said; None where one did not say."""
    limited: Limited | None
    """How it counts in limits; None where there were none when it was placed."""

    account: "Account" = LATER


class Account(msgspec.Struct, array_like=True, eq=False):
    """An open account: the root, the reserve, an agent or a sub-agent. See `open_account` in `evolve.accounts`."""

    id: str
    parent_id: str | None
    allocated: Triple
    opened_at: dt.datetime
    priority: Priority
    agent_type: str | None
    product: str | None
    workflow: str | None

    free_tokens: int
    free_ms: int
    free_nanos: int
    held: Money
    spent_tokens: int
    spent_ms: int
    spent_nanos: int
    delegated: Money
    closed: Money
    borrowed: Money
    drawn: Money
    given_back: Money
    cover: Money
    """What others pay for it; at the root, the overdraft."""

    level: int
    throttle: Decimal | None
    stopped: str | None
    warned: bool
    warning: int | None
    pool_notice: int
    """The position of the last `PoolExhausted` that the agent knows of."""

    activity_at: dt.datetime
    last_report_at: dt.datetime | None
    pace_ms: int
    """How long the last operation took, or the time between the last two reports: what a throttle multiplies."""
    model: str | None
    reclaimed: bool
    growth: bytes
    """How its usage grows from report to report (see `growth`), for forecasts."""
    forecasts: list[Prediction] | None
    """The forecasts that were made for it and cannot be scored yet; None for none."""
    owed: Money
    """What it gave back when it turned black, and its parent had not to give when that ended."""
    life: int
    """The position at which it was opened: what tells it from another account of the same id. 0 for the root."""
    terms: Terms
    overdrawn: bool
    """It is stopped, because others cover more for it than they may at most."""
    heard_at: dt.datetime
    """Of an account with a lease, when the last message came by it, or from below it down to accounts with leases of
    their own."""
    most_tokens: int
    """By dimension, what the largest operation so far has used (see `largest`)."""
    most_ms: int
    most_nanos: int
    called: int
    """0; 1 once it knows of its last call; 2 once that was used. More budget makes it 0 again."""
    counts_until: int
    """Where it has opened by itself: until when its limits count what was used, in microseconds."""
    parent: "Account | None" = None
    payers_above: "tuple[Account, Account, Account]" = LATER
    """Who pays in a dimension that it does not limit. The root's children share one tuple."""
    dims: tuple[int, ...] = ()
    """The dimensions that it limits."""
    budget_product: str | None = None
    """The product that its tokens count for: its own, or that of the nearest account above that has one."""
    run: str | None = None
    """The task whose run it is, or is below: the nearest one."""
    leased: "Account | None" = None
    """The account with a lease that it is, or is below: the nearest one."""
    all_labels: dict[str, str] | None = None
    """Its own labels over those of the accounts above it."""
    caps: tuple[LimitRule, ...] = ()
    """The limits of the accounts above it, from the top, and its own."""
    budget_workflow: str | None = None
    """Its own workflow, or that of the nearest account above that has one."""
    children: "dict[str, Account] | None" = None
    holds: dict[str, Hold] | None = None

    @classmethod
    def open(
        cls,
        id: str,
        parent: "Account | None",
        allocated: Triple,
        opened_at: dt.datetime,
        priority: Priority = "normal",
        agent_type: str | None = None,
        product: str | None = None,
        workflow: str | None = None,
        life: int = 0,
        terms: Terms = USUAL,
    ) -> "Account":
        """An account that was just opened: all that it is allocated is free."""
        free = money(allocated)
        account = cls(
            id=id,
            parent_id=None if parent is None else parent.id,
            allocated=allocated,
            opened_at=opened_at,
            priority=priority,
            agent_type=agent_type,
            product=product,
            workflow=workflow,
            free_tokens=free[0],
            free_ms=free[1],
            free_nanos=free[2],
            held=ZERO,
            spent_tokens=0,
            spent_ms=0,
            spent_nanos=0,
            delegated=ZERO,
            closed=ZERO,
            borrowed=ZERO,
            drawn=ZERO,
            given_back=ZERO,
            cover=ZERO,
            level=0,
            throttle=None,
            stopped=None,
            warned=False,
            warning=None,
            pool_notice=0,
            activity_at=opened_at,
            last_report_at=None,
            pace_ms=0,
            model=None,
            reclaimed=False,
            growth=NO_STEPS,
            forecasts=None,
            owed=ZERO,
            life=life,
            terms=terms,
            overdrawn=False,
            heard_at=opened_at,
            most_tokens=0,
            most_ms=0,
            most_nanos=0,
            called=0,
            counts_until=0,
        )
        account.link(parent)
        return account

    def link(self, parent: "Account | None") -> None:
        """Take its place below ``parent``; None for the root."""
        self.parent = parent
        self.payers_above = (self, self, self) if parent is None else parent.payers
        self.dims = limited_dimensions(self.allocated)
        self.budget_product = self.product or (None if parent is None else parent.budget_product)
        self.run = None if parent is None else parent.run
        self.leased = self if self.terms.lease_ms else None if parent is None else parent.leased
        self.caps = () if parent is None else parent.caps
        above, workflow = (None, None) if parent is None else (parent.all_labels, parent.budget_workflow)
        labels = self.terms.labels
        self.all_labels = {**above, **labels} if above and labels else labels or above
        self.budget_workflow = self.workflow or workflow

    def twin(self, parent: "Account | None") -> "Account":
        """The same account below the twin of its parent, for the account read model (`NOT_FOLLOWED` there)."""
        twin = copy(self)
        twin.link(parent)
        twin.run = self.run
        twin.children = twin.holds = twin.forecasts = twin.model = None
        twin.growth, twin.pool_notice, twin.heard_at, twin.counts_until = NO_STEPS, 0, self.opened_at, 0
        return twin

    @property
    def free(self) -> Money:
        """What is free of its budget: zero in a dimension that it does not limit."""
        return (self.free_tokens, self.free_ms, self.free_nanos)

    @free.setter
    def free(self, units: Money) -> None:
        self.free_tokens, self.free_ms, self.free_nanos = units

    @property
    def spent(self) -> Money:
        """What it was charged with itself."""
        return (self.spent_tokens, self.spent_ms, self.spent_nanos)

    @spent.setter
    def spent(self, units: Money) -> None:
        self.spent_tokens, self.spent_ms, self.spent_nanos = units

    @property
    def largest(self) -> Money:
        """By dimension, what the largest operation so far has used."""
        return (self.most_tokens, self.most_ms, self.most_nanos)

    @largest.setter
    def largest(self, units: Money) -> None:
        self.most_tokens, self.most_ms, self.most_nanos = units

    @property
    def is_run(self) -> bool:
        """It is the account of a run: what it was granted is the run's token budget, and none of it is moved."""
        return self.run == self.id

    @property
    def carves_nothing(self) -> bool:
        """It was granted nothing of its own, and uses what accounts above it have free, within its limits."""
        return not self.dims and self.run != self.id

    @property
    def payers(self) -> "tuple[Account, Account, Account]":
        """By dimension, the account that is charged: this one if it limits, else the nearest that does, or the root."""
        limits, above = self.allocated, self.payers_above
        if self.parent is None:
            return above
        return (
            self if limits[0] is not None else above[0],
            self if limits[1] is not None else above[1],
            self if limits[2] is not None else above[2],
        )

    @property
    def granted(self) -> Money:
        """All that it was given: its allocation, and what others cover."""
        return plus(money(self.allocated), self.cover)

    def source(self, dimension: int) -> "Account":
        """Who grants to this account, and covers it, in a dimension that it limits."""
        assert self.parent is not None
        return self.parent.payers[dimension]

    def consumed(self, dimension: int) -> int:
        """Its own usage and its closed children's."""
        return self.spent[dimension] + self.closed[dimension]

    def remaining(self, dimension: int) -> int:
        """What it may still use: never below zero, whatever was covered."""
        allocated = self.allocated[dimension]
        assert allocated is not None
        used = self.delegated[dimension] + self.consumed(dimension) + self.held[dimension]
        return max(0, allocated - used)

    def base(self, dimension: int) -> int:
        """What its own consumption is measured against: the allocation, less what its open children were granted."""
        allocated = self.allocated[dimension]
        assert allocated is not None
        return allocated + self.given_back[dimension] - self.delegated[dimension]

    @property
    def is_beyond(self) -> bool:
        """Whether others cover more for it than they may."""
        return any(most is not None and self.cover[d] > most for d, most in enumerate(self.terms.overdraft_max))

    def remaining_all(self) -> Triple:
        """`remaining` by dimension. It is the free balance: an account that others cover has nothing free."""
        return limited(self.allocated, self.free)

    def ratio(self, more: Money = ZERO) -> float:
        """Consumed / base, the largest over the limited dimensions, with so much ``more``; anything of nothing is 1."""
        most = 0.0
        allocated, given_back, delegated = self.allocated, self.given_back, self.delegated
        spent, closed = self.spent, self.closed
        for d in self.dims:
            base = allocated[d] + given_back[d] - delegated[d]  # type: ignore[operator]
            consumed = spent[d] + closed[d] + more[d]
            ratio = consumed / base if base > 0 else 1.0 if consumed else 0.0
            if ratio > most:  # noqa: PLR1730 - a call of max() costs more than all the rest of this loop
                most = ratio
        return most


class Balances:
    """Where all money is: in the root, the reserve and the open accounts, the holds that stand, and the sums of all.

    The ledger is one; the account read model that followers fold is another. Both change by the same steps of `evolve`.
    """

    def __init__(self) -> None:
        self.root = Account.open(ROOT, None, NOTHING, EPOCH, "critical")
        self.reserve = Account.open(RESERVE, self.root, NOTHING, EPOCH, "critical")
        self.accounts: dict[str, Account] = {}
        self.holds: dict[str, Hold] = {}
        self.spent = [0, 0, 0]
        """All usage ever, by dimension; with ``held`` it is what pressure counts."""
        self.held = [0, 0, 0]
        self.opening: Money = ZERO
        """What had been spent when the current period began: status and pressure count what came after."""
