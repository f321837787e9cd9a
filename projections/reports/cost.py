"""What a day and a month cost, from the rows of the `cost` view: the seed's daily JSON, and where costs come from."""

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from tallystick.config.amounts import COST, NANOS_PER_DOLLAR, TOKENS, dollars, exact_units, percent
from tallystick.events.state.money import ZERO, Money, minus, money, plus
from tallystick.projections.store.view_store import ViewStore
from tallystick.projections.views import fleet as fleet_view
from tallystick.projections.views.cost import LABEL, CostView, DayRow, PartRow, decode
from tallystick.projections.views.fleet import FleetView

Number = int | float


class Limits(msgspec.Struct, frozen=True):
    """Tokens, and dollars or whole percent, of a day; None is no limit."""

    tokens: Number | None
    cost: Number | None


class Triggered(msgspec.Struct, frozen=True):
    """An alert of the day; ``time`` is that of the fleet's zone, to the minute."""

    time: str
    message: str


class DayCost(msgspec.Struct, frozen=True):
    """The seed's daily cost, with its keys and plain numbers; percentages are floored.

    ``projected_eod`` is what the day will have cost at its end, in dollars; None where it cannot be projected.
    """

    date: str
    tokens_used: int
    cost_usd: Number
    limits: Limits
    percent_used: Limits
    alerts_triggered: list[Triggered]
    projected_eod: Number | None


class Part(msgspec.Struct, frozen=True):
    """What one of the parts used; ``percent`` is its part of the cost, or of the tokens where nothing cost anything."""

    name: str | None
    tokens_used: int
    cost_usd: str
    percent: int


class MonthCost(msgspec.Struct, frozen=True):
    """A month beside its plan; ``deviation_percent`` to one decimal, above 0 where more was spent than planned.

    ``planned_usd`` is the period's total where the period is a month, else the daily limit on each of its days; None
    where neither is configured.
    """

    month: str
    planned_usd: str | None
    actual_usd: str
    deviation_usd: str | None
    deviation_percent: float | None
    tokens_used: int
    days: list["DayLine"]


class DayLine(msgspec.Struct, frozen=True):
    """One day of a month."""

    date: str
    tokens_used: int
    cost_usd: str


class Costs:
    """The rows of the day at hand, or with ``whole`` of all days; ``date`` is None where nothing was recorded.

    Raises:
        NotKept: the rows cannot be read.
    """

    def __init__(self, views: ViewStore, whole: bool = False) -> None:
        kept = views.whole((CostView.name, FleetView.name)) if whole else views.live()
        self.days: list[DayRow] = []
        self.parts: list[PartRow] = []
        for data in kept.rows.get(CostView.name, ()):
            match decode(data):
                case DayRow() as day:
                    self.days.append(day)
                case PartRow() as part:
                    self.parts.append(part)
        self.days.sort(key=lambda day: day.date)
        fleets = kept.rows.get(FleetView.name, ())
        self._config: dict[str, Any] = next((fleet_view.decode(row).config for row in fleets), {})
        models = self._config.get("models", {}).items()
        self.aliases: dict[str, str] = {model["id"]: alias for alias, model in models if model is not None}
        """What the catalogue calls the models, by their ids: a run may name either."""
        self.date = self.days[-1].date if self.days else None
        self.zone = (self.days[-1].timezone if self.days else None) or "UTC"

    @property
    def breaker(self) -> str | None:
        """The condition that has opened the circuit breaker, if it is open."""
        return self.days[-1].breaker if self.days else None

    def day(self, projected_eod: Number | None = None) -> DayCost:
        """The newest day; one of nothing where there is none."""
        row = self.days[-1] if self.days else DayRow(date="")
        zone = ZoneInfo(self.zone)
        used, limits = money(row.used.triple), limits_of(row)
        tokens, nanos = limits
        return DayCost(
            date=row.date,
            tokens_used=used[TOKENS],
            cost_usd=_plain(used[COST]),
            limits=Limits(tokens, None if nanos is None else _plain(nanos)),
            percent_used=Limits(
                None if tokens is None else percent(used[TOKENS], tokens),
                None if nanos is None else percent(used[COST], nanos),
            ),
            alerts_triggered=[Triggered(f"{alert.at.astimezone(zone):%H:%M}", alert.message) for alert in row.alerts],
            projected_eod=projected_eod,
        )

    def by(self, by: str, month: str | None = None) -> list[Part]:
        """What each product, model, type or agent used on the newest day, or in a month; the most expensive first.

        ``by`` is one of `By`, or `LABEL` and the name of a label; what was not labelled so stands under None.
        """
        sums: dict[str | None, Money] = defaultdict(lambda: ZERO)
        names = self.aliases if by == "model" else {}
        for part in self.parts:
            if part.by == by and (part.date == self.date if month is None else part.date.startswith(month)):
                name = names.get(part.name or "", part.name)
                sums[name] = plus(sums[name], money(part.used.triple))
        if by.startswith(LABEL):
            labelled = list(sums.values())
            for day in self.days[-1:] if month is None else self.days:
                if month is None or day.date.startswith(month):
                    sums[None] = plus(sums[None], money(day.used.triple))
            for used in labelled:
                sums[None] = minus(sums[None], used)
        weighed = COST if any(used[COST] for used in sums.values()) else TOKENS
        whole = sum(used[weighed] for used in sums.values())
        shown = [(name, used) for name, used in sums.items() if name is not None or used != ZERO]
        ordered = sorted(shown, key=lambda item: (-item[1][COST], -item[1][TOKENS], item[0] or ""))
        return [Part(name, used[TOKENS], dollars(used[COST]), percent(used[weighed], whole)) for name, used in ordered]

    def month(self) -> MonthCost:
        """The month of the newest day, as far as it has come."""
        month = (self.date or "")[:7]
        lines = [(day.date, money(day.used.triple)) for day in self.days if day.date.startswith(month)]
        actual = sum(used[COST] for _, used in lines)
        planned = self._planned(month)
        over = None if planned is None else actual - planned
        return MonthCost(
            month=month,
            planned_usd=None if planned is None else dollars(planned),
            actual_usd=dollars(actual),
            deviation_usd=None if over is None else dollars(over),
            deviation_percent=round(100 * over / planned, 1) if planned and over is not None else None,
            tokens_used=sum(used[TOKENS] for _, used in lines),
            days=[DayLine(date, used[TOKENS], dollars(used[COST])) for date, used in lines],
        )

    def _planned(self, month: str) -> int | None:
        total = self._config.get("total_budget", {})
        if total.get("period") == "month" and total.get("cost_usd") is not None:
            return _nanos(total["cost_usd"])
        daily = self._config.get("daily_limits", {}).get("max_cost_usd")
        return None if daily is None or not month else _nanos(daily) * _length(month)


def limits_of(row: DayRow) -> tuple[int | None, int | None]:
    """A day's limits in tokens and nano-dollars, as raised for it."""
    pairs = zip(row.configured.triple, row.approved.triple, strict=True)
    tokens, _, nanos = (None if limit is None else max(limit, raised or 0) for limit, raised in pairs)
    return tokens, nanos


def _length(month: str) -> int:
    first = dt.date.fromisoformat(f"{month}-01")
    return ((first + dt.timedelta(days=32)).replace(day=1) - first).days


def last_of_month(date: str) -> str:
    """The last day of the month of a day."""
    return f"{date[:7]}-{_length(date[:7]):02}"


def _nanos(value: object) -> int:
    return exact_units(Decimal(str(value)), COST, "cost_usd")


def _plain(nanos: int) -> Number:
    """Dollars as a plain number, as the seed's JSON has them."""
    whole, rest = divmod(nanos, NANOS_PER_DOLLAR)
    return nanos / NANOS_PER_DOLLAR if rest else whole


def hours_of(rows: Iterable[tuple[str, Money]], date: str, zone: str, d: int) -> tuple[list[list[float]], list[float]]:
    """Usage by hour of the days before ``date`` (the oldest first), and of that day, in the fleet's zone.

    ``rows`` are hours of UTC, like ``2026-03-04T12``, with what was used in each. Days are as long as clocks say.
    """
    first = dt.date.fromisoformat(date)
    days: dict[dt.date, list[float]] = {}
    for hour, used in rows:
        at = dt.datetime.fromisoformat(f"{hour}:00+00:00").astimezone(ZoneInfo(zone))
        day = days.setdefault(at.date(), [0.0] * _hours_in(at.date(), zone))
        day[int((at - _midnight(at.date(), zone)).total_seconds() // 3600)] += used[d]
    past = [day for day in days if day < first]
    count = (first - min(past)).days if past else 0
    dates = [first - dt.timedelta(days=back) for back in range(count, 0, -1)]
    return [days.get(day, [0.0] * _hours_in(day, zone)) for day in dates], days.get(first, [])


def _midnight(day: dt.date, zone: str) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), ZoneInfo(zone)).astimezone(dt.UTC)


def _hours_in(day: dt.date, zone: str) -> int:
    return round((_midnight(day + dt.timedelta(days=1), zone) - _midnight(day, zone)).total_seconds() / 3600)
