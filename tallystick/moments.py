"""Points of a log as people write them: a position, or a time."""

import datetime as dt
import re
from typing import Final, NamedTuple

_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
_SHORT: Final = re.compile(r"\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:\d\d)?)?")
"""A date, a minute or a second, in UTC where no zone is written."""
_DIGITS_MAX: Final = 18
ALLOWED: Final = "a position, or a time like 2026-03-04T12:00:00Z, 2026-03-04T12:00 or 2026-03-04"
"""What an error says of a point that cannot be read."""


class Moment(NamedTuple):
    """A point of the log: a position, or a time."""

    position: int | None = None
    time: dt.datetime | None = None


def read_moment(text: str) -> Moment | None:
    """A position, or a time: RFC 3339, or shorter: a date (its midnight), a minute, without a zone UTC. Else None."""
    if text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX:
        return Moment(position=int(text))
    found = _utc(text) if _SHORT.fullmatch(text) else None
    return None if found is None else Moment(time=found)


def read_time(text: str) -> dt.datetime | None:
    """An RFC 3339 time in UTC, or None where it is none."""
    return _utc(text) if _RFC3339.fullmatch(text) else None


def _utc(text: str) -> dt.datetime | None:
    try:
        found = dt.datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=dt.UTC)).astimezone(dt.UTC)
    except (ValueError, OverflowError):
        return None
