"""What a reservation keeps of its requests beside amounts and labels: JSON in the ``reason`` of its hold."""

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from tallystick.cycles.asking import RESERVATION
from tallystick.cycles.subjects import path_of
from tallystick.cycles.wire import Commit, Create, Event, Metadata, Metrics, invalid
from tallystick.http.reading import Unreadable

LONGEST: Final = 1_000
"""Characters of a ``reason``."""


class Reserved(msgspec.Struct, omit_defaults=True):
    """Of a reservation: the action's name and tags, its times, its policy, and what was said beside them."""

    name: str
    ttl_ms: int
    grace_period_ms: int
    overage_policy: str
    tags: list[str] = []
    metadata: Metadata | None = None


class Committed(msgspec.Struct, omit_defaults=True):
    """Of a commit: what was said beside the amount."""

    metrics: Metrics | None = None
    metadata: Metadata | None = None


_decode_reserved = msgspec.json.Decoder(Reserved).decode
_decode_committed = msgspec.json.Decoder(Committed).decode


def of_reservation(asked: Create) -> str:
    """What is kept of a reservation.

    Raises:
        Unreadable: it is too long.
    """
    action = asked.action
    kept = Reserved(action.name, asked.ttl_ms, asked.grace_period_ms, asked.overage_policy, action.tags, asked.metadata)
    return _text(kept, "action.name, action.tags and metadata")


def of_event(asked: Event) -> str:
    """What is kept of an event that rejects overage, which is a reservation for a moment.

    Raises:
        Unreadable: it is too long.
    """
    kept = {"name": asked.action.name, "tags": asked.action.tags, "metrics": asked.metrics, "metadata": asked.metadata}
    return _text({name: value for name, value in kept.items() if value}, "action.name, action.tags, metrics, metadata")


def of_commit(asked: Commit) -> str | None:
    """What is kept of a commit; None where it said nothing but an amount.

    Raises:
        Unreadable: it is too long.
    """
    if asked.metrics is None and asked.metadata is None:
        return None
    return _text(Committed(asked.metrics, asked.metadata), "metrics and metadata")


def reserved(hold: Mapping[str, Any]) -> Reserved | None:
    """What a reservation has kept; None where a hold is none.

    A `Reserve` of anybody's own may have any id, labels and reason, but it is for no account of another's scopes.
    """
    reason = hold.get("reason")
    if reason is None or "operation" not in hold or not hold["hold"].startswith(f"{RESERVATION}-"):
        return None
    try:
        return _decode_reserved(reason) if hold["agent"] in path_of(hold.get("labels") or {}) else None
    except (Unreadable, msgspec.MsgspecError):
        return None


def committed(reason: str | None) -> Committed:
    """What a commit has kept."""
    try:
        return Committed() if reason is None else _decode_committed(reason)
    except msgspec.MsgspecError:
        return Committed()


def _text(kept: Any, parts: str) -> str:
    # ASCII, so that no text of a client is in the log in a form that could mislead its reader.
    text = json.dumps(msgspec.to_builtins(kept), separators=(",", ":"), sort_keys=True)
    if len(text) > LONGEST:
        raise invalid(f"{parts}: found {len(text)} characters as JSON, at most {LONGEST} are kept")
    return text
