"""Counters: what one value of a limit's scope has used in its window, and what is held and committed in it.

Amounts are whole units by place: a place is the position of a measure among those that the limit bounds. Times are
microseconds since 1970. A calendar counter counts in the window that its limit is in; one that opens at the first use
for as long as it lasts; a rolling one in buckets of at most 1/60 of its window, of which those that may still be within
it count in full: the error is on the safe side.
"""

from array import array
from collections.abc import Iterator, Sequence
from typing import Any

from tallystick.events.state.limit_rules import LimitRule

NEVER_OPENED = -(2**62)
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

    def count(self, rule: LimitRule, units: Sequence[int], began: int, now: int) -> bool:
        """Something was used, in ``units`` by measure; whether a window begins with it."""
        opens = self.enter(rule, began, now)
        used = self.used
        for place, m in enumerate(rule.measures):
            used[place] += units[m]
        return opens

    def count_earlier(self, rule: LimitRule, units: Sequence[int], began: int, at: int, now: int) -> bool:
        """Something was used at ``at``, before now: it counts if it is in the window at hand; whether one begins with
        it. A window that opens at the first use is not opened earlier by what comes to be known later.
        """
        if rule.kind == "first_use" and not self.is_open(rule, began, now):
            if at < self.opened + rule.length_us or at + rule.length_us <= now:
                return False
        elif rule.kind == "first_use" and at < self.opened:
            return False
        return self.count(rule, units, began, at if rule.kind == "first_use" else now)

    def take_back(self, rule: LimitRule, place: int, units: int, began: int, at: int, now: int) -> None:
        """What was counted at ``at`` was not used after all."""
        if self.is_open(rule, began, now) and at >= self.opened:
            self.used[place] -= units

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

    __slots__ = ("buckets", "last")

    def __init__(self, places: int) -> None:
        super().__init__(places)
        self.last = NEVER_OPENED
        self.buckets: list[array[int] | list[int]] = []
        """By place, a ring: of bucket ``n`` the amount is at ``n % _RING``."""

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
        ring = self.buckets[place]
        return self.used[place] - sum(ring[n % _RING] for n in range(self.opened, first))

    def enter(self, rule: LimitRule, began: int, now: int) -> bool:
        first, at = self.first(rule, now), now // rule.bucket_us
        if first > self.last:
            self.buckets = [array("q", bytes(8 * _RING)) for _ in self.used]
            self.used = [0] * len(self.used)
            self.opened = self.last = at
            return True
        for n in range(self.opened, first):
            for place, ring in enumerate(self.buckets):
                self.used[place] -= ring[n % _RING]
                ring[n % _RING] = 0
        self.opened, self.last = max(self.opened, first), at
        return False

    def count(self, rule: LimitRule, units: Sequence[int], began: int, now: int) -> bool:
        at = now // rule.bucket_us
        # Within a bucket nothing has to be made room for.
        opens = at != self.last and self.enter(rule, began, now)
        self._add(rule, units, at)
        return opens

    def _add(self, rule: LimitRule, units: Sequence[int], bucket: int) -> None:
        used, buckets, slot = self.used, self.buckets, bucket % _RING
        for place, m in enumerate(rule.measures):
            if units[m]:
                used[place] += units[m]
                try:
                    buckets[place][slot] += units[m]
                except OverflowError:
                    # More than one message can say: rare, and worth the memory.
                    buckets[place] = ring = list(buckets[place])
                    ring[slot] += units[m]

    def count_earlier(self, rule: LimitRule, units: Sequence[int], began: int, at: int, now: int) -> bool:
        bucket = at // rule.bucket_us
        if bucket < self.first(rule, now):
            return False
        opens = self.enter(rule, began, now)
        # What lies between is empty: it has left the window, or nothing was used in it.
        self.opened = min(self.opened, bucket)
        self._add(rule, units, bucket)
        return opens

    def take_back(self, rule: LimitRule, place: int, units: int, began: int, at: int, now: int) -> None:
        bucket = at // rule.bucket_us
        if self.opened <= bucket <= self.last and bucket >= self.first(rule, now):
            self.used[place] -= units
            self.buckets[place][bucket % _RING] -= units

    def room_at(self, rule: LimitRule, place: int, excess: int, ends: int | None, now: int) -> int | None:
        for n in self._within(rule, now):
            excess -= self.buckets[place][n % _RING]
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
        self.buckets = [
            self.buckets[before.index(m)] if m in before and self.buckets else array("q", bytes(8 * _RING))
            for m in rule.measures
        ]

    def copied(self) -> "Counter":
        twin = super().copied()
        assert isinstance(twin, RollingCounter)
        twin.last = self.last
        twin.buckets = [ring[:] for ring in self.buckets]
        return twin

    def dump(self) -> list[Any]:
        buckets = [[ring[n % _RING] for n in range(self.opened, self.last + 1)] for ring in self.buckets]
        return [*super().dump(), self.last, buckets]

    def restore(self, dumped: list[Any]) -> None:
        super().restore(dumped[:3])
        self.last = dumped[3]
        self.buckets = []
        for amounts in dumped[4]:
            fits = all(-(2**63) <= units < 2**63 for units in amounts)
            ring: array[int] | list[int] = array("q", bytes(8 * _RING)) if fits else [0] * _RING
            for n, units in enumerate(amounts, start=self.opened):
                ring[n % _RING] = units
            self.buckets.append(ring)


def new_counter(rule: LimitRule) -> Counter:
    """A counter of which nothing was used."""
    return (RollingCounter if rule.kind == "rolling" else Counter)(len(rule.measures))
