"""When a day or a period ends is a fact of the calendar: the log's time-zone data may be others than this machine's."""

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from tallystick.events import catalog as e
from tallystick.events.log.broken_chain import BrokenChain
from tallystick.events.log.reading import event_of
from tallystick.events.log.store import Record
from tallystick.events.state.ledger import Ledger

_FIELDS: Final[Mapping[type[e.Event], tuple[str, ...]]] = {
    e.ConfigLoaded: ("date", "day_ends_at", "limit_windows"),
    e.DayBegan: ("date", "ends_at"),
    e.LimitWindowsBegan: ("window_ends",),
    e.BudgetAllocated: ("limit_windows",),
    e.TotalBudgetSet: ("period_ends_at",),
    e.PeriodRenewed: ("period_ends_at",),
}
_APART_MAX = dt.timedelta(hours=26)
"""Between the same local time in the two zones of the world that are furthest apart."""


def as_in_the_log(record: Record, event: e.Event) -> e.Event | None:
    """An event with the calendar of its record; None where it has none, or one that no time zone could have."""
    names = _FIELDS.get(type(event))
    if names is None:
        return None
    try:
        recorded = event_of(record)
    except BrokenChain:
        return None
    if type(recorded) is not type(event):
        return None
    taken = {name: getattr(recorded, name) for name in names}
    possible = all(_is_near(getattr(event, name), value) for name, value in taken.items())
    return msgspec.structs.replace(event, **taken) if possible else None


def put(ledger: Ledger, event: e.Event) -> None:
    """Let the state have the calendar of an event that it has followed with its own."""
    match event:
        case e.ConfigLoaded(date=str(date), day_ends_at=dt.datetime() as ends_at):
            ledger.day.date, ledger.day.ends_at = date, ends_at
            ledger.limits.end_windows({"day": ends_at, **event.limit_windows})
        case e.LimitWindowsBegan():
            ledger.limits.end_windows(event.window_ends)
        case e.BudgetAllocated():
            ledger.limits.end_windows(event.limit_windows)
        case e.DayBegan():
            ledger.day.date, ledger.day.ends_at = event.date, event.ends_at
            ledger.limits.end_windows({"day": event.ends_at})
        case e.TotalBudgetSet() | e.PeriodRenewed():
            ledger.period_ends = event.period_ends_at


def _is_near(ours: Any, recorded: Any) -> bool:
    if isinstance(ours, str) and isinstance(recorded, str):
        try:
            return abs(dt.date.fromisoformat(ours) - dt.date.fromisoformat(recorded)) <= dt.timedelta(days=1)
        except ValueError:
            return False
    if isinstance(ours, dt.datetime) and isinstance(recorded, dt.datetime):
        return abs(ours - recorded) <= _APART_MAX
    if isinstance(ours, dict) and isinstance(recorded, dict):
        same = ours.keys() == recorded.keys()
        return same and all(abs(ours[kind] - recorded[kind]) <= _APART_MAX for kind in ours)
    return ours is None and recorded is None
