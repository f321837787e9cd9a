"""The runs of tasks as a log has them: what was sent in each, how long after its start, and how it ended.

A run's messages are facts of the run: under another policy, which starts it at another time, they follow its start by as
much. So they are read before anything is decided anew. Messages are kept as the log has them, to the byte.
"""

import contextlib
import datetime as dt
from collections.abc import Iterable
from typing import Literal, NamedTuple

import msgspec

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.catalog import STORED_NAME
from tallystick.events.log.codec import decode_event
from tallystick.whatif.steps import Step

How = Literal["completed", "lost", "cut"]
"""How a run ended: by its owner's word, by silence, or because somebody else ended it."""


class Message(NamedTuple):
    """What somebody who worked in a run sent: how long after its start, byte for byte, and whether it was refused."""

    after: dt.timedelta
    asked: bytes
    id: str
    by: str
    refused: bool


class Run:
    """One run of a task. ``number`` counts the runs of a task from 0; ``how`` is None while it goes on."""

    __slots__ = ("attempt", "end", "how", "lease", "messages", "number", "started_at", "task")

    def __init__(self, task: str, number: int, attempt: int, lease: str, started_at: dt.datetime) -> None:
        self.task = task
        self.number = number
        self.attempt = attempt
        self.lease = lease
        self.started_at = started_at
        self.how: How | None = None
        self.end: int | None = None
        """Which message completed it."""
        self.messages: list[Message] = []

    def later_than(self, behind: dt.timedelta) -> list[Message]:
        """What was sent later than ``behind`` its start; what completed it at the earliest then."""
        return [
            message._replace(after=max(message.after, behind))
            for place, message in enumerate(self.messages)
            if message.after > behind or place == self.end
        ]

    @property
    def is_whole(self) -> bool:
        """It ended by itself: what it would have done otherwise is known to its end."""
        return self.how in ("completed", "lost")


_OF_RUNS = (
    *(c.ReportUsage, c.Heartbeat, c.CompleteTask, c.Reserve, c.Settle, c.CancelHold, c.SubmitTask, c.AllocateBudget),
    *(c.AllocateFromPool, c.BorrowFromPool, c.ReturnToPool, c.ReleaseBudget),
)
"""What is sent by those who work in a run; orders of operators, and `CancelTask`, come when they come."""
_FOLLOWED = frozenset(
    STORED_NAME[kind]
    for kind in (
        *(e.BudgetAllocated, e.HoldPlaced, e.TaskStarted, e.TaskPreempted, e.LeaseLost),
        *(e.TaskCompleted, e.TaskCancelled, e.TaskGivenUp),
    )
)


class Runs:
    """The runs of a log, followed step by step; with ``keeps`` their messages too."""

    def __init__(self, keeps: bool = False) -> None:
        self.by_task: dict[str, list[Run]] = {}
        self.started: dict[str, Run] = {}
        """Those that began in the last step, by task."""
        self.ended: list[Run] = []
        """Those that ended in it, not by their owner's word."""
        self._keeps = keeps
        self._of_agent: dict[str, Run] = {}
        """The run that an account belongs to: a task's own, or that of an account above it."""
        self._of_hold: dict[str, Run] = {}
        self._of_lease: dict[str, Run] = {}

    def take(self, step: Step) -> Run | None:
        """Follow a step; the run that its message came from, or None."""
        self.started, self.ended = {}, []
        run = None
        if step.own and self.by_task:
            command = step.command
            run = self._whose(command)
            if run is not None:
                self._keep(run, command, step)
        for record in step.records:
            if record.name in _FOLLOWED:
                # Nothing is proved here: whoever applies the record says what is wrong with it.
                with contextlib.suppress(msgspec.MsgspecError, ValueError):
                    self._follow(decode_event(record.data, record.name))
        return run

    def _whose(self, command: c.Command) -> Run | None:
        if not isinstance(command, _OF_RUNS):
            return None
        lease = getattr(command, "lease", None)
        if lease is not None:
            return self._of_lease.get(lease)
        hold = getattr(command, "hold", None)
        if hold is not None:
            return self._of_hold.get(hold)
        for name in ("parent", "agent", "task"):
            run = self._of_agent.get(getattr(command, name, None) or "")
            # A task may be submitted again under the name of one that was; it is not a message of that one's run.
            if run is not None and not (isinstance(command, c.SubmitTask) and name == "task"):
                return run
        return None

    def _keep(self, run: Run, command: c.Command, step: Step) -> None:
        if isinstance(command, c.Reserve) and command.id is not None:
            self._of_hold[command.id] = run
        if run.how == "lost":
            # Whoever speaks after its lease was lost was not dead: the lease was too short for it.
            run.how = "cut"
        if self._keeps:
            refused = step.own[0].name == _REFUSED
            run.messages.append(Message(step.at - run.started_at, step.asked, step.id, step.by, refused))

    def _follow(self, event: e.Event) -> None:
        match event:
            case e.TaskStarted():
                runs = self.by_task.setdefault(event.task, [])
                run = Run(event.task, len(runs), event.attempt, event.lease, event.at)
                runs.append(run)
                self.started[event.task] = self._of_agent[event.task] = self._of_lease[event.lease] = run
            case e.BudgetAllocated(for_task=False):
                above = self._of_agent.get(event.parent or "")
                if above is not None:
                    self._of_agent[event.agent] = above
                else:
                    self._of_agent.pop(event.agent, None)
            case e.TaskCompleted():
                ended = self._newest(event.task)
                if ended is not None:
                    ended.how, ended.end = "completed", len(ended.messages) - 1
            case e.LeaseLost():
                self._end(event.task, "lost")
            case e.TaskPreempted() | e.TaskCancelled() | e.TaskGivenUp():
                self._end(event.task, "cut")

    def _newest(self, task: str) -> Run | None:
        """The run of a task that goes on."""
        runs = self.by_task.get(task)
        return runs[-1] if runs and runs[-1].how is None else None

    def _end(self, task: str, how: How) -> None:
        run = self._newest(task)
        if run is not None:
            run.how = how
            self.ended.append(run)


_REFUSED = STORED_NAME[e.RequestRefused]


class Scripts:
    """How each task's runs go, as a whole log tells it."""

    def __init__(self, steps: Iterable[Step] = ()) -> None:
        """Read a log, or nothing of one.

        Raises:
            BrokenChain: a record cannot be read.
        """
        runs = Runs(keeps=True)
        for step in steps:
            runs.take(step)
        self._by_task = runs.by_task
        took = [
            run.messages[run.end].after
            for runs_of_task in runs.by_task.values()
            for run in runs_of_task
            if run.end is not None
        ]
        self.usual: dt.timedelta | None = sum(took, dt.timedelta()) / len(took) if took else None
        """How long a run takes that is completed, on average; None where none was."""

    def run(self, task: str, attempt: int) -> Run | None:
        """The run that a task's attempt goes like: the last of that attempt, if it ended by itself, or else the first
        later one that did. Without any, as far as one is known; None where the task never ran.
        """
        runs = self._by_task.get(task)
        if not runs:
            return None
        like = next((run for run in reversed(runs) if run.attempt == attempt), runs[-1])
        if like.is_whole:
            return like
        return next((run for run in runs[like.number + 1 :] if run.is_whole), like)
