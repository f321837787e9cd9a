"""The runs of tasks in the other history: which go on as in the log, and which started at another time, with their messages.

A run that starts in the same step as in the log goes on *in step* with it: the log's messages are its own. Any other one
is *moved*: the messages of the run that it goes like follow its start by the same delays.
"""

import datetime as dt
import heapq
from collections import Counter
from typing import NamedTuple

import msgspec

from tallystick.config.amounts import Budget
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.log.codec import decode_command, encode_command
from tallystick.events.state.accounts import ZERO, Money, minus, plus
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.task_rules import lease_time
from tallystick.whatif.runs import Message, Run, Scripts

_ALIVE_PER_LEASE = 3


class Here:
    """A run of the other history. ``like`` is the run of the log that it goes like, None where the task never ran there."""

    __slots__ = (
        "endless",
        "in_step",
        "is_done",
        "lease",
        "like",
        "messages",
        "next",
        "started_at",
        "suffix",
        "task",
        "told",
    )

    def __init__(self, task: str, lease: str, started_at: dt.datetime, like: Run | None, suffix: str) -> None:
        self.task = task
        self.lease = lease
        self.started_at = started_at
        self.like = like
        self.suffix = suffix
        """What its messages' ids end with, so that a run that is repeated is no repeated message."""
        self.in_step = False
        self.is_done = False
        """Its owner has said that it is over."""
        self.told = False
        """Its slot was taken away, and its owner has heard of it."""
        self.messages: list[Message] = []
        self.next = 0
        self.endless = False
        """Nobody knows its end: it gives signs of life until the log ends."""


class Due(NamedTuple):
    """A message of a moved run, to be put in now."""

    here: Here
    command: c.Command
    id: str
    by: str
    refused: bool


class ShiftedRuns:
    """Everyone who runs in the other history, and what they will send."""

    def __init__(self, scripts: Scripts, other: Ledger) -> None:
        self.guessed = 0
        """Tasks that ran here and never in the log: they take as long, and use as much, as was estimated."""
        self.moved = 0
        """Runs that started at another time than in the log, or were not cut short as there."""
        self.theirs: dict[str, Money] = {}
        """By agent, what the log's moved runs used there."""
        self.ours: dict[str, Money] = {}
        """By agent, what moved runs used here."""
        self._scripts = scripts
        self._other = other
        self._in_step: dict[tuple[str, int], Here] = {}
        """By task and the number of its run in the log. Whoever works in one may speak when a later one has begun."""
        self._plays: Counter[tuple[str, int]] = Counter()
        self._heap: list[tuple[dt.datetime, int, Here, bool]] = []
        """When who sends next, in the order in which it was found out; the last is whether it is but a sign of life."""
        self._number = 0

    # --- beginning ----------------------------------------------------------------------------------------------------

    def begin(self, event: e.TaskStarted, in_log: Run | None) -> None:
        """A task has started here; ``in_log`` is the run that the same step of the log began, if any."""
        if in_log is not None and in_log.attempt == event.attempt:
            here = self._new(event, in_log)
            here.in_step = True
            self._in_step[event.task, in_log.number] = here
            return
        here = self._new(event, self._scripts.run(event.task, event.attempt))
        self._follow(here, event.at, dt.timedelta(-1))

    def _new(self, event: e.TaskStarted, like: Run | None) -> Here:
        key = (event.task, -1 if like is None else like.number)
        plays = self._plays[key]
        self._plays[key] += 1
        suffix = "" if not plays and like is not None else f"-what-if-{plays + 1}"
        return Here(event.task, event.lease, event.at, like, suffix)

    def cut_in_log(self, run: Run, now: dt.datetime) -> None:
        """The log ended a run; where it goes on here, it goes on like the one that was not cut short."""
        here = self.in_step(run)
        if here is None or not self.is_current(here):
            return
        like = self._scripts.run(run.task, run.attempt)
        if like is None or like.number == run.number:
            here.endless = like is not None and not like.is_whole
            if here.endless:
                self._push(here, now + self._alive(), is_alive=True)
            return
        here.in_step, here.like = False, like
        plays = self._plays[run.task, like.number]
        self._plays[run.task, like.number] += 1
        here.suffix = f"-what-if-{plays + 1}" if plays else ""
        self._follow(here, now, now - here.started_at)

    def _follow(self, here: Here, now: dt.datetime, behind: dt.timedelta) -> None:
        """Let a moved run send what comes later than ``behind`` its start."""
        self.moved += 1
        like = here.like
        if like is None:
            self._guess(here)
        else:
            here.messages = like.later_than(behind)
            here.endless = not like.is_whole
        if here.messages:
            self._push(here, here.started_at + here.messages[0].after)
        if here.endless or like is None:
            self._push(here, now + self._alive(), is_alive=True)

    def _guess(self, here: Here) -> None:
        """A task that the log never ran is taken to be completed as estimated; without an estimate, when others are."""
        self.guessed += 1
        task = self._other.tasks.known[here.task]
        after = self._scripts.usual
        if task.estimated_ms is not None:
            after = dt.timedelta(milliseconds=task.estimated_ms)
        if after is None:
            here.endless = True
            return
        command = c.CompleteTask(task=task.id, outcome="completed", lease="-", usage=Budget(task.estimated_tokens))
        id = f"{c.INTERNAL_ID}what-if-{task.id}"
        here.messages = [Message(after, encode_command(command), id, "what-if", refused=False)]

    def _alive(self) -> dt.timedelta:
        return lease_time(self._other.rules.config) / _ALIVE_PER_LEASE

    def _push(self, here: Here, at: dt.datetime, is_alive: bool = False) -> None:
        self._number += 1
        heapq.heappush(self._heap, (at, self._number, here, is_alive))

    # --- looking ------------------------------------------------------------------------------------------------------

    def in_step(self, run: Run) -> Here | None:
        """The run here that goes on in step with one of the log; None where there is none."""
        here = self._in_step.get((run.task, run.number))
        return here if here is not None and here.in_step else None

    def is_current(self, here: Here) -> bool:
        """It still has its slot."""
        task = self._other.tasks.running.get(here.task)
        return task is not None and task.lease == here.lease

    def obeys(self, here: Here) -> bool:
        """Whether who works in a run sends on. Who lost the slot here learns of it with the next message, and stops."""
        if here.is_done or self.is_current(here):
            return True
        heard, here.told = here.told, True
        return not heard

    # --- sending ------------------------------------------------------------------------------------------------------

    def due_at(self) -> dt.datetime | None:
        """When the next message of a moved run is due."""
        return self._heap[0][0] if self._heap else None

    def pop(self) -> Due | None:
        """The next message of a moved run; None where whoever would send it has stopped."""
        at, _, here, is_alive = heapq.heappop(self._heap)
        if is_alive:
            if here.is_done or not self.is_current(here):
                return None
            self._push(here, at + self._alive(), is_alive=True)
            self._number += 1
            id = f"{c.INTERNAL_ID}what-if-alive-{self._number}"
            return Due(here, c.Heartbeat(task=here.task, lease=here.lease), id, here.task, refused=False)
        if not self.obeys(here):
            return None
        message = here.messages[here.next]
        here.next += 1
        if here.next < len(here.messages):
            self._push(here, here.started_at + here.messages[here.next].after)
        command = self._as_here(here, decode_command(message.asked))
        command.id = message.id + here.suffix
        return Due(here, command, command.id, message.by, message.refused)

    def _as_here(self, here: Here, command: c.Command) -> c.Command:
        """A message with the lease and the holds that the run has here."""
        command = with_lease(command, here)
        hold = getattr(command, "hold", None)
        if hold is not None and here.suffix:
            return msgspec.structs.replace(command, hold=hold + here.suffix)
        return command

    # --- what it came to ----------------------------------------------------------------------------------------------

    def used_in_log(self, agent: str, used: Money) -> None:
        """A moved run of the log used this there."""
        self.theirs[agent] = plus(self.theirs.get(agent, ZERO), used)

    def used_here(self, agent: str, used: Money) -> None:
        """A moved run used this here."""
        self.ours[agent] = plus(self.ours.get(agent, ZERO), used)

    def differences(self) -> list[tuple[str, Money]]:
        """By agent, what the log's moved runs used beyond those here; negative where these used more."""
        return [
            (agent, minus(self.theirs.get(agent, ZERO), self.ours.get(agent, ZERO)))
            for agent in {**self.theirs, **self.ours}
        ]


def with_lease(command: c.Command, here: Here) -> c.Command:
    """A message with the lease of the run here, where it names that of the run of the log."""
    lease = getattr(command, "lease", None)
    if lease is None or lease == here.lease:
        return command
    return msgspec.structs.replace(command, lease=here.lease)
