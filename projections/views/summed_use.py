"""Plain reports that come one after the other, added up by agent: to most views, many reports of a minute are one.

A report is plain where nothing is to be said of it but whose it is, when, of which model and how much. Views that can
take sums have a step for `SummedUse`; what is summed is handed to them, and then to the balances, before anything else
happens. The rows are those that the reports one by one lead to (`tests/projections/test_summed_use.py`).
"""

import datetime as dt
from collections.abc import Callable, Sequence
from typing import ClassVar

from tallystick.events.catalog import UsageReported
from tallystick.events.catalog.event import EPOCH
from tallystick.events.evolve.transfers import spend
from tallystick.events.evolve.usage import says_only_use
from tallystick.events.state.accounts import Account, Balances

_MILLISECOND, _MINUTE = dt.timedelta(milliseconds=1), dt.timedelta(minutes=1)


class SummedUse:
    """What one agent has used in a minute, in ``reports`` reports of one model; ``account`` is its open account.

    Fields that a report has, too, have its names: of those that are left out, nothing was said.
    """

    __slots__ = ("account", "at", "cost_nanos", "largest", "model", "pace_ms", "reports", "time_ms", "tokens")

    hold: ClassVar[None] = None
    labels: ClassVar[None] = None
    overdrawn: ClassVar[None] = None

    def __init__(self, account: Account, model: str | None) -> None:
        self.account, self.model = account, model
        self.tokens = self.time_ms = self.cost_nanos = self.reports = 0
        self.at = account.last_report_at or EPOCH
        """When the last of them came; before the first one, the one before them, if there was one."""
        self.largest, self.pace_ms = account.largest, account.pace_ms

    @property
    def agent(self) -> str:
        return self.account.id

    def add(self, event: UsageReported) -> None:
        """One report more."""
        tokens, time_ms, cost_nanos, at = event.tokens, event.time_ms, event.cost_nanos, event.at
        self.tokens += tokens
        self.time_ms += time_ms
        self.cost_nanos += cost_nanos
        self.reports += 1
        most = self.largest
        if tokens > most[0] or time_ms > most[1] or cost_nanos > most[2]:
            self.largest = (max(most[0], tokens), max(most[1], time_ms), max(most[2], cost_nanos))
        if time_ms:
            self.pace_ms = time_ms
        elif self.at is EPOCH:
            self.pace_ms = 0
        elif not event.after_outage:
            self.pace_ms = (at - self.at) // _MILLISECOND
        self.at = at

    def book(self, balances: Balances) -> None:
        """What `evolve.usage.book_report` does for all of them."""
        account, at = self.account, self.at
        spend(balances, account, self)
        account.largest, account.pace_ms = self.largest, self.pace_ms
        account.activity_at = account.last_report_at = at
        account.reclaimed = False
        account.warning = None
        leased = account.leased
        if leased is not None:
            leased.heard_at = max(leased.heard_at, at)


def nothing(view: object, use: SummedUse) -> None:
    """The step of a view to which plain reports mean nothing that is not in the balances."""


class Summing:
    """Reports that are not handed on yet. ``steps`` take what is summed; ``are_alone`` say that one must not be."""

    def __init__(
        self,
        balances: Balances,
        steps: Sequence[Callable[[SummedUse], None]],
        are_alone: Sequence[Callable[[UsageReported], bool]],
    ) -> None:
        self._balances, self._steps, self._are_alone = balances, steps, are_alone
        self._sums: dict[str, SummedUse] = {}
        self._ends = EPOCH
        """The end of the minute at hand."""

    def take(self, event: UsageReported) -> bool:
        """Add a report, if it is plain."""
        account = self._balances.accounts.get(event.agent)
        if account is None or account.run is not None or event.labels or event.unallocated or not says_only_use(event):
            return False
        for is_alone in self._are_alone:
            if is_alone(event):
                return False
        found = self._sums.get(event.agent)
        if event.at >= self._ends or (found is not None and found.model != event.model):
            self.flush()
            self._ends = event.at.replace(second=0, microsecond=0) + _MINUTE
            found = None
        if found is None:
            found = self._sums[event.agent] = SummedUse(account, event.model)
        found.add(event)
        return True

    def flush(self) -> None:
        """Hand on what is summed."""
        if not self._sums:
            return
        sums = [*self._sums.values()]
        self._sums.clear()
        for step in self._steps:
            for one in sums:
                step(one)
        for one in sums:
            one.book(self._balances)
