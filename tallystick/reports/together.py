"""What many agents will have used together when the open ones have ended, out of the rows of agents.

Each kind of agents (their type) is foreseen by its own runs, those that are asked about and the others. Of a kind of
which too few have ended, the open ones are expected to use as much again as they have used.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tallystick.actors.policies.forecasting.intervals import Range
from tallystick.actors.policies.forecasting.pools import Pool, Progress, Rest, pool_rest, pool_total, unknown_rest
from tallystick.config.amounts import COST, DIMENSIONS, EDGE_NAMES, TIME, dollars, seconds
from tallystick.events.catalog import LEVELS
from tallystick.events.state.history import RUNS_MAX
from tallystick.projections.reports.agent_usage import used_by
from tallystick.projections.reports.usage_report import Expected
from tallystick.projections.views.agent_rows import RELEASED, AgentRow

_MS = dt.timedelta(milliseconds=1)


class Together:
    """Chosen agents, and what of all others helps to foresee them."""

    def __init__(self, chosen: Sequence[AgentRow], everyone: Mapping[str, AgentRow]) -> None:
        parents = {row.parent for row in everyone.values()}
        # An account that others only draw on makes no run itself.
        self._rows = [row for row in chosen if row.reports or row.agent not in parents]
        there = {row.agent for row in chosen}
        self._others: dict[str | None, list[AgentRow]] = {}
        for row in everyone.values():
            if row.state == RELEASED and row.reports and row.agent not in there:
                self._others.setdefault(row.agent_type, []).append(row)
        for kind, rows in self._others.items():
            rows.sort(key=lambda row: (row.released_at or row.opened_at, row.agent))
            self._others[kind] = rows[-RUNS_MAX:]

    def used(self, d: int) -> int:
        """What they have used so far, in a dimension."""
        return sum(used_by(row)[d] for row in self._rows)

    def total(self, d: int) -> Range | None:
        """What they will have used; None where nothing is known of any kind of theirs, and some are open."""
        kinds: dict[str | None, list[AgentRow]] = {}
        for row in self._rows:
            kinds.setdefault(row.agent_type, []).append(row)
        pools = {kind: _pool(rows, d) for kind, rows in kinds.items()}
        rests: list[Rest] = []
        unknown: list[Rest] = []
        for kind, pool in pools.items():
            if pool.going or pool.to_come:
                rest = pool_rest(pool, [_progress(row, d) for row in self._others.get(kind, ())])
                if rest is None:
                    unknown.append(unknown_rest(pool))
                else:
                    rests.append(rest)
        if unknown and not rests:
            return None
        return pool_total(self.used(d), [*rests, *unknown])


def expected_of(chosen: Sequence[AgentRow], everyone: Mapping[str, AgentRow]) -> dict[str, Expected]:
    """For a report: what the agents will have used when the open ones have ended, where some are open."""
    if all(row.state == RELEASED for row in chosen):
        return {}
    together = Together(chosen, everyone)
    found = [(d, together.total(d)) for d in DIMENSIONS if together.used(d)]
    return {EDGE_NAMES[d]: Expected(*(edge(round(units), d) for units in end)) for d, end in found if end is not None}


def edge(units: int, d: int) -> Any:
    """An amount as the wire has it."""
    return dollars(units) if d == COST else seconds(units) if d == TIME else units


def _pool(rows: Iterable[AgentRow], d: int) -> Pool:
    over, going, to_come = [], [], 0
    for row in rows:
        if row.state == RELEASED:
            if row.reports:
                over.append(_progress(row, d))
        elif row.reports:
            going.append(_progress(row, d))
        else:
            to_come += 1
    return Pool(over, going, to_come)


def _progress(row: AgentRow, d: int) -> Progress:
    """How far the run of an agent came: one that was at its budget's end when it was released did not end by itself."""
    elapsed = (row.last_report_at or row.opened_at) - row.opened_at
    ended = row.state == RELEASED and row.level != LEVELS[-1]
    return Progress(row.reports, used_by(row)[d], elapsed / _MS, ended)
