"""Answers of the fleet as HTTP responses: a reply, or a problem (RFC 9457), with what is left of the budget."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec
from starlette.responses import Response

from tallystick.actors.runtime.messages import BudgetNote
from tallystick.events.catalog import LEVELS
from tallystick.http.statuses import retry_after, status_of

PROBLEM: Final = "application/problem+json"
JSON: Final = "application/json"
NO_STORE: Final = {"cache-control": "no-store"}
_INTEGER_MAX: Final = 999_999_999_999_999
"""The largest integer of a structured field (RFC 9651)."""
_NONE_TAKEN: Final = ("busy", "halted", "no_writer", "store_away")
_encode = msgspec.json.Encoder().encode


def answered(answer: Mapping[str, Any], note: BudgetNote | None = None) -> Response:
    """One answer of the fleet, ``{"ok": …}`` or ``{"error": …}``, as a response; ``note`` is how the budget stands."""
    if "error" in answer:
        return problem(answer["error"], note=note)
    reply = answer["ok"]
    return Response(_encode(reply), 200, {**NO_STORE, **budget_headers(reply, note)}, JSON)


def answered_each(answers: list[Mapping[str, Any]]) -> Response:
    """The answers to an array, in its order; each is as the fleet gives it.

    Where the fleet took none of them, because its queue is full, it has stopped, or another server writes it now, the
    whole is refused.
    """
    errors = [answer.get("error", {}) for answer in answers]
    if errors and all(error.get("code") in _NONE_TAKEN for error in errors):
        return problem(errors[0])
    return Response(_encode(answers), 200, NO_STORE, JSON)


def problem(
    error: Mapping[str, Any],
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
    note: BudgetNote | None = None,
) -> Response:
    """A refusal as a problem: the standard's members, ``code``, and the numbers that refused it.

    ``status`` stands for that of the table; ``headers`` are added; ``note`` as for `answered`.
    """
    status = status_of(error) if status is None else status
    fields = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, **error}
    sent = {**NO_STORE, **budget_headers(error, note), **(headers or {})}
    seconds = retry_after(error, status)
    if seconds is not None:
        sent["retry-after"] = str(seconds)
    return Response(_encode(fields), status, sent, PROBLEM)


def refused(code: str, detail: str, headers: Mapping[str, str] | None = None, **more: Any) -> Response:
    """A problem of the server's own."""
    return problem({"code": code, "detail": detail, **more}, headers=headers)


def budget_headers(body: Mapping[str, Any], note: BudgetNote | None = None) -> dict[str, str]:
    """How an agent's tokens and level stand, as headers (draft-ietf-httpapi-ratelimit-headers-10).

    ``note`` says it of the account that the message was about. Without an open one, only what the answer itself says
    is known.
    """
    level, action = (body["status"], body["action"]) if body.get("status") in LEVELS and "action" in body else ("", "")
    if note is not None and note.level is not None:
        limit, remaining, level, action = note.allocated, note.remaining, note.level, note.action or ""
    else:
        limit, remaining = _tokens(body.get("allocated")), _tokens(body.get("remaining"))
        if remaining is None:
            remaining = _tokens(body.get("available"))
    headers: dict[str, str] = {}
    if limit is not None:
        headers["ratelimit-policy"] = f'"tokens";q={_bounded(limit)};qu="tokens"'
        headers["x-ratelimit-limit-tokens"] = str(_bounded(limit))
    if remaining is not None:
        seconds = body.get("retry_after_seconds")
        reset = "" if seconds is None else f";t={max(1, int(-(-seconds // 1)))}"
        headers["ratelimit"] = f'"tokens";r={_bounded(remaining)}{reset}'
        headers["x-ratelimit-remaining-tokens"] = str(_bounded(remaining))
    if level:
        headers["x-tallystick-level"] = level
        headers["x-tallystick-action"] = action
    return headers


def _tokens(amounts: Any) -> int | None:
    return amounts.get("tokens") if isinstance(amounts, dict) else None


def _bounded(tokens: int) -> int:
    """Tokens as a structured field can say them: nothing below 0, nothing of 16 digits."""
    return min(max(tokens, 0), _INTEGER_MAX)
