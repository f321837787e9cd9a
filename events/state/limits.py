"""What limits have counted, and what is held and committed in them: the core's own integer state.

Counters are made when something is first counted, and forgotten when their window is over. Nothing here decides: see
`decide.limits`; what events change is in `evolve.limits`.
"""

import datetime as dt
from collections import Counter as Tally
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any, NamedTuple

from tallystick.events.catalog.event import EPOCH, Event
from tallystick.events.state.calendar import NEVER
from tallystick.events.state.counters import Counter, RollingCounter, new_counter
from tallystick.events.state.limit_rules import FLEET, NONE, OTHER, LimitRule
from tallystick.events.state.slot_time import micros

_ALWAYS = frozenset((NONE, FLEET))
"""Values that have a counter of their own however many there are: one per limit."""
ALL = ""
"""In place of a value: what was approved for all values of a limit."""
Place = tuple[str, int, str]
"""A counter: the name of its limit, since which position that counts, and the value of its scope."""
CLOSED_MAX = 1_000
"""Of so many values of a limit it is known that a provider has refused their requests."""


class Approved(NamedTuple):
    """A limit that an operator has raised, by measure, until a time in microseconds; None: until it is revoked."""

    units: tuple[int | None, ...]
    until: int | None

    def is_in_force(self, now: int) -> bool:
        return self.until is None or now < self.until


class Run:
    """A run that counts in limits: in which counters, on which model, and the tokens that it commits there."""

    __slots__ = ("model", "open", "places", "unpriced")

    def __init__(self, places: tuple[Place, ...], model: str) -> None:
        self.places = places
        self.model = model
        self.open = 0
        self.unpriced = 0


class LimitState:
    """What one limit has counted since ``born``, a position in the log; ``since`` is when it began to, by measure."""

    __slots__ = ("approved", "born", "closed", "counters", "over", "rule", "since")

    def __init__(self, rule: LimitRule, born: int, now: int) -> None:
        self.rule = rule
        self.born = born
        self.since = dict.fromkeys(rule.measures, now)
        self.counters: dict[str, Counter] = {}
        self.approved: dict[str, Approved] = {}
        """By value, or `ALL`."""
        self.closed: dict[str, int] = {}
        """By value, until when nothing is granted, because a provider has refused a request."""
        self.over: deque[tuple[int, str]] = deque()
        """When counters may be forgotten whose windows end at times of their own; one that was used since is later."""

    def close(self, value: str, until: int, now: int) -> None:
        """Grant nothing to a value until a time. The values of which that is known are bounded."""
        self.closed = {key: at for key, at in self.closed.items() if now < at}
        self.closed[value] = max(until, self.closed.get(value, until))
        if len(self.closed) > CLOSED_MAX:
            del self.closed[min(self.closed, key=lambda key: self.closed[key])]

    def closed_until(self, value: str, now: int) -> int | None:
        """Until when nothing is granted to a value; None where it is as the counter says."""
        until = self.closed.get(value) if self.closed and self.rule.then == "wait" else None
        return until if until is not None and now < until else None

    def most(self, value: str, place: int, now: int) -> int:
        """The maximum in force for a value: as configured, or as it was raised."""
        most = self.rule.maxes[place]
        if not self.approved:
            return most
        for key in (value, ALL):
            raised = self.approved.get(key)
            if raised is not None and raised.is_in_force(now):
                units = raised.units[self.rule.measures[place]]
                most = most if units is None else max(most, units)
        return most


class Match(NamedTuple):
    """A limit that something counts in, and the value of its scope."""

    state: LimitState
    value: str
    counter: Counter | None

    @property
    def rule(self) -> LimitRule:
        return self.state.rule


class Limits:
    """Of all limits in force, by name. ``began`` and ``ends`` are of the calendar windows at hand, by kind."""

    __slots__ = (
        "began",
        "begun",
        "calendars",
        "count",
        "due",
        "ends",
        "freed",
        "full",
        "is_fork",
        "runs",
        "states",
        "touched",
    )

    def __init__(self) -> None:
        self.states: dict[str, LimitState] = {}
        self.began: dict[str, int] = {}
        self.begun: dict[str, int] = {}
        """By kind, the position at which it began: what is due before it may be recorded at the same moment."""
        self.ends: dict[str, int] = {}
        self.due = NEVER
        """When the next calendar window ends."""
        self.calendars: Tally[str] = Tally()
        """How many limits of accounts count in each kind of calendar window."""
        self.count = 0
        """How many counters there are."""
        self.full = False
        """Whether operators know that there are too many."""
        self.runs: dict[str, Run] = {}
        self.is_fork = False
        self.freed: set[tuple[str, str]] | None = None
        """Counters, by limit and value, of which something has come back: no part of the state. None: no one asks."""
        self.touched: list[Match] = []
        """Of what the last use, hold or settlement counts in, what may have something to say: no part of the state, but
        decisions look at it next."""

    # --- looking -----------------------------------------------------------------------------------------------------

    def began_at(self, rule: LimitRule) -> int:
        """When the calendar window of a limit began; 0 where it has none."""
        return self.began.get(rule.kind, 0)

    def ends_at(self, rule: LimitRule) -> int | None:
        """When the calendar window of a limit ends; None where it has none."""
        return self.ends.get(rule.kind)

    def key(self, state: LimitState, value: str, counters_max: int, now: int) -> str:
        """The value whose counter counts: the value itself, or `OTHER` where there are too many.

        As long as the window lasts in which something was counted in `OTHER`, what is new shares that: else it could
        use all that the limit allows a second time.
        """
        counters = state.counters
        if value in counters or value in _ALWAYS or state.rule.owner is not None:
            return value
        shared = counters.get(OTHER)
        if shared is not None and shared.is_open(state.rule, self.began_at(state.rule), now):
            return OTHER
        if self.count < counters_max or (state.over and state.over[0][0] <= now):
            return value
        return OTHER

    def is_far(self, rule: LimitRule, value: str, counter: Counter | None) -> bool:
        """Whether a limit can have nothing to say: far from all lines a few comparisons show it.

        What has left a window may still be in the sums: they are never too small.
        """
        if value == OTHER and not self.full:
            return False
        if counter is None:
            return min(rule.maxes) != 0
        if counter.committed or counter.models is not None:
            return False
        used, held, maxes = counter.used, counter.held, rule.maxes
        for place, line in enumerate(rule.first_lines):
            if used[place] >= line or used[place] + held[place] >= maxes[place]:
                return False
        return True

    def at(self, place: Place) -> tuple[LimitState, Counter] | None:
        """A counter by its place; None where the limit is gone, or counts anew since then."""
        state = self.states.get(place[0])
        if state is None or state.born != place[1]:
            return None
        counter = state.counters.get(place[2])
        return None if counter is None else (state, counter)

    def of_accounts(self) -> list[LimitState]:
        """The limits of accounts."""
        return [state for state in self.states.values() if state.rule.owner is not None]

    def counts_until(self, state: LimitState, counter: Counter, now: int) -> int:
        """Until when what a counter has used counts, in microseconds; 0 where nothing of it does."""
        rule = state.rule
        if not any(counter.used) or not counter.is_open(rule, self.began_at(rule), now):
            return 0
        if rule.kind == "total":
            return _LAST
        return self.ends[rule.kind] if rule.is_calendar else self._over_at(rule, counter)

    # --- changing ----------------------------------------------------------------------------------------------------

    def open_account(self, rules: Iterable[LimitRule], life: int, since: int) -> None:
        """The limits of an account that was opened at a position count from then on."""
        for rule in rules:
            self.states[rule.name] = LimitState(rule, life, since)
            if rule.is_calendar:
                self.calendars[rule.kind] += 1

    def close_account(self, rules: Iterable[LimitRule], calendars: Set[str]) -> None:
        """The limits of an account end with it; of calendar windows, those that no limit counts in any more.
        ``calendars``: the kinds that the configuration needs.
        """
        for rule in rules:
            self.count -= len(self.states.pop(rule.name).counters)
            if rule.is_calendar:
                self.calendars[rule.kind] -= 1
                if not self.calendars[rule.kind]:
                    del self.calendars[rule.kind]
                    if rule.kind not in calendars:
                        del self.began[rule.kind], self.begun[rule.kind], self.ends[rule.kind]
        self.due = moment(min(self.ends.values())) if self.ends else NEVER

    def counter(self, state: LimitState, value: str) -> Counter:
        """The counter of a value, made where there is none."""
        counter = state.counters.get(value)
        if counter is None:
            counter = state.counters[value] = new_counter(state.rule)
            self.count += 1
        return counter

    def note_freed(self, name: str, value: str) -> None:
        """Something of a counter has come back."""
        if self.freed is not None:
            self.freed.add((name, value))

    def forget_unused(self, state: LimitState, value: str, now: int) -> None:
        """A counter that counts nothing any more is forgotten; one of which operators were alerted with its window."""
        counter = state.counters[value]
        if counter.is_needed:
            return
        is_open = counter.is_open(state.rule, self.began_at(state.rule), now)
        if not is_open or not (any(counter.used) or counter.alerted):
            del state.counters[value]
            self.count -= 1

    def forget(self, places: Iterable[Place], now: int) -> None:
        """Forget counters that are not needed any more."""
        if self.is_fork:
            return
        states = self.states
        for name, born, value in places:
            state = states.get(name)
            counter = None if state is None or state.born != born else state.counters.get(value)
            if state is not None and counter is not None and not any(counter.held):
                self.forget_unused(state, value, now)

    def forget_over(self, state: LimitState, now: int) -> None:
        """Forget the counters whose own windows are over: a few of them at every use."""
        over, rule = state.over, state.rule
        while over and over[0][0] <= now:
            value = over.popleft()[1]
            counter = state.counters.get(value)
            if counter is None:
                continue
            if counter.is_open(rule, 0, now):
                over.append((self._over_at(rule, counter), value))
            elif not counter.is_needed:
                del state.counters[value]
                self.count -= 1

    def opened(self, state: LimitState, value: str, counter: Counter) -> None:
        """A window of its own begins: it will be over."""
        if not state.rule.is_calendar and state.rule.kind != "total":
            state.over.append((self._over_at(state.rule, counter), value))

    @staticmethod
    def _over_at(rule: LimitRule, counter: Counter) -> int:
        if rule.kind == "first_use":
            return counter.opened + rule.length_us
        assert isinstance(counter, RollingCounter)
        return (counter.last + 1) * rule.bucket_us + rule.length_us

    def enter_windows(self, ends: dict[str, int], event: Event, *, keep: bool) -> None:
        """Calendar windows begin; with ``keep``, of those that are at hand only the end is another.

        The day is always at hand: `Day` counts in it too.
        """
        now = micros(event.at)
        for kind, end in ends.items():
            self.ends[kind] = end
            if not keep or kind not in self.began:
                self.began[kind], self.begun[kind] = now, event.position
                self._begin(kind, now)
        self.due = moment(min(self.ends.values())) if self.ends else NEVER

    def end_windows(self, ends: Mapping[str, dt.datetime]) -> None:
        """Calendar windows that are at hand end at other times."""
        self.ends |= {kind: micros(at) for kind, at in ends.items()}
        self.due = moment(min(self.ends.values())) if self.ends else NEVER

    def _begin(self, kind: str, now: int) -> None:
        """What is not held in counters of a kind is forgotten. A fork lives for too short a time to have to."""
        if self.is_fork:
            return
        self.full = False
        for state in self.states.values():
            if state.rule.kind != kind:
                continue
            state.approved = {}
            before, state.counters = state.counters, {}
            for value, counter in before.items():
                if counter.is_needed:
                    state.counters[value] = counter
                else:
                    self.count -= 1

    # --- the snapshot ------------------------------------------------------------------------------------------------

    def dump(self) -> list[Any]:
        """All of it as plain values. What is held and committed is found again from holds and runs."""
        states = [
            [
                name,
                state.born,
                sorted(state.since.items()),
                [[value, counter.dump()] for value, counter in state.counters.items()],
                [[value, list(raised.units), raised.until] for value, raised in state.approved.items()],
                [list(entry) for entry in state.over],
                state.closed,
            ]
            for name, state in self.states.items()
        ]
        runs = [[task, [list(place) for place in run.places], run.model] for task, run in self.runs.items()]
        return [states, self.began, self.begun, self.ends, self.full, runs] if states or self.ends else []

    def load(self, dumped: list[Any], rules: dict[str, LimitRule]) -> None:
        """What `dump` gave, also after it was JSON."""
        if not dumped:
            return
        states, self.began, self.begun, self.ends, self.full, runs = dumped
        for name, born, since, counters, approved, over, closed in states:
            state = self.states[name] = LimitState(rules[name], born, 0)
            if state.rule.owner is not None and state.rule.is_calendar:
                self.calendars[state.rule.kind] += 1
            state.since = dict(since)
            for value, kept in counters:
                self.counter(state, value).restore(kept)
            state.approved = {value: Approved(tuple(units), until) for value, units, until in approved}
            state.over = deque((at, value) for at, value in over)
            state.closed = closed
        self.runs = {task: Run(tuple((n, b, v) for n, b, v in places), model) for task, places, model in runs}
        self.due = moment(min(self.ends.values())) if self.ends else NEVER

    def wrong(self) -> Iterator[str]:
        """What of the counts is not as it must be."""
        for state in self.states.values():
            for value, counter in state.counters.items():
                if min((*counter.used, *counter.held, counter.committed)) < 0:
                    yield f"{state.rule.name} of {value} counts {counter.used}, {counter.held}, {counter.committed}"
        count = sum(len(state.counters) for state in self.states.values())
        if count != self.count:
            yield f"{self.count} counters are said to be there, there are {count}"


def moment(at: int) -> dt.datetime:
    """Microseconds since 1970 as a time."""
    return EPOCH + dt.timedelta(microseconds=at) if at < _LAST else NEVER


_LAST = (NEVER - EPOCH) // dt.timedelta(microseconds=1)
