"""A record that was not decided again as it is recorded: where, and in which fields."""

import datetime as dt
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from tallystick.events.catalog import STORED_NAME, Event
from tallystick.events.decide.answers import stamp


class Mismatch(NamedTuple):
    """The first record that was not reproduced: the event that the log has there, and the one that was made anew.
    Each is None where there is none.

    ``recorded_reply`` is the reply that the log has to the command, ``new_reply`` the one that was made anew.
    """

    position: int
    recorded: Event | None
    new: Event | None
    recorded_reply: bytes
    new_reply: bytes


class Field(NamedTuple):
    """A field that differs, as a path like ``amount.tokens``; None stands for nothing there."""

    path: str
    recorded: Any
    decided: Any


def fields_of(mismatch: Mismatch) -> list[Field]:
    """The fields that differ: of the event, or, where it is the same, of the reply."""
    one, other = mismatch.recorded, mismatch.new
    if one is None or other is None:
        return [Field("type", None if one is None else _name(one), None if other is None else _name(other))]
    fields = list(unlike(msgspec.to_builtins(one), msgspec.to_builtins(other)))
    if fields:
        return fields
    replies = (_read(mismatch.recorded_reply), _read(mismatch.new_reply))
    return list(unlike(*replies, "reply"))


def in_words(field: Field) -> str:
    """``cost_nanos is 500, and is 1000 when it is decided again``."""
    return f"{field.path} is {_shown(field.recorded)}, and is {_shown(field.decided)} when it is decided again"


def unlike(recorded: Any, new: Any, path: str = "") -> Iterator[Field]:
    """The leaves in which two plain values differ."""
    if isinstance(recorded, dict) and isinstance(new, dict):
        for name in [*recorded, *(name for name in new if name not in recorded)]:
            inner = f"{path}.{name}" if path else str(name)
            yield from unlike(recorded.get(name), new.get(name), inner)
    elif isinstance(recorded, list) and isinstance(new, list) and len(recorded) == len(new):
        for place, pair in enumerate(zip(recorded, new, strict=True)):
            yield from unlike(*pair, f"{path}[{place}]")
    elif recorded != new or type(recorded) is not type(new):
        yield Field(path, recorded, new)


def _name(event: Event) -> str:
    return STORED_NAME[type(event)]


def _read(reply: bytes) -> Any:
    return msgspec.json.decode(reply) if reply else None


def _shown(value: Any) -> str:
    if value is None:
        return "absent"
    if isinstance(value, dt.datetime):
        return stamp(value)
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
