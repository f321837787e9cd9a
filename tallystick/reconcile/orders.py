"""The messages that make the books of a fleet equal to a bill, each with its reason, and the same each time."""

import datetime as dt
import hashlib
from collections.abc import Iterator
from typing import Any, Final

from tallystick.config.amounts import dollars
from tallystick.reconcile.billed import Parts
from tallystick.reconcile.books import Booking, Change, Reported, at_of
from tallystick.reconcile.reported import ITEM_LABEL, KEY_LABELS
from tallystick.reconcile.running import Reconciliation

OPERATION: Final = "reconcile"
_SHORT_MAX: Final = 1_000
_NAMES: Final = ("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens")
Message = dict[str, Any]


def messages_of(found: Reconciliation, now: dt.datetime) -> Iterator[Message]:
    """What is to be sent, in this order: corrections by position, bookings by time, and what came of it.

    A message has an id that follows from what it changes: sent again, it changes nothing.
    """
    for change, record in found.books.changes():
        if record.fixed is not None:
            continue
        yield _with_id(correction(found, change, record), record.last)
    for booking in found.books.bookings():
        yield _with_id(report(found, booking, now), 0)
    if not found.recorded:
        yield _with_id(
            {
                "type": "RecordReconciliation",
                "bill": found.bill,
                "provider": found.provider,
                "first_day": found.first,
                "last_day": found.last,
                "billed_usd": dollars(found.billed),
                "explained_usd": dollars(found.explained),
                "reported_usd": dollars(found.reported),
                "short": [short.agent for short in found.short[:_SHORT_MAX]],
            },
            0,
        )


def correction(found: Reconciliation, change: Change, record: Reported) -> Message:
    """A record says what was billed: its cost, and where they differ its tokens and its model."""
    usage: Message = {"cost_usd": dollars(change.cost)}
    message: Message = {"type": "CorrectUsage", "position": change.position, "reason": _reason(found, change.why)}
    if change.parts != record.parts:
        if record.split:
            message |= _counts(change.parts)
        usage["tokens"] = change.parts.all
    if change.model is not None and change.model != record.model:
        message["model"] = _as_billed(found, change.model)
    return message | {"usage": usage}


def report(found: Reconciliation, booking: Booking, now: dt.datetime) -> Message:
    """What no agent has reported, as a report in the name of the bill."""
    at = min(at_of(booking.at), now)
    labels = {"bill": found.provider[:128]}
    if booking.key is not None:
        labels[KEY_LABELS[0]] = booking.key
    if booking.item is not None:
        labels[ITEM_LABEL] = booking.item[:128]
    message: Message = {
        "type": "ReportUsage",
        "agent": booking.agent,
        "source_id": booking.source,
        "occurred_at": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "usage": {"tokens": booking.parts.all, "cost_usd": dollars(booking.cost)},
        "operation": OPERATION,
        "labels": labels,
    }
    if booking.model is not None:
        message["model"] = _as_billed(found, booking.model)
    return message | (_counts(booking.parts) if booking.split and booking.parts.all else {})


def _as_billed(found: Reconciliation, model: str) -> str:
    """A model by a name that the bill has for it."""
    said: str | None = found.books.one("SELECT said FROM billed WHERE model = ? ORDER BY id LIMIT 1", model)
    return said or model


def _counts(parts: Parts) -> Message:
    return dict(zip(_NAMES, (parts.input, parts.output, parts.cached, parts.written), strict=True))


def _reason(found: Reconciliation, why: str) -> str:
    return f"the bill of {found.provider} {found.first} to {found.last} ({found.bill[:12]}): {why}"[:1000]


def _with_id(message: Message, last: int) -> Message:
    """``last`` is the position of the record's last correction: what changes it again has another id."""
    text = repr((sorted((name, repr(value)) for name, value in message.items() if name != "occurred_at"), last))
    return message | {"id": f"reconcile-{hashlib.sha256(text.encode()).hexdigest()[:32]}"}
