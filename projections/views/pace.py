"""How fast budgets are used now: what was used in each of the last minutes, by the fleet and by each open agent.

What a rate is made of them is in `projections.reports.burn`. What was reported late counts in the minute in which it
was used, and not at all where that is no longer kept: an import of last year is no rate of now. A correction counts in
the minute of what it corrects, while that is kept.
"""

import datetime as dt
from collections.abc import Iterable
from typing import ClassVar, Final

import msgspec

from tallystick.events import catalog as e
from tallystick.events.state.accounts import Balances
from tallystick.events.state.money import ZERO, Money, plus
from tallystick.projections.views.summed_use import SummedUse
from tallystick.projections.views.view import Changes, Look, Row, Steps, encode

MINUTES_KEPT: Final = 15
FLEET: Final = "fleet"
"""The id of the row of all usage; that of an agent is ``agent/ID``."""
_MINUTE: Final = 60
_LONG_AGO: Final = dt.datetime.min.replace(tzinfo=dt.UTC)

Minute = tuple[int, int, int, int]
"""Which minute (since 1970), and what was used in it: tokens, milliseconds, nano-dollars."""


class PaceRow(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """What was used in the minutes up to the last use, the oldest first; those without use are left out.

    ``agent`` is None for the fleet, whose ``began_at`` is when the log began.
    """

    agent: str | None = None
    began_at: dt.datetime | None = None
    minutes: list[Minute] = []

    def add(self, minute: int, units: Money) -> None:
        """Something was used in a minute; what is too old for any rate is let go."""
        if self.correct(minute, units):
            return
        self.minutes.append((minute, *units))
        self.minutes.sort()
        while self.minutes[0][0] <= self.minutes[-1][0] - MINUTES_KEPT:
            del self.minutes[0]

    def correct(self, minute: int, units: Money) -> bool:
        """Add to a minute that is kept; whether it is."""
        for place, (found, *before) in enumerate(self.minutes):
            if found == minute:
                tokens, time_ms, cost_nanos = (one + more for one, more in zip(before, units, strict=True))
                self.minutes[place] = (minute, tokens, time_ms, cost_nanos)
                return True
        return False


decode = msgspec.json.Decoder(PaceRow).decode


def minute_of(at: dt.datetime) -> int:
    """The minute of a moment, counted from 1970."""
    return int(at.timestamp()) // _MINUTE


class PaceView:
    """Folds usage by the minute."""

    name = "pace"
    version = 2

    def __init__(self, balances: Balances, look: Look) -> None:
        self._balances = balances
        self._fleet = PaceRow()
        self._agents: dict[str, PaceRow] = {}
        self._touched: dict[str, PaceRow] = {}
        self._rows: dict[str, Row | None] = {}
        self._sums: dict[str | None, list[int]] = {}
        """What was used in the minute at hand, and is not in the rows yet: by agent, None for those without a row."""
        self._begins = self._ends = _LONG_AGO
        """The minute at hand."""

    def changes(self, last: e.Event) -> Changes:
        self._count()
        rows, self._rows = self._rows, {}
        rows |= {id: Row(encode(row), live=True) for id, row in self._touched.items()}
        self._touched.clear()
        return rows

    def restore(self, rows: Iterable[bytes]) -> None:
        for data in rows:
            row = decode(data)
            if row.agent is None:
                self._fleet = row
            else:
                self._agents[row.agent] = row

    def _began(self, event: e.Event) -> None:
        if self._fleet.began_at is None:
            self._fleet.began_at = event.at
            self._touched[FLEET] = self._fleet

    def _use(self, event: "e.UsageReported | e.HoldSettled") -> None:
        if self._fleet.began_at is None:
            self._began(event)
        account = event.account
        self._add(event.used_at, account if account in self._balances.accounts else None, event)

    def _summed(self, use: SummedUse) -> None:
        self._add(use.at, use.agent, use)

    def _add(self, at: dt.datetime, agent: str | None, event: "e.UsageReported | e.HoldSettled | SummedUse") -> None:
        if not self._begins <= at < self._ends:
            self._count()
            self._begins = at.replace(second=0, microsecond=0)
            self._ends = self._begins + dt.timedelta(seconds=_MINUTE)
        found = self._sums.get(agent)
        if found is None:
            self._sums[agent] = [event.tokens, event.time_ms, event.cost_nanos]
        else:
            found[0] += event.tokens
            found[1] += event.time_ms
            found[2] += event.cost_nanos

    def _count(self) -> None:
        """Add to the rows what was used in the minute at hand."""
        if not self._sums:
            return
        minute, total = minute_of(self._begins), ZERO
        for agent, (tokens, time_ms, cost_nanos) in self._sums.items():
            used = (tokens, time_ms, cost_nanos)
            total = plus(total, used)
            if agent is not None:
                row = self._agents.get(agent)
                if row is None:
                    row = self._agents[agent] = PaceRow(agent=agent)
                row.add(minute, used)
                self._touched[_id(agent)] = row
        self._fleet.add(minute, total)
        self._touched[FLEET] = self._fleet
        self._sums.clear()

    def _corrected(self, event: e.UsageCorrected) -> None:
        self._count()
        minute = minute_of(event.record.used_at)
        if self._fleet.correct(minute, event.difference):
            self._touched[FLEET] = self._fleet
        row = self._agents.get(event.agent)
        if row is not None and event.is_own and event.closed is None and row.correct(minute, event.difference):
            self._touched[_id(event.agent)] = row

    def _released(self, event: e.BudgetReleased) -> None:
        self._count()
        if self._agents.pop(event.agent, None) is not None:
            self._touched.pop(_id(event.agent), None)
            self._rows[_id(event.agent)] = None

    steps: ClassVar[Steps] = {
        e.ConfigLoaded: _began,
        e.BudgetAllocated: _began,
        e.UsageReported: _use,
        SummedUse: _summed,
        e.HoldSettled: _use,
        e.HoldSpent: _use,
        e.UsageCorrected: _corrected,
        e.BudgetReleased: _released,
    }


def _id(agent: str) -> str:
    return f"agent/{agent}"
