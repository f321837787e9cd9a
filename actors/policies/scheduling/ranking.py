"""Who goes first of those that wait (spec 3, "Ranking").

    score = priority x weight of the level + wait x minutes waiting / max_wait_time_minutes + blocking x blocked / open

with the weights of ``scoring`` and ``priority_levels``. The score alone does not prevent starvation: levels grow
older at different speeds, and one slot with a steady surplus of high tasks would keep a low one out for ever. So a
task whose priority and wait terms together reach ``scoring.priority + scoring.wait`` is *aged*, and aged tasks go
first, the oldest of them before the others, whatever their product.

Everything that an order depends on is exact: fractions of the configured decimals, and whole microseconds. Within one
level and one number of blocked tasks the score is never lower for who waits longer; the queue is built on that.
"""

import datetime as dt
import math
from collections.abc import Callable, Container
from fractions import Fraction
from typing import NamedTuple

from tallystick.actors.policies.scheduling.tasks import Waiting
from tallystick.config.kinds import Priority
from tallystick.config.settings import Config, PriorityLevel
from tallystick.events.messages import PRIORITIES
from tallystick.events.state.slot_time import micros

_MINUTE_MICROS = 60_000_000
_AGED, _BEFORE, _BEHIND = 0, 1, 2

Order = tuple[int, int, int, int]
"""Where a task stands, the first least: group of precedence, minus the scaled score, moment of queueing, number."""


class Moment(NamedTuple):
    """What a ranking depends on besides the tasks themselves.

    ``open_tasks`` are all that are not finished, so at least those that wait. ``above`` holds the products that have
    used more than their share of late.
    """

    now: dt.datetime
    open_tasks: int
    above: Container[str] = frozenset()


class Terms(NamedTuple):
    """The three terms of a score, exactly."""

    priority: Fraction
    wait: Fraction
    blocking: Fraction

    @property
    def score(self) -> Fraction:
        return self.priority + self.wait + self.blocking


class _Level(NamedTuple):
    """A level's part of the score. ``wait`` is there from the start, ``per_micro`` is added by each microsecond.

    ``aged_after`` is in microseconds, None where no wait is long enough.
    """

    priority: Fraction
    wait: Fraction
    per_micro: Fraction
    aged_after: int | None


class Ranking:
    """The configured weights, ready to rank by."""

    def __init__(self, config: Config) -> None:
        scoring = config.scoring
        self._blocking = Fraction(scoring.blocking)
        self._levels = {
            priority: _level(config.priority_levels.of(priority), Fraction(scoring.priority), Fraction(scoring.wait))
            for priority in PRIORITIES
        }
        parts = [self._blocking]
        for level in self._levels.values():
            parts += (level.priority, level.wait, level.per_micro)
        # Scores are compared as whole numbers, in units of their common denominator.
        unit = math.lcm(*(part.denominator for part in parts))
        self._blocking_units = int(self._blocking * unit)
        self._units = {
            priority: (int((level.priority + level.wait) * unit), int(level.per_micro * unit), level.aged_after)
            for priority, level in self._levels.items()
        }

    def terms(self, waiting: Waiting, moment: Moment) -> Terms:
        """The terms of a task's score at a moment, for people and for the record."""
        level = self._levels[waiting.kind.priority]
        waited = max(0, micros(moment.now) - micros(waiting.queued_at))
        blocking = self._blocking * Fraction(waiting.blocked, moment.open_tasks)
        return Terms(level.priority, level.wait + level.per_micro * waited, blocking)

    def aged_after(self, priority: Priority) -> dt.timedelta | None:
        """How long a task of a level waits until it is aged; None where it never is."""
        aged_after = self._levels[priority].aged_after
        return None if aged_after is None else dt.timedelta(microseconds=aged_after)

    def is_aged_at_once(self, priority: Priority) -> bool:
        """Whether a task of a level is aged from the start."""
        return self._levels[priority].aged_after == 0

    def ordering(self, moment: Moment) -> Callable[[int, Waiting], Order]:
        """A function that says where a task stands at a moment, from its microseconds of queueing and itself.

        1. Aged tasks, the oldest first. 2. Tasks of products that had no more than their share, and critical ones; the
        highest score first. 3. The others, likewise. Ties: who was queued earlier, then who was submitted earlier.
        """
        now, open_tasks, above = micros(moment.now), moment.open_tasks, moment.above
        levels, blocking, highest = self._units, self._blocking_units, PRIORITIES[0]

        def order(queued: int, waiting: Waiting) -> Order:
            kind = waiting.kind
            units, per_micro, aged_after = levels[kind.priority]
            # A clock that was set back makes no task younger than new.
            waited = now - queued if now > queued else 0
            if aged_after is not None and waited >= aged_after:
                return (_AGED, 0, queued, waiting.number)
            score = open_tasks * (units + per_micro * waited) + blocking * waiting.blocked
            behind = kind.product in above and kind.priority != highest
            return (_BEHIND if behind else _BEFORE, -score, queued, waiting.number)

        return order


def _level(level: PriorityLevel, priority: Fraction, wait: Fraction) -> _Level:
    """The level's part of the score under the weights ``priority`` and ``wait``.

    Where the longest wait is none, the wait ratio is 1. It is aged at once whatever its weight: that is the limit
    of the formula as the longest wait goes to nothing, and otherwise it would never be.
    """
    weight, longest = Fraction(level.weight), Fraction(level.max_wait_time_minutes) * _MINUTE_MICROS
    if not longest:
        return _Level(priority * weight, wait, Fraction(0), 0)
    per_micro = wait / longest
    # priority x weight + per_micro x waited >= priority + wait, solved for the wait.
    lacking = priority + wait - priority * weight
    if not per_micro:
        return _Level(priority * weight, Fraction(0), per_micro, None if lacking > 0 else 0)
    return _Level(priority * weight, Fraction(0), per_micro, max(0, math.ceil(lacking / per_micro)))


def is_aged(order: Order) -> bool:
    """Whether an order is that of an aged task."""
    return order[0] == _AGED
