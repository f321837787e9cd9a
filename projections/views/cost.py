"""What each day used and cost: one row per day of the fleet's zone, and one per day and product, model, type and agent.

The rows of the day at hand are live. A log from before days were recorded is counted by the days of UTC.
"""

import datetime as dt
from collections.abc import Iterable
from decimal import Decimal
from typing import ClassVar, Literal

import msgspec

from tallystick.config.amounts import COST, Amounts, exact_units
from tallystick.events import catalog as e
from tallystick.events.state.accounts import Balances
from tallystick.events.state.money import ZERO, Money, minus, money, plus
from tallystick.projections.views.summed_use import SummedUse
from tallystick.projections.views.usage_names import ModelRow, Names, Sums, TaskRow, UsageNames, Use
from tallystick.projections.views.view import Changes, Look, Row, Steps, encode, moved

_UTC = "UTC"
By = Literal["product", "model", "type", "agent"]
LABEL = "label:"
"""What the parts by a label begin with: ``label:user`` are those by the label ``user``."""
ALERTS = ("daily_", "breaker_")
"""How the codes of the alerts begin that are about what a day costs."""


class DayAlert(msgspec.Struct, frozen=True, gc=False):
    """An alert of the day."""

    at: dt.datetime
    message: str


class DayRow(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="row", tag="day", gc=False):
    """One day; ``configured`` and ``approved`` are its limits as they were last, ``breaker`` what has opened it.

    ``timezone`` is left out for a day of UTC that no event has named. ``history`` is what of ``used`` was charged to
    nothing, since it was used before the period in which it was reported.
    """

    date: str
    timezone: str | None = None
    used: Amounts = Amounts()
    reports: int = 0
    configured: Amounts = Amounts()
    approved: Amounts = Amounts()
    alerts: list[DayAlert] = []
    breaker: str | None = None
    history: Amounts = Amounts()


class PartRow(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="row", tag="part", gc=False):
    """What one product, model, type, agent or value of a label used on a day; ``name`` is left out where not known.

    ``by`` says which (`By`, or `LABEL` and the key of the label). The labels of a settlement are its own over those of
    its hold.
    """

    date: str
    by: str
    name: str | None = None
    used: Amounts = Amounts()
    reports: int = 0


_Any = DayRow | PartRow | ModelRow | TaskRow
_decoder: msgspec.json.Decoder[_Any] = msgspec.json.Decoder(_Any)


def decode(row: bytes) -> DayRow | PartRow | ModelRow | TaskRow:
    """A row of any kind."""
    return _decoder.decode(row)


class CostView:
    """Folds the day at hand, which is in memory."""

    name = "cost"
    version = 4

    def __init__(self, balances: Balances, look: Look) -> None:
        self._look = look
        self._names = UsageNames(self.name, balances, look)
        self._day: DayRow | None = None
        self._parts: dict[tuple[str, str | None], PartRow] = {}
        self._touched: dict[int, DayRow | PartRow] = {}
        self._rows: dict[str, Row | None] = {}
        """Rows that are finished."""
        self._sums = Sums()
        """What was used on the day at hand, and is not in its rows yet."""

    def changes(self, last: e.Event) -> Changes:
        self._count()
        rows, self._rows = self._rows | self._names.take(), {}
        rows |= {_id(row): Row(encode(row), live=True) for row in self._touched.values()}
        self._touched.clear()
        return rows

    def restore(self, rows: Iterable[bytes]) -> None:
        for data in rows:
            match decode(data):
                case DayRow() as day:
                    self._day = day
                case PartRow() as part:
                    self._parts[part.by, part.name] = part
                case ModelRow() as model:
                    self._names.restore(model)

    # --- the day ------------------------------------------------------------------------------------------------------

    def _today(self, at: dt.datetime) -> DayRow:
        """The row of the day, to be changed."""
        day = self._day
        if day is None or day.timezone is None:
            day = self._enter(at.date().isoformat(), None)
        self._touched[id(day)] = day
        return day

    def _enter(self, date: str, timezone: str | None) -> DayRow:
        """It is this day now; the rows of the one before are finished."""
        before = self._day
        if before is not None and before.date == date:
            before.timezone = timezone
            self._touched[id(before)] = before
            return before
        self._count()
        if before is not None:
            rows: list[DayRow | PartRow] = [before, *self._parts.values()]
            for row in rows:
                self._rows[_id(row)] = Row(encode(row), live=False)
        self._touched.clear()
        self._parts = {}
        self._day = day = DayRow(date=date, timezone=timezone)
        if before is not None:
            day.configured = before.configured
        self._touched[id(day)] = day
        return day

    def _configured(self, event: e.ConfigLoaded) -> None:
        if event.date is not None:
            self._enter(event.date, event.config["timezone"])
        limits = event.config.get("daily_limits", {})
        dollars = limits.get("max_cost_usd")
        nanos = None if dollars is None else exact_units(Decimal(str(dollars)), COST, "daily_limits.max_cost_usd")
        self._today(event.at).configured = Amounts(tokens=limits.get("max_tokens_total"), cost_nanos=nanos)

    def _began(self, event: e.DayBegan) -> None:
        self._enter(event.date, _UTC if self._day is None else self._day.timezone or _UTC)

    def _approved(self, event: e.LimitApproved) -> None:
        self._today(event.at).approved = event.limits

    def _alerted(self, event: e.AlertRaised) -> None:
        if event.code.startswith(ALERTS):
            day = self._today(event.at)
            day.alerts = [*day.alerts, DayAlert(event.at, event.message)]

    def _tripped(self, event: e.BreakerTripped) -> None:
        self._today(event.at).breaker = event.condition

    def _closed(self, event: e.BreakerClosed) -> None:
        self._today(event.at).breaker = None

    # --- usage --------------------------------------------------------------------------------------------------------

    def _use(self, event: Use) -> None:
        named, day = self._names.of(event), self._today(event.at)
        if event.counts_on is not None and event.counts_on < day.date:
            self._use_earlier(event, event.counts_on, named)
            return
        self._sums.add(named, event)
        if event.history:
            day.history = _sum(day.history, (event.tokens, event.time_ms, event.cost_nanos))

    def _summed(self, use: SummedUse) -> None:
        self._today(use.at)
        self._sums.add(self._names.of_sum(use), use, use.reports)

    def _count(self) -> None:
        """Add to the rows of the day at hand what was used on it."""
        day = self._day
        for named, used, reports in self._sums.take():
            assert day is not None
            day.used, day.reports = _sum(day.used, used), day.reports + reports
            for by, name in _parts(named):
                part = self._parts.get((by, name))
                if part is None:
                    part = self._parts[by, name] = PartRow(date=day.date, by=by, name=name)
                part.used, part.reports = _sum(part.used, used), part.reports + reports
                self._touched[id(part)] = part

    def _use_earlier(self, event: Use, date: str, named: Names) -> None:
        """What was used on a day that is over counts there; no event may have named that day."""
        used = (event.tokens, event.time_ms, event.cost_nanos)
        self._correct(date, used, 1, None, None, history=event.history)
        for by, name in _parts(named):
            self._correct(date, used, 1, by, name)

    def _corrected(self, event: e.UsageCorrected) -> None:
        """A correction counts on the day of its record, which may be finished, and for the model that it names.

        Of labels, it counts for those of the record itself: of its hold's, nothing is kept when that has ended.
        """
        named = self._names.corrected(event)
        self._count()
        moves = event.model_after is not None
        before, after = event.counted.units, event.counts.units
        self._correct(event.day, event.difference, 0, None, None, history=event.record.history)
        self._correct(event.day, event.difference, 0, "product", named.product)
        self._correct(event.day, event.difference, 0, "type", event.agent_type)
        self._correct(event.day, event.difference, 0, "agent", event.agent)
        for key, value in named.labels:
            self._correct(event.day, event.difference, 0, f"{LABEL}{key}", value)
        self._correct(event.day, minus(ZERO, before) if moves else event.difference, -moves, "model", event.model)
        if moves:
            self._correct(event.day, after, 1, "model", event.model_after)

    def _correct(
        self, date: str, units: Money, reports: int, by: str | None, name: str | None, *, history: bool = False
    ) -> None:
        """Add to the row of a day, or of a part of it, of today or before; with reports, also to one that is new."""
        today = self._day is not None and self._day.date == date
        row: DayRow | PartRow | None
        if by is None:
            row = self._day if today else self._finished(date)
            if row is None and reports > 0:
                row = DayRow(date=date, timezone=None if self._day is None else self._day.timezone)
        else:
            new = PartRow(date=date, by=by, name=name)
            row = self._parts.get((by, name)) if today else self._finished(_id(new))
            if row is None and reports > 0:
                row = new
                if today:
                    self._parts[by, name] = new
        if row is None:
            return
        row.used, row.reports = _sum(row.used, units), row.reports + reports
        if history and isinstance(row, DayRow):
            row.history = _sum(row.history, units)
        if today:
            self._touched[id(row)] = row
        else:
            self._rows[_id(row)] = Row(encode(row), live=False)

    def _finished(self, id: str) -> DayRow | PartRow | None:
        """A row of a day that is over, as it was left."""
        pending = self._rows.get(id)
        data = self._look(self.name, id) if pending is None else pending.data
        row = None if data is None else decode(data)
        return row if isinstance(row, DayRow | PartRow) else None

    def _submitted(self, event: e.TaskSubmitted) -> None:
        self._names.submitted(event)

    def _started(self, event: e.TaskStarted) -> None:
        self._names.started(event)

    def _released(self, event: e.BudgetReleased) -> None:
        self._names.released(event)

    steps: ClassVar[Steps] = {
        e.ConfigLoaded: _configured,
        e.DayBegan: _began,
        e.LimitApproved: _approved,
        e.AlertRaised: _alerted,
        e.BreakerTripped: _tripped,
        e.BreakerClosed: _closed,
        e.UsageReported: _use,
        SummedUse: _summed,
        e.HoldSettled: _use,
        e.HoldSpent: _use,
        e.TaskSubmitted: _submitted,
        e.UsageCorrected: _corrected,
        e.TaskStarted: _started,
        e.BudgetReleased: _released,
    }


def _parts(named: Names) -> list[tuple[str, str | None]]:
    """The parts of a day in which something counts."""
    parts: list[tuple[str, str | None]] = [
        ("product", named.product),
        ("model", named.model),
        ("type", named.type),
        ("agent", named.agent),
    ]
    return parts + [(f"{LABEL}{key}", value) for key, value in named.labels]


def _id(row: DayRow | PartRow) -> str:
    match row:
        case DayRow():
            return row.date
        case PartRow():
            # A part without a name must not be taken for one of that name.
            name = "" if row.name is None else f"/{row.name}"
            # Of a label, the length says where its key ends, whatever is in it.
            size = f"{len(row.by)}/" if row.by.startswith(LABEL) else ""
            return f"{row.date}/{size}{row.by}{name}"


def _sum(before: Amounts, more: Money) -> Amounts:
    return moved(plus(money(before.triple), more))
