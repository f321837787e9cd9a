"""Limits: what they refuse, what they say to those who only report, and when operators are alerted.

A limit is not checked and then spent: what is used, held, committed by running tasks and asked for must be within it,
in the turn of the one writer. Each function looks at the limits that match, and at no others.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any, NamedTuple

from tallystick.config.amounts import Triple
from tallystick.config.limits import DAILY, MEASURES, shown
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide import pricing
from tallystick.events.decide.alerts import alert
from tallystick.events.decide.daily_limits import daily_alert, daily_limit_reached
from tallystick.events.decide.limit_readings import (
    Reading,
    cost_of,
    has_limits,
    matches_held,
    matches_of,
    matches_today,
    reading,
    window_words,
)
from tallystick.events.decide.turn import Turn
from tallystick.events.messages.replies import Number, Refusal
from tallystick.events.messages.task_replies import shown_time
from tallystick.events.state.accounts import Account, Hold
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.limit_rules import (
    CONCURRENT,
    COST,
    INPUT,
    OTHER,
    OUTPUT,
    TOKENS,
    lines_of,
)
from tallystick.events.state.limit_subjects import Units, requests_of
from tallystick.events.state.limits import LimitState, Match, moment
from tallystick.events.state.money import money
from tallystick.events.state.slot_time import micros

LEAST: Units = (1, 1, 1, 1, 1, 1, 1)
"""The smallest hold that a limit can refuse."""
LOWERED_MAX = 100
"""Of so many counters at most operators are alerted at once, when a limit is lowered."""


# --- holds -----------------------------------------------------------------------------------------------------------


def asked_by(command: c.Reserve, priced: pricing.Priced) -> Units:
    """What a hold asks of limits, by measure."""
    tokens, time_ms, cost = money(priced.triple)
    sent = got = tokens
    counts = priced.counts
    if counts.input_tokens is not None or counts.output_tokens is not None:
        sent = counts.input_tokens or 0
        got = max(0, tokens - sent)
    requests = requests_of(command.requests, command.model is not None or command.operation is not None)
    return (tokens, time_ms, cost, sent, got, requests, 1)


def over_limit(turn: Turn, account: Account, command: c.Reserve, priced: pricing.Priced) -> Refusal | None:
    """Why what is asked for may not be set aside, or None: the first limit that refuses it."""
    ledger = turn.ledger
    found = matches_today(ledger, account.budget_product)
    if has_limits(ledger, account):
        found += matches_of(ledger, account, turn.now, command.model, command.labels, hold=True)
    return next(refusals(turn, account, found, asked_by(command, priced)), None)


def over_limit_more(turn: Turn, hold: Hold, more: Triple) -> Refusal | None:
    """Why a hold may not be larger, or None: the first limit that it counts in and that refuses it."""
    found = matches_today(turn.ledger, hold.account.budget_product) + matches_held(turn.ledger, hold)
    tokens, time_ms, cost = money(more)
    sent = 0 if hold.limited is not None and hold.limited.split else tokens
    return next(refusals(turn, hold.account, found, (tokens, time_ms, cost, sent, tokens, 0, 0)), None)


def refusals(
    turn: Turn, account: Account, found: Iterable[Match], asked: Units, *, named: bool = True
) -> Iterator[Refusal]:
    """Every limit that refuses what is asked for, with the numbers of the first of its measures that does; a shorthand
    with each.

    Without ``named`` no hold is asked for yet: ``asked`` is the least that one could be.
    """
    ledger, now = turn.ledger, micros(turn.now)
    for match in found:
        if match.rule.then == "warn":
            continue
        closed = match.state.closed_until(match.value, now)
        if closed is not None:
            yield _closed(turn, match, closed)
            continue
        credit = _credit(ledger, account, match, asked)
        for place, m in enumerate(match.rule.measures):
            stands = reading(ledger, match, place, now)
            if not stands.is_over(asked[m] - credit[m]):
                continue
            wanted = asked[m] if named else None
            if not match.rule.is_shorthand:
                yield _reached(turn, match, place, stands, asked[m] - credit[m], wanted)
                break
            yield daily_limit_reached(turn, match, stands, wanted)


_NO_CREDIT: Units = (0, 0, 0, 0, 0, 0, 0)


def _credit(ledger: Ledger, account: Account, match: Match, asked: Units) -> Units:
    """What of a hold its own run has committed before: it is not counted twice."""
    run = None if account.run is None else ledger.limits.runs.get(account.run)
    state = match.state
    if run is None or not state.rule.is_long or (state.rule.name, state.born, match.value) not in run.places:
        return _NO_CREDIT
    cost = 0
    if asked[COST] and run.unpriced:
        less = run.unpriced - min(asked[TOKENS], run.unpriced)
        cost = cost_of(ledger, run.model, run.unpriced) - cost_of(ledger, run.model, less)
    sent, got = min(asked[INPUT], run.open), min(asked[OUTPUT], run.open)
    return (min(asked[TOKENS], run.open), 0, min(cost, asked[COST]), sent, got, 0, 0)


def _reached(turn: Turn, match: Match, place: int, stands: Reading, net: int, asked: int | None) -> Refusal:
    m, rule = stands.measure, match.rule
    most, used, held, waits = (shown(m, n) for n in (stands.most, stands.used, stands.held, stands.committed))
    numbers: dict[str, Any] = {
        "decided_by": f"limit:{rule.name}",
        "limit": rule.name,
        "value": match.value,
        "window": window_words(rule),
        "dimension": MEASURES[m],
        "max": most,
        "used": used,
        "held": held,
        "committed": waits,
    }
    words = f"limit {rule.name} of {match.value}: {MEASURES[m]} is {most} ({window_words(rule)}): {used} is used"
    words += f", {held} held" + (f", {waits} committed to running tasks" if stands.committed else "")
    if asked is not None:
        numbers["requested"] = shown(m, asked)
        words += f", {shown(m, asked)} was asked for"
    at = _room_at(turn.ledger, match, place, stands, net, micros(turn.now))
    numbers["retry_after_seconds"] = None if at is None else _seconds(at - micros(turn.now))
    return Refusal("limit_reached", words, numbers)


def _closed(turn: Turn, match: Match, until: int) -> Refusal:
    """A provider has said that it is too much: nothing is granted until then."""
    rule, at = match.rule, moment(until)
    words = f"limit {rule.name} of {match.value}: the provider has refused a request for its pace; nothing is granted"
    numbers = {
        "decided_by": f"limit:{rule.name}",
        "limit": rule.name,
        "value": match.value,
        "window": window_words(rule),
        "rate_limited_until": shown_time(at),
        "retry_after_seconds": _seconds(until - micros(turn.now)),
    }
    return Refusal("limit_reached", f"{words} until {numbers['rate_limited_until']}", numbers)


def _room_at(ledger: Ledger, match: Match, place: int, stands: Reading, asked: int, now: int) -> int | None:
    """When there is room for so much, if nothing else happens; None: never, as long as what is held stays so."""
    counter, rule = match.counter, match.rule
    if stands.held + stands.committed + asked > stands.most or (not asked and not stands.most):
        return None
    excess = stands.used + stands.held + stands.committed + asked - stands.most
    excess = max(excess, stands.used - stands.most + 1)
    if excess <= 0:
        return now
    assert counter is not None
    return counter.room_at(rule, place, excess, ledger.limits.ends_at(rule), now)


def _seconds(us: int) -> Number:
    """Microseconds in seconds, rounded up to the next millisecond: whole where they are."""
    ms = -(-us // 1_000)
    return ms // 1_000 if ms % 1_000 == 0 else ms / 1_000


# --- those who only report -------------------------------------------------------------------------------------------


class Passed(NamedTuple):
    """What limits that are passed say to an agent: how severe it is ("stop", "wait" or "warn"), why, how long."""

    then: str
    decided_by: str
    wait_ms: int


_SEVERITY = {"stop": 3, "wait": 2, "warn": 1}


def passed(turn: Turn, found: Iterable[Match]) -> Passed | None:
    """The most severe of the limits that are reached, for who only reports; None: none is, or they say nothing."""
    ledger, now = turn.ledger, micros(turn.now)
    worst: Passed | None = None
    for match in found:
        rule = match.rule
        if rule.then == "refuse":
            continue
        closed = match.state.closed_until(match.value, now)
        if closed is not None:
            worst = _worse(worst, Passed("wait", f"limit:{rule.name}", -(-(closed - now) // 1_000)))
        if match.counter is None:
            continue
        for place in range(len(rule.measures)):
            stands = reading(ledger, match, place, now)
            if not stands.is_reached:
                continue
            then, wait_ms = rule.then, 0
            if then == "wait":
                at = _room_at(ledger, match, place, stands, 1, now)
                at = _room_at(ledger, match, place, stands._replace(held=0, committed=0), 1, now) if at is None else at
                if at is None:
                    then = "stop"  # No wait brings room: it would be asked for again and again.
                else:
                    wait_ms = -(-(at - now) // 1_000)
            worst = _worse(worst, Passed(then, f"limit:{rule.name}", wait_ms))
    return worst


def _worse(one: Passed | None, other: Passed) -> Passed:
    """The more severe of two; of two waits, the longer."""
    if one is None or (_SEVERITY[other.then], other.wait_ms) > (_SEVERITY[one.then], one.wait_ms):
        return other
    return one


# --- alerts ----------------------------------------------------------------------------------------------------------


def touched_by_use(ledger: Ledger) -> Sequence[Match]:
    """Of what the last use counts in, what may have come to a percentage."""
    found, near = ledger.limits.touched if ledger.limits.states else (), ledger.day.near
    return found if near is None else [near, *found]


def record_lines(turn: Turn, found: Sequence[Match]) -> None:
    """Alert operators to each percentage that a counter has come to, once in its window."""
    if not found:
        return
    now = micros(turn.now)
    for match in found:
        rule = match.rule
        counter = match.state.counters.get(match.value)
        if counter is None or not rule.alerts:
            continue
        for place, lines in enumerate(rule.lines):
            # A limit that was raised has lines that lie higher.
            if rule.measures[place] != CONCURRENT and counter.used[place] >= lines[0]:
                _record_lines(turn, match._replace(counter=counter), place, now)
    limits = turn.ledger.limits
    if not limits.full and any(match.value == OTHER for match in found):
        most = turn.ledger.rules.counters_max
        message = f"there are {most} counters of limits: what is new shares the counter {OTHER}"
        alert(turn, "limit_counters_full", message)


def _record_lines(turn: Turn, match: Match, place: int, now: int) -> None:
    stands, rule = reading(turn.ledger, match, place, now), match.rule
    for percent, text in _lines_due(match, stands, place, now):
        name, m = rule.name, stands.measure
        if name == DAILY:
            daily_alert(turn, text, percent, m)
            continue
        turn.record(
            e.LimitLine(
                limit_name=name,
                scope_value=match.value,
                percent=text,
                measure=MEASURES[m],
                used_units=stands.used,
                max_units=stands.most,
            )
        )
        message = f"{text} % of limit {name} of {match.value}: {shown(m, stands.used)} of {shown(m, stands.most)}"
        code = "limit_reached" if percent >= 100 else "limit_near"
        alert(turn, code, f"{message} {MEASURES[m]} ({window_words(rule)})")


def _lines_due(match: Match, stands: Reading, place: int, now: int) -> Iterator[tuple[Decimal, str]]:
    """The percentages that a measure has come to and of which operators were not alerted."""
    rule, counter = match.rule, match.counter
    assert counter is not None
    for percent, text, line in zip(rule.alerts, rule.keys[place], lines_of(rule, stands.most), strict=True):
        if stands.used >= line and not counter.was_alerted(rule, text, now):
            yield percent, text


Lines = Mapping[str, Sequence[Sequence[int]]]
"""By the name of a limit, and by its measures, at what use each alert is due."""


def lines_in_force(ledger: Ledger) -> Lines:
    """The lines of all configured limits and products, as they are now."""
    return {state.rule.name: state.rule.lines for state in _configured(ledger)}


def record_lowered(turn: Turn, before: Lines) -> None:
    """Alert operators where a limit has been set below what was used in its window already, or near it."""
    states = [state for state in _configured(turn.ledger) if before.get(state.rule.name) != state.rule.lines]
    record_passed(turn, states)


def record_passed(turn: Turn, states: Iterable[LimitState], value: str | None = None) -> None:
    """Alert operators to what the counters of limits, or that of one value, have come to, also without a use: to
    `LOWERED_MAX` counters in one turn. The others follow with their next use.
    """
    now = micros(turn.now)
    matches_of = (
        Match(state, key, counter)
        for state in states
        for key, counter in state.counters.items()
        if value in (None, key) and state.rule.alerts
    )
    found = (match for match in matches_of if _has_lines(turn.ledger, match, now))
    record_lines(turn, list(islice(found, LOWERED_MAX)))


def _has_lines(ledger: Ledger, match: Match, now: int) -> bool:
    rule, counter = match.rule, match.counter
    assert counter is not None
    return any(
        any(_lines_due(match, reading(ledger, match, place, now), place, now))
        for place, lines in enumerate(rule.lines)
        if rule.measures[place] != CONCURRENT and counter.used[place] >= lines[0]
    )


def _configured(ledger: Ledger) -> Iterator[LimitState]:
    """The limits of the configuration, those of products of the day among them."""
    yield from ledger.day.products.values()
    yield from (state for state in ledger.limits.states.values() if state.rule.owner is None)


def next_room(refusal: Refusal, last: dt.datetime) -> dt.datetime | None:
    """When a limit that has refused something will have room for it, if it knows."""
    seconds = refusal.numbers.get("retry_after_seconds") if refusal.code == "limit_reached" else None
    return None if seconds is None else last + dt.timedelta(milliseconds=round(seconds * 1_000))
