"""The circuit breaker, and the alerts of the day: what is recorded when usage crosses a line.

All lines are computed in advance (`Watch`), so that far from them a command compares a few numbers and no more. The
breaker trips in the transaction that made its condition true, whatever made it so; it stays open until an operator or
the next day closes it.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from tallystick.config.amounts import (
    COST,
    DIMENSIONS,
    NANOS_PER_DOLLAR,
    TOKENS,
    Amounts,
    InvalidAmount,
    dollars,
    exact_units,
)
from tallystick.config.conditions import Condition, Value
from tallystick.config.limits import DAILY
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide.alerts import alert
from tallystick.events.decide.answers import today
from tallystick.events.decide.facts import fleet_facts, limit_of
from tallystick.events.decide.fleet_response import pressure
from tallystick.events.decide.limit_status import raise_limit
from tallystick.events.decide.limits import record_lines
from tallystick.events.decide.turn import Turn
from tallystick.events.messages.limit_replies import LimitStatuses
from tallystick.events.messages.replies import Refusal, Today
from tallystick.events.state.day import Watch
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.limit_rules import FAR, FLEET, lines_of
from tallystick.events.state.limits import Match
from tallystick.events.state.money import Money, minus

_HOURLY = ("tokens_hourly", "cost_hourly_usd")
_SPENT = {"tokens_daily": TOKENS, "tokens_hourly": TOKENS, "cost_daily_usd": COST, "cost_hourly_usd": COST}
"""The facts that are sums of usage, and of what."""
_UNITS = {TOKENS: 1, COST: NANOS_PER_DOLLAR}


def is_crossed(ledger: Ledger) -> bool:
    """Whether there may be something to decide: every command asks this, and nearly always that is all."""
    watch = ledger.watch
    if watch is None:
        return ledger.configured
    spent, held, lines, committed = ledger.spent, ledger.held, watch.spent, watch.committed
    return (
        spent[0] >= lines[0]
        or spent[2] >= lines[1]
        or spent[0] + held[0] >= committed[0]
        or spent[1] + held[1] >= committed[1]
        or spent[2] + held[2] >= committed[2]
        or (watch.running is not None and watch.running != len(ledger.tasks.running))
        or (watch.queued is not None and watch.queued != ledger.tasks.queued)
    )


def record_crossings(turn: Turn) -> None:
    """Record the alerts and the trip that are due, and find the next lines."""
    ledger = turn.ledger
    day = ledger.day
    record_lines(turn, [Match(day.fleet, FLEET, day.counter)])
    facts = fleet_facts(ledger)
    active = [] if ledger.day.tripped is not None else list(_active_conditions(ledger))
    for condition in active:
        if condition.holds(facts):
            _trip(turn, condition, facts)
            active = []
            break
    ledger.watch = _watch(turn, active, facts)


def _active_conditions(ledger: Ledger) -> Iterable[Condition]:
    return (one for one in ledger.rules.config.trip_conditions if one.text not in ledger.day.silenced)


def _trip(turn: Turn, condition: Condition, facts: Mapping[str, Value]) -> None:
    settings = turn.ledger.rules.config.circuit_breaker.when_tripped
    because = condition.explain(facts)
    numbers = {name: _plain(value) for name, value in condition.values(facts).items()}
    turn.record(e.BreakerTripped(condition=condition.text, because=because, numbers=numbers, action=settings.action))
    alert(turn, "breaker_tripped", f"new work is paused: {because}", to=settings.notify)


def _plain(value: Value) -> Any:
    return (
        round(float(value), 6) if isinstance(value, Fraction) else str(value) if isinstance(value, Decimal) else value
    )


# --- the lines -------------------------------------------------------------------------------------------------------


def _daily_lines(ledger: Ledger) -> list[tuple[int, int]]:
    """By alert of the day that was not given yet: the dimension, and the usage of today that calls for it."""
    rule, given = ledger.day.fleet.rule, ledger.day.counter.alerted or {}
    lines = []
    for d in (TOKENS, COST):
        limit = limit_of(ledger, d)
        if limit is not None:
            due = zip(rule.keys[d], lines_of(rule, limit), strict=True)
            lines += [(d, line) for code, line in due if code not in given]
    return lines


def _watch(turn: Turn, active: list[Condition], facts: Mapping[str, Value]) -> Watch:
    """The first lines at which an alert is due, or one of the conditions may become true."""
    ledger = turn.ledger
    opening, day = _opening(ledger), ledger.day
    spent = {TOKENS: FAR, COST: FAR}
    for d, part in _daily_lines(ledger):
        spent[d] = min(spent[d], opening[d] + part)
    began = day.hour_began(turn.now, ledger.spent)
    names = {name for condition in active for name in condition.names}
    for name in names & _SPENT.keys():
        d = _SPENT[name]
        base = (began[0] if d == TOKENS else began[1]) if name in _HOURLY else opening[d]
        numbers = [None if line is None else Fraction(line) * _UNITS[d] for line in _lines(active, name, facts)]
        now = ledger.spent[d] - base
        # An hour's usage may also fall by itself: above a line it is checked with each command.
        falls = name in _HOURLY and any(number is not None and number <= now for number in numbers)
        spent[d] = 0 if falls else min(spent[d], base + _next(now, numbers))
    committed = _committed_lines(ledger, _lines(active, "pressure", facts)) if "pressure" in names else (FAR, FAR, FAR)
    return Watch(
        (spent[TOKENS], spent[COST]),
        committed,
        len(ledger.tasks.running) if "agents_active" in names else None,
        ledger.tasks.queued if "queue_length" in names else None,
        full_at(ledger),
        ledger.response_lines,
    )


def full_at(ledger: Ledger) -> tuple[int, int]:
    """The tokens and nano-dollars, spent and held, at which the day's limits leave no room for another hold."""
    opening, tokens, cost = _opening(ledger), limit_of(ledger, TOKENS), limit_of(ledger, COST)
    return (FAR if tokens is None else opening[TOKENS] + tokens, FAR if cost is None else opening[COST] + cost)


def _opening(ledger: Ledger) -> Money:
    """What had been spent when the day began."""
    return minus((ledger.spent[0], ledger.spent[1], ledger.spent[2]), ledger.used_today)


def _lines(active: list[Condition], name: str, facts: Mapping[str, Value]) -> list["Fraction | None"]:
    """The numbers that a fact is compared with; None: something that changes as it does."""
    found: list[Fraction | None] = []
    for condition in active:
        lines = condition.lines(name, facts)
        found += [None] if lines is None else [Fraction(line) for line in lines]
    return found


def _next(now: int, numbers: "list[Fraction | None]") -> int:
    """The next whole amount above ``now`` that is at one of the numbers, or first above it."""
    candidates = [now + 1 if number is None else max(_at_least(number), 0) for number in numbers]
    candidates += [candidate + 1 for candidate, number in zip(candidates, numbers, strict=True) if candidate == number]
    return min((candidate for candidate in candidates if candidate > now), default=FAR)


def _committed_lines(ledger: Ledger, numbers: "list[Fraction | None]") -> Money:
    """By dimension, what may be spent and held before pressure passes one of the numbers; it may fall by itself."""
    now = pressure(ledger)[0]
    if any(number is None or number <= now for number in numbers):
        return (0, 0, 0)
    lines = [FAR, FAR, FAR]
    for d in DIMENSIONS:
        if ledger.root.allocated[d] is not None:
            for number in numbers:
                assert number is not None
                lines[d] = min(lines[d], ledger.opening[d] + max(1, _at_least(number * max(0, ledger.spendable(d)))))
    return (lines[0], lines[1], lines[2])


def _at_least(number: Fraction) -> int:
    return -(-number.numerator // number.denominator)


# --- the operator ----------------------------------------------------------------------------------------------------


def approve_limit(turn: Turn, command: c.ApproveLimit) -> Today | LimitStatuses | Refusal:
    """Raise limits of the day until it ends; the breaker closes if no condition holds under them. Or raise one limit.

    Raises:
        InvalidAmount: a malformed limit, or none at all.
    """
    ledger = turn.ledger
    if command.limit is not None or command.max is not None or command.value is not None:
        refusal = _no_override(ledger) if command.limit == DAILY else None
        answer = refusal or raise_limit(turn, command)
        if command.limit == DAILY and not isinstance(answer, Refusal):
            close_breaker(turn)
        return answer
    if command.max_tokens_total is None and command.max_cost_usd is None:
        raise InvalidAmount("ApproveLimit", "nothing", "one or both of max_cost_usd, max_tokens_total")
    limits = list(ledger.day.approved.triple)
    configured = ledger.rules.config.daily_limits
    for d, value, field, least in (
        (TOKENS, command.max_tokens_total, "max_tokens_total", configured.max_tokens_total),
        (COST, command.max_cost_usd, "max_cost_usd", configured.max_cost_nanos),
    ):
        if value is None:
            continue
        limits[d] = units = exact_units(value, d, field)
        if least is None or units <= least:
            shown = None if least is None else dollars(least) if d == COST else least
            detail = "there is no limit to raise" if least is None else f"the configured limit is {shown}"
            return Refusal("limit_not_raised", f"{field}: {detail}", {"requested": str(value), "limit": shown})
    refusal = _no_override(ledger)
    if refusal is not None:
        return refusal
    # Nothing can fail after this line.
    turn.record(e.LimitApproved(date=ledger.day.date or "", limits=Amounts(*limits)))
    close_breaker(turn)
    return today(ledger)


def close_breaker(turn: Turn) -> None:
    """Close the breaker where no condition holds any more, and that is allowed: a limit was raised."""
    ledger = turn.ledger
    if ledger.day.tripped is None or _no_override(ledger) is not None:
        return
    if not holds(ledger):
        turn.record(e.BreakerClosed())


def holds(ledger: Ledger) -> bool:
    """Whether a condition of the breaker holds now that is not silenced."""
    if not ledger.configured:
        return False
    facts = fleet_facts(ledger)
    return any(condition.holds(facts) for condition in _active_conditions(ledger))


def reset_breaker(turn: Turn, command: c.ResetBreaker) -> Today | Refusal:
    """Close the breaker; what still holds trips it no more today."""
    ledger = turn.ledger
    if ledger.day.tripped is None:
        return Refusal("breaker_not_open", "the breaker is closed: there is nothing to reset")
    refusal = _no_override(ledger)
    if refusal is not None:
        return refusal
    # Nothing can fail after this line.
    turn.record(e.BreakerReset(reason=command.reason))
    facts = fleet_facts(ledger)
    silenced = [condition.text for condition in _active_conditions(ledger) if condition.holds(facts)]
    turn.record(e.BreakerClosed(silenced=silenced))
    return today(ledger)


def _no_override(ledger: Ledger) -> Refusal | None:
    if ledger.rules.config.circuit_breaker.when_tripped.allow_override:
        return None
    return Refusal(
        "not_permitted", "circuit_breaker.when_tripped.allow_override is false: only the next day closes the breaker"
    )
