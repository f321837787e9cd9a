"""Tasks: a slot that is waited for, kept while the block lasts, and given back with how the run ended."""

import contextlib
import time
from decimal import Decimal
from typing import Any, Final, TypedDict

import msgspec

from tallystick.config.kinds import Priority
from tallystick.events import messages as c
from tallystick.events.messages.task_replies import TaskAlive, TaskClosed, TaskStatus
from tallystick.interface.agent_state import LEASE_SECONDS, AgentState, OnCrash, Seconds
from tallystick.interface.agents import Agent, AsyncAgent
from tallystick.interface.blocks import AwaitedBlock, PlainBlock, patience
from tallystick.interface.refusals import Refused, Stopped, Throttled, refusal
from tallystick.interface.steps import LEAVE_SECONDS, Runner, Steps, asking

POLL_SECONDS: Final = 60.0
"""So long one question for the start of a task waits; then it is asked again."""
_WAITING: Final = frozenset({"queued", "waiting_on_dependencies"})
_LOST: Final = frozenset({"lease_lost", "not_running", "already_finished", "unknown_task"})


class TaskTerms(TypedDict, total=False):
    """What a task may say: ``agent_type`` and ``product``, and what `SubmitTask` names beside them."""

    agent_type: str
    product: str
    priority: Priority
    estimated_tokens: int
    estimated_minutes: Seconds
    depends_on: list[str]
    workflow: str
    model: str
    parent: str
    labels: dict[str, str]


class _RunState(AgentState):
    """The run of a task: an agent whose account lives as long as its slot."""

    lease: str | None = None

    def report(self, **used: Any) -> c.ReportUsage:
        return c.ReportUsage(id=self.runner.new_id(), task=self.id, lease=self.lease, **used)

    def sign_of_life(self) -> c.Command | None:
        return c.Heartbeat(task=self.id, lease=self.lease) if self.is_open and self.lost is None else None

    def take_answer(self, answer: dict[str, Any]) -> None:
        if "error" in answer:
            found = refusal(answer["error"])
            if found.code in _LOST:
                self.lost = Stopped(found.code, found.message, found.details)
            return
        alive = msgspec.convert(answer["ok"], TaskAlive)
        if alive.preempted:
            self.lost = Stopped("preempted", f"the slot of {self.id} was given to a task of higher priority", {})


class _Running:
    """What is known of a run beside what any agent has."""

    _status: TaskStatus

    @property
    def model(self) -> str | None:
        """The model that was chosen for it."""
        return self._status.model

    @property
    def token_budget(self) -> int | None:
        """What it should need: its soft limit. `max_tokens` is the hard one."""
        return self._status.token_budget

    @property
    def max_tokens(self) -> int | None:
        """What its account was granted; None where there is no limit."""
        return self._status.max_tokens

    @property
    def attempt(self) -> int:
        """Which run of the task it is, from 1 on."""
        return self._status.attempt


class Task(_Running, Agent):
    """The run of a task, in a thread."""

    def __init__(self, state: AgentState, status: TaskStatus) -> None:
        super().__init__(state)
        self._status = status


class AsyncTask(_Running, AsyncAgent):
    """The run of a task, in a coroutine."""

    def __init__(self, state: AgentState, status: TaskStatus) -> None:
        super().__init__(state)
        self._status = status


class TaskBlock(PlainBlock[Task], AwaitedBlock[AsyncTask]):
    """Waits for a slot; at its end the task is completed, or has failed where the block raised."""

    def __init__(
        self, runner: Runner, id: str, terms: TaskTerms, *, wait_seconds: Seconds | None, on_crash: OnCrash
    ) -> None:
        super().__init__(runner)
        self._state = _RunState(runner, id, on_crash, LEASE_SECONDS)
        given: dict[str, Any] = {**terms}
        self._submit = c.SubmitTask(task=id, **given) if given else None
        self._wait_seconds = wait_seconds
        self._status: TaskStatus | None = None

    def _plain(self) -> Task:
        assert self._status is not None
        return Task(self._state, self._status)

    def _awaited(self) -> AsyncTask:
        assert self._status is not None
        return AsyncTask(self._state, self._status)

    def _open(self) -> Steps[None]:
        state = self._state
        try:
            status = yield from self._started()
        except BaseException as error:
            if self._submit is not None and not (isinstance(error, Refused) and self._status is None):
                with contextlib.suppress(Exception):
                    yield from self._give_up()
            raise
        self._status, state.lease = status, status.lease
        state.begin(keep_alive=True)

    def _started(self) -> Steps[TaskStatus]:
        """Submit it, where that is to be done, and wait for its start.

        Raises:
            Refused: it was refused, or ended before it started; `Throttled` where it did not start in time.
        """
        id, began = self._state.id, time.monotonic()
        if self._submit is not None:
            self._submit.id = self._runner.new_id()
            status = yield from asking(self._submit, TaskStatus, id)
        else:
            status = yield from asking(c.GetTask(task=id), TaskStatus, id)
        self._status = status
        while status.state in _WAITING:
            left = POLL_SECONDS
            if self._wait_seconds is not None:
                left = min(left, float(self._wait_seconds) - (time.monotonic() - began))
                if left <= 0:
                    raise _not_started(status, Throttled)
            wait = Decimal(str(round(left, 3)))
            self._status = status = yield from asking(c.GetTask(task=id, wait_seconds=wait), TaskStatus, id)
        if status.state != "running":
            raise _not_started(status, Refused)
        return status

    def _give_up(self) -> Steps[None]:
        """It was interrupted while it waited: what it submitted does not start later, without any program for it."""
        if self._status is None:
            # The same message says whether the task is ours.
            assert self._submit is not None
            self._status = yield from asking(self._submit, TaskStatus, self._state.id, LEAVE_SECONDS)
        if self._status.state in (*_WAITING, "running"):
            message = c.CancelTask(id=self._runner.new_id(), task=self._state.id)
            yield from asking(message, TaskClosed, self._state.id, LEAVE_SECONDS)

    def _end(self, error: BaseException | None) -> Steps[None]:
        state = self._state
        state.is_open = False
        message = c.CompleteTask(
            id=self._runner.new_id(),
            task=state.id,
            lease=state.lease,
            outcome="completed" if error is None else "failed",
        )
        try:
            yield from asking(message, TaskClosed, state.id, patience(error))
        except Refused as refused:
            if refused.code not in _LOST:
                raise
            if error is None:
                raise Stopped(refused.code, refused.message, refused.details) from None


def _not_started(status: TaskStatus, kind: type[Refused]) -> Refused:
    """Why a task did not start: the reason of its state, with its numbers."""
    reason = status.reason
    details = {"task": status.task, "state": status.state}
    if reason is None:
        return kind(status.state, f"{status.task} is {status.state}", details)
    details |= msgspec.to_builtins(reason)
    return kind(reason.code, f"{status.task} is {status.state}: {reason.message}", details)
