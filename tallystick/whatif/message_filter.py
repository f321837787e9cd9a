"""What becomes of a recorded message under the other policy: put in, put in otherwise, or not at all.

A message is a fact: it was sent. But some would not have been sent, because an agent that obeys sends them only after an
answer that the other policy does not give. Each rule here is an assumption, and is told with the result.
"""

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide.levels import STOP, enforced
from tallystick.events.messages.replies import Refusal, Reply
from tallystick.events.state.accounts import ZERO, Money, minus, plus
from tallystick.events.state.ledger import Ledger

STOPPED, NO_ACCOUNT, NOT_BEGUN, REFUSED, MOVED = "stopped", "no_account", "not_begun", "refused", "moved"
REASONS = (STOPPED, NO_ACCOUNT, NOT_BEGUN, REFUSED, MOVED)
"""Why usage of the log is not used here: its agent was stopped, or never got an account; its operation was refused a
hold; the settlement of its hold was refused; or the run of its task did not begin, or not come so far, or not twice."""

_OPENING = c.AllocateBudget | c.AllocateFromPool
"""Messages that may open the account that is missing."""
_ASKING = c.AllocateBudget | c.AllocateFromPool | c.BorrowFromPool
"""Requests that an agent repeats until it is heard."""
_LOST_MIN = 1_000


class Saved:
    """Usage of the log that the other policy would have prevented."""

    __slots__ = ("reports", "used")

    def __init__(self) -> None:
        self.reports = 0
        self.used: Money = ZERO

    def add(self, used: Money) -> None:
        self.reports += 1
        self.used = plus(self.used, used)


class _Lost(NamedTuple):
    """A hold that the log has and the other policy did not place: whose, and why."""

    agent: str
    why: str


class MessageFilter:
    """What is remembered from message to message, and what it adds up to."""

    def __init__(self) -> None:
        self.saved: dict[str, Saved] = {}
        """By agent."""
        self.saved_by_reason = {reason: Saved() for reason in REASONS}
        self.unknown: set[str] = set()
        """Agents that could have done more than the log shows: nobody knows what they would have used."""
        self.added = ZERO
        """Usage that is not the log's: what it refused to record and the other policy does not, and ``again``."""
        self.again = ZERO
        """What runs of tasks use that begin once more, go on where the log cut them short, or never ran there."""
        self.reason = REFUSED
        """Why the newest message was not put in."""
        self._lost: dict[str, _Lost] = {}
        self._lost_max = _LOST_MIN
        self._nowhere = Ledger()
        """The log's state where none is to be compared with: nobody is stopped in it."""
        self._short: set[str] = set()
        """Tasks whose run was stopped: what they say they used in all is more than they did."""
        self._ahead: set[tuple[type[c.Command], str]] = set()
        """Requests that were granted here, and refused in the log: who asks for the same again has it already."""

    def of(self, command: c.Command, refused: bool, log: Ledger, other: Ledger) -> c.Command | None:
        """What is put in where the log has ``command``, which was ``refused`` there or not; None for nothing.

        Both ledgers are as they were before it.
        """
        self.reason = REFUSED
        put = self._of_hold(command)
        if put is not None:
            put = self._of_agent(put, refused, log, other)
        if put is not None:
            put = self._of_task(put, log, other)
        if put is None and isinstance(command, c.Reserve) and not refused:
            self._lose(command, self.reason, log)
        return put

    def _of_hold(self, command: c.Command) -> c.Command | None:
        """A message about a hold that was not placed here is about nothing."""
        if not isinstance(command, c.Settle | c.CancelHold | c.Heartbeat) or command.hold is None:
            return command
        lost = self._lost.get(command.hold)
        if lost is None:
            return command
        if isinstance(command, c.Settle):
            del self._lost[command.hold]
            if lost.why == "throttled":
                # It would have waited and then have done the same: a throttle moves no report in time.
                return c.ReportUsage(agent=lost.agent, usage=command.usage, id=command.id)
            self.reason = lost.why
        return None

    def _of_agent(self, command: c.Command, refused: bool, log: Ledger, other: Ledger) -> c.Command | None:
        agent = getattr(command, "agent", None)
        if agent is None:
            return command
        if agent in log.accounts and agent not in other.accounts and not isinstance(command, _OPENING):
            self.reason = NO_ACCOUNT
            return None
        if isinstance(command, c.ReportUsage | c.Reserve) and _is_stopped(other, agent) and not _is_stopped(log, agent):
            self.reason = STOPPED
            return None
        if isinstance(command, _ASKING) and (type(command), agent) in self._ahead:
            if not refused:
                self._ahead.discard((type(command), agent))
            return None
        return command

    def of_moved(self, command: c.Command, other: Ledger) -> c.Command | None:
        """What is put in where a run, which started at another time than in the log, sends ``command``."""
        put = self._of_hold(command)
        if isinstance(put, c.Reserve) and _is_stopped(other, put.agent):
            self._lose(put, STOPPED, other)
            return None
        return None if put is None else self._of_task(put, self._nowhere, other)

    def _of_task(self, command: c.Command, log: Ledger, other: Ledger) -> c.Command | None:
        """Who works in a run that is stopped reports nothing, but says that it is over; what is over is not ended."""
        if isinstance(command, c.ResetBreaker):
            # Nobody resets a breaker that is closed.
            return command if other.day.tripped is not None or log.day.tripped is None else None
        if isinstance(command, c.CancelTask):
            return command if other.tasks.is_open(command.task) or not log.tasks.is_open(command.task) else None
        if not isinstance(command, c.ReportUsage | c.CompleteTask):
            return command
        name = command.task or getattr(command, "agent", None) or ""
        stopped = _is_stopped(other, name) and not _is_stopped(log, name)
        if isinstance(command, c.ReportUsage):
            if stopped:
                self._short.add(name)
                self.reason = STOPPED
                return None
            return command
        if command.usage is not None and (stopped or name in self._short):
            self._short.discard(name)
            self.reason = STOPPED
            return msgspec.structs.replace(command, usage=None)
        return command

    def settle_moved(self, differences: Iterable[tuple[str, Money]]) -> None:
        """Hold what moved runs used against what those of the log did: by agent, the log's less what was used here."""
        for agent, units in differences:
            less_used, more_used = (max(0, units[0]), max(0, units[1]), max(0, units[2])), minus(ZERO, units)
            if any(less_used):
                self.saved.setdefault(agent, Saved()).add(less_used)
                self.saved_by_reason[MOVED].add(less_used)
            self.again = plus(self.again, (max(0, more_used[0]), max(0, more_used[1]), max(0, more_used[2])))
        self.added = plus(self.added, self.again)

    def decided(self, command: c.Command, refused: bool, answer: Reply | Refusal | None, log: Ledger) -> bool:
        """Remember what was answered to a message that was put in, which the log had ``refused`` or not.

        Returns whether it is a hold for an operation of which the log knows nothing: nobody will settle it.
        """
        if answer is None or not isinstance(command, c.Reserve | _ASKING):
            return False
        is_granted = not isinstance(answer, Refusal)
        if refused and is_granted:
            self.unknown.add(command.agent)
            if not isinstance(command, c.Reserve):
                self._ahead.add((type(command), command.agent))
        elif isinstance(command, c.Reserve) and isinstance(answer, Refusal) and not refused:
            self._lose(command, "throttled" if answer.code == "throttled" else NOT_BEGUN, log)
        return refused and is_granted and isinstance(command, c.Reserve)

    def count(self, recorded: Iterable[e.Event], made: Iterable[e.Event]) -> None:
        """Hold the usage that a message led to in the log against that which it led to here."""
        theirs, ours = usage_of(recorded), usage_of(made)
        if theirs is not None and ours is None:
            used = (theirs.tokens, theirs.time_ms, theirs.cost_nanos)
            self.saved.setdefault(theirs.agent, Saved()).add(used)
            self.saved_by_reason[self.reason].add(used)
        elif ours is not None and theirs is None:
            self.added = plus(self.added, (ours.tokens, ours.time_ms, ours.cost_nanos))

    def _lose(self, command: c.Reserve, why: str, log: Ledger) -> None:
        """Remember a hold that is not there, as long as the log remembers it."""
        if len(self._lost) >= self._lost_max:
            known = (log.holds, log.ended_holds)
            self._lost = {hold: lost for hold, lost in self._lost.items() if any(hold in those for those in known)}
            self._lost_max = max(_LOST_MIN, 2 * len(self._lost))
        assert command.id is not None
        self._lost[command.id] = _Lost(command.agent, why)


def _is_stopped(ledger: Ledger, agent: str) -> bool:
    return enforced(ledger, ledger.accounts.get(agent)).action == STOP


def usage_of(events: Iterable[e.Event]) -> "e.UsageReported | e.HoldSettled | None":
    """The report that a message led to, if it did."""
    return next((event for event in events if isinstance(event, e.UsageReported | e.HoldSettled)), None)
