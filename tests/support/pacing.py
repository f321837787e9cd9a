"""Agents in threads that share a provider's requests and tokens per minute, and the provider, which counts exactly.

Each agent asks for room, calls the provider when it is granted, works for a time and settles. With `VirtualTime` no one
sleeps: the clock moves when all agents wait for something.
"""

import datetime as dt
import heapq
import itertools
import random
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from tallystick.actors.runtime.clock import ManualClock
from tallystick.actors.runtime.fleet import Fleet
from tallystick.actors.runtime.pending import Pending
from tallystick.events import catalog as e
from tallystick.events.log.codec import decode_event
from tallystick.events.log.store import Store

REQUESTS, TOKENS = 50, 400_000
PRIORITIES = ("critical", "high", "normal", "low")
_PATIENCE = 300.0
"""Seconds of the machine's clock after which a test is given up that stands still."""


class Call(NamedTuple):
    """A request as the provider saw it: at which second, and with how many tokens."""

    at: float
    tokens: int


class Provider:
    """Allows so many requests and tokens in any span of ``seconds``: it keeps each of them with its time."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.taken: list[Call] = []
        self.refused: list[Call] = []
        self._within: deque[Call] = deque()
        self._lock = threading.Lock()

    def call(self, now: Callable[[], float], tokens: int) -> bool:
        """Take a request, or refuse it."""
        with self._lock:
            call = Call(now(), tokens)
            while self._within and self._within[0].at <= call.at - self.seconds:
                self._within.popleft()
            fits = len(self._within) < REQUESTS and sum(one.tokens for one in self._within) + tokens <= TOKENS
            if fits:
                self._within.append(call)
            (self.taken if fits else self.refused).append(call)
            return fits


class Time(Protocol):
    """How agents spend time, and what time it is, in seconds."""

    def now(self) -> float: ...

    def answer_to(self, agent: str, message: dict[str, Any]) -> Any:
        """Ask, and wait for the answer."""

    def work(self, agent: str, seconds: float) -> None:
        """Let time pass."""

    def end(self, agent: str) -> None:
        """An agent does no more."""


class RealTime:
    """As the machine's clock says. ``arrived`` are the times of calls, by agent and order."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.arrived: list[tuple[str, dt.datetime]] = []

    def now(self) -> float:
        self.arrived.append((threading.current_thread().name, dt.datetime.now(dt.UTC)))
        return time.monotonic()

    def longest_way(self, placed: Sequence[e.HoldPlaced]) -> float:
        """The longest time from a grant to the arrival of its call, in seconds."""
        granted: dict[str, list[dt.datetime]] = {}
        for one in placed:
            granted.setdefault(one.agent, []).append(one.at)
        ways = ((at - granted[agent].pop(0)).total_seconds() for agent, at in self.arrived)
        return max(ways)

    def answer_to(self, agent: str, message: dict[str, Any]) -> Any:
        return self._fleet.ask(message, by=agent)

    def work(self, agent: str, seconds: float) -> None:
        time.sleep(seconds)

    def end(self, agent: str) -> None:
        pass


class VirtualTime:
    """A clock that is moved when all agents wait: for room, or for the end of their work."""

    def __init__(self, fleet: Fleet, clock: ManualClock, agents: int) -> None:
        self._fleet, self._clock, self._alive = fleet, clock, agents
        self._began = clock.now()
        self._changed = threading.Condition()
        self._waiting: dict[str, Pending] = {}
        self._working: list[tuple[float, int, threading.Event]] = []
        self._count = itertools.count()
        self.asked: list[str] = []
        """The ids of all that asked for room, in the order in which they did."""

    def now(self) -> float:
        return (self._clock.now() - self._began).total_seconds()

    def answer_to(self, agent: str, message: dict[str, Any]) -> Any:
        with self._changed:
            waiting = self._waiting[agent] = self._fleet.send(message, agent)
            self.asked.append(message["id"])
            self._changed.notify()
        answer = waiting.result(_PATIENCE)
        with self._changed:
            del self._waiting[agent]
        return answer

    def work(self, agent: str, seconds: float) -> None:
        over = threading.Event()
        with self._changed:
            heapq.heappush(self._working, (self.now() + seconds, next(self._count), over))
            self._changed.notify()
        assert over.wait(_PATIENCE)

    def end(self, agent: str) -> None:
        with self._changed:
            self._alive -= 1
            self._changed.notify()

    def run(self) -> None:
        """Move the clock until no agent is left."""
        while True:
            with self._changed:
                assert self._changed.wait_for(self._all_wait, _PATIENCE), "an agent stands still"
                if not self._alive:
                    return
            self._fleet.quiesce()
            with self._changed:
                if not self._all_wait():
                    continue
            self._move()

    def _all_wait(self) -> bool:
        still = [one for one in self._waiting.values() if one._answers is None]
        return len(still) + len(self._working) == self._alive and len(still) == len(self._waiting)

    def _move(self) -> None:
        timer = self._fleet._timekeeper._first()
        moments = [] if timer is None else [timer[0]]
        if self._working:
            moments.append(self._began + dt.timedelta(seconds=self._working[0][0]))
        self._fleet.advance(max(min(moments), self._clock.now()))
        with self._changed:
            while self._working and self._working[0][0] <= self.now():
                heapq.heappop(self._working)[2].set()


class Agent(threading.Thread):
    """Asks for room, calls the provider, works, settles; so many times. ``died`` says why it did not reach its end."""

    def __init__(self, name: str, number: int, sizes: Sequence[int], work: Sequence[float]) -> None:
        super().__init__(name=name, daemon=True)
        self._sizes, self._work = sizes, work
        self.priority = PRIORITIES[number % 8 // 2] if number % 8 < 3 else "normal"
        self.died: str | None = None

    def begin(self, fleet: Fleet, provider: Provider, passes: Time) -> None:
        self._fleet, self._provider, self._passes = fleet, provider, passes
        self.start()

    def run(self) -> None:
        try:
            for number, (size, seconds) in enumerate(zip(self._sizes, self._work, strict=True)):
                self._call(f"{self.name}-{number}", size, seconds)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test says it
            self.died = f"{type(error).__name__}: {error}"
        finally:
            self._passes.end(self.name)

    def _call(self, id: str, size: int, seconds: float) -> None:
        tokens = {"model": "haiku", "input_tokens": size, "output_tokens": 100}
        lasts = {"wait_seconds": 3_600, "ttl_seconds": 7_200}
        held = self._passes.answer_to(self.name, {"type": "Reserve", "id": id, "agent": self.name, **lasts, **tokens})
        assert "ok" in held, held
        assert self._provider.call(self._passes.now, size), "the provider refused"
        self._passes.work(self.name, seconds)
        settled = self._fleet.ask({"type": "Settle", "hold": id, **tokens}, by=self.name)
        assert "ok" in settled, settled


def config(seconds: int) -> dict[str, Any]:
    """A fleet in which nothing but the pace of the provider is in the way."""
    pace = {
        "name": "pace",
        "per": "provider",
        "match": {"provider": "anthropic"},
        "window": {"seconds": seconds},
        "max": {"requests": REQUESTS, "input_tokens": TOKENS},
        "then": "wait",
    }
    return {
        "total_budget": {"tokens": None, "cost_usd": None},
        "daily_limits": {"max_tokens_total": None, "max_cost_usd": None},
        "reallocation": {"interval_seconds": 3_600},
        "limits": [pace],
    }


def agents_of(count: int, calls: int, sizes: tuple[int, int], work: Sequence[float]) -> list[Agent]:
    """So many agents, each with its calls: their tokens are between two sizes."""
    dice = random.Random(11)
    return [
        Agent(
            f"a-{number}",
            number,
            [dice.randint(*sizes) for _ in range(calls)],
            [dice.choice(work) for _ in range(calls)],
        )
        for number in range(count)
    ]


def allocate(fleet: Fleet, agents: Sequence[Agent]) -> None:
    """An account for each."""
    opened = [
        {"type": "AllocateBudget", "agent": one.name, "budget": {"tokens": 10**7}, "priority": one.priority}
        for one in agents
    ]
    assert all("ok" in answer for answer in fleet.ask(opened))


def placed_in(store: Store) -> list[e.HoldPlaced]:
    """What was granted, in its order."""
    found = (decode_event(one.data, one.name) for one in store.read() if one.name == "hold-placed.v1")
    return [event for event in found if isinstance(event, e.HoldPlaced)]


def share_used(taken: Sequence[Call], seconds: float) -> float:
    """What part is used of the most requests or tokens, whichever is more, that any order of calls could have used
    until the last call behind which others waited: a window before the very last.
    """
    within = [call for call in taken if call.at <= taken[-1].at - seconds]
    windows = (within[-1].at - within[0].at) / seconds + 1
    return max(len(within) / REQUESTS, sum(call.tokens for call in within) / TOKENS) / windows


def say(text: str) -> None:
    """Show what was measured, where pytest lets it through (``make large``)."""
    sys.stdout.write(f"\n{text}\n")
