"""Open accounts, and grant budget to them."""

from decimal import Decimal
from typing import Annotated, Any, ClassVar

import msgspec

from tallystick.config.amounts import Budget
from tallystick.config.kinds import Priority
from tallystick.config.limits import ACCOUNT_LIMITS_MAX
from tallystick.events.messages.command import Command, Labels, Name


class AllocateBudget(Command):
    """Open an account for ``agent``, granted all of ``budget`` from its parent's free balance or nothing.

    ``overdraft_max`` bounds what others may cover for it, in dimensions that the budget limits.
    With ``lease_seconds`` it closes by itself when no message came by it, or from below it, for so long.
    ``limits`` bound what it and all below it use within windows; with them ``budget`` may be left out: then it carves
    nothing out, and uses what its parent has free. ``delegated``: it is for another fleet, whose total it is and which
    alone takes from it.
    """

    group: ClassVar[str] = "allocate"
    agent: Name
    budget: Budget | None = None
    agent_type: Name | None = None
    product: Name | None = None
    workflow: Name | None = None
    priority: Priority = "normal"
    parent: Name | None = None
    overdraft_max: Budget | None = None
    lease_seconds: Decimal | None = None
    labels: Labels | None = None
    limits: Annotated[list[dict[str, Any]], msgspec.Meta(max_length=ACCOUNT_LIMITS_MAX)] | None = None
    delegated: bool = False


class AllocateEqual(Command):
    """Split ``total`` equally and exactly between ``agents``, ties in the order given. All agents or none."""

    group: ClassVar[str] = "allocate"
    agents: list[Name]
    total: Budget


class AllocateProportional(Command):
    """Split ``total`` exactly by ``weights`` (exact decimals, not negative, not all zero)."""

    group: ClassVar[str] = "allocate"
    weights: dict[Name, Decimal]
    total: Budget


class AllocateByPriority(Command):
    """Split ``total`` exactly by the configured weight of each agent's priority."""

    group: ClassVar[str] = "allocate"
    agents: dict[Name, Priority]
    total: Budget


class AllocateFromPool(Command):
    """What an agent needs on demand: opens an allocation, or adds to the one there is."""

    group: ClassVar[str] = "allocate"
    agent: Name
    request: Budget
