"""Drives the agents through the fleet, by a clock that the campaign moves at any pace, or as fast as it can.

The agents act at whole seconds of that clock. At each, every timer that is due fires first, then the messages of the
agents whose moment has come go in together, the fleet comes to rest, and agents that waited for a slot hear from the
event stream that they have one: so the same workload gives the same log to the byte, at every speed.
"""

import datetime as dt
import heapq
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from tallystick.demo.agent import Outcome, Phase
from tallystick.demo.stage import Stage
from tallystick.demo.worker import Worker
from tallystick.events import catalog as e
from tallystick.events.messages import MESSAGES_MAX
from tallystick.events.state.money import Money, plus

STARTS_AT: Final = dt.datetime(2026, 1, 5, 9, tzinfo=dt.UTC)
"""When a demonstration begins by its own clock: always the same, so that its log is."""
BEAT_MS: Final = 1_000
BY: Final = "orchestrator"
"""Who sends the agents' messages."""
LOOKS_SECONDS: Final = 0.05
"""While it waits for the next moment, how often the watcher may look."""


class Starts:
    """The starts of tasks, from the event stream."""

    def __init__(self) -> None:
        self._inbox: deque[e.TaskStarted] = deque()

    def note(self, events: Sequence[e.Event]) -> None:
        """Take a recorded batch."""
        self._inbox.extend(event for event in events if isinstance(event, e.TaskStarted))

    def heard(self) -> Iterator[e.TaskStarted]:
        """Those that were not handed out yet, in their order."""
        while self._inbox:
            yield self._inbox.popleft()


class Campaign:
    """All agents on their way. ``speed`` is seconds of theirs per second of ours; None is as fast as it goes.

    ``look`` is called often, between messages; setting ``stop`` ends the campaign at the next moment.
    """

    def __init__(
        self,
        stage: Stage,
        agents: Sequence[Worker],
        starts: Starts,
        speed: float | None,
        look: Callable[[], None],
        stop: threading.Event,
    ) -> None:
        self.agents = agents
        self.now_ms = 0
        self.took: list[float] = []
        """Seconds from handing messages in to the end of all that follows from them, for each envelope."""
        self.messages = 0
        self._stage = stage
        self._starts = starts
        self._by_task = {agent.run.id: i for i, agent in enumerate(agents)}
        self._speed = speed
        self._look = look
        self._stop = stop
        self._agenda = [(agent.due_ms, i) for i, agent in enumerate(agents)]
        heapq.heapify(self._agenda)
        self._began = time.perf_counter()
        self._ended: float | None = None

    @property
    def seconds(self) -> float:
        """How long it has been running, or ran, by our clock."""
        return (time.perf_counter() if self._ended is None else self._ended) - self._began

    @property
    def now(self) -> dt.datetime:
        """The moment by the agents' clock."""
        return STARTS_AT + dt.timedelta(milliseconds=self.now_ms)

    @property
    def reported(self) -> Money:
        """What all agents say they used."""
        total: Money = (0, 0, 0)
        for agent in self.agents:
            total = plus(total, agent.reported)
        return total

    @property
    def steps_done(self) -> int:
        return sum(agent.done for agent in self.agents)

    @property
    def steps_settled(self) -> int:
        """Steps that were run, and those that will not be, because their agent has left."""
        return sum(agent.done if agent.outcome is Outcome.RUNNING else len(agent.run.steps) for agent in self.agents)

    def count(self, outcome: Outcome) -> int:
        return sum(agent.outcome is outcome for agent in self.agents)

    def run(self) -> None:
        """Until the last agent is gone, or it is stopped."""
        while not self._stop.is_set() and (self._agenda or self._give_up()):
            moment_ms = -(-self._agenda[0][0] // BEAT_MS) * BEAT_MS
            if not self._wait_until(moment_ms):
                break
            self.now_ms = moment_ms
            self._stage.pass_time(self.now)
            self._tell_of_starts()
            while due := self._due(moment_ms):
                self._turn(due)
                self._tell_of_starts()
            self._look()
        self._ended = time.perf_counter()
        self._look()

    def _give_up(self) -> bool:
        """No agent works any more, so no slot or budget comes back: those that wait give up. Whether any waited."""
        for i, agent in enumerate(self.agents):
            if agent.phase is Phase.QUEUED:
                agent.give_up(self.now_ms)
                heapq.heappush(self._agenda, (agent.due_ms, i))
        return bool(self._agenda)

    def _tell_of_starts(self) -> None:
        for event in self._starts.heard():
            i = self._by_task[event.task]
            agent = self.agents[i]
            waited = agent.is_away
            agent.started(event.lease, (event.at - STARTS_AT) // dt.timedelta(milliseconds=1))
            if waited:
                heapq.heappush(self._agenda, (agent.due_ms, i))

    def _wait_until(self, moment_ms: int) -> bool:
        """Let the time until then pass, if it is watched; False where it was cut short."""
        if self._speed is None:
            return True
        while (left := moment_ms / 1000 / self._speed - self.seconds) > 0:
            if self._stop.wait(min(left, LOOKS_SECONDS)):
                return False
            self._look()
        return True

    def _due(self, moment_ms: int) -> list[int]:
        """The agents who have something to say by now, at most as many as one envelope carries."""
        due: list[int] = []
        while self._agenda and self._agenda[0][0] <= moment_ms and len(due) < MESSAGES_MAX:
            due.append(heapq.heappop(self._agenda)[1])
        return due

    def _turn(self, due: Sequence[int]) -> None:
        """One message from each, one answer to each."""
        messages = [self.agents[i].message() for i in due]
        began = time.perf_counter()
        replies = self._stage.say(messages, BY, self.now)
        self.took.append(time.perf_counter() - began)
        self.messages += len(messages)
        for i, reply in zip(due, replies, strict=True):
            agent = self.agents[i]
            agent.hear(reply, self.now_ms)
            if not agent.is_away:
                heapq.heappush(self._agenda, (agent.due_ms, i))
