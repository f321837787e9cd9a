"""The runs of tasks in the other history, and the messages of those that started at another time than in the log.

A run that starts in the same step as in the log goes on *in step* with it: the log's messages are its own. Any other
run is *shifted*: the messages of a run of the log, its template, follow its start by the same delays.
"""

import datetime as dt
import heapq
from collections import Counter
from decimal import Decimal
from typing import NamedTuple

import msgspec

from tallystick.config.amounts import Budget
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.log.codec import decode_command, encode_command
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.money import ZERO, Money, minus, plus
from tallystick.events.state.task_rules import lease_time
from tallystick.whatif.message_filter import Usage
from tallystick.whatif.recorded_runs import Message, RecordedRuns, Run

_HEARTBEATS_PER_LEASE = 3


class OtherRun:
    """A run of the other history. ``template`` is the run of the log that it follows; None if the task never ran
    there.
    """

    __slots__ = (
        "has_no_end",
        "in_step",
        "is_done",
        "lease",
        "messages",
        "next",
        "owner_knows",
        "started_at",
        "suffix",
        "task",
        "template",
    )

    def __init__(self, task: str, lease: str, started_at: dt.datetime, template: Run | None, suffix: str) -> None:
        self.task = task
        self.lease = lease
        self.started_at = started_at
        self.template = template
        self.suffix = suffix
        """What its messages' ids end with, so that a repeated run does not repeat the ids of messages."""
        self.in_step = False
        self.is_done = False
        """Its owner has reported its end."""
        self.owner_knows = False
        """Its slot was taken away, and its owner has learnt of it."""
        self.messages: list[Message] = []
        self.next = 0
        self.has_no_end = False
        """Its end is unknown: it sends heartbeats until the log ends."""


class DueMessage(NamedTuple):
    """A message that a shifted run sends now; ``refused`` says whether the log refused it."""

    run: OtherRun
    command: c.Command
    id: str
    by: str
    refused: bool


class ShiftedRuns:
    """All runs of the other history, and what the shifted ones will send."""

    def __init__(self, recorded: RecordedRuns, ledger: Ledger) -> None:
        self.shifted = 0
        """Runs that started at another time than in the log, or were not cut short as there."""
        self.estimated = 0
        """Tasks that ran here and never in the log: they take as long, and use as much, as was estimated."""
        self.priced_by_mean = 0
        """Of these, the tasks that cost what completed tasks of their type and model cost on average, by token."""
        self.used_less: dict[str, Money] = {}
        """By agent, what the log's runs used that are shifted here, less what shifted runs used here."""
        self._recorded = recorded
        self._ledger = ledger
        self._in_step: dict[tuple[str, int], OtherRun] = {}
        """By task and the number of its run in the log. The owner of a run may still report when a later one has
        begun.
        """
        self._followers: Counter[tuple[str, int]] = Counter()
        """How many runs here have followed each run of the log so far; -1 is the number where there is none."""
        self._heap: list[tuple[dt.datetime, int, OtherRun, bool]] = []
        """Which run sends next, and when, in the order in which it was found out; the last says whether it is a
        heartbeat.
        """
        self._number = 0

    # --- starts and ends ----------------------------------------------------------------------------------------------

    def start(self, event: e.TaskStarted, recorded: Run | None) -> None:
        """A task has started here; ``recorded`` is the run that the same step of the log started, if any."""
        in_step = recorded is not None and recorded.attempt == event.attempt
        template = recorded if in_step else self._recorded.template(event.task, event.attempt)
        run = OtherRun(event.task, event.lease, event.at, template, self._suffix(event.task, template))
        if recorded is not None and in_step:
            run.in_step = True
            self._in_step[event.task, recorded.number] = run
        else:
            self._shift(run, event.at, dt.timedelta(-1))

    def cut_in_log(self, recorded: Run, now: dt.datetime) -> None:
        """The log cut a run short. Where it goes on here, it goes on as one that was not cut short."""
        run = self.in_step(recorded)
        if run is None or not self.has_slot(run):
            return
        template = self._recorded.template(recorded.task, recorded.attempt)
        if template is None or template.number == recorded.number:
            run.has_no_end = template is not None and not template.is_whole
            if run.has_no_end:
                self._push(run, now + self._heartbeat_delay(), is_heartbeat=True)
            return
        run.in_step, run.template = False, template
        run.suffix = self._suffix(recorded.task, template)
        self._shift(run, now, now - run.started_at)

    def _suffix(self, task: str, template: Run | None) -> str:
        key = (task, -1 if template is None else template.number)
        self._followers[key] += 1
        followers = self._followers[key]
        return "" if followers == 1 and template is not None else f"-what-if-{followers}"

    def _shift(self, run: OtherRun, now: dt.datetime, behind: dt.timedelta) -> None:
        """Let a run send what its template sent later than ``behind`` its start."""
        self.shifted += 1
        template = run.template
        if template is None:
            self._estimate(run)
        else:
            run.messages = template.later_than(behind)
            run.has_no_end = not template.is_whole
        if run.messages:
            self._push(run, run.started_at + run.messages[0].after)
        if run.has_no_end or template is None:
            self._push(run, now + self._heartbeat_delay(), is_heartbeat=True)

    def _estimate(self, run: OtherRun) -> None:
        """A task that the log never ran is completed as estimated; without an estimate, after the log's average."""
        self.estimated += 1
        task = self._ledger.tasks.known[run.task]
        after = self._recorded.average
        if task.estimated_ms is not None:
            after = dt.timedelta(milliseconds=task.estimated_ms)
        if after is None:
            run.has_no_end = True
            return
        usage = Budget(task.estimated_tokens)
        cost_nanos = self._recorded.mean_costs.of(task.agent_type, task.model, task.estimated_tokens)
        if cost_nanos is not None:
            # Priced on its sum, it would be one long request, and reach a tier that none of its requests reached.
            usage = Budget(task.estimated_tokens, cost_usd=Decimal(cost_nanos).scaleb(-9))
            self.priced_by_mean += 1
        command = c.CompleteTask(task=task.id, outcome="completed", lease="-", usage=usage)
        id = c.internal_id(f"what-if-{task.id}")
        run.messages = [Message(after, encode_command(command), id, "what-if", refused=False)]

    def _heartbeat_delay(self) -> dt.timedelta:
        return lease_time(self._ledger.rules.config) / _HEARTBEATS_PER_LEASE

    def _push(self, run: OtherRun, at: dt.datetime, is_heartbeat: bool = False) -> None:
        self._number += 1
        heapq.heappush(self._heap, (at, self._number, run, is_heartbeat))

    # --- looking up ---------------------------------------------------------------------------------------------------

    def in_step(self, recorded: Run) -> OtherRun | None:
        """The run here that goes on in step with one of the log, if there is one."""
        run = self._in_step.get((recorded.task, recorded.number))
        return run if run is not None and run.in_step else None

    def has_slot(self, run: OtherRun) -> bool:
        """Whether a run has not ended here."""
        task = self._ledger.tasks.running.get(run.task)
        return task is not None and task.lease == run.lease

    def sends_on(self, run: OtherRun) -> bool:
        """Whether the owner of a run sends its next message. An owner that lost the slot learns of it by that, and
        stops.
        """
        if run.is_done or self.has_slot(run):
            return True
        knew, run.owner_knows = run.owner_knows, True
        return not knew

    # --- sending ------------------------------------------------------------------------------------------------------

    def due_at(self) -> dt.datetime | None:
        """When the next message of a shifted run is due."""
        return self._heap[0][0] if self._heap else None

    def pop(self) -> DueMessage | None:
        """The next message of a shifted run; None if its owner has stopped."""
        at, _, run, is_heartbeat = heapq.heappop(self._heap)
        if is_heartbeat:
            if run.is_done or not self.has_slot(run):
                return None
            self._push(run, at + self._heartbeat_delay(), is_heartbeat=True)
            self._number += 1
            id = c.internal_id(f"what-if-alive-{self._number}")
            return DueMessage(run, c.Heartbeat(task=run.task, lease=run.lease), id, run.task, refused=False)
        if not self.sends_on(run):
            return None
        message = run.messages[run.next]
        run.next += 1
        if run.next < len(run.messages):
            self._push(run, run.started_at + run.messages[run.next].after)
        command = with_lease(decode_command(message.request), run)
        hold = getattr(command, "hold", None)
        if hold is not None and run.suffix:
            command = msgspec.structs.replace(command, hold=hold + run.suffix)
        command.id = message.id + run.suffix
        return DueMessage(run, command, command.id, message.by, message.refused)

    # --- usage --------------------------------------------------------------------------------------------------------

    def used_in_log(self, usage: Usage) -> None:
        """A run of the log that is shifted here used this there."""
        self.used_less[usage.agent] = plus(self.used_less.get(usage.agent, ZERO), usage.used)

    def used_here(self, usage: Usage) -> None:
        """A shifted run used this here."""
        self.used_less[usage.agent] = minus(self.used_less.get(usage.agent, ZERO), usage.used)


def with_lease(command: c.Command, run: OtherRun) -> c.Command:
    """A message with the lease of the run here, where it names the lease of the run of the log."""
    lease = getattr(command, "lease", None)
    if lease is None or lease == run.lease:
        return command
    return msgspec.structs.replace(command, lease=run.lease)
