"""Sums that providers say of an hour or a day: pages of buckets, as their administration interfaces return them, or
rows that have the fields of a bucket and of its result beside each other.

A sum that grows when it is exported again is the same source: its largest figure counts, once.
"""

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from tallystick.importing.fields import Fields
from tallystick.importing.files import Opened
from tallystick.importing.notes import Misread
from tallystick.importing.rows import Row, rows_of
from tallystick.importing.used import Used
from tallystick.sources_of_tools import digest_of, source_named

_LISTS: Final = ("data", "results", "result")


class Bucket(NamedTuple):
    """When something was used."""

    start: dt.datetime
    end: dt.datetime

    def middle(self, now: dt.datetime) -> dt.datetime:
        """The time at which it counts: so a day of the provider is the same day in most time zones."""
        return max(self.start, min(self.start + (self.end - self.start) / 2, now))


Names = tuple[str, str]
"""What the beginning and the end of a bucket are called."""
Read = Callable[[Bucket, Fields], "Used | None"]


def read(file: Opened, names: Names, read_one: Read) -> Iterator[Used]:
    """What the buckets of a file say, each result read by ``read_one``; None for one that says nothing."""
    for row in rows_of(file, names):
        try:
            for bucket, fields in _results(row, names):
                used = read_one(bucket, fields)
                if used is None:
                    file.notes.drop("of no use")
                    continue
                file.notes.kinds.setdefault("usage" if used.cost is None else "costs", file.name)
                used.file, used.line = file.name, row.line
                used.since, used.until = bucket
                yield used
        except Misread as error:
            file.notes.cannot_read(file.place(row.line), error)


def _results(row: Row, names: Names) -> Iterator[tuple[Bucket, Fields]]:
    """The results in a row: a page of buckets, a bucket, or a result with the times of its bucket."""
    pending: list[tuple[dict[str, Any], Bucket | None]] = [(row.values, None)]
    found = False
    while pending:
        values, bucket = pending.pop(0)
        fields = Fields(values)
        bucket = _bucket(fields, names) or bucket
        lists = [fields.items(name) for name in _LISTS if name in fields]
        if lists:
            found = True
            pending[:0] = [(one, bucket) for one in lists[0] if isinstance(one, dict)]
        elif bucket is not None:
            found = True
            yield bucket, fields
        elif not found:
            raise fields.misread(names[0], "the time at which a bucket begins, or a page with `data`")


def _bucket(fields: Fields, names: Names) -> Bucket | None:
    start, end = fields.moment(names[0]), fields.moment(names[1])
    if start is None:
        return None
    return Bucket(start, start if end is None else end)


def source_of(provider: str, kind: str, bucket: Bucket, *told_apart_by: str | None) -> str:
    """The source of a sum: whose, of what, of when, and of which project, key, model and so on."""
    times = (f"{time:%Y%m%dT%H%M%SZ}" for time in bucket)
    return source_named(provider, kind, *times, digest_of(*told_apart_by))
