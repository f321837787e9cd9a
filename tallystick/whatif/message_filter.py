"""What becomes of a recorded message under the other policy: sent as it was, changed, or not sent at all.

A message is a fact: it was sent. But an agent that obeys sends some messages only after an answer that the other policy
does not give. Each rule here is an assumption, and is listed with the result.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Set
from typing import NamedTuple

import msgspec

from tallystick.config.amounts import COST
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide.levels import STOP, enforced
from tallystick.events.messages.replies import Refusal, Reply
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.money import ZERO, Money, minus, plus

STOPPED, NO_ACCOUNT, NOT_BEGUN, REFUSED, SHIFTED = "stopped", "no_account", "not_begun", "refused", "moved"
HISTORY = "history"
REASONS = (STOPPED, NO_ACCOUNT, NOT_BEGUN, REFUSED, SHIFTED, HISTORY)
"""Why usage of the log is not used here: its agent was stopped, or never got an account; its operation was refused a
hold; the settlement of its hold was refused; the run of its task did not begin, or not come so far, or not twice; or it
was used before the period that is at hand here."""

_OPENING = c.AllocateBudget | c.AllocateFromPool
"""Messages that may open the account that is missing."""
_ASKING = c.AllocateBudget | c.AllocateFromPool | c.BorrowFromPool
"""Requests that an agent repeats until they are granted."""
_MISSING_MIN = 1_000


class Saved:
    """Usage of the log that the other policy would have prevented."""

    __slots__ = ("reports", "used")

    def __init__(self) -> None:
        self.reports = 0
        self.used: Money = ZERO

    def add(self, used: Money) -> None:
        self.reports += 1
        self.used = plus(self.used, used)


class Usage(NamedTuple):
    """What an agent reported."""

    agent: str
    used: Money
    id: str = ""
    """Of the message."""
    source: str | None = None


def usage_in(events: Iterable[e.Event]) -> Usage | None:
    """The usage that a message reported, if it did and something was charged for it."""
    for event in events:
        if isinstance(event, e.UsageCorrected) and (event.settles or event.repeats):
            used = event.difference if event.repeats else event.counts.units
            return None if event.record.history else Usage(event.agent, used, event.id, event.source_id)
        if isinstance(event, e.UsageReported | e.HoldSettled) and not isinstance(event, e.HoldSpent):
            used = (event.tokens, event.time_ms, event.cost_nanos)
            return None if event.history else Usage(event.agent, used, event.id, event.source_id)
    return None


class _MissingHold(NamedTuple):
    """A hold that the log has and the other policy did not place: of which agent, and why."""

    agent: str
    why: str


class _OfSource(NamedTuple):
    """What a source has used more in the log than here, by all its messages; by whom, and why, where it is more."""

    agent: str
    reason: str
    difference: Money


class MessageFilter:
    """Which messages are sent under the other policy, and what the missing ones add up to."""

    def __init__(self) -> None:
        self.saved: dict[str, Saved] = {}
        """By agent."""
        self.saved_by_reason = {reason: Saved() for reason in REASONS}
        self.unknown: set[str] = set()
        """Agents that could have done more than the log shows: what they would have used is unknown."""
        self.beyond_log = ZERO
        """Usage that the log does not have: what it refused to record and the other policy does not, and that of
        runs.
        """
        self.beyond_log_by_runs = ZERO
        """Usage of runs that are repeated, go on where the log cut them short, or never ran there."""
        self.reason = REFUSED
        """Why the newest message was not sent."""
        self._missing: dict[str, _MissingHold] = {}
        self._missing_max = _MISSING_MIN
        self._no_log = Ledger()
        """Stands for the log's state where there is none to compare with: no agent is stopped in it."""
        self._stopped_tasks: set[str] = set()
        """Tasks whose run was stopped: what they report as used in all is more than they used here."""
        self.corrected: Set[str] = frozenset()
        """The ids of the messages whose usage the log corrects later."""
        self._saved_as: dict[str, str] = {}
        """Why usage of these was not used here, by their id."""
        self._by_source: dict[str, _OfSource] = {}
        self.stopped_since: Callable[[str], dt.datetime | None] = _unknown
        """Since when an agent has been stopped here; None where it is not, or where that is not known."""
        self._granted_before: set[tuple[type[c.Command], str]] = set()
        """Requests that were granted here and refused in the log: an agent that asks for the same again has it
        already.
        """

    # --- which messages are sent --------------------------------------------------------------------------------------

    def sent(self, command: c.Command, refused: bool, log: Ledger, other: Ledger) -> c.Command | None:
        """What is sent where the log has ``command``, which was ``refused`` there or not; None for nothing.

        Both ledgers are as they were before it.
        """
        self.reason = REFUSED
        found = self._by_hold(command)
        if found is not None:
            found = self._by_agent(found, refused, log, other)
        if found is not None:
            found = self._by_task(found, log, other)
        if found is None and isinstance(command, c.Reserve) and not refused:
            self._note_missing(command, self.reason, log)
        return found

    def sent_by_shifted(self, command: c.Command, other: Ledger) -> c.Command | None:
        """What is sent where a run that started at another time than in the log sends ``command``."""
        found = self._by_hold(command)
        if isinstance(found, c.Reserve) and _is_stopped(other, found.agent):
            self._note_missing(found, STOPPED, other)
            return None
        return None if found is None else self._by_task(found, self._no_log, other)

    def _by_hold(self, command: c.Command) -> c.Command | None:
        """Nothing is sent about a hold that was not placed here."""
        if not isinstance(command, c.Settle | c.CancelHold | c.Heartbeat) or command.hold is None:
            return command
        missing = self._missing.get(command.hold)
        if missing is None:
            return command
        if isinstance(command, c.Settle):
            if command.final:
                del self._missing[command.hold]
            if missing.why == "throttled":
                # It would have waited and then have done the same: a throttle moves no report in time.
                both = set(command.__struct_fields__) & set(c.ReportUsage.__struct_fields__)
                said = {name: getattr(command, name) for name in both}
                return c.ReportUsage(agent=missing.agent, **said)
            self.reason = missing.why
        return None

    def _by_agent(self, command: c.Command, refused: bool, log: Ledger, other: Ledger) -> c.Command | None:
        """An agent without an account sends only what may open one; a stopped one begins nothing."""
        agent = getattr(command, "agent", None)
        if agent is None:
            return command
        there = log.accounts.get(agent)
        if (
            there is not None
            and not there.terms.auto
            and agent not in other.accounts
            and not isinstance(command, _OPENING)
        ):
            self.reason = NO_ACCOUNT
            return None
        if isinstance(command, c.ReportUsage | c.Reserve) and self._is_stopped_by(command, agent, log, other):
            self.reason = STOPPED
            return None
        if isinstance(command, _ASKING) and (type(command), agent) in self._granted_before:
            if not refused:
                self._granted_before.discard((type(command), agent))
            return None
        return command

    def _by_task(self, command: c.Command, log: Ledger, other: Ledger) -> c.Command | None:
        """The owner of a stopped run reports nothing but its end; a task that is over is not cancelled."""
        if isinstance(command, c.ResetBreaker):
            # A breaker that is closed is not reset.
            return command if other.day.tripped is not None or log.day.tripped is None else None
        if isinstance(command, c.CancelTask):
            return command if other.tasks.is_open(command.task) or not log.tasks.is_open(command.task) else None
        if isinstance(command, c.RetryTask):
            # A task that did not fail here is not retried.
            return command if _can_be_retried(other, command.task) or not _can_be_retried(log, command.task) else None
        if not isinstance(command, c.ReportUsage | c.CompleteTask):
            return command
        name = command.task or getattr(command, "agent", None) or ""
        stopped = self._is_stopped_by(command, name, log, other)
        if isinstance(command, c.ReportUsage):
            if stopped:
                self._stopped_tasks.add(name)
                self.reason = STOPPED
                return None
            return command
        if command.usage is not None and (stopped or name in self._stopped_tasks):
            self._stopped_tasks.discard(name)
            self.reason = STOPPED
            return msgspec.structs.replace(command, usage=None)
        return command

    def _is_stopped_by(self, command: c.Command, agent: str, log: Ledger, other: Ledger) -> bool:
        """Whether an agent is stopped here, and is not in the log, when it does what a message says: it may be reported
        later.
        """
        if not _is_stopped(other, agent) or _is_stopped(log, agent):
            return False
        at, since = getattr(command, "occurred_at", None), self.stopped_since(agent)
        return at is None or since is None or at >= since

    def note_answer(self, command: c.Command, refused: bool, answer: Reply | Refusal | None, log: Ledger) -> bool:
        """Remember the answer to a message that was sent, and that the log had ``refused`` or not.

        Returns whether it is a hold for an operation that the log does not have, and that will never be settled.
        """
        if answer is None or not isinstance(command, c.Reserve | _ASKING):
            return False
        is_granted = not isinstance(answer, Refusal)
        if refused and is_granted:
            self.unknown.add(command.agent)
            if not isinstance(command, c.Reserve):
                self._granted_before.add((type(command), command.agent))
        elif isinstance(command, c.Reserve) and isinstance(answer, Refusal) and not refused:
            self._note_missing(command, "throttled" if answer.code == "throttled" else NOT_BEGUN, log)
        return refused and is_granted and isinstance(command, c.Reserve)

    def _note_missing(self, command: c.Reserve, why: str, log: Ledger) -> None:
        """Remember a hold that is not there, as long as the log remembers it."""
        if len(self._missing) >= self._missing_max:
            known = (log.holds, log.ended_holds)
            self._missing = {hold: one for hold, one in self._missing.items() if any(hold in those for those in known)}
            self._missing_max = max(_MISSING_MIN, 2 * len(self._missing))
        assert command.id is not None
        self._missing[command.id] = _MissingHold(command.agent, why)

    # --- what it adds up to -------------------------------------------------------------------------------------------

    @property
    def saved_in_all(self) -> Saved:
        """What the other policy would have prevented, in all."""
        total = Saved()
        for saved in self.saved.values():
            total.reports += saved.reports
            total.used = plus(total.used, saved.used)
        return total

    def count(self, recorded: Iterable[e.Event], other: Iterable[e.Event]) -> None:
        """Compare the usage that a message led to in the log with what it led to here."""
        other = list(other)
        in_log, here = usage_in(recorded), usage_in(other)
        if any(isinstance(event, e.UsageReported | e.HoldSettled) and event.history for event in other):
            self.reason = HISTORY
        source = next((one.source for one in (in_log, here) if one is not None), None)
        if source is not None:
            self._count_source(source, in_log, here)
        elif in_log is not None and here is None:
            if in_log.id in self.corrected:
                self._saved_as[in_log.id] = self.reason
            self._save(in_log.agent, in_log.used, self.reason)
        elif here is not None and in_log is None:
            self.beyond_log = plus(self.beyond_log, here.used)

    def _count_source(self, source: str, in_log: Usage | None, here: Usage | None) -> None:
        """What is less or more here is known at the end: another message of the source may make up for it."""
        there, other = (ZERO if one is None else one.used for one in (in_log, here))
        if there[:COST] == other[:COST] and in_log is not None and here is not None:
            return  # it is but priced otherwise
        agent = next(one.agent for one in (in_log, here) if one is not None)
        before = self._by_source.get(source, _OfSource(agent, self.reason, ZERO))
        difference = plus(before.difference, minus(there, other))
        if any(_positive(minus(there, other))):
            before = _OfSource(agent, self.reason, ZERO)
        self._by_source[source] = before._replace(difference=difference)

    def count_correction(self, event: e.UsageCorrected, here: Money = ZERO) -> bool:
        """Count a correction of usage that was not used here; False where it is not known to be so.

        ``here``: by how much it changed what counts here.
        """
        found = self._by_source.get(event.source_id or "")
        if found is not None and not event.record.history:
            difference = plus(found.difference, minus(event.difference, here))
            self._by_source[event.source_id or ""] = found._replace(difference=difference)
            return True
        reason = self._saved_as.get(event.record.id)
        if reason is None:
            return False
        for saved in (self.saved[event.agent], self.saved_by_reason[reason]):
            saved.used = plus(saved.used, event.difference)
        return True

    def count_shifted(self, differences: Iterable[tuple[str, Money]]) -> None:
        """Count what shifted runs used otherwise than those of the log: by agent, the log's usage less that here."""
        for agent, units in differences:
            less_used, more_used = _positive(units), _positive(minus(ZERO, units))
            if any(less_used):
                self._save(agent, less_used, SHIFTED)
            self.beyond_log_by_runs = plus(self.beyond_log_by_runs, more_used)
        self.beyond_log = plus(self.beyond_log, self.beyond_log_by_runs)

    def count_sources(self) -> None:
        """Count what the log has used more of a source, or less, than was used of it here."""
        for agent, reason, units in self._by_source.values():
            if any(_positive(units)):
                self._save(agent, _positive(units), reason)
            self.beyond_log = plus(self.beyond_log, _positive(minus(ZERO, units)))

    def count_spent(self, in_log: Mapping[str, tuple[str, Money]], here: Mapping[str, tuple[str, Money]]) -> None:
        """Compare what expired holds were spent with, of those that were not settled later: by hold, in the log and
        here.
        """
        for hold, (agent, _) in {**in_log, **here}.items():
            units = minus(in_log.get(hold, _NOT_SPENT)[1], here.get(hold, _NOT_SPENT)[1])
            missing = self._missing.get(hold)
            if any(_positive(units)):
                why = NOT_BEGUN if missing is None or missing.why not in REASONS else missing.why
                self._save(agent, _positive(units), why)
            self.beyond_log = plus(self.beyond_log, _positive(minus(ZERO, units)))

    def _save(self, agent: str, used: Money, reason: str) -> None:
        self.saved.setdefault(agent, Saved()).add(used)
        self.saved_by_reason[reason].add(used)


def _unknown(agent: str) -> None:
    """No time is known."""


_NOT_SPENT = "", ZERO


def _positive(units: Money) -> Money:
    return (max(0, units[0]), max(0, units[1]), max(0, units[2]))


def _can_be_retried(ledger: Ledger, name: str) -> bool:
    task = ledger.tasks.get(name)
    return task is not None and task.state in ("failed", "cancelled")


def _is_stopped(ledger: Ledger, agent: str) -> bool:
    return enforced(ledger, ledger.accounts.get(agent)).action == STOP
