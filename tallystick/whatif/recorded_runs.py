"""The runs of tasks as a log has them: what was sent in each, how long after its start, and how it ended.

A run's messages are facts of the run: under another policy, which starts it at another time, they follow its start by
the same delays. So all runs are read before anything is decided anew. Messages are kept as the log has them, to the
byte.
"""

import contextlib
import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.catalog import STORED_NAME
from tallystick.events.log.broken_chain import BrokenChain
from tallystick.events.log.reading import event_of
from tallystick.events.state.money import money
from tallystick.whatif.steps import REFUSED, Step

Ending = Literal["completed", "lost", "cut_short"]
"""How a run ended: its owner said so, its owner fell silent, or someone else ended it."""


class Message(NamedTuple):
    """A message that was sent in a run: how long after its start, its bytes, and whether it was refused."""

    after: dt.timedelta
    request: bytes
    id: str
    by: str
    refused: bool


class Run:
    """One run of a task. ``number`` counts the runs of a task from 0; ``ending`` is None where the log does not have
    it.
    """

    __slots__ = ("attempt", "completed_by", "ending", "lease", "messages", "number", "started_at", "task")

    def __init__(self, task: str, number: int, attempt: int, lease: str, started_at: dt.datetime) -> None:
        self.task = task
        self.number = number
        self.attempt = attempt
        self.lease = lease
        self.started_at = started_at
        self.ending: Ending | None = None
        self.messages: list[Message] = []
        self.completed_by: int | None = None
        """The index of the message that completed it."""

    def later_than(self, behind: dt.timedelta) -> list[Message]:
        """What was sent later than ``behind`` its start; what completed it at the earliest then."""
        return [
            message._replace(after=max(message.after, behind))
            for index, message in enumerate(self.messages)
            if message.after > behind or index == self.completed_by
        ]

    @property
    def is_whole(self) -> bool:
        """It ended by itself: all that would have been sent in it is known."""
        return self.ending in ("completed", "lost")


_SENT_IN_RUNS = (
    *(c.ReportUsage, c.Heartbeat, c.CompleteTask, c.Reserve, c.Settle, c.CancelHold, c.SubmitTask, c.AllocateBudget),
    *(c.AllocateFromPool, c.BorrowFromPool, c.ReturnToPool, c.ReleaseBudget),
)
"""What the owner of a run sends; operators' orders, and `CancelTask`, come at their own time."""
_FOLLOWED = frozenset(
    STORED_NAME[kind]
    for kind in (
        *(e.BudgetAllocated, e.TaskStarted, e.TaskPreempted, e.LeaseLost),
        *(e.TaskCompleted, e.TaskCancelled, e.TaskGivenUp, e.UsageCorrected),
    )
)


class MeanCosts:
    """What completed tasks of a log used and cost, by their type and model: what a token cost on average."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str], list[int]] = {}

    def count(self, event: e.TaskCompleted) -> None:
        tokens, _, cost_nanos = money(event.consumed.triple)
        sums = self._sums.setdefault((event.agent_type, event.model), [0, 0])
        sums[0] += tokens
        sums[1] += cost_nanos

    def of(self, agent_type: str, model: str | None, tokens: int) -> int | None:
        """What so many tokens cost, in nano-dollars, rounded up; None where nothing of the kind was completed."""
        measured, cost_nanos = self._sums.get((agent_type, model or ""), (0, 0))
        return -(-tokens * cost_nanos // measured) if measured else None


class RecordedRuns:
    """The runs of a whole log, and the steps in which they started, were spoken for, and were ended by others."""

    def __init__(self, steps: Iterable[Step] = ()) -> None:
        """Read a log. Without steps there are no runs.

        Raises:
            BrokenChain: a record cannot be read.
        """
        self._by_task: dict[str, list[Run]] = {}
        self._sender: dict[int, Run] = {}
        """By the position of a step, the run that its message was sent in."""
        self._started: dict[int, dict[str, Run]] = {}
        """By the position of a step, the runs that started in it, by task."""
        self._cut: dict[int, list[Run]] = {}
        """By the position of a step, the runs that ended in it, and not because their owner said so."""
        self._of_agent: dict[str, Run] = {}
        """The run that an account belongs to: a task's own, or that of an account above it."""
        self._of_hold: dict[str, Run] = {}
        self._of_lease: dict[str, Run] = {}
        self.mean_costs = MeanCosts()
        self.corrected: set[str] = set()
        """The ids of the messages whose usage the log corrects later."""
        for step in steps:
            self._read(step)
        took = [
            run.messages[run.completed_by].after
            for runs in self._by_task.values()
            for run in runs
            if run.completed_by is not None
        ]
        self.average: dt.timedelta | None = sum(took, dt.timedelta()) / len(took) if took else None
        """How long a completed run takes on average; None where there is none."""

    # --- looking up ---------------------------------------------------------------------------------------------------

    def sender(self, step: Step) -> Run | None:
        """The run that a step's message was sent in, if any."""
        return self._sender.get(step.position)

    def started(self, step: Step) -> Mapping[str, Run]:
        """The runs that started in a step, by task."""
        return self._started.get(step.position, {})

    def cut(self, step: Step) -> Sequence[Run]:
        """The runs that ended in a step, and not because their owner said so."""
        return self._cut.get(step.position, ())

    def template(self, task: str, attempt: int) -> Run | None:
        """The run whose messages a run of another history sends: the last of that attempt, if it ended by itself, or
        else the first later one that did. If no such run exists, as much as the log has of one; None if the task
        never ran.
        """
        runs = self._by_task.get(task)
        if not runs:
            return None
        found = next((run for run in reversed(runs) if run.attempt == attempt), runs[-1])
        if found.is_whole:
            return found
        return next((run for run in runs[found.number + 1 :] if run.is_whole), found)

    # --- reading ------------------------------------------------------------------------------------------------------

    def _read(self, step: Step) -> None:
        if step.own and self._by_task:
            command = step.command
            run = self._run_of(command)
            if run is not None:
                self._sender[step.position] = run
                self._keep(run, command, step)
        for record in step.records:
            if record.name in _FOLLOWED:
                # Nothing is proved here: what is wrong with a record is reported where it is applied.
                with contextlib.suppress(BrokenChain):
                    self._follow(event_of(record), step.position)

    def _run_of(self, command: c.Command) -> Run | None:
        """The run that a command was sent in, by its lease, its hold or its agent."""
        if not isinstance(command, _SENT_IN_RUNS):
            return None
        lease = getattr(command, "lease", None)
        if lease is not None:
            return self._of_lease.get(lease)
        hold = getattr(command, "hold", None)
        if hold is not None:
            return self._of_hold.get(hold)
        # A task may be submitted again under the name of an earlier one: that is no message of the earlier one's run.
        names = ("parent", "agent") if isinstance(command, c.SubmitTask) else ("parent", "agent", "task")
        runs = (self._of_agent.get(getattr(command, name, None) or "") for name in names)
        return next((run for run in runs if run is not None), None)

    def _keep(self, run: Run, command: c.Command, step: Step) -> None:
        if isinstance(command, c.Reserve) and command.id is not None:
            self._of_hold[command.id] = run
        if run.ending == "lost":
            # An owner that sends something after its lease was lost was not dead: the lease was too short for it.
            run.ending = "cut_short"
        run.messages.append(
            Message(step.at - run.started_at, step.request, step.id, step.by, step.own[0].name == REFUSED)
        )

    def _follow(self, event: e.Event, position: int) -> None:
        match event:
            case e.UsageCorrected():
                self.corrected.add(event.record.id)
            case e.TaskStarted():
                runs = self._by_task.setdefault(event.task, [])
                run = Run(event.task, len(runs), event.attempt, event.lease, event.at)
                runs.append(run)
                self._started.setdefault(position, {})[event.task] = run
                self._of_agent[event.task] = self._of_lease[event.lease] = run
            case e.BudgetAllocated(for_task=False):
                above = self._of_agent.get(event.parent or "")
                if above is not None:
                    self._of_agent[event.agent] = above
                else:
                    self._of_agent.pop(event.agent, None)
            case e.TaskCompleted():
                self.mean_costs.count(event)
                ended = self._end(event.task, "completed")
                if ended is not None:
                    ended.completed_by = len(ended.messages) - 1
            case e.LeaseLost() | e.TaskPreempted() | e.TaskCancelled() | e.TaskGivenUp():
                ended = self._end(event.task, "lost" if isinstance(event, e.LeaseLost) else "cut_short")
                if ended is not None:
                    self._cut.setdefault(position, []).append(ended)

    def _end(self, task: str, ending: Ending) -> Run | None:
        """Note how the run of a task ended; None where none was under way."""
        runs = self._by_task.get(task)
        if not runs or runs[-1].ending is not None:
            return None
        runs[-1].ending = ending
        return runs[-1]
