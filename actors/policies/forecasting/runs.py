"""What is known of the run of each open agent: its steps, its pace, and the forecasts of it.

A run begins with the first report of an account. How usage grows, and the forecasts that wait for their outcome, are
kept by the ledger too, so that a tracker which begins anew loses nothing of them; the pace is soon learnt again.
"""

import datetime as dt
import sys
from typing import Any

from tallystick.actors.policies.forecasting.anomalies import Streak
from tallystick.actors.policies.forecasting.durations import pace
from tallystick.events.catalog.forecasts import Prediction
from tallystick.events.state.accounts import Account
from tallystick.events.state.growth import NO_STEPS, Growth, observed
from tallystick.events.state.history import Known
from tallystick.events.state.ledger import Ledger

_MS = dt.timedelta(milliseconds=1)


class Run:
    """One open agent's steps so far; a step is a report of usage."""

    __slots__ = (
        "alerted",
        "began_at",
        "began_with",
        "forecasts",
        "growth",
        "last_at",
        "looked_at",
        "model",
        "streak_amount",
        "streak_steps",
    )

    def __init__(self, at: dt.datetime) -> None:
        self.growth = NO_STEPS
        """How usage grows."""
        self.forecasts: list[Prediction] | None = None
        """The forecasts that cannot be scored yet; None for none."""
        self.model: str | None = None
        self.began_at = self.last_at = self.looked_at = at
        """Since when steps have been timed; the last one; and when it was last asked how long the budget will last."""
        self.began_with = 0.0
        """The steps that had been made before they were timed."""
        self.alerted = False
        """Its exhaustion was reported as near, and has not moved away since."""
        self.streak_amount = self.streak_steps = 0
        """The `Streak` of the last steps, without an object of its own: every open agent has one."""

    @classmethod
    def of(cls, account: Account) -> "Run":
        """The run as the ledger remembers it."""
        at = account.last_report_at or account.opened_at
        run = cls(at)
        run.growth = account.growth
        run.forecasts, run.model = account.forecasts, account.model
        run.began_with = Growth.read(run.growth).steps
        run.alerted = account.warned
        return run

    def step(self, event: Any) -> None:
        """Take in a report."""
        used = (event.tokens, event.time_ms, event.cost_nanos)
        if self.growth is NO_STEPS:
            self.began_at, self.began_with = event.at, 1.0
        self.last_at = event.at
        self.growth = observed(self.growth, used)
        self.streak_amount, self.streak_steps = self.streak.after(used)
        model = getattr(event, "model", None)
        if model is not None and model != self.model:
            self.model = sys.intern(model)

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


def runs_of(ledger: Ledger) -> dict[str, Run]:
    """The runs of all open agents that have reported."""
    return {name: Run.of(account) for name, account in ledger.accounts.items() if account.growth != NO_STEPS}
