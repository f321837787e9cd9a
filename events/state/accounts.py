"""One node of the budget tree, and what is set aside in it.

An account keeps its money by dimension. ``free`` and ``spent`` change with every report and are lists;
the rest changes seldom and is kept in tuples, which accounts share while they are zero. For each dimension that the
account limits, the law of the fleet holds after every event::

    granted = free + held + spent + delegated + closed

where ``delegated`` is granted to open children, ``closed`` was spent by closed ones, and ``granted`` is the allocation
and the cover. In a dimension that the account does not limit, ``spent`` and ``held`` say what it used itself;
the money is charged to the nearest ancestor that limits the dimension (`Account.payers`).
"""

import datetime as dt
from decimal import Decimal

from tallystick.config.amounts import Amounts, Triple
from tallystick.config.kinds import Priority
from tallystick.events.catalog.forecasts import Prediction
from tallystick.events.state.growth import NO_STEPS

Money = tuple[int, int, int]
ZERO: Money = (0, 0, 0)

ROOT = "fleet"
POOL = "pool"
RESERVE = "reserve"
OVERDRAFT = "overdraft"
RESERVED_NAMES = frozenset({ROOT, POOL, RESERVE, OVERDRAFT})


_DIMS: dict[tuple[bool, bool, bool], tuple[int, ...]] = {
    (first, second, third): tuple(d for d, named in enumerate((first, second, third)) if named)
    for first in (True, False)
    for second in (True, False)
    for third in (True, False)
}


class Hold:
    """An amount set aside before an operation, not yet spent."""

    __slots__ = ("account", "amount", "expires_at", "id", "lease", "ttl_ms")

    def __init__(
        self, id: str, account: "Account", amount: Money, ttl_ms: int, expires_at: dt.datetime, lease: str | None = None
    ) -> None:
        self.id = id
        self.account = account
        self.amount = amount
        self.ttl_ms = ttl_ms
        self.expires_at = expires_at
        self.lease = lease
        """Of the run that has placed it: a later run of the same task does not pay for it."""


class Account:
    """An open account: the root, the reserve, an agent or a sub-agent."""

    __slots__ = (
        "above",
        "activity_at",
        "agent_type",
        "allocated",
        "borrowed",
        "children",
        "closed",
        "cover",
        "delegated",
        "dims",
        "drawn",
        "forecasts",
        "free",
        "given_back",
        "growth",
        "held",
        "holds",
        "id",
        "last_report_at",
        "level",
        "model",
        "opened_at",
        "pace_ms",
        "parent",
        "pool_notice",
        "priority",
        "product",
        "reclaimed",
        "run",
        "spent",
        "stopped",
        "throttle",
        "under",
        "warned",
        "warning",
        "workflow",
    )

    def __init__(
        self,
        id: str,
        parent: "Account | None",
        allocated: Triple,
        opened_at: dt.datetime,
        priority: Priority = "normal",
        agent_type: str | None = None,
        product: str | None = None,
        workflow: str | None = None,
    ) -> None:
        self.id = id
        self.parent = parent
        self.priority = priority
        self.agent_type = agent_type
        self.product = product
        self.workflow = workflow
        self.under: str | None = product or (None if parent is None else parent.under)
        """The product that its tokens count for: its own, or that of the nearest account above that has one."""
        self.run: str | None = None if parent is None else parent.run
        """The task whose run it is, or is below: the nearest one."""
        self.opened_at = opened_at

        self.allocated = allocated
        self.dims = _DIMS[allocated[0] is not None, allocated[1] is not None, allocated[2] is not None]
        """The dimensions that it limits."""
        self.free = list(money(allocated))
        self.held = ZERO
        self.spent = [0, 0, 0]
        self.delegated = ZERO
        self.closed = ZERO
        self.borrowed = ZERO
        self.drawn = ZERO
        self.given_back = ZERO
        self.cover = ZERO
        """What others pay for it; at the root, the overdraft."""
        self.above: tuple[Account, Account, Account] = (self, self, self) if parent is None else parent.payers
        """Who pays in a dimension that it does not limit. The root's children share one tuple."""

        self.level = 0
        self.throttle: Decimal | None = None
        self.stopped: str | None = None
        self.warned = False
        self.warning: int | None = None
        self.pool_notice = 0

        self.activity_at = opened_at
        self.last_report_at: dt.datetime | None = None
        self.pace_ms = 0
        """How long the last operation took, or the time between the last two reports: what a throttle multiplies."""
        self.model: str | None = None
        self.growth = NO_STEPS
        """How its usage grows from report to report (see `growth`), for those who foresee."""
        self.forecasts: list[Prediction] | None = None
        """What was foretold of it and cannot be scored yet; None for nothing."""
        self.reclaimed = False
        self.children: dict[str, Account] | None = None
        self.holds: dict[str, Hold] | None = None

    @property
    def payers(self) -> "tuple[Account, Account, Account]":
        """By dimension, who is charged: this account where it limits, else the nearest that does, or the root."""
        limits, above = self.allocated, self.above
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

    def remaining_all(self) -> Triple:
        """`remaining` by dimension. It is the free balance: an account that others cover has nothing free."""
        return limited(self.allocated, self.free)

    def ratio(self) -> float:
        """Consumed / base, the largest over the limited dimensions; anything of nothing is 1."""
        most = 0.0
        allocated, given_back, delegated = self.allocated, self.given_back, self.delegated
        spent, closed = self.spent, self.closed
        for d in self.dims:
            base = allocated[d] + given_back[d] - delegated[d]  # type: ignore[operator]
            consumed = spent[d] + closed[d]
            ratio = consumed / base if base > 0 else 1.0 if consumed else 0.0
            if ratio > most:  # noqa: PLR1730 - a call of max() costs more than all the rest of this loop
                most = ratio
        return most


class Closed:
    """What is remembered of a released account, so that late reports find their parent and people their answer."""

    __slots__ = ("allocated", "consumed", "id", "parent", "position", "priority", "under")

    def __init__(
        self,
        id: str,
        parent: str,
        priority: Priority,
        allocated: Amounts,
        consumed: Amounts,
        position: int,
        under: str | None = None,
    ) -> None:
        self.id = id
        self.parent = parent
        self.priority = priority
        self.allocated = allocated
        self.consumed = consumed
        self.position = position
        self.under = under
        """The product that it counted for."""


def money(amounts: Triple) -> Money:
    """Amounts as plain integers, zero where a dimension is not named."""
    return (amounts[0] or 0, amounts[1] or 0, amounts[2] or 0)


def limited(limits: Triple, values: "list[int] | Money") -> Triple:
    """``values`` in the dimensions that ``limits`` limits."""
    return (
        None if limits[0] is None else values[0],
        None if limits[1] is None else values[1],
        None if limits[2] is None else values[2],
    )


def plus(left: Money, right: Money) -> Money:
    """The sum, dimension by dimension."""
    return (left[0] + right[0], left[1] + right[1], left[2] + right[2])


def minus(left: Money, right: Money) -> Money:
    """The difference, dimension by dimension."""
    return (left[0] - right[0], left[1] - right[1], left[2] - right[2])


def only(d: int, units: int) -> Money:
    """``units`` in one dimension, nothing in the others."""
    return (units if d == 0 else 0, units if d == 1 else 0, units if d == 2 else 0)


def less(left: Money, right: Money) -> Money:
    """Subtraction that ends at zero."""
    return (max(0, left[0] - right[0]), max(0, left[1] - right[1]), max(0, left[2] - right[2]))
