"""Where a message holds what JSON cannot say, in words: so that a refusal names the place, as every refusal does."""

import datetime as dt
import uuid
from collections.abc import Iterator, Mapping
from decimal import Decimal
from enum import Enum
from typing import Any, Final

import msgspec

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
        if value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value):
            return None
        return f"found {value[:40]!a}, half a character; allowed is text that UTF-8 can write"
    if isinstance(value, Decimal):
        return "found sNaN, allowed is a number" if value.is_snan() else None
    if isinstance(value, int):
        bits = value.bit_length()
        return f"found a number of {bits} bits, allowed are up to {_BITS}" if bits > _BITS else None
    if isinstance(value, (float, Enum, type(None), msgspec.UnsetType, *NO_TEXT)):
        return None
    return f"found {type(value).__name__}, allowed is what JSON can say"
