"""Forecasts, out of the rows of views: each agent, all open agents together, and the day.

The forecast of an agent is the newest forecast that the fleet made and recorded. What many agents will have used
together, and the fleet by the end of the day, is computed here by the same policies; nothing acts on it.
"""

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from tallystick.actors.policies.forecasting.intervals import Range
from tallystick.config.amounts import DIMENSIONS, EDGE_NAMES
from tallystick.events.catalog.forecasts import Prediction
from tallystick.events.decide.answers import stamp
from tallystick.events.state.money import money
from tallystick.projections.reports.cost import Costs
from tallystick.projections.reports.usage_report import in_workflow
from tallystick.projections.store.view_store import ViewStore
from tallystick.projections.views import agent_rows
from tallystick.projections.views import fleet as fleet_view
from tallystick.projections.views import forecasts as forecasts_view
from tallystick.projections.views.agent_rows import RELEASED, UNALLOCATED, AgentRow
from tallystick.projections.views.agents import AgentsView
from tallystick.projections.views.fleet import FleetRow, FleetView
from tallystick.projections.views.forecasts import ForecastRow, ForecastsView
from tallystick.reports.day_end import day_range
from tallystick.reports.together import Together, edge


class AgentForecast(msgspec.Struct, frozen=True):
    """The newest forecast of an open agent; ``steps`` are its reports by now, ``predictions`` count from the first."""

    agent: str
    position: int
    at: str
    why: str
    steps: int
    predictions: list[Prediction]


class Estimate(msgspec.Struct, frozen=True):
    """An amount in edge units, used so far and expected, with its 80 % interval; the expected is None if unknown."""

    used: Any
    expected: Any
    low: Any
    high: Any


class Forecasts(msgspec.Struct, frozen=True):
    """All that is foreseen at a position. ``together`` and ``day`` are by dimension.

    ``together`` is what the agents will have used when the open ones have finished; ``day`` what the whole fleet will
    have used at the day's end, in the fleet's time zone.
    """

    position: int
    at: str
    workflow: str | None
    agents: list[AgentForecast]
    open: int
    finished: int
    together: dict[str, Estimate]
    date: str
    timezone: str
    day: dict[str, Estimate]


def forecasts_of(views: ViewStore, workflow: str | None, now: dt.datetime | None) -> Forecasts:
    """What is foreseen of a workflow's agents, or of all; ``now`` is the moment that the day has come to, and is the
    newest event's where it is None.

    Raises:
        NotKept: the rows cannot be read.
    """
    rows = views.whole((FleetView.name, AgentsView.name, ForecastsView.name)).rows
    fleet = next(map(fleet_view.decode, rows[FleetView.name]), FleetRow())
    agents = {row.agent: row for row in map(agent_rows.decode, rows[AgentsView.name]) if row.state != UNALLOCATED}
    chosen = list(agents.values()) if workflow is None else in_workflow(agents, workflow)
    made = {row.agent: row for row in map(forecasts_view.decode, rows[ForecastsView.name])}
    open_rows = [row for row in chosen if row.state != RELEASED]
    zone = ZoneInfo(fleet.config.get("timezone", "UTC"))
    moment = (now or fleet.at).astimezone(zone)
    return Forecasts(
        position=fleet.position,
        at=stamp(fleet.at),
        workflow=workflow,
        agents=_agents(open_rows, made),
        open=len(open_rows),
        finished=len(chosen) - len(open_rows),
        together=_together(Together(chosen, agents)),
        date=moment.date().isoformat(),
        timezone=zone.key,
        day=_day(views, moment),
    )


def _agents(open_rows: Iterable[AgentRow], made: Mapping[str, ForecastRow]) -> list[AgentForecast]:
    found = [
        AgentForecast(row.agent, one.position, stamp(one.at), one.why, row.reports, one.predictions)
        for row in open_rows
        if (one := made.get(row.agent)) is not None
    ]
    return sorted(found, key=lambda one: (min(p.predicted for p in one.predictions) - one.steps, one.agent))


# --- many agents ------------------------------------------------------------------------------------------------------


def _together(together: Together) -> dict[str, Estimate]:
    """By dimension that one of them has used."""
    found = [(d, together.used(d)) for d in DIMENSIONS]
    return {EDGE_NAMES[d]: _estimate(d, used, together.total(d)) for d, used in found if used}


# --- the day ----------------------------------------------------------------------------------------------------------


def _day(views: ViewStore, moment: dt.datetime) -> dict[str, Estimate]:
    """By dimension of which something was used today, or will be, as `cost` shows it."""
    costs = Costs(views)
    if costs.date != moment.date().isoformat():
        return {}
    used = money(costs.days[-1].used.triple)
    found = [(d, used[d], day_range(views, costs, moment, d)) for d in DIMENSIONS]
    return {EDGE_NAMES[d]: _estimate(d, so_far, end) for d, so_far, end in found if so_far or (end and end.estimate)}


def _estimate(d: int, used: int, found: Range | None) -> Estimate:
    if found is None:
        return Estimate(edge(used, d), None, None, None)
    return Estimate(edge(used, d), *(edge(round(units), d) for units in found))
