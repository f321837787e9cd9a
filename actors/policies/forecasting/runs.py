"""What is known of the run of each open agent beside its account: its pace, and the forecasts of it.

A run begins with the first report of an account. How usage grows, and the forecasts that wait for their outcome, are
kept by the ledger too, so that a tracker which begins anew loses nothing of them; the pace is soon learnt again.
"""

import datetime as dt
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from typing import Any

import msgspec

from tallystick.actors.policies.forecasting.anomalies import Streak
from tallystick.actors.policies.forecasting.durations import pace
from tallystick.events import catalog as e
from tallystick.events.catalog.forecasts import Prediction
from tallystick.events.state.accounts import Account
from tallystick.events.state.growth import NO_STEPS, Growth, observed
from tallystick.events.state.history import Known
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.money import Money, minus, plus

_MS = dt.timedelta(milliseconds=1)


class Run(msgspec.Struct, eq=False, gc=False):
    """One open agent's steps so far; a step is a report of usage. Every agent that reports has one, so it is small."""

    account: Account
    """The ledger's own. When it is closed, it stays as it was then."""
    growth: bytes
    """How usage grows, as of the last step that was looked at: the account's own bytes, so that none are kept twice."""
    began_at: dt.datetime
    """Since when steps have been timed."""
    last_at: dt.datetime
    """The last step."""
    looked_at: dt.datetime
    """When it was last asked how long the budget will last."""
    began_with: float = 0.0
    """The steps that had been made before they were timed."""
    forecasts: list[Prediction] | None = None
    """The forecasts that cannot be scored yet; None for none."""
    alerted: bool = False
    """Its exhaustion was reported as near, and has not moved away since."""
    streak_amount: int = 0
    streak_steps: int = 0
    """The `Streak` of the last steps, without an object of its own."""

    @classmethod
    def of(cls, account: Account, first_at: dt.datetime | None = None) -> "Run":
        """The run as the ledger remembers it; ``first_at``: of its first step, which has come just now."""
        at = first_at or account.last_report_at or account.opened_at
        if first_at is not None:
            return cls(account, NO_STEPS, at, at, at)
        began_with = Growth.read(account.growth).steps
        return cls(account, account.growth, at, at, at, began_with, account.forecasts, account.warned)

    def take(self, last_at: dt.datetime, streak: Streak, growth: bytes) -> None:
        """Take in reports, the last of which came at ``last_at``: usage grows by ``growth`` after them."""
        if self.growth == NO_STEPS:
            self.began_with = 1.0
        self.last_at = last_at
        self.growth = growth
        self.streak_amount, self.streak_steps = streak.amount, streak.steps

    @property
    def model(self) -> str | None:
        """The model of its last step that named one."""
        return self.account.model

    @property
    def streak(self) -> Streak:
        """How many of the last steps used about the same tokens."""
        return Streak(self.streak_amount, self.streak_steps)

    @property
    def steps(self) -> int:
        """How often the agent has reported."""
        return int(Growth.read(self.growth).steps)

    def pace(self, known: Known) -> float | None:
        """Seconds that a step takes; None where it is not known."""
        elapsed = self.last_at - self.began_at
        return pace(elapsed / _MS, self.steps - self.began_with, known)


def is_step(event: Any) -> bool:
    """Whether usage is a report of the agent's, as the growth of its account counts them."""
    return type(event) is not e.HoldSpent


class Runs(Mapping[str, Run]):
    """The runs of all open agents that have reported, by the names of their accounts.

    Those that have not are in the same dictionary: a second one would be as large, and keep its size as they report.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._agents: dict[str, Run | Account] = {
            name: account if account.growth == NO_STEPS else Run.of(account)
            for name, account in ledger.accounts.items()
        }
        self._begun = sum(type(one) is Run for one in self._agents.values())

    def open(self, account: Account) -> None:
        """An account has opened, which has not reported."""
        self.close(account.id)
        self._agents[account.id] = account

    def begin(self, agent: str, at: dt.datetime) -> Run | None:
        """The run of an agent that reports for the first time; None where no such account is open."""
        account = self.silent(agent)
        if account is None:
            return None
        self._begun += 1
        # Under the name that the account keeps: every event brings a string of its own.
        run = self._agents[account.id] = Run.of(account, at)
        return run

    def close(self, agent: str) -> Run | None:
        """An account is not open any more: its run, if it has reported."""
        one = self._agents.pop(agent, None)
        if not isinstance(one, Run):
            return None
        self._begun -= 1
        return one

    def silent(self, agent: str) -> Account | None:
        """An open account that has not reported."""
        one = self._agents.get(agent)
        return one if isinstance(one, Account) else None

    def get(self, agent: str, default: Any = None) -> Any:
        # Every report passes here.
        one = self._agents.get(agent)
        return one if type(one) is Run else default

    def __getitem__(self, agent: str) -> Run:
        one = self._agents[agent]
        if isinstance(one, Run):
            return one
        raise KeyError(agent)

    def __iter__(self) -> Iterator[str]:
        return (name for name, one in self._agents.items() if type(one) is Run)

    def __len__(self) -> int:
        return self._begun


# --- accounts as they were within a batch -----------------------------------------------------------------------------


def as_before(account: Account, events: Sequence[Any]) -> Account:
    """A copy of an account with what it had used before the newest reports that it has taken in."""
    before = copy(account)
    for event in events:
        before.spent = minus(before.spent, _charged(event))
    return before


def stand_in(event: e.BudgetAllocated) -> Account:
    """In place of an account that was opened and closed within one batch: without a parent, as no other agent's is."""
    return Account.open(event.agent, None, event.amount.triple, event.at, agent_type=event.agent_type)


def use(account: Account, events: Iterable[Any]) -> None:
    """Let a stand-in take in some reports."""
    for event in events:
        charge(account, event)
        if is_step(event):
            account.growth = observed(account.growth, (event.tokens, event.time_ms, event.cost_nanos))
        if event.model is not None:
            account.model = sys.intern(event.model)


def charge(account: Account, event: Any) -> None:
    """Let an account that is not the ledger's own be charged with a report."""
    account.spent = plus(account.spent, _charged(event))


def _charged(event: Any) -> Money:
    """What of a report its agent's own account was charged with."""
    return (event.tokens, event.time_ms, event.cost_nanos) if event.overdrawn is None else (0, 0, 0)
