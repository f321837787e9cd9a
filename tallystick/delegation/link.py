"""Keeps a running child together with its parent, on a thread of its own: it asks, gives back, reports and listens."""

import datetime as dt
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import structlog

from tallystick.config.amounts import Budget, InvalidAmount, Triple
from tallystick.delegation.child_state import child_state_of
from tallystick.delegation.exchange import Exchange
from tallystick.delegation.identity import identity
from tallystick.delegation.parents import Away, Parent, parent_at
from tallystick.delegation.rules import Rules
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.log.store import Store, StoreError
from tallystick.events.state.ledger import Ledger

LOOK_SECONDS: Final = 2.0
"""How often a child asks how its account stands: a stop of the parent's acts within this, and an answer's time."""
_ROUNDS: Final = 4
"""How many exchanges follow one another at most where each leads to the next."""
log = structlog.wrap_logger(logging.getLogger("tallystick.delegation"))


class BehindParent(StoreError):
    """The parent knows more of a child's log than there is: it is an old copy, and must not be written."""


class Answered(NamedTuple):
    """So many seconds ago the parent answered last, or, before its first answer, the fleet was opened."""

    seconds: float
    is_away: bool
    """It did not answer when it was asked last."""


class Link:
    """The exchange of one running fleet.

    ``record`` decides and commits a command of the fleet's own. The ledger is read from this thread while it may
    change: what is read only says what to ask for; whether that is right is decided in the manager's turn.
    """

    def __init__(
        self,
        exchange: Exchange,
        parent: Parent,
        ledger: Ledger,
        record: Callable[[c.Command], dict[str, Any]],
        now: Callable[[], dt.datetime],
        halt: Callable[[str], None],
    ) -> None:
        self._exchange, self._parent, self._ledger = exchange, parent, ledger
        self._record, self._now, self._halt = record, now, halt
        self._wanted: queue.SimpleQueue[Triple] = queue.SimpleQueue()
        self._wake, self._stopped = threading.Event(), threading.Event()
        self._problem: str | None = None
        self._answered_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="delegation", daemon=True)

    def begin(self) -> None:
        """Ask the parent once, and go on asking.

        Raises:
            BehindParent: this log is an old copy.
        """
        self._look()
        self._thread.start()

    def stop(self) -> None:
        """Exchange nothing more. What is under way is in the log."""
        self._stopped.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        self._parent.close()

    def follow(self, events: Sequence[e.Event]) -> None:
        """What was recorded: where something was refused for want of budget, more is asked for at once."""
        for event in events:
            if type(event) is e.RequestRefused and event.code == "pool_exhausted":
                wanted = event.numbers.get("requested")
                if wanted:
                    self._wanted.put(_units(wanted))
                    self._wake.set()
            elif type(event) is e.DelegationEnded:
                self._wake.set()

    @property
    def answered(self) -> Answered:
        """When the parent answered last."""
        return Answered(time.monotonic() - self._answered_at, self._problem is not None)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._wake.wait(LOOK_SECONDS)
            self._wake.clear()
            if self._stopped.is_set():
                return
            try:
                self._look()
            except BehindParent as error:
                self._halt(str(error))
                return
            except Exception:
                # As where the fleet itself does not answer in time. What is under way is in its log, and goes on there.
                log.exception("exchange_failed")

    def _look(self) -> None:
        """Exchange until nothing follows from it."""
        while not self._wanted.empty():
            self._exchange.rules.want(self._wanted.get())
        for _ in range(_ROUNDS):
            self._decide()
            before = self._stands()
            if not self._together() or self._stands() == before:
                return

    def _stands(self) -> tuple[int, bool]:
        """What tells whether something follows from an exchange: what was recorded, and the first answer."""
        return self._ledger.position, self._exchange.answered

    def _decide(self) -> None:
        """Record what is to be asked for or reported, before it is sent."""
        for _ in range(2):
            wish = self._exchange.wish(child_state_of(self._ledger), self._now())
            if wish is None or "error" in self._record(wish):
                return

    def _together(self) -> bool:
        """Send what is under way and take the answers; whether the parent was there."""
        sent = self._exchange.messages(child_state_of(self._ledger))
        try:
            replies = self._parent.ask(sent)
        except Away as error:
            self._note("parent_away", str(error))
            return False
        command = self._exchange.heard(sent, replies, self._now())
        if command is None:
            refused = [one["error"]["detail"] for one in replies if "error" in one]
            if refused:
                self._note("parent_refuses", refused[-1])
            return False
        if self._problem is not None:
            log.info("parent_back")
        self._problem, self._answered_at = None, time.monotonic()
        answer = self._record(command)
        if "error" in answer and answer["error"]["code"] == "behind_parent":
            raise BehindParent(answer["error"]["detail"])
        if "error" in answer:
            return False
        self._exchange.recorded(command)
        return True

    def _note(self, problem: str, reason: str) -> None:
        """Log the first of a series."""
        if problem != self._problem:
            log.warning(problem, reason=reason, instead="this fleet goes on within what it has")
        self._problem = problem


def link_of(
    store: Store,
    ledger: Ledger,
    record: Callable[[c.Command], dict[str, Any]],
    now: Callable[[], dt.datetime],
    halt: Callable[[str], None],
) -> Link:
    """The link of a fleet whose configuration names a parent."""
    config = ledger.rules.config
    assert config.delegate is not None, "the total of the fleet comes from a parent"
    parent = parent_at(config.delegate.parents, config.delegate.account, os.environ)
    idle, reserve = float(config.reallocation.idle_seconds), ledger.rules.reserve_part
    rules = Rules(config.delegate.budget.amounts, idle, reserve)
    return Link(Exchange(identity(store), rules, ledger.position), parent, ledger, record, now, halt)


def _units(shown: dict[str, Any]) -> Triple:
    try:
        return msgspec.convert(shown, Budget, strict=False).exact("requested")
    except (InvalidAmount, msgspec.ValidationError):
        return (None, None, None)
