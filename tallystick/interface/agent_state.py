"""What is known of an agent while it works: the newest reply about it, whether it is open, and the model to use."""

from decimal import Decimal
from typing import Any, Final, Literal

import msgspec

from tallystick.events import messages as c
from tallystick.events.messages.replies import Enforcement
from tallystick.interface.heartbeats import PER_LEASE
from tallystick.interface.refusals import Stopped, refusal
from tallystick.interface.steps import Runner

Dollars = int | float | str | Decimal
Seconds = int | float | Decimal
OnCrash = Literal["release", "spend"]
"""What becomes of a hold whose block raised, or whose program died, before it said what was used: it is given back, or
it counts as used, as where the provider may have billed it."""
LEASE_SECONDS: Final = 120.0
GONE: Final = frozenset({"unknown_agent", "already_released"})
"""Refusals of an account that is not open."""


class AgentState:
    """An agent of this program, or the run of a task, for all calls that it makes."""

    def __init__(self, runner: Runner, id: str, on_crash: OnCrash, lease_seconds: float) -> None:
        self.runner = runner
        self.id = id
        self.on_crash = on_crash
        self.lease_seconds = lease_seconds
        self.is_open = False
        self.lost: Stopped | None = None
        """Why it may not go on, where it was ended by others."""
        self.enforcement: Enforcement | None = None
        self._cheaper: dict[str, str] = {}
        """By the model that was asked for, the one to use while the agent is degraded."""
        self.beat_seconds = lease_seconds / PER_LEASE
        self.last_sign = runner.heartbeats.clock()

    def begin(self, *, keep_alive: bool) -> None:
        """It is open from now on."""
        self.is_open = True
        self.last_sign = self.runner.heartbeats.clock()
        if keep_alive:
            self.runner.heartbeats.keep(self)

    def check(self) -> None:
        """Raise what ended it, if something did; that it is not open is a mistake of the program.

        Raises:
            Stopped: its account was released, or its run lost its slot.
        """
        if self.lost is not None:
            raise self.lost
        if not self.is_open:
            raise RuntimeError(f"{self.id} is not open: its calls are made within its block")

    def model_for(self, asked: str | None) -> str | None:
        """The model to use where one is asked for: a cheaper one while the agent is degraded."""
        return None if asked is None else self._cheaper.get(asked, asked)

    def hear(self, reply: Enforcement, asked: str | None = None, used: str | None = None) -> None:
        """Take in a reply; ``asked`` and ``used`` are the models of the call that it answers."""
        self.last_sign = self.runner.heartbeats.clock()
        self.enforcement = reply
        if reply.action != "degrade":
            self._cheaper.clear()
        elif asked is not None and used is not None:
            # Where there is none that is cheaper, it goes on with the one that it used.
            self._cheaper[asked] = reply.model or used

    def report(self, **used: Any) -> c.ReportUsage:
        """The message that says what it used."""
        return c.ReportUsage(id=self.runner.new_id(), agent=self.id, **used)

    # --- as heartbeats see it -----------------------------------------------------------------------------------------

    def sign_of_life(self) -> c.Command | None:
        return c.Heartbeat(agent=self.id) if self.is_open and self.lost is None else None

    def take_answer(self, answer: dict[str, Any]) -> None:
        if "ok" in answer:
            self.enforcement = msgspec.convert(answer["ok"], Enforcement)
        elif answer["error"]["code"] in GONE:
            self.lost = _as_stop(answer["error"])


def _as_stop(error: dict[str, Any]) -> Stopped:
    found = refusal(error)
    return Stopped(found.code, found.message, found.details)
