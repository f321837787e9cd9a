"""What the day at hand will have cost at its end: the forecast of days, laid over the hours that the views keep."""

import datetime as dt
from zoneinfo import ZoneInfo

from tallystick.actors.policies.forecasting.days import day_total
from tallystick.actors.policies.forecasting.intervals import Range
from tallystick.config.amounts import COST, NANOS_PER_DOLLAR
from tallystick.events.state.money import money
from tallystick.projections.reports.cost import Costs, hours_of
from tallystick.projections.store.view_store import ViewStore
from tallystick.projections.views import hours as hours_view
from tallystick.projections.views.hours import HoursView


def projected_eod(views: ViewStore, costs: Costs, now: dt.datetime) -> float | None:
    """Dollars to the cent, or None: without earlier days there is nothing to tell by, and a day that is over is known.

    Raises:
        NotKept: the rows cannot be read.
    """
    found = day_range(views, costs, now, COST)
    return None if found is None else round(found.estimate / NANOS_PER_DOLLAR, 2)


def day_range(views: ViewStore, costs: Costs, now: dt.datetime, d: int) -> Range | None:
    """What the newest day on record will have used at its end, in one dimension; None as for `projected_eod`.

    Raises:
        NotKept: the rows cannot be read.
    """
    if costs.date is None:
        return None
    zone = ZoneInfo(costs.zone)
    midnight = dt.datetime.combine(dt.date.fromisoformat(costs.date), dt.time(), zone)
    hours = (now - midnight.astimezone(dt.UTC)).total_seconds() / 3600
    rows = map(hours_view.decode, views.live().rows.get(HoursView.name, ()))
    past, today = hours_of(((row.hour, money(row.used.triple)) for row in rows), costs.date, costs.zone, d)
    return day_total(past, today, hours)
