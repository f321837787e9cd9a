"""Limits: what they refuse, what they say to those who only report, and when operators are alerted.

A limit is not checked and then spent: what is used, held, committed by running tasks and asked for must be within it,
in the turn of the one writer. Each function looks at the limits that match, and at no others.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from tallystick.config.amounts import Triple
from tallystick.config.limits import MEASURES, shown
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide import pricing
from tallystick.events.decide.alerts import alert
from tallystick.events.decide.daily_limits import cost_of
from tallystick.events.decide.turn import Turn
from tallystick.events.messages.replies import Number, Refusal
from tallystick.events.state.accounts import Account, Hold
from tallystick.events.state.counters import Counter
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.limit_rules import (
    CONCURRENT,
    COST,
    INPUT,
    OTHER,
    OUTPUT,
    TOKENS,
    LimitRule,
    Subject,
    lines_of,
    percent_text,
)
from tallystick.events.state.limit_subjects import Units, requests_of, subject_of
from tallystick.events.state.limits import LimitState, Match
from tallystick.events.state.money import money
from tallystick.events.state.slot_time import micros

LEAST: Units = (1, 1, 1, 1, 1, 1, 1)
"""The smallest hold that a limit can refuse."""
_SPLIT = (TOKENS, INPUT, OUTPUT)


class Reading(NamedTuple):
    """How one measure of a counter stands now, in whole units."""

    measure: int
    most: int
    used: int
    held: int
    committed: int

    def is_over(self, asked: int) -> bool:
        """Whether so much more is not within it; where it is reached, nothing is."""
        if self.used >= self.most and self.measure != CONCURRENT:
            return True
        return self.used + self.held + self.committed + asked > self.most

    @property
    def is_reached(self) -> bool:
        return self.used >= self.most and self.measure != CONCURRENT


def has_limits(ledger: Ledger, account: Account | None) -> bool:
    """Whether something may bound what an account uses: the fleet's limits, or those of accounts."""
    return bool(ledger.rules.limits) or (account is not None and bool(account.caps))


def matches(ledger: Ledger, subject: Subject, *, hold: bool = False) -> list[Match]:
    """The limits that something counts in, each with the counter that it has; none on a ledger of views."""
    limits, found = ledger.limits, []
    for rule in ledger.rules.limits.matching(subject, hold=hold):
        state = limits.states.get(rule.name)
        if state is None:
            if rule.owner is None:
                continue
            # Of an account that would open with what is asked for: nothing is counted yet.
            state = LimitState(rule, 0, 0)
        value = limits.key(state, rule.value_of(subject), ledger.rules.counters_max)
        found.append(Match(state, value, state.counters.get(value)))
    return found


def near(ledger: Ledger, found: Iterable[Match]) -> list[Match]:
    """Those of the limits that may have something to say."""
    return [match for match in found if not ledger.limits.is_far(match.state.rule, match.value, match.counter)]


def reading(ledger: Ledger, match: Match, place: int, now: int) -> Reading:
    """One measure of a limit, by its place."""
    rule, counter = match.rule, match.counter
    measure, most = rule.measures[place], match.state.most(match.value, place, now)
    if counter is None:
        return Reading(measure, most, 0, 0, 0)
    used = counter.used_at(rule, place, ledger.limits.began_at(rule), now)
    return Reading(measure, most, used, counter.held[place], committed(ledger, counter, measure))


def committed(ledger: Ledger, counter: Counter, measure: int) -> int:
    """What running tasks may still use, as a measure counts it: without a split, wholly as input and as output."""
    if measure in _SPLIT:
        return counter.committed
    if measure == COST and counter.models is not None:
        return sum(cost_of(ledger, model, tokens) for model, tokens in counter.models.items())
    return 0


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
    if not has_limits(ledger, account):
        return None
    subject = subject_of(ledger, account, command.model, command.labels)
    found = matches(ledger, subject, hold=True)
    return next(refusals(turn, account, found, asked_by(command, priced)), None)


def over_limit_more(turn: Turn, hold: Hold, more: Triple) -> Refusal | None:
    """Why a hold may not be larger, or None: the first limit that it counts in and that refuses it."""
    if hold.limited is None:
        return None
    limits, found = turn.ledger.limits, []
    for place in hold.limited.places:
        state = limits.states.get(place[0])
        if state is not None and state.born == place[1]:
            found.append(Match(state, place[2], state.counters.get(place[2])))
    tokens, time_ms, cost = money(more)
    sent = 0 if hold.limited.split else tokens
    return next(refusals(turn, hold.account, found, (tokens, time_ms, cost, sent, tokens, 0, 0)), None)


def refusals(
    turn: Turn, account: Account, found: Iterable[Match], asked: Units, *, named: bool = True
) -> Iterator[Refusal]:
    """Every limit that refuses what is asked for, with the numbers of the first of its measures that does.

    Without ``named`` no hold is asked for yet: ``asked`` is the least that one could be.
    """
    ledger, now = turn.ledger, micros(turn.now)
    for match in found:
        if match.rule.then == "warn":
            continue
        credit = _credit(ledger, account, match, asked)
        for place, m in enumerate(match.rule.measures):
            stands = reading(ledger, match, place, now)
            if stands.is_over(asked[m] - credit[m]):
                yield _reached(turn, match, place, stands, asked[m] - credit[m], asked[m] if named else None)
                break


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


def window_words(rule: LimitRule) -> str:
    """A window in words: "day", "total", "5 hours rolling"."""
    return str(rule.config.window or "total")


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
    ledger, now, worst = turn.ledger, micros(turn.now), None
    for match in found:
        rule = match.rule
        if rule.then == "refuse" or match.counter is None:
            continue
        for place in range(len(rule.measures)):
            stands = reading(ledger, match, place, now)
            if not stands.is_reached:
                continue
            wait_ms = 0
            if rule.then == "wait":
                at = _room_at(ledger, match, place, stands, 1, now)
                at = _room_at(ledger, match, place, stands._replace(held=0, committed=0), 1, now) if at is None else at
                wait_ms = 0 if at is None else -(-(at - now) // 1_000)
            said = Passed(rule.then, f"limit:{rule.name}", wait_ms)
            if worst is None or (_SEVERITY[said.then], wait_ms) > (_SEVERITY[worst.then], worst.wait_ms):
                worst = said
    return worst


# --- alerts ----------------------------------------------------------------------------------------------------------


def record_lines(turn: Turn, found: Sequence[Match]) -> None:
    """Alert operators to each percentage that a counter has come to, once in its window."""
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
    stands, rule, counter = reading(turn.ledger, match, place, now), match.rule, match.counter
    assert counter is not None
    for percent, line in zip(rule.alerts, lines_of(rule, stands.most), strict=True):
        text = percent_text(percent)
        if stands.used < line or counter.was_alerted(rule, text, now):
            continue
        name, m = rule.name, stands.measure
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


def next_room(refusal: Refusal, last: dt.datetime) -> dt.datetime | None:
    """When a limit that has refused something will have room for it, if it knows."""
    seconds = refusal.numbers.get("retry_after_seconds") if refusal.code == "limit_reached" else None
    return None if seconds is None else last + dt.timedelta(milliseconds=round(seconds * 1_000))
