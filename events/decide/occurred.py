"""Usage with a time of its own: on which day and in which windows it counts, and whether it is charged at all."""

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

from tallystick.events import messages as c
from tallystick.events.catalog.event import EPOCH
from tallystick.events.decide.limit_windows import window_began
from tallystick.events.decide.turn import Turn
from tallystick.events.messages.replies import Refusal
from tallystick.events.state.calendar import later, local_date
from tallystick.events.state.slot_time import micros

AHEAD_MAX = dt.timedelta(minutes=1)
"""How far another clock may be ahead of the fleet's time."""


def misdated(turn: Turn, command: c.Sourced) -> Refusal | None:
    """Why a message may not say that something was used at a time: it is not there yet, or before all calendars."""
    at = command.occurred_at
    if at is None:
        return None
    latest = later(turn.now, AHEAD_MAX)
    if EPOCH <= at <= latest:
        return None
    allowed = f"from {EPOCH.isoformat()} to {latest.isoformat()}, a minute after the fleet's time"
    detail = f"occurred_at: found {at.isoformat()}, allowed is {allowed}"
    return Refusal("invalid_message", detail, {"field": "occurred_at"})


def of_time(turn: Turn, command: c.Sourced) -> dict[str, Any]:
    """The fields of an event that say under which source it is recorded, and when it was used; none where it is now."""
    ledger, at = turn.ledger, command.occurred_at
    if at is None and command.source_id is None:
        return {}
    today = ledger.day.date or turn.now.date().isoformat()
    found: dict[str, Any] = {}
    if command.source_id is not None:
        found = {"source_id": command.source_id, "counts_on": today}
    if at is None or at >= turn.now:
        return found
    at = at.astimezone(dt.UTC)
    zone = ZoneInfo(ledger.rules.config.timezone)
    found["occurred_at"] = at
    # After a change of the zone the day at hand may go on although it is another date there.
    found["counts_on"] = min(today, local_date(at, zone).isoformat())
    if at < ledger.period_began_at:
        found["history"] = True
        return found
    over = windows_over(turn, at)
    return {**found, "past_windows": over} if over else found


def windows_over(turn: Turn, at: dt.datetime) -> list[str]:
    """The calendar windows in which something was used at a time, that are over since."""
    zone = ZoneInfo(turn.ledger.rules.config.timezone)
    return [
        kind
        for kind, began in turn.ledger.limits.began.items()
        if micros(at) < began and at < window_began(kind, turn.now, zone)
    ]
