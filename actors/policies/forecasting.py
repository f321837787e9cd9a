"""How long a budget will last. For now by the average rate: what was consumed over the time since the account opened."""

from datetime import datetime

from tallystick.events.amounts import DIMENSIONS
from tallystick.events.standing import Standing

METHOD = "average_rate"


def rates(standing: Standing) -> tuple[float, float, float] | None:
    """Units per second by dimension, or None before there are two reports to tell a rate by."""
    if standing.reports < 2 or standing.last_report_at is None:
        return None
    elapsed = (standing.last_report_at - standing.opened_at).total_seconds()
    if elapsed <= 0:
        return None
    consumed = standing.consumed
    return (consumed[0] / elapsed, consumed[1] / elapsed, consumed[2] / elapsed)


def exhausted_in_seconds(standing: Standing, now: datetime) -> float | None:
    """Seconds until the first limited dimension is used up at the average rate; None where no rate tells, or it is."""
    rate = rates(standing)
    if rate is None:
        return None
    soonest: float | None = None
    for d in DIMENSIONS:
        if standing.allocated[d] is None or rate[d] <= 0:
            continue
        remaining = standing.remaining(d)
        if remaining <= 0:
            return None
        seconds = remaining / rate[d]
        if soonest is None or seconds < soonest:
            soonest = seconds
    if soonest is None or standing.last_report_at is None:
        return None
    return max(0.0, soonest - (now - standing.last_report_at).total_seconds())
