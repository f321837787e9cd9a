"""What was used, by hour and by all that it counts for at once: product, model, agent type, agent and labels together.

One row for each hour of a day and each combination that occurred in it. A day is that of the `cost` view, so that the
sums over anything equal its figures; an hour begins with one of the fleet's zone, and is written in UTC. Rows of the
hour at hand are live.
"""

import datetime as dt
from collections.abc import Iterable
from typing import ClassVar, Final, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from tallystick.config.amounts import Amounts
from tallystick.events import catalog as e
from tallystick.events.state.accounts import Balances
from tallystick.events.state.money import ZERO, Money, minus, money, plus
from tallystick.projections.views.summed_use import SummedUse
from tallystick.projections.views.usage_names import ModelRow, Names, Sums, TaskRow, UsageNames, Use
from tallystick.projections.views.view import Changes, Look, Row, Steps, encode, moved

_UTC = "UTC"
_HOUR: Final = "%Y-%m-%dT%H:%M"
_AN_HOUR: Final = dt.timedelta(hours=1)
_A_MOMENT: Final = dt.timedelta(microseconds=1)
_LONG_AGO: Final = dt.datetime.min.replace(tzinfo=dt.UTC)


class CellRow(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="row", tag="cell", gc=False):
    """What one combination used in an hour that counts on a day; a name that is not known is left out.

    ``hour`` is when the hour began, in UTC, like ``2026-03-04T12:00``.
    """

    date: str
    hour: str
    agent: str
    product: str | None = None
    model: str | None = None
    type: str | None = None
    labels: dict[str, str] = {}
    used: Amounts = Amounts()
    reports: int = 0


class DateRow(msgspec.Struct, omit_defaults=True, tag_field="row", tag="date", gc=False):
    """The day at hand; without ``timezone`` it is one of UTC that no event has named."""

    date: str
    timezone: str | None = None


_Any = CellRow | DateRow | ModelRow | TaskRow
_decoder: msgspec.json.Decoder[_Any] = msgspec.json.Decoder(_Any)


def decode(row: bytes) -> CellRow | DateRow | ModelRow | TaskRow:
    """A row of any kind."""
    return _decoder.decode(row)


class _Place(NamedTuple):
    """An hour of a day."""

    date: str
    hour: str


class BreakdownView:
    """Folds the hour at hand in memory; what counts in an earlier one is added to its row."""

    name = "breakdown"
    version = 1

    def __init__(self, balances: Balances, look: Look) -> None:
        self._look = look
        self._names = UsageNames(self.name, balances, look)
        self._day: DateRow | None = None
        self._place: _Place | None = None
        self._newest = _LONG_AGO
        """When the newest hour began of which there may be rows."""
        self._is_new = False
        """Whether no row of the place can have been finished before."""
        self._cells: dict[str, CellRow] = {}
        """Of the place, by their ids."""
        self._touched: set[str] = set()
        self._rows: dict[str, Row | None] = {}
        self._sums = Sums()
        """What was used in the hour at hand, and is not in the cells yet."""
        self._at_hand: tuple[DateRow | None, dt.datetime, dt.datetime] = (None, _LONG_AGO, _LONG_AGO)
        """The day and the hour, from and until, of which it is known that they are at hand."""

    def changes(self, last: e.Event) -> Changes:
        self._count()
        rows, self._rows = self._rows | self._names.take(), {}
        rows |= {id: Row(encode(self._cells[id]), live=True) for id in self._touched}
        self._touched.clear()
        return rows

    def restore(self, rows: Iterable[bytes]) -> None:
        for data in rows:
            match decode(data):
                case CellRow() as cell:
                    self._place = _Place(cell.date, cell.hour)
                    self._cells[_id(cell)] = cell
                case DateRow() as day:
                    self._day = day
                case ModelRow() as model:
                    self._names.restore(model)
        if self._place is not None:
            self._newest = dt.datetime.strptime(self._place.hour, _HOUR).replace(tzinfo=dt.UTC)

    # --- where it counts ----------------------------------------------------------------------------------------------

    def _enter(self, date: str, timezone: str | None) -> None:
        if self._day is None or (self._day.date, self._day.timezone) != (date, timezone):
            self._day = DateRow(date, timezone)
            self._rows["date"] = Row(encode(self._day), live=True)

    def _configured(self, event: e.ConfigLoaded) -> None:
        if event.date is not None:
            self._enter(event.date, event.config["timezone"])

    def _began(self, event: e.DayBegan) -> None:
        self._enter(event.date, _UTC if self._day is None else self._day.timezone or _UTC)

    def _today(self, at: dt.datetime) -> DateRow:
        """The day at hand; the hour at hand is the place of what is used now."""
        known, begins, ends = self._at_hand
        if known is not None and known is self._day and begins <= at < ends:
            return known
        if self._day is None or self._day.timezone is None:
            self._enter(at.date().isoformat(), None)
        day = self._day
        assert day is not None
        begins = _beginning(at, day.timezone)
        place = _Place(day.date, begins.strftime(_HOUR))
        if place != self._place:
            self._count()
            for id, cell in self._cells.items():
                self._rows[id] = Row(encode(cell), live=False)
            self._cells, self._place = {}, place
            self._touched.clear()
            self._is_new = begins > self._newest
            self._newest = max(begins, self._newest)
        # An hour in which a zone changes its offset by a part of one ends sooner: it is looked at each time.
        ends = begins + _AN_HOUR
        if day.timezone is not None and _beginning(ends - _A_MOMENT, day.timezone) == begins:
            self._at_hand = day, begins, ends
        return day

    # --- usage --------------------------------------------------------------------------------------------------------

    def _use(self, event: Use) -> None:
        names, day = self._names.of(event), self._today(event.at)
        if event.occurred_at is None and event.counts_on is None:
            self._sums.add(names, event)
            return
        earlier = event.counts_on is not None and event.counts_on < day.date
        date = event.counts_on if earlier and event.counts_on is not None else day.date
        self._add(self._cell(date, _when(event), names), (event.tokens, event.time_ms, event.cost_nanos), 1)

    def _summed(self, use: SummedUse) -> None:
        self._today(use.at)
        self._sums.add(self._names.of_sum(use), use, use.reports)

    def _count(self) -> None:
        """Add to the cells what was used in the hour at hand."""
        for names, used, reports in self._sums.take():
            assert self._place is not None
            self._add(_cell(self._place, names), used, reports)

    def _corrected(self, event: e.UsageCorrected) -> None:
        """A correction counts in the hour and on the day of its record, and for the model that it names."""
        names = self._names.corrected(event)
        self._today(event.at)
        cell = self._cell(event.day, _when(event.record), names)
        if event.model_after is None:
            self._add(cell, event.difference, 0)
            return
        self._add(cell, minus(ZERO, event.counted.units), -1)
        names = names._replace(model=event.model_after)
        self._add(self._cell(event.day, _when(event.record), names), event.counts.units, 1)

    def _cell(self, date: str, at: dt.datetime, names: Names) -> CellRow:
        zone = None if self._day is None else self._day.timezone
        return _cell(_Place(date, _beginning(at, zone).strftime(_HOUR)), names)

    def _add(self, cell: CellRow, units: Money, reports: int) -> None:
        """Add to the row of a combination, which may be finished, or new."""
        id, is_now = _id(cell), (cell.date, cell.hour) == self._place
        found = self._cells.get(id) if is_now else None
        if found is None and not (is_now and self._is_new):
            found = self._finished(id)
        found = cell if found is None else found
        found.used, found.reports = moved(plus(money(found.used.triple), units)), found.reports + reports
        if is_now:
            self._cells[id] = found
            self._touched.add(id)
        else:
            self._rows[id] = Row(encode(found), live=False)

    def _finished(self, id: str) -> CellRow | None:
        pending = self._rows.get(id)
        data = self._look(self.name, id) if pending is None else pending.data
        row = None if data is None else decode(data)
        return row if isinstance(row, CellRow) else None

    def _submitted(self, event: e.TaskSubmitted) -> None:
        self._names.submitted(event)

    def _started(self, event: e.TaskStarted) -> None:
        self._names.started(event)

    def _released(self, event: e.BudgetReleased) -> None:
        self._names.released(event)

    steps: ClassVar[Steps] = {
        e.ConfigLoaded: _configured,
        e.DayBegan: _began,
        e.UsageReported: _use,
        SummedUse: _summed,
        e.HoldSettled: _use,
        e.HoldSpent: _use,
        e.UsageCorrected: _corrected,
        e.TaskSubmitted: _submitted,
        e.TaskStarted: _started,
        e.BudgetReleased: _released,
    }


def _cell(place: _Place, names: Names) -> CellRow:
    return CellRow(
        date=place.date,
        hour=place.hour,
        agent=names.agent,
        product=names.product,
        model=names.model,
        type=names.type,
        labels=dict(names.labels),
    )


def _when(event: Use) -> dt.datetime:
    """When it was used; never later than it was recorded."""
    return min(event.used_at, event.at)


def _beginning(at: dt.datetime, zone: str | None) -> dt.datetime:
    """When the hour of the zone began, in UTC."""
    offset = dt.timedelta(0) if zone in (None, _UTC) else at.astimezone(ZoneInfo(zone)).utcoffset() or dt.timedelta(0)
    local = at + offset % dt.timedelta(hours=1)
    return local.replace(minute=0, second=0, microsecond=0) - offset % dt.timedelta(hours=1)


def _id(cell: CellRow) -> str:
    """Rows of a day lie together, in the order of their hours."""
    names = [cell.agent, cell.product, cell.model, cell.type, cell.labels]
    return f"{cell.date}/{cell.hour}/{encode(names).decode()}"
