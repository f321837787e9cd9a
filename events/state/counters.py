"""Counters: what one value of a limit's scope has used in its window, and what is held and committed in it.

Amounts are whole units by place: a place is the position of a measure among those that the limit bounds. Times are
microseconds since 1970. A calendar counter counts in the window that its limit is in; one that opens at the first use
for as long as it lasts; a rolling one in buckets of at most 1/60 of its window, of which those that may still be within
it count in full: the error is on the safe side.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tallystick.events.state.limit_rules import LimitRule

NEVER_OPENED = -(2**62)
OPENS, NEAR = 1, 2
_RING = 63
"""A rolling window is within so many buckets, wherever it begins."""


class Counter:
    """Of a calendar window, a total, or a window that opens at the first use; ``opened`` says which one it counts."""

    __slots__ = ("alerted", "committed", "held", "models", "opened", "used")

    def __init__(self, places: int) -> None:
        self.used = [0] * places
        self.held = [0] * places
        self.committed = 0
        """Tokens that runs may still use beside what is held."""
        self.models: dict[str, int] | None = None
        """Tokens whose cost runs may still cause, by model; None for none."""
        self.opened = NEVER_OPENED
        self.alerted: dict[str, int] | None = None
        """The percentages of which operators were alerted in this window, and when; None for none."""

    def is_open(self, rule: LimitRule, began: int, now: int) -> bool:
        """Whether what it has used still counts."""
        if rule.kind == "first_use":
            return now < self.opened + rule.length_us
        return self.opened == began

    def used_at(self, rule: LimitRule, place: int, began: int, now: int) -> int:
        """What counts as used now."""
        return self.used[place] if self.is_open(rule, began, now) else 0

    def enter(self, rule: LimitRule, began: int, now: int) -> bool:
        """Something is about to be used: where the window is over, another begins; whether one does."""
        if self.is_open(rule, began, now):
            return False
        self.used = [0] * len(self.used)
        self.alerted = None
        self.opened = now if rule.kind == "first_use" else began
        return True

    def count(self, rule: LimitRule, units: Sequence[int], began: int, now: int) -> int:
        """Something was used, in ``units`` by measure: whether a window begins with it (`OPENS`), and whether what is
        used and held comes to a line, or runs have committed something beside it (`NEAR`). A window that is not of the
        calendar begins with what counts in it only.
        """
        length, said = rule.length_us, NEAR if self.models is not None or self.committed else 0
        if now >= self.opened + length if length else self.opened != began:
            if length and not rule.counts(units):
                return NEAR
            self.enter(rule, began, now)
            said |= OPENS
        used, held = self.used, self.held
        for place, m, line in rule.bounds:
            now_used = used[place] = used[place] + units[m]
            if now_used + held[place] >= line:
                said |= NEAR
        return said

    def count_earlier(self, rule: LimitRule, units: Sequence[int], began: int, at: int, now: int) -> bool:
        """Something was used at ``at``, before now: it counts if it is in the window at hand; whether one begins with
        it. A window that opens at the first use is not opened earlier by what comes to be known later.
        """
        if rule.kind == "first_use" and not self.is_open(rule, began, now):
            if at < self.opened + rule.length_us or at + rule.length_us <= now:
                return False
        elif rule.kind == "first_use" and at < self.opened:
            return False
        return bool(self.count(rule, units, began, at if rule.kind == "first_use" else now) & OPENS)

    def take_back(self, rule: LimitRule, place: int, units: int, began: int, at: int, now: int) -> None:
        """What was counted at ``at`` was not used after all: no more than is counted, as a model may have had another
        name then. Less than nothing: more was used.
        """
        if self.is_open(rule, began, now) and at >= self.opened:
            self.used[place] -= min(units, self.used[place])

    def close_unused(self, rule: LimitRule) -> None:
        """A window in which nothing was used after all is none: the next use is the first."""
        if rule.kind == "first_use" and not any(self.used):
            self.opened = NEVER_OPENED

    def room_at(self, rule: LimitRule, place: int, excess: int, ends: int | None, now: int) -> int | None:
        """When so much of what is used will count no more; None: never."""
        if rule.kind == "first_use":
            return self.opened + rule.length_us
        return ends

    @property
    def is_needed(self) -> bool:
        """Whether something is held or committed in it."""
        return any(self.held) or bool(self.committed) or self.models is not None

    def was_alerted(self, rule: LimitRule, percent: str, now: int) -> bool:
        """Whether operators know of a percentage, in this window."""
        return self.alerted is not None and percent in self.alerted

    def resized(self, rule: LimitRule, before: Sequence[int]) -> None:
        """The limit bounds other measures: what was counted of those that stay is kept."""
        self.used = [self.used[before.index(m)] if m in before else 0 for m in rule.measures]
        self.held = [0] * len(rule.measures)

    def copied(self) -> "Counter":
        """Another one that is as this one is now."""
        twin = type(self).__new__(type(self))
        twin.used, twin.held, twin.committed = [*self.used], [*self.held], self.committed
        twin.models = None if self.models is None else dict(self.models)
        twin.opened = self.opened
        twin.alerted = None if self.alerted is None else dict(self.alerted)
        return twin

    # --- the snapshot: what is held and committed is found again ------------------------------------------------------

    def dump(self) -> list[Any]:
        return [self.used, self.opened, self.alerted]

    def restore(self, dumped: list[Any]) -> None:
        self.used, self.opened, self.alerted = list(dumped[0]), dumped[1], dumped[2]


class RollingCounter(Counter):
    """Of a rolling window. ``used`` are the sums of all buckets from ``opened`` (a bucket's number) to ``last``."""

    __slots__ = ("last", "ring")

    def __init__(self, places: int) -> None:
        super().__init__(places)
        self.last = NEVER_OPENED
        self.ring: array[int] | list[int] = _NO_RING
        """By place, a ring: of bucket ``n`` the amount is at ``n % _RING``. It takes four bytes for each, or more where
        an amount needs them; none before the first use."""

    def first(self, rule: LimitRule, now: int) -> int:
        """The oldest bucket of which something may still be within the window."""
        return (now - rule.length_us) // rule.bucket_us

    def is_open(self, rule: LimitRule, began: int, now: int) -> bool:
        return self.last >= self.first(rule, now)

    def used_at(self, rule: LimitRule, place: int, began: int, now: int) -> int:
        first = self.first(rule, now)
        if first <= self.opened:
            return self.used[place]
        if first > self.last:
            return 0
        ring, begins = self.ring, place * _RING
        return self.used[place] - sum(ring[begins + n % _RING] for n in range(self.opened, first))

    def enter(self, rule: LimitRule, began: int, now: int) -> bool:
        first, at = self.first(rule, now), now // rule.bucket_us
        if first > self.last:
            self.ring = array("i", bytes(4 * _RING * len(self.used)))
            self.used = [0] * len(self.used)
            self.opened = self.last = at
            return True
        ring = self.ring
        for n in range(self.opened, first):
            for place in range(len(self.used)):
                slot = place * _RING + n % _RING
                self.used[place] -= ring[slot]
                ring[slot] = 0
        self.opened, self.last = max(self.opened, first), at
        return False

    def count(self, rule: LimitRule, units: Sequence[int], began: int, now: int) -> int:
        at, said = now // rule.bucket_us, NEAR if self.models is not None or self.committed else 0
        # Within a bucket nothing has to be made room for.
        if at != self.last:
            if not rule.counts(units):
                return NEAR
            if self.enter(rule, began, now):
                said |= OPENS
        used, held, ring, slot = self.used, self.held, self.ring, at % _RING
        for place, m, line in rule.bounds:
            more = units[m]
            now_used = used[place] = used[place] + more
            if now_used + held[place] >= line:
                said |= NEAR
            if more:
                try:
                    ring[slot] += more
                except OverflowError:
                    self._add(slot, more)
                    ring = self.ring
            slot += _RING
        return said

    def _add(self, slot: int, units: int) -> None:
        while True:
            try:
                self.ring[slot] += units
            except OverflowError:
                self.ring = _wider(self.ring)
            else:
                return

    def count_earlier(self, rule: LimitRule, units: Sequence[int], began: int, at: int, now: int) -> bool:
        bucket = at // rule.bucket_us
        if bucket < self.first(rule, now):
            return False
        opens = self.enter(rule, began, now)
        # What lies between is empty: it has left the window, or nothing was used in it.
        self.opened = min(self.opened, bucket)
        for place, m in enumerate(rule.measures):
            if units[m]:
                self.used[place] += units[m]
                self._add(place * _RING + bucket % _RING, units[m])
        return opens

    def take_back(self, rule: LimitRule, place: int, units: int, began: int, at: int, now: int) -> None:
        bucket = at // rule.bucket_us
        if self.opened <= bucket <= self.last and bucket >= self.first(rule, now):
            slot = place * _RING + bucket % _RING
            units = min(units, self.ring[slot])
            self.used[place] -= units
            self._add(slot, -units)

    def room_at(self, rule: LimitRule, place: int, excess: int, ends: int | None, now: int) -> int | None:
        for n in self._within(rule, now):
            excess -= self.ring[place * _RING + n % _RING]
            if excess <= 0:
                return (n + 1) * rule.bucket_us + rule.length_us
        return None

    def _within(self, rule: LimitRule, now: int) -> Iterator[int]:
        return iter(range(max(self.opened, self.first(rule, now)), self.last + 1))

    def was_alerted(self, rule: LimitRule, percent: str, now: int) -> bool:
        """In a rolling window, once in its length."""
        return self.alerted is not None and now < self.alerted.get(percent, NEVER_OPENED) + rule.length_us

    def resized(self, rule: LimitRule, before: Sequence[int]) -> None:
        super().resized(rule, before)
        if self.ring:
            self.ring = _ring_of([self._amounts(before.index(m)) if m in before else _EMPTY for m in rule.measures])

    def _amounts(self, place: int) -> Sequence[int]:
        return self.ring[place * _RING : (place + 1) * _RING]

    def copied(self) -> "Counter":
        twin = super().copied()
        assert isinstance(twin, RollingCounter)
        twin.last = self.last
        twin.ring = self.ring[:]
        return twin

    def dump(self) -> list[Any]:
        buckets = range(self.opened, self.last + 1) if self.ring else ()
        amounts = [[self.ring[place * _RING + n % _RING] for n in buckets] for place in range(len(self.used))]
        return [*super().dump(), self.last, amounts]

    def restore(self, dumped: list[Any]) -> None:
        super().restore(dumped[:3])
        self.last = dumped[3]
        rings = []
        for amounts in dumped[4]:
            ring = [0] * _RING
            for n, units in enumerate(amounts, start=self.opened):
                ring[n % _RING] = units
            rings.append(ring)
        if any(dumped[4]):
            self.ring = _ring_of(rings)


_NO_RING = array("i")
_EMPTY = (0,) * _RING


def _ring_of(rings: Iterable[Sequence[int]]) -> "array[int] | list[int]":
    """The amounts of all places, in as few bytes as they need."""
    amounts = [units for ring in rings for units in ring]
    for code in "iq":
        try:
            return array(code, amounts)
        except OverflowError:
            pass
    return amounts


def _wider(ring: "array[int] | list[int]") -> "array[int] | list[int]":
    """The same amounts with twice as many bytes for each; whole numbers of any size where eight are too few."""
    return array("q", ring) if isinstance(ring, array) and ring.typecode == "i" else list(ring)


def new_counter(rule: LimitRule) -> Counter:
    """A counter of which nothing was used."""
    return (RollingCounter if rule.kind == "rolling" else Counter)(len(rule.measures))
