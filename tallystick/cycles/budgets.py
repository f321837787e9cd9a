"""How scopes stand: their accounts and limits as balances of the protocol, and what refuses by them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from tallystick.cycles.errors import (
    CLOSED,
    DEBT,
    EXCEEDED,
    FROZEN,
    NOT_FOUND,
    OVER_LIMIT,
    TENANT_CLOSED,
    Fault,
    fault_of,
)
from tallystick.cycles.subjects import is_within
from tallystick.cycles.units import FIELD, UnitMismatch, of
from tallystick.cycles.wire import UNITS

Json = dict[str, Any]
_FREE: Final = ("warn",)
"""What a limit does that refuses nothing: it is no budget."""
_LIMITS: Final = 1_000


class Balance(NamedTuple):
    """One scope in one unit. ``remaining`` = ``allocated`` - ``spent`` - ``reserved`` - ``debt``, and may be below 0.

    ``overdraft_limit`` is None where the account has none.
    """

    scope: str
    unit: str
    allocated: int
    spent: int
    reserved: int
    debt: int = 0
    overdraft_limit: int | None = None

    @property
    def remaining(self) -> int:
        """What is left for new reservations."""
        return self.allocated - self.spent - self.reserved - self.debt

    @property
    def is_over_limit(self) -> bool:
        """Whether more was used than may be."""
        if self.overdraft_limit is not None:
            return self.debt > self.overdraft_limit
        return self.debt == 0 and self.remaining < 0

    def shown(self) -> Json:
        """As the protocol writes it."""
        found: Json = {"scope": self.scope.rpartition("/")[2], "scope_path": self.scope}
        for name in ("remaining", "reserved", "spent", "debt", "allocated"):
            found[name] = {"unit": self.unit, "amount": getattr(self, name)}
        if self.overdraft_limit is not None:
            found["overdraft_limit"] = {"unit": self.unit, "amount": self.overdraft_limit}
        return {**found, "is_over_limit": self.is_over_limit}


def questions(scopes: Sequence[str]) -> list[Json]:
    """What is asked to know how scopes stand."""
    asked: list[Json] = []
    for scope in scopes:
        asked += [{"type": "GetStatus", "agent": scope}, {"type": "GetLimits", "agent": scope, "count": _LIMITS}]
    return asked


def balances_of(status: Mapping[str, Any], limits: Sequence[Mapping[str, Any]]) -> list[Balance]:
    """The balances of one account, one of each unit in which it has a budget or limits of its own."""
    found: list[Balance] = []
    for unit in UNITS:
        inside = [*_budget(status, unit), *_limits(status["agent"], limits, unit)]
        if inside:
            found.append(min(inside, key=lambda balance: balance.remaining))
    return found


def _budget(status: Mapping[str, Any], unit: str) -> list[Balance]:
    """What was carved out for an account; what others cover for it is its debt."""
    allocated = status["allocated"]
    if FIELD[unit] not in allocated:
        return []
    debt = of(status.get("covered", {}), unit)
    most = status.get("overdraft_max", {})
    return [
        Balance(
            status["agent"],
            unit,
            of(allocated, unit, up=False),
            max(0, of(status["consumed"], unit) - debt),
            of(status["held"], unit) + of(status["delegated"], unit),
            debt,
            of(most, unit) if FIELD[unit] in most else None,
        )
    ]


def _limits(agent: str, limits: Sequence[Mapping[str, Any]], unit: str) -> list[Balance]:
    """The account's own limits that refuse, for all that it does."""
    field, found = FIELD[unit], []
    for limit in limits:
        own = limit["limit"].rpartition("/")[0] == agent and not limit.get("match") and limit["then"] not in _FREE
        if own and field in limit["max"]:
            reserved = of(limit["held"], unit) + of(limit.get("committed") or {}, unit)
            found.append(Balance(agent, unit, of(limit["max"], unit, up=False), of(limit["used"], unit), reserved))
    return found


class Budgets:
    """The accounts of a subject's scopes, the widest first, from the answers to `questions`."""

    def __init__(self, scopes: Sequence[str], answers: Sequence[Mapping[str, Any]]) -> None:
        self.scopes = scopes
        self.accounts: list[str] = []
        self.parents: dict[str, str | None] = {}
        self.balances: list[Balance] = []
        self.released: list[str] = []
        for scope, status, limits in zip(scopes, answers[::2], answers[1::2], strict=True):
            if "ok" in status:
                self.accounts.append(scope)
                self.parents[scope] = status["ok"]["parent"]
                self.balances += balances_of(status["ok"], limits["ok"]["limits"] if "ok" in limits else [])
            elif status["error"]["code"] == "already_released":
                self.released.append(scope)
            elif status["error"]["code"] != "unknown_agent":
                raise fault_of(status["error"])

    def check(self, path: str, unit: str) -> str:
        """The account that a use of a subject is charged to, the narrowest one; all above it are charged with it.

        Raises:
            Fault: a scope is closed, there is no budget, or an account is not below the one that it belongs to.
            UnitMismatch: the budgets are in another unit.
        """
        self.check_open()
        if not self.balances:
            raise Fault(NOT_FOUND, f"Budget not found for provided scope: {path}")
        units = [one for one in UNITS if any(balance.unit == one for balance in self.balances)]
        if unit not in units:
            raise UnitMismatch(unit, units, self.balances[-1].scope)
        return self.accounts[-1]

    def check_open(self) -> None:
        """Refuse what is for a scope whose account was released.

        Raises:
            Fault: there is one.
        """
        for scope in self.released:
            text = f"{scope} was released: allocate a budget to it again"
            raise Fault(TENANT_CLOSED if _is_tenant(scope) else CLOSED, text, {"scope": scope})

    def apart(self) -> tuple[str, str] | None:
        """The first account that is not directly below the one of the next wider scope, and that one."""
        for wider, account in zip(self.accounts, self.accounts[1:], strict=False):
            if self.parents[account] != wider:
                return account, wider
        return None

    def refused(self, error: Mapping[str, Any], unit: str) -> Fault:
        """A refusal, by its cause: for lack of budget, or for what was used beyond it."""
        fault = fault_of(error)
        if fault.code not in (EXCEEDED, FROZEN):
            return fault
        stopped_by_hand = fault.code == FROZEN and error.get("decided_by") != "ancestor_stop"
        for balance in () if stopped_by_hand else self.balances:
            if balance.unit == unit and balance.is_over_limit:
                return _because(fault, OVER_LIMIT, balance.scope)
        for balance in self.balances if fault.code == EXCEEDED else ():
            if balance.unit == unit and balance.debt:
                return _because(fault, DEBT, balance.scope)
        return fault


def _because(fault: Fault, code: str, scope: str) -> Fault:
    details = {**fault.details, "scope": scope}
    return Fault(code, fault.message, details, retry_after_seconds=fault.retry_after_seconds)


def _is_tenant(scope: str) -> bool:
    return scope.startswith("tenant:") and "/" not in scope


def not_below(account: str, wider: str) -> Fault:
    """An account would not count in the budget of the scope that it belongs to."""
    text = f"the account {account} is not below {wider}: release it, and allocate it with parent {wider}"
    return Fault(FROZEN, text, {"scope": account})


def matches(scope: str, wanted: Mapping[str, str], found: Mapping[str, str] | None, within: str | None) -> bool:
    """Whether a scope has all levels that are asked for, and may be seen by who may see ``within``."""
    if found is None or (within is not None and not is_within(scope, within)):
        return False
    return all(found.get(level) == name for level, name in wanted.items())
