"""How limits stand, and what operators raise."""

import datetime as dt
import heapq
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from tallystick.config.amounts import AMOUNT_MAX, InvalidAmount, exact_units
from tallystick.config.errors import did_you_mean, nearest
from tallystick.config.limits import MEASURES, shown
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide.answers import stamp
from tallystick.events.decide.levels import relevel
from tallystick.events.decide.limits import Reading, matches, reading, window_words
from tallystick.events.decide.refusals import unknown_agent
from tallystick.events.decide.turn import Turn
from tallystick.events.messages.limit_replies import LimitStatus, LimitStatuses
from tallystick.events.messages.replies import Refusal
from tallystick.events.messages.task_replies import shown_time
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.limit_rules import CONCURRENT, LimitRule
from tallystick.events.state.limit_subjects import subject_of
from tallystick.events.state.limits import ALL, LimitState, Match, moment
from tallystick.events.state.slot_time import micros

# --- how they stand --------------------------------------------------------------------------------------------------


def get_limits(turn: Turn, command: c.GetLimits) -> LimitStatuses | Refusal:
    """The limits that an agent is under, or one limit, or all; of what was counted by value, nearest first.

    All counters of the limits that are asked for are looked at.
    """
    ledger = turn.ledger
    if command.agent is not None and (command.limit is not None or command.value is not None):
        return Refusal("invalid_message", "GetLimits: allowed is an agent, or a limit with or without a value")
    if command.value is not None and command.limit is None:
        return Refusal("invalid_message", "GetLimits: a value is allowed beside a limit only")
    if command.agent is not None:
        account = ledger.accounts.get(command.agent)
        if account is None:
            return unknown_agent(ledger, command.agent)
        found: Iterable[Match] = matches(ledger, subject_of(ledger, account, account.model))
    elif command.limit is not None:
        state = ledger.limits.states.get(command.limit)
        if state is None:
            return unknown_limit(ledger, command.limit)
        found = _of(state, command.value)
    else:
        found = (match for state in ledger.limits.states.values() for match in _of(state, None))
    statuses = heapq.nsmallest(
        command.count,
        (_status(ledger, match, turn.now) for match in found),
        key=lambda one: (-one.percentage, ledger.limits.states[one.limit].rule.number, one.limit, one.value or ""),
    )
    return LimitStatuses(statuses, ledger.limits.count)


def unknown_limit(ledger: Ledger, name: str) -> Refusal:
    """No limit in force has this name."""
    names = sorted(ledger.rules.limits.by_name)
    owner = ledger.accounts.get(name.rpartition("/")[0])
    if owner is not None:
        names += [rule.name for rule in owner.caps if rule.owner == owner.id]
    detail = f"no limit {name} is in force{did_you_mean(nearest(name, names))}"
    return Refusal("unknown_limit", detail, {"limit": name, "allowed": names[:100]})


def _of(state: LimitState, value: str | None) -> Iterator[Match]:
    """All counters of a limit, or that of a value; one that stands for none where there are none."""
    if value is not None or not state.counters:
        one = value or state.rule.owner or ALL
        yield Match(state, one, state.counters.get(one))
        return
    for key, counter in state.counters.items():
        yield Match(state, key, counter)


def _status(ledger: Ledger, match: Match, at: dt.datetime) -> LimitStatus:
    rule, now = match.rule, micros(at)
    stands = [reading(ledger, match, place, now) for place in range(len(rule.measures))]
    committed = {MEASURES[one.measure]: shown(one.measure, one.committed) for one in stands if one.committed}
    return LimitStatus(
        limit=rule.name,
        per=rule.config.per,
        value=match.value or None,
        window=window_words(rule),
        then=rule.then,
        counts_since=stamp(moment(max(match.state.since.values()))),
        max=_by_measure(stands, "most"),
        used=_by_measure(stands, "used"),
        held=_by_measure(stands, "held"),
        left={MEASURES[one.measure]: shown(one.measure, max(0, one.most - _taken(one))) for one in stands},
        percentage=round(max(_part(one) for one in stands), 6),
        committed=committed or None,
        match=dict(rule.config.match) or None,
        ends_at=_ends_at(ledger, match, now),
        raised_until=_raised_until(match, now),
    )


def _by_measure(stands: Iterable[Reading], field: str) -> dict[str, Any]:
    return {
        MEASURES[one.measure]: shown(one.measure, getattr(one, field))
        for one in stands
        if field != "used" or one.measure != CONCURRENT
    }


def _taken(one: Reading) -> int:
    return one.used + one.held + one.committed


def _part(one: Reading) -> float:
    return _taken(one) / one.most if one.most else 1.0


def _ends_at(ledger: Ledger, match: Match, now: int) -> str | None:
    rule, counter = match.rule, match.counter
    ends = ledger.limits.ends_at(rule)
    if rule.kind == "first_use" and counter is not None and counter.is_open(rule, 0, now):
        ends = counter.opened + rule.length_us
    return None if ends is None else shown_time(moment(ends))


def _raised_until(match: Match, now: int) -> str | None:
    for key in (match.value, ALL):
        raised = match.state.approved.get(key)
        if raised is not None and (raised.until is None or now < raised.until):
            return "revoked" if raised.until is None else shown_time(moment(raised.until))
    return None


# --- the operator ----------------------------------------------------------------------------------------------------


def raise_limit(turn: Turn, command: c.ApproveLimit) -> LimitStatuses | Refusal:
    """Raise one limit until its window ends; a rolling one for one window's length, a total until it is revoked.

    Raises:
        InvalidAmount: a malformed maximum.
    """
    ledger, change = turn.ledger, command.max
    if command.limit is None or change is None or (command.max_cost_usd, command.max_tokens_total) != (None, None):
        allowed = "max_cost_usd and max_tokens_total for the day, or limit and max, with or without a value"
        return Refusal("invalid_message", f"ApproveLimit: allowed is {allowed}")
    state = ledger.limits.states.get(command.limit)
    if state is None:
        return unknown_limit(ledger, command.limit)
    rule, now = state.rule, micros(turn.now)
    if rule.owner is not None and command.value not in (None, rule.owner):
        text = f"value: found {command.value!r}, allowed is {rule.owner!r}: it is the limit of that account"
        return Refusal("invalid_message", text)
    before = state.approved.get(ALL if command.value is None else command.value)
    most: dict[str, int] = {}
    for m, name in enumerate(MEASURES):
        value = getattr(change, name)
        if value is msgspec.UNSET and before is not None and (before.until is None or now < before.until):
            value = msgspec.UNSET if msgspec.structs.astuple(change) == _NOTHING else before.units[m]
            if value is not None and value is not msgspec.UNSET:
                most[name] = value
            continue
        if value is msgspec.UNSET or value is None:
            continue
        units = _units(value, m, f"max.{name}")
        refusal = _not_raised(rule, m, units)
        if refusal is not None:
            return refusal
        most[name] = units
    # Nothing can fail after this line.
    until = _until(ledger, state, command.value, now) if most else None
    turn.record(
        e.LimitRaised(
            limit_name=rule.name, scope_value=command.value, raised_to=most, raised_until=until, reason=command.reason
        )
    )
    if rule.owner is not None:
        relevel(turn, ledger.accounts[rule.owner])
    found = list(_of(state, command.value))[:1]
    return LimitStatuses([_status(ledger, match, turn.now) for match in found], ledger.limits.count)


_NOTHING = (msgspec.UNSET,) * len(MEASURES)


def _units(value: Any, m: int, field: str) -> int:
    if m <= 2:
        return exact_units(value, m, field)
    if not 0 <= value <= AMOUNT_MAX:
        raise InvalidAmount(field, value, "a whole number, from 0 to 2^63-1")
    return int(value)


def _not_raised(rule: LimitRule, m: int, units: int) -> Refusal | None:
    """Why a measure is not raised by this: the limit does not bound it, or it is no more than configured."""
    if m not in rule.measures:
        detail = f"max.{MEASURES[m]}: limit {rule.name} does not bound it"
        return Refusal("limit_not_raised", detail, {"requested": shown(m, units), "limit": None})
    least = rule.maxes[rule.measures.index(m)]
    if units > least:
        return None
    detail = f"max.{MEASURES[m]}: the configured limit is {shown(m, least)}"
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
