"""The day at hand in the fleet's time zone: what was used in it, what it may still use, and what was decided for it.

What the fleet has used today is all that it has spent less what had been spent when the day began: no report pays for
it. Only what no total tells is counted: tokens by product, and what holds and running tasks may still use.
"""

import datetime as dt
from collections import Counter, deque
from typing import Any

from tallystick.config.amounts import COST, TOKENS, Amounts
from tallystick.events.catalog.event import EPOCH
from tallystick.events.state.money import ZERO, Money

FAR = 2**200
"""More than anything is ever used: a line that is never reached."""
DAILY_ALERTS = ("daily_tokens_near", "daily_tokens_reached", "daily_cost_near", "daily_cost_reached")
"""The codes of the alerts that are given once per day."""
_HOUR_AND_A_MINUTE = dt.timedelta(minutes=61)


class Watch:
    """How far everything may go before there is something to decide: all that a report compares with.

    A cache, made by `breaker.record_crossings` and thrown away whenever what it rests on changes. ``spent`` are tokens
    and nano-dollars of all usage ever, ``committed`` what is spent and held by dimension; ``running`` and ``queued``
    are how many tasks ran and waited at the last look, None where no condition asks. ``full`` are the tokens and
    nano-dollars, spent and held, at which the day's limits leave no room for another hold.
    """

    __slots__ = ("committed", "full", "queued", "running", "spent")

    def __init__(
        self,
        spent: tuple[int, int],
        committed: Money,
        running: int | None,
        queued: int | None,
        full: tuple[int, int],
    ) -> None:
        self.spent = spent
        self.full = full
        self.committed = committed
        self.running = running
        self.queued = queued


class Day:
    """One day. ``date`` is None until a configuration says in which zone; ``ends_at`` is when the next one begins."""

    __slots__ = (
        "alerts",
        "approved",
        "began",
        "by_product",
        "date",
        "ends_at",
        "held_by_product",
        "marks",
        "mix",
        "opening",
        "silenced",
        "tripped",
    )

    def __init__(self) -> None:
        self.date: str | None = None
        self.ends_at = EPOCH
        self.opening: Money = ZERO
        """What had been spent when the day began."""
        self.by_product: Counter[str] = Counter()
        """Tokens of today."""
        self.alerts: dict[str, None] = {}
        """The alerts of today: each is given once."""
        self.approved = Amounts()
        """Limits that an operator has raised for today."""
        self.tripped: str | None = None
        """The condition that has opened the breaker; None while it is closed."""
        self.silenced: dict[str, None] = {}
        """Conditions that do not trip it any more today."""

        self.held_by_product: Counter[str] = Counter()
        """Tokens that are set aside, whatever the day."""
        self.mix = [0, 0, 0]
        """Tokens of all reports that say so: input (the cached part included), output, cached."""
        self.marks: deque[tuple[dt.datetime, int, int]] = deque()
        """When minutes began in which something happened, each with all tokens and nano-dollars spent before: those of
        the last hour."""

        self.began = 0
        """The position at which this day began."""

    # --- changing -----------------------------------------------------------------------------------------------------

    def enter(self, date: str, ends_at: dt.datetime, spent: list[int], position: int) -> None:
        """It is this day from a position on. Where it was already, only its end may be another."""
        self.ends_at = ends_at
        if date == self.date:
            return
        self.date = date
        self.began = position
        self.opening = (spent[0], spent[1], spent[2])
        self.by_product.clear()
        self.alerts = {}
        self.approved = Amounts()
        self.tripped = None
        self.silenced = {}

    def mark(self, at: dt.datetime, spent: list[int]) -> None:
        """Note that a minute begins, before anything is spent in it, and forget those that are too old."""
        marks = self.marks
        marks.append((at, spent[TOKENS], spent[COST]))
        while marks[0][0] <= at - _HOUR_AND_A_MINUTE:
            marks.popleft()

    def correct(self, at: dt.datetime, tokens: int, cost_nanos: int) -> None:
        """So much more, or less, was spent at an earlier moment: it counts in the last hour only if that is in it."""
        for place, (began, spent, cost) in enumerate(self.marks):
            if began > at:
                self.marks[place] = (began, spent + tokens, cost + cost_nanos)

    def counts(self, date: str | None) -> bool:
        """Whether what counts on a date counts today; None: it is of no other day."""
        return date is None or self.date is None or date >= self.date

    # --- looking ------------------------------------------------------------------------------------------------------

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

    # --- the snapshot -------------------------------------------------------------------------------------------------

    def dump(self) -> list[Any]:
        """All of it as plain values, equal for equal days. What is held is found again from the holds."""
        return [
            self.date,
            self.ends_at,
            self.opening,
            dict(self.by_product),
            list(self.alerts),
            self.approved.triple,
            self.tripped,
            list(self.silenced),
            self.mix,
            self.began,
            [list(mark) for mark in self.marks],
        ]

    @classmethod
    def load(cls, dumped: list[Any]) -> "Day":
        """What `dump` gave, also after it was JSON."""
        day = cls()
        date, ends_at, opening, by_product, alerts, approved, tripped, silenced, mix, began, marks = dumped
        day.date, day.ends_at, day.tripped = date, _moment(ends_at), tripped
        day.opening = (opening[0], opening[1], opening[2])
        day.by_product, day.approved, day.mix = Counter(by_product), Amounts(*approved), list(mix)
        day.alerts, day.silenced = dict.fromkeys(alerts), dict.fromkeys(silenced)
        day.marks = deque((_moment(at), tokens, cost_nanos) for at, tokens, cost_nanos in marks)
        day.began = began
        return day


def _moment(at: "dt.datetime | str") -> dt.datetime:
    return at if isinstance(at, dt.datetime) else dt.datetime.fromisoformat(at)
