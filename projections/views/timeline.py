"""One row per agent: what happened to it, as the usage report shows it. How much it used is in its row of `AgentsView`.

The row of `FLEET` counts what was refused to agents without an account. An id that is allocated again has one row, the
new account's.
"""

import datetime as dt
from collections.abc import Iterable
from typing import ClassVar, Literal

import msgspec

from tallystick.config.amounts import Amounts
from tallystick.events import catalog as e
from tallystick.events.state.accounts import ROOT, Balances
from tallystick.events.state.money import money, plus
from tallystick.projections.views.view import Changes, Look, Row, Steps, encode, moved

MARKS_MAX = 50
"""Of each agent, so many of the newest marks are kept; the counts go on."""
WARNED_AHEAD = dt.timedelta(seconds=60)
"""A stop was warned of in time where the warning came this long before it (spec 2)."""

FLEET = ROOT

Kind = Literal["level", "order", "warning", "anomaly"]


class Mark(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A moment in an agent's timeline, and where it stands in the log.

    ``what`` is the level that it came to, the order that it was given (``stop``, ``throttle``, ``resume``),
    the kind of anomaly, or ``exhaustion``; ``dimension`` and ``number`` say of what, and how much: the percentage of a
    level, the rate of a throttle, the seconds that a warning was about, the units of an anomaly.
    """

    position: int
    at: dt.datetime
    kind: Kind
    what: str
    dimension: str | None = None
    number: float | None = None
    text: str | None = None


class TimelineRow(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """One agent's timeline; amounts in internal units (tokens, milliseconds, nano-dollars).

    ``overruns`` is what others covered, by cause. ``stops`` counts how often the budget was used up, and
    ``stops_warned`` how often a warning since the stop before came at least 60 s ahead.
    """

    agent: str
    workflow: str | None = None
    parent: str | None = None
    marks: list[Mark] = []
    marks_left_out: int = 0
    highest: str = e.LEVELS[0]
    overruns: dict[str, Amounts] = {}
    drawn: Amounts = Amounts()
    draws: int = 0
    topped_up: Amounts = Amounts()
    top_ups: int = 0
    reclaimed: Amounts = Amounts()
    reclaims: int = 0
    refusals: dict[str, int] = {}
    warnings: int = 0
    warned_at: dt.datetime | None = None
    """The first warning since the newest stop."""
    stops: int = 0
    stops_warned: int = 0
    anomalies: int = 0


decode = msgspec.json.Decoder(TimelineRow).decode


class TimelineView:
    """Folds the timelines of agents. Those of open agents are in memory, and of others while they change."""

    name = "timeline"
    version = 1

    def __init__(self, balances: Balances, look: Look) -> None:
        self._look = look
        self._open: dict[str, TimelineRow] = {}
        self._fleet = TimelineRow(agent=FLEET)
        self._touched: dict[str, TimelineRow] = {}
        """Rows to be written, those of released agents too."""

    def changes(self, last: e.Event) -> Changes:
        rows = {
            name: Row(encode(row), live=row is self._fleet or self._open.get(name) is row)
            for name, row in self._touched.items()
        }
        self._touched.clear()
        return rows

    def restore(self, rows: Iterable[bytes]) -> None:
        for data in rows:
            row = decode(data)
            if row.agent == FLEET:
                self._fleet = row
            else:
                self._open[row.agent] = row

    # --- one step per class of event ----------------------------------------------------------------------------------

    def _row(self, agent: str) -> TimelineRow | None:
        """The row of an agent, open or released, to be changed; None where it never had an account."""
        if agent == FLEET:
            return None  # what names itself so has no account: its row is not an agent's
        row = self._open.get(agent) or self._touched.get(agent)
        if row is None:
            kept = self._look(self.name, agent)
            row = None if kept is None else decode(kept)
        if row is not None:
            self._touched[agent] = row
        return row

    def _allocated(self, event: e.BudgetAllocated) -> None:
        row = TimelineRow(agent=event.agent, workflow=event.workflow, parent=event.parent)
        self._open[event.agent] = self._touched[event.agent] = row

    def _released(self, event: e.BudgetReleased) -> None:
        self._touched[event.agent] = self._open.pop(event.agent)

    def _leveled(self, event: e.LevelChanged) -> None:
        row = self._row(event.agent)
        if row is None:
            return
        _mark(row, event, "level", event.level, event.dimension, event.percentage)
        rank = e.LEVELS.index
        if rank(event.level) > rank(row.highest):
            row.highest = event.level
        if event.level == e.LEVELS[-1]:
            row.stops += 1
            if row.warned_at is not None and event.at - row.warned_at >= WARNED_AHEAD:
                row.stops_warned += 1
            row.warned_at = None

    def _warned(self, event: e.ExhaustionWarned) -> None:
        row = self._row(event.agent)
        if row is not None:
            _mark(row, event, "warning", "exhaustion", None, float(event.exhausted_in_seconds))
            row.warnings += 1
            row.warned_at = row.warned_at or event.at

    def _strange(self, event: e.AnomalyFound) -> None:
        row = self._row(event.agent)
        if row is not None:
            _mark(row, event, "anomaly", event.anomaly, event.dimension, float(event.amount), event.message)
            row.anomalies += 1

    def _ordered(self, event: "e.AgentStopped | e.AgentThrottled | e.AgentResumed") -> None:
        row = self._row(event.agent)
        if row is None:
            return
        match event:
            case e.AgentStopped():
                _mark(row, event, "order", "stop", text=event.reason)
            case e.AgentThrottled():
                _mark(row, event, "order", "throttle", number=float(event.rate))
            case _:
                _mark(row, event, "order", "resume")

    def _covered(self, event: e.Covered) -> None:
        row = self._row(event.target)
        if row is not None:
            before = row.overruns.get(event.cause, Amounts())
            row.overruns[event.cause] = _sum(before, event.amount)

    def _drawn(self, event: e.BudgetDrawn) -> None:
        row = self._row(event.agent)
        if row is not None:
            row.drawn, row.draws = _sum(row.drawn, event.amount), row.draws + 1

    def _moved(self, event: e.BudgetMoved) -> None:
        idle = event.strategy == "idle"
        row = self._row(event.source if idle else event.target)
        if row is None:
            return
        if idle:
            row.reclaimed, row.reclaims = _sum(row.reclaimed, event.amount), row.reclaims + 1
        else:
            row.topped_up, row.top_ups = _sum(row.topped_up, event.amount), row.top_ups + 1

    def _refused(self, event: e.RequestRefused) -> None:
        row = None if event.agent is None else self._row(event.agent)
        if row is None:
            row = self._touched[FLEET] = self._fleet
        row.refusals[event.code] = row.refusals.get(event.code, 0) + 1

    steps: ClassVar[Steps] = {
        e.BudgetAllocated: _allocated,
        e.BudgetReleased: _released,
        e.LevelChanged: _leveled,
        e.ExhaustionWarned: _warned,
        e.AnomalyFound: _strange,
        e.AgentStopped: _ordered,
        e.AgentThrottled: _ordered,
        e.AgentResumed: _ordered,
        e.Covered: _covered,
        e.BudgetDrawn: _drawn,
        e.BudgetMoved: _moved,
        e.RequestRefused: _refused,
    }


def _mark(
    row: TimelineRow,
    event: e.Event,
    kind: Kind,
    what: str,
    dimension: str | None = None,
    number: float | None = None,
    text: str | None = None,
) -> None:
    row.marks.append(Mark(event.position, event.at, kind, what, dimension, number, text))
    if len(row.marks) > MARKS_MAX:
        del row.marks[0]
        row.marks_left_out += 1


def _sum(before: Amounts, more: Amounts) -> Amounts:
    return moved(plus(money(before.triple), money(more.triple)))
