"""Which HTTP status answers which code: one table for all that a message can be refused with."""

import math
from collections.abc import Mapping
from typing import Any, Final

WAIT: Final = 429
"""Waiting cures it; ``Retry-After`` says how long."""
CONFLICT: Final = 409
"""It does not fit the state of the fleet, and waiting alone does not cure it."""
ABORTED: Final = 499
"""The client went away before it was answered: it is for the log of requests alone."""

STATUS: Final[Mapping[str, int]] = {
    **dict.fromkeys(("busy", "throttled", "too_many_waiting", "wait_over"), WAIT),
    **dict.fromkeys(("idempotency_conflict", "invalid_amount", "invalid_message", "estimate_needed"), 422),
    **dict.fromkeys(("access_denied", "local_only", "not_permitted", "operator_key_needed"), 403),
    **dict.fromkeys(
        (
            "unknown_agent",
            "unknown_dependency",
            "unknown_hold",
            "unknown_key",
            "unknown_limit",
            "unknown_parent",
            "unknown_position",
            "unknown_task",
        ),
        404,
    ),
    **dict.fromkeys(("halted", "specialist_given_up", "store_away"), 503),
    "no_reporter": 501,
    "report_failed": 500,
    **dict.fromkeys(
        (
            "agent_stopped",
            "agents_open",
            "already_allocated",
            "already_created",
            "already_finished",
            "already_released",
            "already_revoked",
            "already_settled",
            "already_submitted",
            "already_warned",
            "below_committed",
            "below_minimum_share",
            "behind_parent",
            "breaker_not_open",
            "breaker_open",
            "budget_exhausted",
            "cannot_correct",
            "clock_not_ahead",
            "daily_limit_reached",
            "delegated",
            "dependency_cycle",
            "dependency_failed",
            "hold_ended",
            "lease_lost",
            "limit_not_raised",
            "limit_reached",
            "not_delegated",
            "not_owed",
            "not_retryable",
            "not_running",
            "not_usage",
            "nothing_to_correct",
            "nothing_to_report",
            "overage_rejected",
            "paused",
            "plan_out_of_date",
            "pool_exhausted",
            "pool_share_exceeded",
            "range_gap",
            "too_deep",
            "too_many_keys",
            "under_way",
        ),
        CONFLICT,
    ),
}
"""The status of each code of a message. A `CONFLICT` whose refusal says when to ask again is answered `WAIT`."""

OWN_STATUS: Final[Mapping[str, int]] = {
    "body_too_large": 413,
    "internal_error": 500,
    "invalid_parameter": 422,
    "is_moving": 503,
    "malformed_export": 400,
    "method_not_allowed": 405,
    "no_standby": CONFLICT,
    "no_writer": 503,
    "not_found": 404,
    "not_installed": 501,
    "not_taken_over": 503,
    "not_writer": CONFLICT,
    "shutting_down": 503,
    "too_many_failures": WAIT,
    "too_many_streams": WAIT,
    "unauthenticated": 401,
    "unavailable": 503,
    "unanswered": 504,
    "unknown_fleet": 404,
    "unsupported_media_type": 415,
    "wrong_host": 421,
    "wrong_origin": 403,
}
"""The status of each code with which the server itself refuses a request."""


def status_of(error: Mapping[str, Any]) -> int:
    """The status that answers a refusal, by its code and whether it says when to ask again."""
    code = error["code"]
    status = OWN_STATUS[code] if code in OWN_STATUS else STATUS[code]
    return WAIT if status == CONFLICT and error.get("retry_after_seconds") is not None else status


def retry_after(error: Mapping[str, Any], status: int) -> int | None:
    """Whole seconds after which to ask again, at least 1; None where waiting does not cure it."""
    seconds: float | None = error.get("retry_after_seconds")
    if seconds is not None:
        return max(1, math.ceil(seconds))
    return 1 if status in (WAIT, 503) else None
