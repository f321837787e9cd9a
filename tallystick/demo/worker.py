"""An agent whose run is a task: it submits it, waits for a slot, and works under a lease until it completes it.

Its driver calls `started` when the event stream says that its task has a slot. While it works it sends a heartbeat in
time for its lease to go on, whatever else it does or waits for. One that lost its slot waits in the queue again, and
goes on with the step that it had come to.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from tallystick.config.amounts import MS_PER_SECOND
from tallystick.config.prices import PriceList
from tallystick.config.settings import Config
from tallystick.demo.agent import Agent, Outcome, Phase
from tallystick.demo.workload import Run, Step
from tallystick.events import messages as c
from tallystick.events.state.task_rules import max_tokens

FAR: Final = 2**62
"""When an agent speaks next that only waits to be started: never."""
UNNAMED: Final = "unnamed"
"""The agent type and the product of a run that names none."""
_GONE: Final = ("lease_lost", "not_running", "already_finished", "already_released", "unknown_agent")
"""The codes of answers to an agent whose run is over without its knowing."""


class Worker(Agent):
    """One run on its way as a task. Times are milliseconds since the fleet's start."""

    def __init__(self, run: Run, config: Config, prices: PriceList | None) -> None:
        self._beat_every_ms = int(config.leases.seconds * MS_PER_SECOND) // 2
        self._beat_ms = FAR
        """When the next heartbeat is due."""
        self._acts_ms = run.starts_ms
        """When it has something else to say."""
        self._beats = False
        self._next_lease: str | None = None
        """The lease of a start of which it heard before it knew that it had lost the one before."""
        super().__init__(run, (max_tokens(config, run.agent_type or UNNAMED), None, None), prices)
        self.lease: str | None = None
        self.reason: str | None = None
        """Why it waits, as the newest answer says; None once it runs."""
        self.runs = 0
        self.lost = 0
        """How often its slot was taken away."""

    @property
    def is_away(self) -> bool:
        """Whether it has nothing to say before its task starts, if it ever does."""
        return self.phase in (Phase.QUEUED, Phase.GONE)

    def started(self, lease: str, now_ms: int) -> None:
        """The event stream says that its task has a slot."""
        if lease == self.lease:
            return
        if self.phase is Phase.QUEUED:
            self._go(lease, now_ms)
        else:
            self._next_lease = lease

    def give_up(self, now_ms: int) -> None:
        """Nothing will give it a slot any more: it cancels its task."""
        self._then(Phase.GIVE_UP, now_ms)

    # --- what it says -------------------------------------------------------------------------------------------------

    def _command(self) -> c.Command:
        self._beats = self._beat_ms < self._acts_ms
        if self._beats:
            return c.Heartbeat(task=self.run.id, lease=self.lease)
        if self.phase is Phase.GIVE_UP:
            return c.CancelTask(task=self.run.id)
        return super()._command()

    def _asks_to_begin(self) -> c.Command:
        return c.SubmitTask(
            task=self.run.id,
            agent_type=self.run.agent_type or UNNAMED,
            product=self.run.product or UNNAMED,
            priority=self.run.priority,
            model=self.run.steps[0].model,
        )

    def _report(self, step: Step) -> c.Command:
        command = super()._report(step)
        if isinstance(command, c.ReportUsage):
            return msgspec.structs.replace(command, agent=None, task=self.run.id, lease=self.lease)
        return command

    def _says_its_end(self) -> c.Command:
        outcome: c.TaskOutcome = "completed" if self.outcome is Outcome.FINISHED else "failed"
        return c.CompleteTask(task=self.run.id, outcome=outcome, lease=self.lease)

    # --- what it hears ------------------------------------------------------------------------------------------------

    def hear(self, reply: Mapping[str, Any], now_ms: int) -> None:
        """Take the answer to its `message` in.

        Raises:
            Refused: an answer that no obeying agent gets from a fleet in order.
        """
        beats, self._beats = self._beats, False
        if "error" in reply and self.lease is not None and reply["error"]["code"] in _GONE:
            self._lost_slot(now_ms)
        elif not beats:
            if self.phase is Phase.GIVE_UP:
                self.outcome = Outcome.STOPPED if self.runs else Outcome.REFUSED
                self._then(Phase.GONE, now_ms)
                return
            super().hear(reply, now_ms)
            if self.lease is not None and reply.get("ok", {}).get("lease_lost"):
                self._lost_slot(now_ms)
        elif reply["ok"].get("preempted"):
            self._lost_slot(now_ms)
        else:
            self._beat_ms = now_ms + self._beat_every_ms
            self._alive(reply["ok"], now_ms)

    def _alive(self, answer: Mapping[str, Any], now_ms: int) -> None:
        """Its lease goes on. A step that runs is ended whatever the answer is; one that has not begun waits."""
        begins_ms = self._acts_ms - (self.run.steps[self.done].duration_ms or 0) if self._has_steps else now_ms
        if answer.get("action") == "stop" and self.phase is Phase.REPORT and now_ms < begins_ms:
            self._wait_for_budget(now_ms, Phase.CHECK)
        else:
            self._then(self.phase, self._acts_ms)

    @property
    def _has_steps(self) -> bool:
        return self.done < len(self.run.steps)

    def _begun(self, answer: Mapping[str, Any], now_ms: int) -> None:
        """Its task was taken in: it has a slot, or waits for one, or will never have one."""
        if answer["decision"] == "admitted":
            self._go(answer["lease"], now_ms)
        elif answer["decision"] == "rejected":
            self.reason = answer["reason"]["message"]
            self.outcome = Outcome.REFUSED
            self._then(Phase.GONE, now_ms)
        else:
            self.reason = answer["reason"]["message"]
            self._then(Phase.QUEUED, FAR)

    def _go(self, lease: str, now_ms: int) -> None:
        """It has a slot."""
        self.lease, self.reason = lease, None
        self.runs += 1
        self._beat_ms = now_ms + self._beat_every_ms
        if not self._has_steps:
            self._leave(Outcome.FINISHED, now_ms)
            return
        self._ready_ms = now_ms + self.run.steps[self.done].gap_ms
        self._begin_step(now_ms)

    def _lost_slot(self, now_ms: int) -> None:
        """Its run is over without its own word: it waits again, or has a new run already."""
        self.lost += 1
        self.lease, self._hold, self._stopped_at = None, None, None
        self.outcome = Outcome.RUNNING
        self._then(Phase.QUEUED, FAR)
        following, self._next_lease = self._next_lease, None
        if following is not None:
            self._go(following, now_ms)

    def _then(self, phase: Phase, at_ms: int) -> None:
        self.phase, self._acts_ms = phase, at_ms
        if phase in (Phase.QUEUED, Phase.GONE):
            self._beat_ms = FAR
        self.due_ms = min(at_ms, self._beat_ms)
