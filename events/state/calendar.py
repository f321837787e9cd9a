"""Times that no sum takes out of the calendar: they stop at its end, or at its beginning."""

import datetime as dt
from zoneinfo import ZoneInfo

NEVER = dt.datetime.max.replace(tzinfo=dt.UTC)
"""The end of the calendar. What is due then is due never."""
ALWAYS = dt.datetime.min.replace(tzinfo=dt.UTC)


def later(at: dt.datetime, by: dt.timedelta) -> dt.datetime:
    """``by`` after a moment in UTC, at most `NEVER`."""
    try:
        return at + by
    except OverflowError:
        return NEVER


def earlier(at: dt.datetime, by: dt.timedelta) -> dt.datetime:
    """``by`` before a moment in UTC, at least `ALWAYS`."""
    try:
        return at - by
    except OverflowError:
        return ALWAYS


def local_date(at: dt.datetime, zone: ZoneInfo) -> dt.date:
    """The date of a moment in a zone; on the last or first day of the calendar, that of UTC."""
    try:
        return at.astimezone(zone).date()
    except OverflowError:
        return at.date()


def midnight_after(date: dt.date, days: int, zone: ZoneInfo) -> dt.datetime:
    """When the day begins in a zone that is so many days after ``date``, in UTC; `NEVER` where there is none."""
    try:
        return dt.datetime.combine(date + dt.timedelta(days=days), dt.time(), zone).astimezone(dt.UTC)
    except OverflowError:
        return NEVER
