"""The protocol's errors: which of its codes stands for which of ours, and how it is written."""

import secrets
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec
from starlette.responses import Response

from tallystick.http.answers import JSON, NO_STORE
from tallystick.http.statuses import OWN_STATUS, STATUS, retry_after

INVALID, UNAUTHORIZED, FORBIDDEN, NOT_FOUND = "INVALID_REQUEST", "UNAUTHORIZED", "FORBIDDEN", "NOT_FOUND"
EXCEEDED, FROZEN, CLOSED, TENANT_CLOSED = "BUDGET_EXCEEDED", "BUDGET_FROZEN", "BUDGET_CLOSED", "TENANT_CLOSED"
OVER_LIMIT, DEBT = "OVERDRAFT_LIMIT_EXCEEDED", "DEBT_OUTSTANDING"
EXPIRED, FINALIZED = "RESERVATION_EXPIRED", "RESERVATION_FINALIZED"
MISMATCH, UNIT_MISMATCH, SLOW, INTERNAL = "IDEMPOTENCY_MISMATCH", "UNIT_MISMATCH", "LIMIT_EXCEEDED", "INTERNAL_ERROR"

STATUS_OF: Final[Mapping[str, int]] = {
    INVALID: 400,
    UNIT_MISMATCH: 400,
    UNAUTHORIZED: 401,
    FORBIDDEN: 403,
    NOT_FOUND: 404,
    **dict.fromkeys((EXCEEDED, FROZEN, CLOSED, TENANT_CLOSED, OVER_LIMIT, DEBT, FINALIZED, MISMATCH), 409),
    EXPIRED: 410,
    SLOW: 429,
    INTERNAL: 500,
}
"""The status of each code of the protocol; where it is of a server that is away, it is ours: 503, or 504."""

OURS: Final[Mapping[str, str]] = {
    "budget_exhausted": EXCEEDED,
    "limit_reached": EXCEEDED,
    "daily_limit_reached": EXCEEDED,
    "pool_exhausted": EXCEEDED,
    "overage_rejected": EXCEEDED,
    "agent_stopped": FROZEN,
    "paused": FROZEN,
    "breaker_open": FROZEN,
    "delegated": FROZEN,
    "already_released": CLOSED,
    "already_settled": FINALIZED,
    "hold_ended": FINALIZED,
    "idempotency_conflict": MISMATCH,
    "unauthenticated": UNAUTHORIZED,
    **dict.fromkeys(("access_denied", "local_only", "not_permitted", "operator_key_needed", "wrong_origin"), FORBIDDEN),
    **dict.fromkeys(("not_found", "unknown_agent", "unknown_fleet", "unknown_hold"), NOT_FOUND),
    **dict.fromkeys(("busy", "throttled", "too_many_failures", "too_many_streams", "too_many_waiting"), SLOW),
}
"""The code of the protocol for each of ours that has one; the others are `INVALID`, or `INTERNAL` from 500 on."""
_OF_PROBLEMS: Final = ("type", "title", "status", "detail")
_HTTP_SAYS: Final = (405, 413, 415, 421)
"""Statuses that say what is wrong with a request by HTTP alone: they stay."""
_encode = msgspec.json.Encoder().encode


class Fault(Exception):
    """A refusal in the protocol's own shape. ``details`` are the numbers behind it; ``retry`` as ours say it."""

    def __init__(
        self,
        code: str,
        message: str,
        details: Mapping[str, Any] | None = None,
        status: int | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code, self.message, self.details = code, message, dict(details or {})
        self.status = STATUS_OF[code] if status is None else status
        self.retry_after_seconds = retry_after_seconds


class Trace(NamedTuple):
    """How one request is found again: its own id, and that of the operation that it is of."""

    request: str
    trace: str

    @classmethod
    def fresh(cls, trace: str | None) -> "Trace":
        """Of a request that came with this trace id, or without one."""
        return cls(f"req_{secrets.token_hex(8)}", trace or secrets.token_hex(16))


def fault_of(error: Mapping[str, Any], status: int | None = None) -> Fault:
    """A refusal of ours as one of the protocol. ``status`` is that of the HTTP answer, where there was one."""
    code = error["code"]
    ours = status or {**STATUS, **OWN_STATUS}.get(code, 500)
    theirs = OURS.get(code, INVALID if ours < 500 else INTERNAL)
    if code == "agent_stopped" and error.get("decided_by") == "overdraft":
        theirs = OVER_LIMIT
    if code == "throttled" and error.get("retry_after_seconds") is None:
        theirs = EXCEEDED  # it is slowed, and waiting would not make room either
    known = STATUS_OF[theirs]
    if theirs == INTERNAL or ours in _HTTP_SAYS:
        known = ours
    numbers = {name: value for name, value in error.items() if name not in _OF_PROBLEMS}
    return Fault(theirs, error["detail"], numbers, known, error.get("retry_after_seconds"))


def written(fault: Fault, trace: Trace) -> Response:
    """A refusal as the protocol writes it. The trace id is a header only: published clients read no body with it."""
    body: dict[str, Any] = {"error": fault.code, "message": fault.message, "request_id": trace.request}
    if fault.details:
        body["details"] = fault.details
    headers = dict(NO_STORE)
    seconds = retry_after({"retry_after_seconds": fault.retry_after_seconds}, fault.status)
    if seconds is not None:
        headers["retry-after"] = str(seconds)
    return Response(_encode(body), fault.status, headers, JSON)
