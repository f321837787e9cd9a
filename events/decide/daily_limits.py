"""Days: where one begins, and how the limits that it brings say no (spec 3).

They are limits like all others (`decide.limits`, `decide.limit_claims`), under codes and in words of their own.
"""

import datetime as dt
from decimal import Decimal
from zoneinfo import ZoneInfo

from tallystick.config.amounts import COST, EDGE_NAMES, at_edge, dollars
from tallystick.config.limits import DAILY
from tallystick.config.settings import Config
from tallystick.events import catalog as e
from tallystick.events.decide.alerts import alert
from tallystick.events.decide.limit_readings import Reading
from tallystick.events.decide.turn import Turn
from tallystick.events.messages.replies import Number, Refusal
from tallystick.events.messages.task_replies import Reason
from tallystick.events.state.calendar import local_date, midnight_after
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.limits import Match
from tallystick.events.state.task_rules import day_tokens
from tallystick.events.state.tasks import Task

# --- the day ---------------------------------------------------------------------------------------------------------


def day_of(config: Config, now: dt.datetime) -> tuple[str, dt.datetime]:
    """The date in the fleet's zone, and when the next one begins, also where clocks change."""
    zone = ZoneInfo(config.timezone)
    today = local_date(now, zone)
    return today.isoformat(), midnight_after(today, 1, zone)


def begin_day(turn: Turn) -> None:
    """It is another day: that of the clock, also where several days passed without a message."""
    date, ends_at = day_of(turn.ledger.rules.config, turn.now)
    turn.record(e.DayBegan(date=date, ends_at=ends_at))


def seconds_left(ledger: Ledger, now: dt.datetime) -> Number:
    """Until the next day begins, in seconds: whole where they are."""
    left = (ledger.day.ends_at - now).total_seconds()
    return int(left) if left.is_integer() else left


# --- how they refuse -------------------------------------------------------------------------------------------------


def daily_limit_reached(turn: Turn, match: Match, stands: Reading, asked: int | None) -> Refusal:
    """A day's limit refuses a hold of ``asked`` units; None: no hold is asked for yet."""
    m, requested = stands.measure, asked or 0
    limit, used, held, wanted = (at_edge(units, m) for units in (stands.most, stands.used, stands.held, requested))
    words = f"{_whole_name(match, m)} is {limit}: {used} is used today and {held} held"
    return Refusal(
        "daily_limit_reached",
        words + ("" if asked is None else f", {wanted} was asked for"),
        {
            "decided_by": f"limit:{match.rule.name}",
            "dimension": EDGE_NAMES[m],
            "limit": limit,
            "used": used,
            "held": held,
            "requested": wanted if asked is not None else at_edge(1, m),
            # Where a whole day would not be enough, neither is the next.
            "retry_after_seconds": seconds_left(turn.ledger, turn.now) if requested <= stands.most else None,
        },
    )


def daily_reason(claim_name: str, match: Match, stands: Reading, needed: int) -> Reason:
    """Why a day's limit keeps a task from starting. ``claim_name`` is its code."""
    taken = stands.used + stands.held + stands.committed
    numbers = (stands.most, taken, needed)
    limit, already, wanted = (dollars(units) if stands.measure == COST else units for units in numbers)
    what = _whole_name(match, stands.measure).removeprefix("the ")
    message = f"{what}: {already} of {limit} is used today or committed to running tasks, {wanted} is needed"
    return Reason(claim_name, limit, already, message)


def daily_alert(turn: Turn, code: str, percent: Decimal, measure: int) -> None:
    """Tell operators how near the fleet's limit of a dimension is, or that it is reached."""
    name = _dimension(measure)
    near = f"Approaching daily {name} limit ({float(percent):g}%)"
    alert(turn, code, f"Daily {name} limit reached" if percent >= 100 else near)


def daily_code(match: Match, measure: int) -> str:
    """What a day's limit is called where it keeps tasks from starting."""
    if match.rule.name != DAILY:
        return "product_daily_tokens"
    return "daily_cost" if measure == COST else "daily_tokens"


def _whole_name(match: Match, measure: int) -> str:
    if match.rule.name != DAILY:
        return f"the daily token budget of {match.value}"
    return f"the daily {_dimension(measure)} limit"


def _dimension(measure: int) -> str:
    return "cost" if measure == COST else "token"


def breaker_open(ledger: Ledger) -> Refusal | None:
    """Why nothing new may begin, or None."""
    if ledger.day.tripped is None:
        return None
    detail = f"the circuit breaker is open: {ledger.day.tripped}"
    return Refusal("breaker_open", detail, {"condition": ledger.day.tripped})


def no_new_accounts(ledger: Ledger) -> Refusal | None:
    """Why no account may be opened by a message now: everything is paused, or the breaker is open."""
    if ledger.is_paused:
        return Refusal("paused", f"everything is paused: {ledger.pause_cause}")
    return breaker_open(ledger)


# --- tasks -----------------------------------------------------------------------------------------------------------


def never_today(ledger: Ledger, task: Task) -> Reason | None:
    """A daily limit that a whole day does not meet, as configured: the task can never start under it."""
    config = ledger.rules.config
    rule = ledger.rules.limits.products.get(task.product)
    fleet, product = config.daily_limits.max_tokens_total, None if rule is None else rule.maxes[0]
    if fleet is not None or product is not None:
        needed = day_tokens(config, task.agent_type, task.estimated_tokens)
        for code, limit, whose in (
            ("daily_tokens", fleet, "the fleet"),
            ("product_daily_tokens", product, task.product),
        ):
            if limit is not None and needed > limit:
                return Reason(code, limit, needed, f"{needed} tokens are needed, and {whose} may use {limit} a day")
    if config.daily_limits.max_cost_nanos == 0:
        return Reason("daily_cost", dollars(0), dollars(0), "nothing may be spent: the daily cost limit is 0")
    return None
