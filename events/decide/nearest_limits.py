"""Of all counters of limits, those nearest to exhaustion: most are only compared, by what they cannot be beyond."""

import heapq
from collections.abc import Iterable, Iterator
from operator import itemgetter

from tallystick.events.decide.limit_readings import Reading, reading
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.limit_rules import FAR
from tallystick.events.state.limits import ALL, LimitState, Match

Order = tuple[float, int, str, str]
"""The part that is taken, below 0, and what tells equal parts apart: the limit's number and name, and the value."""
_FIRST_LOOK = 64


def readings(ledger: Ledger, match: Match, now: int) -> list[Reading]:
    """How the measures stand that have a maximum."""
    rule = match.rule
    return [reading(ledger, match, place, now) for place in range(len(rule.measures)) if rule.maxes[place] < FAR]


def part_of(one: Reading) -> float:
    """The part of a maximum that is taken; all of it where that is zero."""
    return (one.used + one.held + one.committed) / one.most if one.most else 1.0


def order_of(ledger: Ledger, match: Match, now: int) -> Order:
    """By which a counter has its place among others."""
    rule, closed = match.rule, 1.0 if match.state.closed_until(match.value, now) else 0.0
    part = max((closed, *map(part_of, readings(ledger, match, now))))
    return (-part, rule.number, rule.name, match.value)


def nearest_counters(ledger: Ledger, states: Iterable[LimitState], count: int, now: int) -> list[Match]:
    """So many counters of these limits, nearest to exhaustion first.

    Each has an order that is cheap to find and never behind its true one; what is first by it is looked at in full,
    until nothing that was not looked at can be before what was found.
    """
    states, looked = list(states), max(2 * count, _FIRST_LOOK)
    while count:
        first = heapq.nsmallest(looked, (entry for state in states for entry in _bounds(ledger, state, now)))
        matches = (Match(state, value, state.counters.get(value)) for *_, value, state in first)
        found = sorted(((order_of(ledger, match, now), match) for match in matches), key=itemgetter(0))[:count]
        if len(first) < looked or (len(found) == count and found[-1][0] <= first[-1][:4]):
            return [match for _, match in found]
        looked *= 4
    return []


def by_value(state: LimitState, after: str, count: int, now: int) -> list[Match]:
    """So many counters of a limit in the order of their values, of those that sort behind ``after``."""
    values = (value for value in _values(state, now) if value > after)
    return [Match(state, value, state.counters.get(value)) for value in heapq.nsmallest(count, values)]


def counters_of(state: LimitState, now: int, value: str | None = None) -> Iterator[Match]:
    """All counters of a limit, or that of a value; one that stands for none where there are none."""
    if value is None and (state.counters or state.closed):
        found = list(_values(state, now))
        if found:
            yield from (Match(state, key, state.counters.get(key)) for key in found)
            return
    one = value or state.rule.owner or ALL
    yield Match(state, one, state.counters.get(one))


def _values(state: LimitState, now: int) -> Iterable[str]:
    """The values of which something is known."""
    closed = [key for key in state.closed if state.closed_until(key, now) is not None] if state.closed else ()
    return dict.fromkeys((*state.counters, *closed)) if closed else state.counters


def _bounds(ledger: Ledger, state: LimitState, now: int) -> Iterator[tuple[float, int, str, str, LimitState]]:
    """Each counter with an order that is not behind its own: what is taken is at most what was ever used in the window
    at hand, of the configured maximum.
    """
    rule = state.rule
    if state.closed or rule.is_shorthand or not state.counters:
        for match in counters_of(state, now):
            yield (*order_of(ledger, match, now), state)
        return
    number, name, began, maxes = rule.number, rule.name, ledger.limits.began_at(rule), rule.maxes
    none, is_fixed = float(0 in maxes), not rule.length_us
    for value, counter in state.counters.items():
        if counter.committed or counter.models is not None:
            yield (*order_of(ledger, Match(state, value, counter), now), state)
            continue
        part, counts = none, counter.opened == began if is_fixed else counter.is_open(rule, began, now)
        for used, held, most in zip(counter.used, counter.held, maxes, strict=True):
            if most and (taken := (used + held if counts else held) / most) > part:
                part = taken
        yield (-part, number, name, value, state)
