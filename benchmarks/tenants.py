"""421 real clients through the fleet: an hour's requests of each become its tasks, and all are offered at once.

They are submitted while everything is paused, so that the first to come has no advantage. The figures are read off the
log: who started when, what its product had had of the slots by then, and who else waited.
"""

import datetime as dt
import heapq
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import msgspec

from benchmarks.result import Result, quiet
from tallystick.config.amounts import Budget
from tallystick.config.loader import from_mapping
from tallystick.demo.campaign import Starts
from tallystick.demo.stage import Stage
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.log.codec import decode_event
from tallystick.events.log.store_memory import MemoryStore
from tallystick.events.state.conservation import check_conserved
from tallystick.events.state.fairness import fairness, jain, shares
from tests.support.core import START
from tests.support.queue_machine import Job
from tests.support.tenants import REAL, SLOTS, offered

HOUR = 3_600.0
AT_HAND_MS = 60_000
"""Milliseconds that a product's use counts for each slot that it holds (docs/explanation/scheduling.md)."""
_TOGETHER = 1_000
_CONFIG = {
    "total_budget": {"period": "none"},
    "daily_limits": {"max_tokens_total": None, "max_cost_usd": None},
    "leases": {"seconds": 100_000},
    "reallocation": {"enabled": False},
}


class Served(msgspec.Struct, frozen=True):
    """An hour of slots, read off the log.

    ``delays``: starts of a product above its share while one that was not above it waited. ``slot_seconds`` by product,
    ``waiting`` the products that had something waiting at the end.
    """

    starts: int
    delays: int
    idle_seconds: float
    slot_seconds: dict[str, float]
    waiting: set[str]

    @property
    def evenness(self) -> tuple[float, float]:
        """Fairness and Jain's index of the slot-time of those that had something waiting all the time."""
        parts = shares([(self.slot_seconds.get(product, 0.0), 1.0) for product in sorted(self.waiting)])
        fair, even = fairness(parts), jain(parts)
        assert fair is not None
        assert even is not None
        return fair, even


def serve(jobs: Sequence[Job], slots: int = SLOTS, until: float = HOUR) -> Served:
    """Offer all jobs at once to the fleet, and let each task with a slot work for as long as its job lasts."""
    store, starts = MemoryStore(), Starts()
    config = from_mapping({**_CONFIG, "max_concurrent": {"total": slots, "per_type": {}}})
    stage = Stage.opened(store, config, None, START, [starts.note])
    lasts = {job.task: job.lasts for job in jobs}

    def say(*commands: c.Command, at: float = 0.0) -> None:
        for answer in stage.say(list(commands), "bench", START + dt.timedelta(seconds=at)):
            assert "ok" in answer, answer

    say(c.PauseAll(id="pause", reason="until all have come"))
    for i in range(0, len(jobs), _TOGETHER):
        say(*(_submission(job) for job in jobs[i : i + _TOGETHER]))
    say(c.ResumeAll(id="resume"))
    ends: list[tuple[float, str, str]] = []
    while True:
        for event in starts.heard():
            began = (event.at - START).total_seconds()
            heapq.heappush(ends, (began + round(lasts[event.task], 3), event.task, event.lease))
        if not ends or ends[0][0] > until:
            break
        at, task, lease = heapq.heappop(ends)
        used = Budget(tokens=1)
        say(c.CompleteTask(id=f"done-{task}", task=task, outcome="completed", lease=lease, usage=used), at=at)
    check_conserved(stage.ledger)
    return read(store, slots, until)


def _submission(job: Job) -> c.SubmitTask:
    return c.SubmitTask(
        id=f"new-{job.task}", task=job.task, agent_type=job.agent_type, product=job.product, priority=job.priority
    )


def read(store: MemoryStore, slots: int, until: float) -> Served:
    """What the log says of the first hour: with no more than that, all slot-time is of the last 60 minutes."""
    product: dict[str, str] = {}
    waiting: Counter[str] = Counter()
    running: dict[str, int] = {}
    held: Counter[str] = Counter()
    sums: Counter[str] = Counter()
    """By product: its slot-time that is over, less the moments at which those that it holds began."""
    starts = delays = queued = 0
    idle = last = 0
    for record in store.read():
        event = decode_event(record.data, record.name)
        now = (event.at - START) // dt.timedelta(milliseconds=1)
        if queued and starts:
            idle += (now - last) * (slots - len(running))
        last = now
        match event:
            case e.TaskQueued():
                waiting[product[event.task]] += 1
                queued += 1
            case e.TaskSubmitted():
                product[event.task] = event.product
                sums.setdefault(event.product, 0)
            case e.TaskStarted():
                name = product[event.task]
                concerned = [one for one in sums if waiting[one] or held[one]]
                use = {one: sums[one] + held[one] * (now + AT_HAND_MS) for one in concerned}
                share = sum(use.values())
                starts += 1
                delays += use[name] * len(use) > share and any(
                    waiting[one] and use[one] * len(use) <= share for one in concerned
                )
                waiting[name] -= 1
                queued -= 1
                held[name] += 1
                sums[name] -= now
                running[event.task] = now
            case e.TaskCompleted():
                name = product[event.task]
                held[name] -= 1
                sums[name] += now
                del running[event.task]
    seconds = {name: sums[name] / 1000 + held[name] * until for name in sums}
    return Served(starts, delays, idle / 1000, seconds, {name for name in sums if waiting[name]})


def results(say: Callable[[str], None]) -> Iterator[Result]:
    """All tasks of the 421 clients in their first hour."""
    if REAL is None:
        say("tenants: skipped, the public data are not here")
        return
    served = serve(offered())
    fair, even = served.evenness
    yield Result("tenants.fairness", fair, "of slot-time", "1", fair, (">=", 0.9))
    yield Result("tenants.jain", even, "of slot-time", "1", even)
    yield Result("tenants.delays", served.delays, "starts", f"{served.starts} starts", served.delays / served.starts)


if __name__ == "__main__":
    quiet()
    for result in results(print):
        print(f"{result.name}: {result.value:,.3f} {result.unit}, {result.ratio:.3f} of {result.against}")
