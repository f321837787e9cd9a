"""The calendar windows of limits: when they end, in the fleet's zone, also where clocks change."""

import calendar
import datetime as dt
from collections.abc import Container, Iterable
from zoneinfo import ZoneInfo

from tallystick.config.limits import AccountLimit
from tallystick.config.settings import Config
from tallystick.events import catalog as e
from tallystick.events.decide.levels import relevel_owners
from tallystick.events.decide.turn import Turn
from tallystick.events.state.calendar import later, local_date, midnight_after
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.slot_time import micros

_HOUR = dt.timedelta(hours=1)


def windows_needed(config: Config, now: dt.datetime, of_accounts: Iterable[str]) -> dict[str, dt.datetime]:
    """When the calendar windows end that the limits of a configuration, and of accounts, count in, by kind; the day is
    always at hand.
    """
    kinds = {limit.window for limit in config.limits if isinstance(limit.window, str)}
    return _ends(config, sorted(kinds.union(of_accounts) - {"total", "day"}), now)


def windows_opened(ledger: Ledger, limits: Iterable[AccountLimit], now: dt.datetime) -> dict[str, dt.datetime]:
    """When the calendar windows end, by kind, that begin with an account that has these limits."""
    kinds = {limit.window for limit in limits if isinstance(limit.window, str)} - {"total", "day", *ledger.limits.ends}
    return _ends(ledger.rules.config, sorted(kinds), now)


def begin_windows(turn: Turn) -> None:
    """Calendar windows are over: those of the clock begin, also where several passed without a message."""
    ledger, now = turn.ledger, micros(turn.now)
    over = [kind for kind, at in ledger.limits.ends.items() if at <= now]
    turn.record(e.LimitWindowsBegan(window_ends=_ends(ledger.rules.config, over, turn.now)))
    level_owners(turn, over)


def level_owners(turn: Turn, kinds: Container[str]) -> None:
    """Calendar windows have begun: the levels of accounts without a carve-out fall. On a fork nothing is seen of it."""
    ledger = turn.ledger
    if not ledger.limits.is_fork:
        owners = dict.fromkeys(one.rule.owner or "" for one in ledger.limits.of_accounts() if one.rule.kind in kinds)
        relevel_owners(turn, (ledger.accounts[owner] for owner in owners))


def _ends(config: Config, kinds: Iterable[str], now: dt.datetime) -> dict[str, dt.datetime]:
    zone = ZoneInfo(config.timezone)
    return {kind: _end(kind, now, zone) for kind in kinds}


def _end(kind: str, now: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    today = local_date(now, zone)
    if kind == "hour":
        return _hour_after(now, zone)
    in_month = calendar.monthrange(today.year, today.month)[1]
    days = 7 - today.weekday() if kind == "week" else in_month - today.day + 1
    return midnight_after(today, days, zone)


def _hour_after(now: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    """When the clocks of a zone next show a full hour: also where they are moved by half of one."""
    try:
        at = later(_floor(now, zone), _HOUR)
        shown = _floor(at, zone)
    except OverflowError:
        return later(now, _HOUR)
    # Where clocks were moved in between, they show something else then, and the next full hour later.
    return at if shown == at else later(shown, _HOUR)


def _floor(at: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    local = at.astimezone(zone)
    return at - dt.timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
