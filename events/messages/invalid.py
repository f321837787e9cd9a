"""What is wrong with a malformed message, in words: the place, what was found, what is allowed."""

import datetime as dt
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from enum import Enum
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

import msgspec

from tallystick.config.amounts import EDGE_NAMES
from tallystick.config.errors import did_you_mean, nearest
from tallystick.config.spelling import half_in
from tallystick.events.messages import WIRE, AllocateByPriority, AllocateProportional, Command
from tallystick.events.messages.proposals import INTERNAL

NO_TEXT: Final = (bytes, bytearray, memoryview, dt.datetime, dt.date, dt.time, dt.timedelta, uuid.UUID, Decimal)
"""Types that the library would write as text; in a message they are no text."""

_DEEP: Final = 100
_BITS: Final = 4_096


def unwritable(message: object) -> str | None:
    """The first place of a message that cannot be written as JSON, and what is allowed there; None where none is."""
    if isinstance(message, bytes | str):
        return _unreadable(message)
    try:
        return next(_found(message, "$", 0), None)
    except RecursionError:
        return None


def _unreadable(text: bytes | str) -> str | None:
    try:
        text.decode() if isinstance(text, bytes) else text.encode()
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        before = text[: error.start][-20:]
        return f"the text breaks off after {before!r}, at {error.start}: {error.reason}; allowed is UTF-8"
    return None


def _found(value: Any, place: str, depth: int) -> Iterator[str]:
    if depth > _DEEP:
        yield f"{place[:60]}…: found more than {_DEEP} levels, allowed are fewer"
    elif isinstance(value, msgspec.Struct):
        for field in value.__struct_fields__:
            yield from _found(getattr(value, field), f"{place}.{field}", depth + 1)
    elif isinstance(value, Mapping):
        for key, entry in value.items():
            yield from _found(key, f"a key in {place}", depth + 1)
            yield from _found(entry, f"{place}.{ascii(key)[1:-1]}", depth + 1)
    elif isinstance(value, list | tuple | set | frozenset):
        for number, entry in enumerate(value):
            yield from _found(entry, f"{place}[{number}]", depth + 1)
    elif wrong := _wrong(value):
        yield f"{place}: {wrong}"


def _wrong(value: Any) -> str | None:
    """What is wrong with a single value, and what is allowed."""
    if isinstance(value, str):
        return half_in(value)
    if isinstance(value, Decimal):
        return "found sNaN, allowed is a number" if value.is_snan() else None
    if isinstance(value, int):
        bits = value.bit_length()
        return f"found a number of {bits} bits, allowed are up to {_BITS}" if bits > _BITS else None
    if isinstance(value, (float, Enum, type(None), msgspec.UnsetType, *NO_TEXT)):
        return None
    return f"found {type(value).__name__}, allowed is what JSON can say"


_KINDS: Final = {
    "int": "a whole number",
    "float": "a number with decimals",
    "decimal": "a number",
    "str": "text",
    "bool": "true or false",
    "bytes": "bytes",
    "object": "an object",
    "array": "a list",
    "null": "null",
}
_KINDS_NAMED: Final = re.compile(rf"`((?:{'|'.join(_KINDS)})(?: \| (?:{'|'.join(_KINDS)}))*)`")
_WIRE: Final[Mapping[str, type[Command]]] = {cls.__name__: cls for cls in WIRE}
_UNKNOWN_FIELD: Final = re.compile(r"unknown field `(.*?)`")
_FIELD_AT: Final = re.compile(r"at `\$\.(\w+)")
_NO_CHOICE: Final = re.compile(r"Invalid enum value '?(.*?)'? - at `\$\.(\w+)")


def explained(error: str, message: object) -> str:
    """The library's sentence about a message in plain words, and what would have been allowed."""
    error = _KINDS_NAMED.sub(lambda named: " or ".join(map(_KINDS.__getitem__, named[1].split(" | "))), error)
    kind = _type_named(message)
    if "at `$.type`" in error or "missing required field `type`" in error:
        internal = (
            f"{kind} is a message of the fleet's own actors; " if kind in {cls.__name__ for cls in INTERNAL} else ""
        )
        return f"{error}{did_you_mean(nearest(kind or '', _WIRE))}: {internal}allowed are {', '.join(_WIRE)}"
    cls = _WIRE.get(kind or "")
    if cls is None:
        return error
    unknown = _UNKNOWN_FIELD.search(error)
    if unknown is None:
        return f"{kind}: {error}{_choices(cls, error)}"
    inside = "at `$." in error
    allowed = _inside(cls, error) if inside else ("type", *cls.__struct_fields__)
    meant = did_you_mean(nearest(unknown[1], allowed))
    return f"{error}{meant}: allowed {'there' if inside else f'in {kind}'} are {', '.join(allowed)}"


def _inside(cls: type[Command], error: str) -> Sequence[str]:
    """The fields that are allowed inside a field of a message, which is mostly a budget."""
    found = _FIELD_AT.search(error)
    hint = None if found is None else get_type_hints(cls).get(found[1])
    structs = [part for part in (hint, *get_args(hint)) if isinstance(part, type) and issubclass(part, msgspec.Struct)]
    return structs[0].__struct_fields__ if structs else EDGE_NAMES


def _choices(cls: type[Command], error: str) -> str:
    """What is allowed where only some words, a time or a day are, if the error is about that."""
    if "datetime" in error or "timezone" in error:
        return ": allowed is a time with its zone, such as 2026-03-04T12:00:00Z"
    if "encoded date" in error:
        return ": allowed is a day, such as 2026-03-04"
    found = _NO_CHOICE.search(error)
    if found is None:
        return ""
    allowed = list(_words(get_type_hints(cls)[found[2]]))
    return f"{did_you_mean(nearest(found[1], allowed))}: allowed are {', '.join(allowed)}"


def _words(hint: Any) -> Iterator[str]:
    """The words of the closed sets that a type is made of."""
    if get_origin(hint) is Literal:
        yield from get_args(hint)
    else:
        for part in get_args(hint):
            yield from _words(part)


def _type_named(message: object) -> str | None:
    """The type that a message claims, if it can be made out."""
    if isinstance(message, Command):
        return type(message).__name__
    if isinstance(message, bytes | str):
        try:
            message = msgspec.json.decode(message)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return None
    named = message.get("type") if isinstance(message, Mapping) else None
    return named if isinstance(named, str) else None


KEYED_BY_AGENT = (AllocateProportional, AllocateByPriority)
"""Here a key of a mapping is an agent, and the second of two would take the first one's part unnoticed."""


def no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object that names a key twice; made for the standard library's ``object_pairs_hook``."""
    seen: dict[str, Any] = {}
    for key, value in pairs:
        if key in seen:
            raise msgspec.ValidationError(f"{key!r} is named twice")
        seen[key] = value
    return seen
