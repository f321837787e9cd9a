"""All that the dashboard shows of a fleet at one position, but for the agents themselves and the events behind them."""

import datetime as dt
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from tallystick.config.amounts import COST, NANOS_PER_DOLLAR, TOKENS
from tallystick.config.total_budget import addresses
from tallystick.demo.news import news
from tallystick.events import catalog as e
from tallystick.events.catalog import STORED_NAME
from tallystick.events.decide.answers import stamp
from tallystick.events.log.store import Store
from tallystick.events.state.money import money
from tallystick.explain.rows import sentence
from tallystick.explain.selection import Selection
from tallystick.http.views import views
from tallystick.http.views.state import State
from tallystick.projections.reports.cost import hours_of
from tallystick.projections.views import hours as hours_view
from tallystick.projections.views import pace as pace_view
from tallystick.projections.views.hours import HoursView
from tallystick.projections.views.pace import PaceView
from tallystick.reports.alerts import alert_json, alerts_of

ALERTS_SHOWN: Final = 30
EVENTS_SHOWN: Final = 60
FORECASTS_SHOWN: Final = 30
LIMITS_SHOWN: Final = 30
_STEP: Final = 250
_STEPS_BACK: Final = 32
_ALL: Final = Selection()
_ORDERS: Final = (
    e.AgentResumed,
    e.AgentStopped,
    e.BreakerReset,
    e.ConfigLoaded,
    e.FleetPaused,
    e.FleetResumed,
    e.LimitApproved,
    e.LimitRaised,
    e.PriorityOverridden,
    e.ReserveReleased,
)
"""What operators order, and what changes because of it, is always news."""


def page(state: State, store: Store, every: bool) -> dict[str, Any]:
    """The page; ``every``: with every event, and not only those that are news."""
    last = store.last()
    forecast = views.forecast(state, None)
    forecast["agents"] = forecast["agents"][:FORECASTS_SHOWN]
    alerts = alerts_of(state.views)
    delegate = state.found.fleet.config.get("delegate")
    return {
        "position": state.position,
        "at": stamp(state.found.fleet.at),
        "now": stamp(state.now),
        "end": 0 if last is None else last.position,
        "status": views.status(state, 0),
        "parent": [] if delegate is None else addresses(delegate["parent"]),
        "dashboard": views.dashboard(state),
        "month": msgspec.to_builtins(state.costs_of_month),
        "day": _day(state),
        "forecast": forecast,
        "queue": views.queue(state, views.QUEUE_SHOWN),
        "limits": views.limits(state, {"count": LIMITS_SHOWN}),
        "alerts": [alert_json(row) for row in alerts[:ALERTS_SHOWN]],
        "products": sorted({row.product for row in state.found.agents.values() if row.product is not None}),
        "events": _events(store, state.position, every),
    }


def _day(state: State) -> dict[str, Any]:
    """The newest day by the hour: what was used in each of its hours so far."""
    costs = state.costs
    if costs.date is None:
        return {"begins_at": None, "ends_at": None, "tokens": [], "cost_usd": [], "minutes": []}
    zone = ZoneInfo(costs.zone)
    begins = dt.datetime.combine(dt.date.fromisoformat(costs.date), dt.time(), zone).astimezone(dt.UTC)
    rows = [hours_view.decode(data) for data in state.views.live().rows.get(HoursView.name, ())]
    used = [(row.hour, money(row.used.triple)) for row in rows]
    _, tokens = hours_of(used, costs.date, costs.zone, TOKENS)
    _, nanos = hours_of(used, costs.date, costs.zone, COST)
    return {
        "begins_at": stamp(begins),
        "ends_at": stamp(state.found.day_ends_at or begins),
        "tokens": [round(units) for units in tokens],
        "cost_usd": [units / NANOS_PER_DOLLAR for units in nanos],
        "minutes": _minutes(state),
    }


def _minutes(state: State) -> list[dict[str, Any]]:
    """What the fleet used in each of the last minutes, the oldest first; those without use are left out."""
    rows = map(pace_view.decode, state.views.live().rows.get(PaceView.name, ()))
    minutes = next((row.minutes for row in rows if row.agent is None), [])
    return [
        {
            "at": stamp(dt.datetime.fromtimestamp(minute * 60, dt.UTC)),
            "tokens": tokens,
            "cost_usd": cost_nanos / NANOS_PER_DOLLAR,
        }
        for minute, tokens, _, cost_nanos in minutes
    ]


def _events(store: Store, position: int, every: bool) -> list[dict[str, Any]]:
    """The newest events, the newest first. News is looked for in the last few thousand events."""
    found: list[dict[str, Any]] = []
    upto = position
    for _ in range(_STEPS_BACK):
        after = max(0, upto - (EVENTS_SHOWN if every else _STEP))
        for _, event in reversed(list(_ALL.among(store.read(after, upto)))):
            is_news = isinstance(event, _ORDERS) or news(event) is not None
            if is_news or every:
                found.append(
                    {
                        "position": event.position,
                        "at": stamp(event.at),
                        "by": event.by,
                        "type": STORED_NAME[type(event)],
                        "text": sentence(event),
                        "news": is_news,
                        "about": getattr(event, "agent", None) or getattr(event, "task", None),
                    }
                )
                if len(found) == EVENTS_SHOWN:
                    return found
        upto = after
        if not upto:
            break
    return found
