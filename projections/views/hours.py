"""One row per hour (UTC) in which the fleet used something: what a day's profile, and so its end, is forecast from.

An hour whose rows can no longer change is not live, but for those of the last days, which the profile is made of.
"""

import datetime as dt
from collections.abc import Iterable
from typing import ClassVar

import msgspec

from tallystick.config.amounts import Amounts
from tallystick.events import catalog as e
from tallystick.events.state.accounts import Balances
from tallystick.events.state.money import ZERO, Money, money, plus
from tallystick.projections.views.summed_use import SummedUse
from tallystick.projections.views.view import Changes, Look, Row, Steps, encode, moved

DAYS_LIVE = 15
"""Days back that a profile looks."""
_HOUR = "%Y-%m-%dT%H"


class HourRow(msgspec.Struct, gc=False):
    """What was used in one hour; ``hour`` is like ``2026-03-04T12``."""

    hour: str
    used: Amounts
    reports: int


decode = msgspec.json.Decoder(HourRow).decode


class HoursView:
    """Folds usage by the hour. Time never runs backwards in a log, so that one hour is open at a time."""

    name = "hours"
    version = 1

    def __init__(self, balances: Balances, look: Look) -> None:
        self._look = look
        self._begins: dt.datetime | None = None
        self._ends = dt.datetime.min.replace(tzinfo=dt.UTC)
        self._used = [0, 0, 0]
        self._reports = 0
        self._live: dict[str, bytes] = {}
        """The finished hours of the last days."""
        self._rows: dict[str, Row] = {}

    def _use(self, event: "e.UsageReported | e.HoldSettled") -> None:
        if event.history:
            return
        if event.at >= self._ends:
            self._turn(event.at)
        if self._begins is not None and event.used_at < self._begins:
            self._add(event.used_at, (event.tokens, event.time_ms, event.cost_nanos), 1)
            return
        used = self._used
        used[0] += event.tokens
        used[1] += event.time_ms
        used[2] += event.cost_nanos
        self._reports += 1

    def _summed(self, use: SummedUse) -> None:
        if use.at >= self._ends:
            self._turn(use.at)
        used = self._used
        used[0] += use.tokens
        used[1] += use.time_ms
        used[2] += use.cost_nanos
        self._reports += use.reports

    def _corrected(self, event: e.UsageCorrected) -> None:
        """A correction counts in the hour of its record, which may be finished."""
        if event.record.history:
            return
        hour = event.record.used_at.strftime(_HOUR)
        if self._begins is not None and hour == self._begins.strftime(_HOUR):
            self._used = [one + more for one, more in zip(self._used, event.difference, strict=True)]
            return
        self._add(event.record.used_at, event.difference, 0)

    def _add(self, at: dt.datetime, units: Money, reports: int) -> None:
        """Add to an hour that is finished; with reports, also to one in which nothing was used before."""
        hour = at.strftime(_HOUR)
        pending = self._rows.get(hour)
        data = self._live.get(hour) or (self._look(self.name, hour) if pending is None else pending.data)
        if data is None and not reports:
            return
        row = HourRow(hour, moved(ZERO), 0) if data is None else decode(data)
        row.used, row.reports = moved(plus(money(row.used.triple), units)), row.reports + reports
        live = self._begins is not None and hour >= _oldest(self._begins)
        self._rows[hour] = Row(encode(row), live)
        if live:
            self._live[hour] = self._rows[hour].data

    steps: ClassVar[Steps] = {
        e.UsageReported: _use,
        SummedUse: _summed,
        e.HoldSettled: _use,
        e.HoldSpent: _use,
        e.UsageCorrected: _corrected,
    }

    def changes(self, last: e.Event) -> Changes:
        if self._begins is not None:
            self._keep(self._begins)
        rows, self._rows = self._rows, {}
        return rows

    def restore(self, rows: Iterable[bytes]) -> None:
        kept = {row.hour: (row, data) for row, data in ((decode(data), data) for data in rows)}
        if kept:
            self._live = {hour: data for hour, (_, data) in kept.items()}
            newest, _ = kept[max(kept)]
            self._open(dt.datetime.strptime(newest.hour, _HOUR).replace(tzinfo=dt.UTC))
            del self._live[newest.hour]
            self._reports = newest.reports
            tokens, time_ms, cost_nanos = newest.used.triple
            self._used = [tokens or 0, time_ms or 0, cost_nanos or 0]

    def _turn(self, at: dt.datetime) -> None:
        """Another hour begins; the one before is finished, and one that is too old is not looked at again."""
        if self._begins is not None:
            self._live[self._begins.strftime(_HOUR)] = self._keep(self._begins)
        self._open(at.replace(minute=0, second=0, microsecond=0))
        oldest = _oldest(at)
        for hour in [hour for hour in self._live if hour < oldest]:
            self._rows[hour] = Row(self._live.pop(hour), live=False)

    def _open(self, begins: dt.datetime) -> None:
        self._begins, self._ends = begins, begins + dt.timedelta(hours=1)
        self._used, self._reports = [0, 0, 0], 0

    def _keep(self, begins: dt.datetime) -> bytes:
        hour = begins.strftime(_HOUR)
        used = (self._used[0], self._used[1], self._used[2])
        data = encode(HourRow(hour, moved(used), self._reports))
        self._rows[hour] = Row(data, live=True)
        return data


def _oldest(at: dt.datetime) -> str:
    """The first hour that a profile looks at, at a time."""
    return (at - dt.timedelta(days=DAYS_LIVE)).strftime(_HOUR)
