"""How limits stand, and what operators raise."""

import datetime as dt
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import msgspec

from tallystick.config.amounts import AMOUNT_MAX, Amounts, InvalidAmount, exact_units
from tallystick.config.errors import did_you_mean, nearest
from tallystick.config.limits import DAILY, MEASURES, shown
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide.answers import stamp
from tallystick.events.decide.levels import relevel
from tallystick.events.decide.limit_readings import Reading, matches_of, matches_today, window_words
from tallystick.events.decide.limits import record_passed
from tallystick.events.decide.nearest_limits import by_value, counters_of, nearest_counters, order_of, part_of, readings
from tallystick.events.decide.refusals import unknown_agent
from tallystick.events.decide.turn import Turn
from tallystick.events.messages.limit_replies import LimitStatus, LimitStatuses
from tallystick.events.messages.replies import Refusal
from tallystick.events.messages.task_replies import shown_time
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.limit_rules import CONCURRENT, FAR, FLEET, LimitRule, one_value
from tallystick.events.state.limits import ALL, LimitState, Match, moment
from tallystick.events.state.slot_time import micros

# --- how they stand --------------------------------------------------------------------------------------------------


def get_limits(turn: Turn, command: c.GetLimits) -> LimitStatuses | Refusal:
    """The limits that an agent is under, or one limit, or all; of what was counted by value, nearest first. With
    ``after`` those of a limit by value, so that all can be read in pages.
    """
    ledger, now = turn.ledger, micros(turn.now)
    if command.agent is not None and (command.limit is not None or command.value is not None):
        return Refusal("invalid_message", "GetLimits: found an agent beside a limit or a value, allowed is one of them")
    if command.limit is None and (command.value is not None or command.after is not None):
        return Refusal(
            "invalid_message",
            "GetLimits: found value or after without limit, allowed is both",
        )
    if command.value is not None and command.after is not None:
        return Refusal("invalid_message", "GetLimits: found value and after, allowed is one of them")
    if command.agent is not None:
        account = ledger.accounts.get(command.agent)
        if account is None:
            return unknown_agent(ledger, command.agent)
        today = matches_today(ledger, account.budget_product)
        own = matches_of(ledger, account, turn.now, account.model)
        ordered = sorted([*today, *own], key=lambda match: order_of(ledger, match, now))
        return _shown(turn, ordered[: command.count])
    if command.limit is not None:
        state = _named(ledger, command.limit)
        if state is None:
            return unknown_limit(ledger, command.limit)
        if command.value is not None:
            value = one_value(state.rule.scope, command.value, ledger.rules.model_name)
            return _shown(turn, islice(counters_of(state, now, value), command.count))
        if command.after is not None:
            return _shown(turn, by_value(state, command.after, command.count, now))
        return _shown(turn, nearest_counters(ledger, [state], command.count, now))
    return _shown(turn, nearest_counters(ledger, _all(ledger), command.count, now))


def _shown(turn: Turn, found: Iterable[Match]) -> LimitStatuses:
    return LimitStatuses([_status(turn.ledger, match, turn.now) for match in found], turn.ledger.limits.count)


def unknown_limit(ledger: Ledger, name: str) -> Refusal:
    """No limit in force has this name."""
    names = sorted(ledger.rules.limits.names())
    owner = ledger.accounts.get(name.rpartition("/")[0])
    if owner is not None:
        names += [rule.name for rule in owner.caps if rule.owner == owner.id]
    detail = f"no limit {name} is in force{did_you_mean(nearest(name, names))}"
    return Refusal("unknown_limit", detail, {"limit": name, "allowed": names[:100]})


def _all(ledger: Ledger) -> Iterator[LimitState]:
    """All limits that bound something."""
    day = ledger.day
    yield from (state for state in (day.fleet, *day.products.values()) if state.rule.is_bounded)
    yield from ledger.limits.states.values()


def _named(ledger: Ledger, name: str) -> LimitState | None:
    """A limit that bounds something, by its name."""
    if name in ledger.limits.states:
        return ledger.limits.states[name]
    return next((state for state in _all(ledger) if state.rule.name == name), None)


def _status(ledger: Ledger, match: Match, at: dt.datetime) -> LimitStatus:
    rule, now = match.rule, micros(at)
    closed = match.state.closed_until(match.value, now)
    stands = readings(ledger, match, now)
    committed = {MEASURES[one.measure]: shown(one.measure, one.committed) for one in stands if one.committed}
    return LimitStatus(
        limit=rule.name,
        per=rule.config.per,
        value=match.value or None,
        window=window_words(rule),
        then=rule.then,
        counts_since=stamp(moment(_since(ledger, match.state))),
        max=_by_measure(stands, "most"),
        used=_by_measure(stands, "used"),
        held=_by_measure(stands, "held"),
        left={MEASURES[one.measure]: shown(one.measure, max(0, one.most - _taken(one))) for one in stands},
        percentage=round(max(part_of(one) for one in stands), 6),
        committed=committed or None,
        match=dict(rule.config.match) or None,
        ends_at=_ends_at(ledger, match, now),
        raised_until=_raised_until(ledger, match, now),
        rate_limited_until=None if closed is None else shown_time(moment(closed)),
    )


def _since(ledger: Ledger, state: LimitState) -> int:
    """Since when a limit counts; those of the day count from midnight, even when they were set later."""
    return ledger.limits.began_at(state.rule) if state.rule.is_shorthand else max(state.since.values())


def _by_measure(stands: Iterable[Reading], field: str) -> dict[str, Any]:
    return {
        MEASURES[one.measure]: shown(one.measure, getattr(one, field))
        for one in stands
        if field != "used" or one.measure != CONCURRENT
    }


def _taken(one: Reading) -> int:
    return one.used + one.held + one.committed


def _ends_at(ledger: Ledger, match: Match, now: int) -> str | None:
    rule, counter = match.rule, match.counter
    ends = ledger.limits.ends_at(rule)
    if rule.kind == "first_use" and counter is not None and counter.is_open(rule, 0, now):
        ends = counter.opened + rule.length_us
    return None if ends is None else shown_time(moment(ends))


def _raised_until(ledger: Ledger, match: Match, now: int) -> str | None:
    for key in (match.value, ALL):
        raised = match.state.approved.get(key)
        if raised is not None and raised.is_in_force(now):
            until = ledger.limits.ends_at(match.rule) if raised.until is None else raised.until
            return "revoked" if until is None else shown_time(moment(until))
    return None


# --- the operator ----------------------------------------------------------------------------------------------------


def raise_limit(turn: Turn, command: c.ApproveLimit) -> LimitStatuses | Refusal:
    """Raise one limit until its window ends; a rolling one for one window's length, a total until it is revoked.

    Raises:
        InvalidAmount: a malformed maximum.
    """
    ledger, change = turn.ledger, command.max
    wanted = {} if change is None else _wanted(change)
    if command.limit is None or change is None or (command.max_cost_usd, command.max_tokens_total) != (None, None):
        allowed = "max_cost_usd and max_tokens_total for the day, or limit and max, with or without a value"
        return Refusal("invalid_message", f"ApproveLimit: allowed is {allowed}")
    state = _named(ledger, command.limit)
    if state is None:
        return unknown_limit(ledger, command.limit)
    rule, now = state.rule, micros(turn.now)
    value = _value_named(ledger, rule, command.value)
    if isinstance(value, Refusal):
        return value
    before = state.approved.get(ALL if value is None or rule.name == DAILY else value)
    most: dict[str, int] = {}
    if msgspec.structs.astuple(change) != _NOTHING and before is not None and before.is_in_force(now):
        most = {
            name: units
            for name, units in zip(MEASURES, before.units, strict=True)
            if units is not None and getattr(change, name) is msgspec.UNSET
        }
    for m, units in wanted.items():
        refusal = _not_raised(rule, m, units)
        if refusal is not None:
            return refusal
        most[MEASURES[m]] = units
    # Nothing can fail after this line.
    if rule.name == DAILY:
        limits = Amounts(tokens=most.get("tokens"), cost_nanos=most.get("cost_usd"))
        turn.record(e.LimitApproved(date=ledger.day.date or "", limits=limits))
        return LimitStatuses([_status(ledger, next(counters_of(state, now)), turn.now)], ledger.limits.count)
    until = _until(ledger, state, value, now) if most else None
    turn.record(
        e.LimitRaised(
            limit_name=rule.name, scope_value=value, raised_to=most, raised_until=until, reason=command.reason
        )
    )
    if rule.owner is not None:
        relevel(turn, ledger.accounts[rule.owner])
    record_passed(turn, [state], value)
    if value is None:
        return _shown(turn, nearest_counters(ledger, [state], 1, now))
    return _shown(turn, counters_of(state, now, value))


def _value_named(ledger: Ledger, rule: LimitRule, value: str | None) -> str | Refusal | None:
    """The value whose maximum is to be another, by its one name; a limit of the fleet, or of an account, has one
    counter only.
    """
    if rule.owner is not None:
        if value in (None, rule.owner):
            return rule.owner
        text = f"value: found {value!r}, allowed is {rule.owner!r}: it is the limit of that account"
        return Refusal("invalid_message", text, {"limit": rule.name, "value": value})
    if rule.scope == 0:
        if value in (None, FLEET):
            return FLEET
        detail = f"value: found {value!r}, allowed is none: limit {rule.name} has one counter, that of the fleet"
        return Refusal("invalid_message", detail, {"limit": rule.name, "value": value})
    return None if value is None else one_value(rule.scope, value, ledger.rules.model_name)


_NOTHING = (msgspec.UNSET,) * len(MEASURES)


def _wanted(change: c.MaxChange) -> dict[int, int]:
    """The units to which each measure is raised.

    Raises:
        InvalidAmount: a malformed number.
    """
    values = {m: getattr(change, name) for m, name in enumerate(MEASURES)}
    return {
        m: _units(value, m, f"max.{MEASURES[m]}")
        for m, value in values.items()
        if value is not msgspec.UNSET and value is not None
    }


def _units(value: Any, m: int, field: str) -> int:
    if m <= 2:
        return exact_units(value, m, field)
    if not 0 <= value <= AMOUNT_MAX:
        raise InvalidAmount(field, value, f"a whole number from 0 to {AMOUNT_MAX}")
    return int(value)


def _not_raised(rule: LimitRule, m: int, units: int) -> Refusal | None:
    """Why a measure is not raised by this: the limit does not bound it, or it is no more than configured."""
    if m not in rule.measures or rule.maxes[rule.measures.index(m)] >= FAR:
        bounds = ", ".join(MEASURES[one] for one, most in zip(rule.measures, rule.maxes, strict=True) if most < FAR)
        detail = f"max.{MEASURES[m]}: limit {rule.name} does not bound it, but {bounds}"
        return Refusal("limit_not_raised", detail, {"requested": shown(m, units), "limit": None})
    least = rule.maxes[rule.measures.index(m)]
    if units > least:
        return None
    detail = f"max.{MEASURES[m]}: found {shown(m, units)}, allowed is more than the configured {shown(m, least)}"
    detail += " (to lower a limit, load another configuration)"
    return Refusal("limit_not_raised", detail, {"requested": shown(m, units), "limit": shown(m, least)})


def _until(ledger: Ledger, state: LimitState, value: str | None, now: int) -> dt.datetime | None:
    rule = state.rule
    if rule.is_calendar:
        ends = ledger.limits.ends_at(rule)
        return None if ends is None else moment(ends)
    if rule.kind == "total":
        return None
    counter = None if value is None else state.counters.get(value)
    opens = now
    if rule.kind == "first_use" and counter is not None and counter.is_open(rule, 0, now):
        opens = counter.opened
    return moment(opens + rule.length_us)
