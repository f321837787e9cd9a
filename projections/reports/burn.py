"""How fast budgets are used now, and when they will be empty if it goes on so: for the fleet, and for each open agent.

The rate is that of the last minutes, of all that was used in them. A budget that is renewed before it would be empty is
not one that will be. What the policies forecast of single agents looks further: see `tallystick forecast`.
"""

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import msgspec

from tallystick.config.amounts import COST, DIMENSIONS, EDGE_NAMES, TOKENS, Triple, dollars
from tallystick.events.state.money import ZERO, Money, minus, money, plus
from tallystick.projections.reports.cost import limits_of
from tallystick.projections.reports.status import Status
from tallystick.projections.store.view_store import ViewStore
from tallystick.projections.views import pace
from tallystick.projections.views.agent_rows import AgentRow
from tallystick.projections.views.pace import MINUTES_KEPT, PaceRow, PaceView, minute_of

_MINUTE_SECONDS: Final = 60
_HOUR_SECONDS: Final = 3_600


class Burn(msgspec.Struct, frozen=True):
    """A rate, over the last ``window_seconds``, and when what is empty first will be so, at that rate.

    ``empty_in_seconds`` is None where nothing will be empty before it is renewed, or where nothing is used.
    ``empty_first`` says what is: ``total`` or ``day`` of the fleet, ``budget`` of an agent; and ``dimension`` in which.
    """

    window_seconds: int
    tokens_per_hour: int
    cost_usd_per_hour: str
    empty_in_seconds: int | None
    empty_first: str | None
    dimension: str | None


class _Budget(NamedTuple):
    """What is left of a budget, and for how long it must last; None: without end."""

    name: str
    left: Triple
    lasts_seconds: float | None


class Pace:
    """The rows of the view, read once, as of ``now``.

    Raises:
        NotKept: the rows cannot be read.
    """

    def __init__(self, views: ViewStore, status: Status, now: dt.datetime) -> None:
        self._status, self._now = status, now
        rows = [pace.decode(data) for data in views.live().rows.get(PaceView.name, ())]
        self._fleet = next((row for row in rows if row.agent is None), PaceRow())
        self._agents: Mapping[str, PaceRow] = {row.agent: row for row in rows if row.agent is not None}

    def fleet(self) -> Burn:
        """Of all usage, against the total budget and the limits of the day."""
        fleet, day = self._status.fleet, self._status.day
        total = _left(fleet.total.triple, money(fleet.consumed.triple))
        budgets = [_Budget("total", total, self._until(fleet.period_ends_at))]
        if day is not None:
            tokens, nanos = limits_of(day)
            of_day = _left((tokens, None, nanos), money(day.used.triple))
            budgets.append(_Budget("day", of_day, self._until(self._status.day_ends_at)))
        return self._burn(self._fleet, self._fleet.began_at, budgets)

    def agent(self, row: AgentRow) -> Burn:
        """Of what an open agent uses itself, against what remains of its budget."""
        kept = self._agents.get(row.agent, PaceRow())
        return self._burn(kept, row.opened_at, [_Budget("budget", row.remaining.triple, None)])

    def _until(self, end: dt.datetime | None) -> float | None:
        return None if end is None else (end - self._now).total_seconds()

    def _burn(self, row: PaceRow, began_at: dt.datetime | None, budgets: list[_Budget]) -> Burn:
        window, used = self._used(row, began_at)
        found = min(_empties(used, window, budgets), default=None)
        return Burn(
            window_seconds=window,
            tokens_per_hour=used[TOKENS] * _HOUR_SECONDS // window,
            cost_usd_per_hour=dollars(used[COST] * _HOUR_SECONDS // window),
            empty_in_seconds=None if found is None else found[0],
            empty_first=None if found is None else found[1],
            dimension=None if found is None else EDGE_NAMES[found[2]],
        )

    def _used(self, row: PaceRow, began_at: dt.datetime | None) -> tuple[int, Money]:
        """The window in seconds, at least a minute, and what was used in it."""
        first = minute_of(self._now) - MINUTES_KEPT + 1
        if began_at is not None:
            first = max(first, minute_of(began_at))
        used = ZERO
        for minute, *units in row.minutes:
            if minute >= first:
                used = plus(used, (units[0], units[1], units[2]))
        window = int(self._now.timestamp()) - first * _MINUTE_SECONDS
        return max(_MINUTE_SECONDS, window), used


def _left(limits: Triple, used: Money) -> Triple:
    left = minus(money(limits), used)
    found = [None if limits[d] is None else max(0, left[d]) for d in DIMENSIONS]
    return found[0], found[1], found[2]


def _empties(used: Money, window: int, budgets: list[_Budget]) -> Iterator[tuple[int, str, int]]:
    """When which budget will be empty in which dimension: those that will be, before they are renewed."""
    for budget in budgets:
        for d, left in enumerate(budget.left):
            if left is None or used[d] <= 0:
                continue
            seconds = left * window // used[d]
            if budget.lasts_seconds is None or seconds < budget.lasts_seconds:
                yield seconds, budget.name, d
