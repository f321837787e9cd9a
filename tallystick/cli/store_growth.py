"""How fast a fleet's log grows, and what it consists of."""

import datetime as dt
from collections.abc import Iterator
from typing import Any, NamedTuple

from tallystick.cli.common import with_progress
from tallystick.events.log.store import Store
from tallystick.projections.store.as_of import position_by
from tallystick.projections.store.projector import event_in

DAYS = 7
"""Days of UTC that growth is measured over, the last of them the newest on record."""


class Growth(NamedTuple):
    """``days`` are dates with the events recorded on each, the oldest first; the average leaves out what is not over.

    It is per day, of all but the newest; of the newest alone where the log has no other.
    """

    days: dict[str, int]
    events_per_day: int


def growth_of(store: Store) -> Growth | None:
    """How many events were recorded on the last days, by the log's own times; None of an empty log.

    Raises:
        BrokenChain: a record is missing, or cannot be read.
        StoreError: the log could not be read.
    """
    first, last = store.record(1), store.last()
    if first is None or last is None:
        return None
    begun, newest = (event_in(record, record.position).at.date() for record in (first, last))
    dates = [newest - dt.timedelta(days=back) for back in range(min(DAYS - 1, (newest - begun).days), -1, -1)]
    ends = [position_by(store, _midnight(date), before=True) for date in dates] + [last.position]
    days = {date.isoformat(): end - begin for date, begin, end in zip(dates, ends, ends[1:], strict=False)}
    whole = list(days.values())[:-1] or list(days.values())
    return Growth(days, sum(whole) // len(whole))


def kinds_of(store: Store) -> dict[str, dict[str, int]]:
    """Events and bytes of their records by stored name, the most bytes first: the whole log is read."""
    last = store.last()
    found: dict[str, list[int]] = {}
    for record in with_progress(store.read(), 0 if last is None else last.position, "reading the log"):
        kind = found.setdefault(record.name, [0, 0])
        kind[0] += 1
        kind[1] += len(record.data)
    ordered = sorted(found.items(), key=lambda item: (-item[1][1], item[0]))
    return {name: {"events": events, "bytes": size} for name, (events, size) in ordered}


def growth_lines(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What `info` says of growth and kinds, as lines of a name and a text."""
    days = found["days"]
    per_day = found["events_per_day"]
    if per_day is not None:
        size = f", about {found['bytes_per_day']:,} bytes" if found.get("bytes_per_day") is not None else ""
        yield "growth", f"{per_day:,} events a day{size}, over {len(days)} day{'' if len(days) == 1 else 's'}"
        for date, events in days.items():
            yield "", f"{date}  {events:>12,} events"
    for name, kind in (found.get("kinds") or {}).items():
        yield "kind", f"{name:<34} {kind['events']:>12,} events {kind['bytes']:>14,} bytes"


def _midnight(date: dt.date) -> dt.datetime:
    return dt.datetime.combine(date, dt.time(), dt.UTC)
