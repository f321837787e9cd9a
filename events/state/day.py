"""The day at hand in the fleet's time zone: what was used in it, what it may still use, and what was decided for it.

What is used and held is counted as limits count: the fleet's in the one that ``daily_limits`` is short for, a
product's in that of its ``token_budget_daily``. Both count whatever is configured: a maximum that is set later counts
from midnight.
"""

import datetime as dt
from collections import Counter, deque
from copy import copy
from typing import Any

from tallystick.config.amounts import COST, TOKENS, Amounts
from tallystick.config.settings import DailyLimits
from tallystick.events.catalog.event import EPOCH
from tallystick.events.state.counters import Counter as LimitCounter
from tallystick.events.state.counters import new_counter
from tallystick.events.state.limit_forks import states_fork
from tallystick.events.state.limit_rules import FAR, FLEET, LimitIndex, LimitRule, day_rule
from tallystick.events.state.limits import ALL, Approved, LimitState, Match
from tallystick.events.state.money import Money

DAILY_ALERTS = ("daily_tokens_near", "daily_tokens_reached", "daily_cost_near", "daily_cost_reached")
"""The codes of the alerts that are given once per day."""
_MINUTE, _HOUR_AND_A_MINUTE = dt.timedelta(minutes=1), dt.timedelta(minutes=61)


class Watch:
    """How far everything may go before there is something to decide: all that a report compares with.

    A cache, made by `breaker.record_crossings` and thrown away whenever what it rests on changes. ``spent`` are tokens
    and nano-dollars of all usage ever, ``committed`` what is spent and held by dimension; ``running`` and ``queued``
    are how many tasks ran and waited at the last look, None where no condition asks. ``full`` are the tokens and
    nano-dollars, spent and held, at which the day's limits leave no room for another hold. ``quiet`` is the first of
    these lines and those of the fleet's response, in what is spent and held by dimension.
    """

    __slots__ = ("committed", "full", "queued", "quiet", "running", "spent")

    def __init__(
        self,
        spent: tuple[int, int],
        committed: Money,
        running: int | None,
        queued: int | None,
        full: tuple[int, int],
        response: Money,
    ) -> None:
        self.spent = spent
        self.full = full
        self.committed = committed
        self.running = running
        self.queued = queued
        self.quiet = tuple(map(min, committed, response, (full[0], FAR, full[1])))


class Day:
    """One day. ``date`` is None until a configuration says in which zone; ``ends_at`` is when the next one begins."""

    __slots__ = (
        "began",
        "date",
        "ends_at",
        "fleet",
        "marks",
        "mix",
        "near",
        "products",
        "silenced",
        "tripped",
    )

    def __init__(self) -> None:
        self.date: str | None = None
        self.ends_at = EPOCH
        self.fleet = _state_of(day_rule(DailyLimits()), FLEET)
        """The limit that ``daily_limits`` is short for. Its one counter has a place for each dimension."""
        self.products: dict[str, LimitState] = {}
        """By product, the limit that its daily tokens are short for."""
        self.near: Match | None = None
        """The product's limit that the last use has come near to, if any: no part of the state."""
        self.tripped: str | None = None
        """The condition that has opened the breaker; None while it is closed."""
        self.silenced: dict[str, None] = {}
        """Conditions that do not trip it any more today."""

        self.mix = [0, 0, 0]
        """Tokens of all reports that say so: input (the cached part included), output, cached."""
        self.marks: deque[tuple[dt.datetime, int, int]] = deque()
        """When minutes began in which something happened, each with all tokens and nano-dollars spent before: those of
        the last hour."""

        self.began = 0
        """The position at which this day began."""

    # --- changing -----------------------------------------------------------------------------------------------------

    def enter(self, date: str, ends_at: dt.datetime, position: int, began: int) -> None:
        """It is this day from a position and a time in microseconds on. Where it was already, only its end may be
        another.
        """
        self.ends_at = ends_at
        if date == self.date:
            return
        self.date = date
        self.began = position
        _begin(self.fleet, FLEET, began)
        for product, state in [*self.products.items()]:
            if state.rule.is_bounded or state.counters[product].is_needed:
                _begin(state, product, began)
            else:
                del self.products[product]
        self.tripped = None
        self.silenced = {}

    def configure(self, index: LimitIndex, began: int) -> None:
        """Other maxima are in force: what was counted today stays."""
        self.fleet.rule = index.day
        for product, state in self.products.items():
            state.rule = index.product(product)
        for product in index.products:
            self.product(product, index, began)

    def product(self, product: str, index: LimitIndex, began: int) -> LimitState:
        """The limit of a product, made where there is none."""
        state = self.products.get(product)
        if state is None:
            state = self.products[product] = _state_of(index.product(product), product)
            state.counters[product].opened = began
        return state

    def mark(self, at: dt.datetime, spent: list[int]) -> None:
        """Note that a minute begins, before anything is spent in it, and forget those that are too old."""
        marks = self.marks
        marks.append((at, spent[TOKENS], spent[COST]))
        while marks[0][0] <= at - _HOUR_AND_A_MINUTE:
            marks.popleft()

    def correct(self, at: dt.datetime, tokens: int, cost_nanos: int) -> None:
        """So much more, or less, was spent at an earlier moment: it counts in the last hour only if that is in it."""
        marks = self.marks
        later = next((place for place, mark in enumerate(marks) if mark[0] > at), len(marks))
        if later == len(marks):
            return
        in_last_hour = at > marks[-1][0] - _HOUR_AND_A_MINUTE
        if in_last_hour and (later == 0 or marks[later - 1][0] <= at - _MINUTE):
            # Nothing happened in that minute: it begins with what had been spent before the next one.
            marks.insert(later, (at, *marks[later][1:]))
            later += 1
        for place in range(later, len(marks)):
            began, spent, cost = marks[place]
            marks[place] = (began, spent + tokens, cost + cost_nanos)

    def approve(self, limits: Amounts) -> None:
        """The fleet's limits are raised until the day ends."""
        tokens, _, cost_nanos = limits.triple
        self.fleet.approved = {ALL: Approved((tokens, None, cost_nanos, None, None, None, None), None)}

    def counts(self, date: str | None) -> bool:
        """Whether what counts on a date counts today; None: it is of no other day."""
        return date is None or self.date is None or date >= self.date

    # --- looking ------------------------------------------------------------------------------------------------------

    @property
    def counter(self) -> LimitCounter:
        """What the fleet has used today, and what is held, by dimension."""
        return self.fleet.counters[FLEET]

    @property
    def used(self) -> Money:
        """What the fleet has used today."""
        tokens, time_ms, cost_nanos = self.counter.used
        return (tokens, time_ms, cost_nanos)

    @property
    def approved(self) -> Amounts:
        """The fleet's limits as an operator has raised them for today."""
        raised = self.fleet.approved.get(ALL)
        return Amounts() if raised is None else Amounts(tokens=raised.units[TOKENS], cost_nanos=raised.units[COST])

    @property
    def by_product(self) -> Counter[str]:
        """Tokens of today."""
        used = {product: state.counters[product].used[0] for product, state in self.products.items()}
        return Counter({product: tokens for product, tokens in used.items() if tokens})

    @property
    def held_by_product(self) -> Counter[str]:
        """Tokens that are set aside, whatever the day."""
        held = {product: state.counters[product].held[0] for product, state in self.products.items()}
        return Counter({product: tokens for product, tokens in held.items() if tokens})

    def limit_of(self, d: int) -> int | None:
        """The fleet's limit in a dimension, as configured or raised; None where there is none."""
        most = self.fleet.most(FLEET, d, 0)
        return None if most >= FAR else most

    def hour_began(self, now: dt.datetime, spent: list[int]) -> tuple[int, int]:
        """Tokens and nano-dollars that had been spent 60 minutes ago; up to a minute earlier, never later."""
        for at, tokens, cost_nanos in self.marks:
            if at > now - _HOUR_AND_A_MINUTE:
                return tokens, cost_nanos
        return spent[TOKENS], spent[COST]

    def parts(self, tokens: int) -> tuple[int, int, int]:
        """Tokens as input, output and cached ones, in the fleet's measured mix; as input where none is known."""
        whole = self.mix[0] + self.mix[1]
        if not whole:
            return (tokens, 0, 0)
        given = tokens * self.mix[0] // whole
        return (given, tokens - given, tokens * self.mix[2] // whole)

    def twin(self) -> "Day":
        """Another one that is as this one is now; of products, copied when they are first looked at."""
        day = copy(self)
        day.fleet = LimitState(self.fleet.rule, 0, 0)
        day.fleet.counters, day.fleet.approved = {FLEET: self.counter.copied()}, dict(self.fleet.approved)
        day.products = states_fork(self.products)
        day.silenced = dict(self.silenced)
        return day

    # --- the snapshot -------------------------------------------------------------------------------------------------

    def dump(self) -> list[Any]:
        """All of it as plain values, equal for equal days. What is held is found again from the holds."""
        return [
            self.date,
            self.ends_at,
            _dump(self.fleet, FLEET),
            [[product, _dump(state, product)] for product, state in sorted(self.products.items())],
            self.tripped,
            list(self.silenced),
            self.mix,
            self.began,
            [list(mark) for mark in self.marks],
        ]

    @classmethod
    def load(cls, dumped: list[Any], index: LimitIndex) -> "Day":
        """What `dump` gave, also after it was JSON."""
        day = cls()
        date, ends_at, fleet, products, tripped, silenced, mix, began, marks = dumped
        day.date, day.ends_at, day.tripped = date, _moment(ends_at), tripped
        day.fleet.rule, day.mix = index.day, list(mix)
        _restore(day.fleet, FLEET, fleet)
        for product, kept in products:
            _restore(day.product(product, index, 0), product, kept)
        day.silenced = dict.fromkeys(silenced)
        day.marks = deque((_moment(at), tokens, cost_nanos) for at, tokens, cost_nanos in marks)
        day.began = began
        return day


def _state_of(rule: LimitRule, value: str) -> LimitState:
    state = LimitState(rule, 0, 0)
    state.counters[value] = new_counter(rule)
    return state


def _begin(state: LimitState, value: str, began: int) -> None:
    """Nothing is used of a limit, and it is as it is configured; what is held stays."""
    state.approved = {}
    state.counters[value].enter(state.rule, began, began)


def _dump(state: LimitState, value: str) -> list[Any]:
    approved = [[key, list(raised.units), raised.until] for key, raised in state.approved.items()]
    return [state.counters[value].dump(), approved]


def _restore(state: LimitState, value: str, dumped: list[Any]) -> None:
    counter, approved = dumped
    state.counters[value].restore(counter)
    state.approved = {key: Approved(tuple(units), until) for key, units, until in approved}


def _moment(at: "dt.datetime | str") -> dt.datetime:
    return at if isinstance(at, dt.datetime) else dt.datetime.fromisoformat(at)
