"""What a server's response says, as a fleet in this process would answer it."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from tallystick.actors.errors import NOT_NOW, Unanswered
from tallystick.client.errors import WrongServer
from tallystick.http.statuses import OWN_STATUS

TEMPORARY: Final = frozenset(code for code, status in OWN_STATUS.items() if status == 429) | NOT_NOW | {"halted"}
"""Refusals of a server that decided nothing, or not yet: it may take the same message later."""
_NOT_DECIDED: Final = frozenset(code for code, status in OWN_STATUS.items() if status in (503, 504))
_TEMPORARY_STATUS: Final = frozenset((408, 425, 429))
_OF_THE_PROBLEM: Final = ("type", "title", "status")
_SHOWN_MAX: Final = 100


def answers_of(status: int, headers: Mapping[str, str], body: bytes, count: int, many: bool, url: str) -> list[Any]:
    """The answers to ``count`` messages, in an array where ``many``: ``{"ok": …}`` or ``{"error": …}`` for each.

    A refusal of the whole is the answer to each of them.

    Raises:
        Unanswered: nothing was decided, and the same may be sent again.
        WrongServer: this is no answer of a server of tallystick.
    """
    media = headers.get("content-type", "").partition(";")[0].strip().lower()
    read = _read(body)
    if media == "application/json" and status == 200:
        if not many and isinstance(read, dict):
            return [{"ok": read}]
        if many and isinstance(read, list) and len(read) == count:
            return read
    elif media == "application/problem+json" and isinstance(read, dict) and _is_ours(read):
        error = {name: value for name, value in read.items() if name not in _OF_THE_PROBLEM}
        if error["code"] in _NOT_DECIDED:
            raise _unanswered(f"{url}: {error['detail']}", headers)
        return [{"error": error}] * count
    elif status >= 500 or status in _TEMPORARY_STATUS:
        raise _unanswered(f"{url} answered {status}, which a server of tallystick did not write", headers)
    raise WrongServer(
        f"{url} answered {status} with {media[:_SHOWN_MAX] or 'no content type'}, which no server of tallystick says:"
        " correct the URL, or what is in between that answers for it"
    )


def _read(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _is_ours(problem: dict[str, Any]) -> bool:
    return isinstance(problem.get("code"), str) and isinstance(problem.get("detail"), str)


def _unanswered(text: str, headers: Mapping[str, str]) -> Unanswered:
    error = Unanswered(text)
    error.retry_after_seconds = _seconds(headers.get("retry-after", ""))
    return error


def _seconds(retry_after: str) -> float:
    """The seconds of a ``Retry-After``; 0 where it is a date, or missing."""
    return float(retry_after) if retry_after.isascii() and retry_after.isdigit() else 0.0
