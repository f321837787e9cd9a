"""What was used by several things at once and by spans of time, out of the rows of the `breakdown` view.

The sums equal those of days, months and parts in `cost` to the unit: they are of the same days.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final, Literal, NamedTuple, get_args
from zoneinfo import ZoneInfo

import msgspec

from tallystick.config.amounts import COST, NANOS_PER_DOLLAR, TOKENS, dollars, percent
from tallystick.events.state.money import ZERO, Money, money, plus
from tallystick.projections.store.view_store import ViewStore
from tallystick.projections.views.breakdown import BreakdownView, CellRow, decode
from tallystick.projections.views.cost import LABEL, By

Per = Literal["hour", "day", "week", "month"]
PLAIN: Final[tuple[str, ...]] = get_args(By)
_BEHIND_ALL: Final = ":"
"""Behind all ids that begin with a date."""


class Days(NamedTuple):
    """The days from ``first`` to ``last``, both included, as dates; None where there is no bound."""

    first: str | None = None
    last: str | None = None


class Line(msgspec.Struct, frozen=True):
    """What one combination used in one span; ``percent`` is its part of the span's cost.

    ``per`` says when the span began: an hour with its offset in the fleet's zone, a date, an ISO week, a month; None
    without spans. ``percent`` is of tokens where nothing cost anything, and floored.
    """

    per: str | None
    by: Mapping[str, str | None]
    tokens_used: int
    cost_usd: str
    reports: int
    percent: int


class _Sum:
    def __init__(self) -> None:
        self.used: Money = ZERO
        self.reports = 0


Key = tuple[str, tuple[str | None, ...]]


def breakdown(
    views: ViewStore,
    by: Sequence[str],
    per: Per | None,
    days: Days,
    zone: str,
    aliases: Mapping[str, str],
) -> list[Line]:
    """What each combination of ``by`` used in each span of these days: in time's order, the most expensive first.

    ``by`` are things as in `cost.By`, or `LABEL` and the key of a label; ``zone`` is that in which hours are written,
    and ``aliases`` are what models are called, by their ids.

    Raises:
        NotKept: the rows cannot be read.
    """
    behind = _BEHIND_ALL if days.last is None else _day_after(days.last)
    rows = views.between(BreakdownView.name, days.first or "", behind).rows[BreakdownView.name]
    sums: dict[Key, _Sum] = defaultdict(_Sum)
    span = _SPANS[per]
    readers = [_reader(name, aliases) for name in by]
    for data in rows:
        cell = decode(data)
        if isinstance(cell, CellRow):
            found = sums[span(cell), tuple(read(cell) for read in readers)]
            found.used, found.reports = plus(found.used, money(cell.used.triple)), found.reports + cell.reports
    return _lines(sums, by, _local(zone) if per == "hour" else str if per else _none)


def _lines(sums: Mapping[Key, _Sum], by: Sequence[str], written: Callable[[str], str | None]) -> list[Line]:
    weighed = COST if any(found.used[COST] for found in sums.values()) else TOKENS
    whole: dict[str, int] = defaultdict(int)
    for (span, _), found in sums.items():
        whole[span] += found.used[weighed]
    shown = [
        (span, names, found)
        for (span, names), found in sums.items()
        if found.used != ZERO or (by and any(name is not None for name in names))
    ]
    shown.sort(key=lambda one: (one[0], -one[2].used[COST], -one[2].used[TOKENS], [name or "" for name in one[1]]))
    return [
        Line(
            per=written(span),
            by=dict(zip(by, names, strict=True)),
            tokens_used=found.used[TOKENS],
            cost_usd=dollars(found.used[COST]),
            reports=found.reports,
            percent=percent(found.used[weighed], whole[span]),
        )
        for span, names, found in shown
    ]


def total_of(lines: Iterable[Line]) -> tuple[int, str]:
    """Tokens, and dollars to the nano-dollar, of all lines."""
    kept = list(lines)
    nanos = sum(int(Decimal(line.cost_usd) * NANOS_PER_DOLLAR) for line in kept)
    return sum(line.tokens_used for line in kept), dollars(nanos)


def _reader(name: str, aliases: Mapping[str, str]) -> Callable[[CellRow], str | None]:
    if name.startswith(LABEL):
        key = name.removeprefix(LABEL)
        return lambda cell: cell.labels.get(key)
    if name == "model":
        return lambda cell: aliases.get(cell.model or "", cell.model)
    return lambda cell: getattr(cell, name)


def _week(cell: CellRow) -> str:
    year, week, _ = dt.date.fromisoformat(cell.date).isocalendar()
    return f"{year}-W{week:02}"


_SPANS: Final[Mapping[Per | None, Callable[[CellRow], str]]] = {
    None: lambda _: "",
    "hour": lambda cell: cell.hour,
    "day": lambda cell: cell.date,
    "week": _week,
    "month": lambda cell: cell.date[:7],
}


def _local(zone: str) -> Callable[[str], str]:
    def written(hour: str) -> str:
        return dt.datetime.fromisoformat(f"{hour}+00:00").astimezone(ZoneInfo(zone)).isoformat(timespec="minutes")

    return written


def _none(_: str) -> None:
    return None


def _day_after(date: str) -> str:
    try:
        return (dt.date.fromisoformat(date) + dt.timedelta(days=1)).isoformat()
    except OverflowError:
        return _BEHIND_ALL
