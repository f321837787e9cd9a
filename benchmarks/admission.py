"""Benchmarks of admission: picking the next task of a long queue, and how evenly slots are shared by many products."""

import datetime as dt
import itertools
import random
import time

from benchmarks.result import percentile
from tallystick.actors.policies.scheduling.dispatch import pick
from tallystick.actors.policies.scheduling.queue import Queue
from tallystick.actors.policies.scheduling.ranking import Moment, Ranking
from tallystick.actors.policies.scheduling.slots import Limits, Slots
from tallystick.actors.policies.scheduling.tasks import Kind, Waiting
from tallystick.config.settings import Config
from tallystick.events.messages import PRIORITIES
from tests.support.queue_machine import Machine, config_of
from tests.support.tenants import REAL, SLOTS, evenness, offered

KINDS = [
    Kind(f"product-{product}", f"type-{agent_type}", priority)
    for product, agent_type, priority in itertools.product(range(4), range(3), PRIORITIES)
]
_START = dt.datetime(2026, 1, 26, tzinfo=dt.UTC)
_CYCLES = 2_000


def pick_seconds(waiting: int) -> float:
    """Seconds to find the next task and take it out, and to let another of its kind wait: the median.

    Whatever the number that waits, the groups are the same: every kind, blocking no task or one other. The limits
    are those of a busy fleet: one type is full.
    """
    dice, numbers = random.Random(waiting), itertools.count()
    queue, slots = Queue(Ranking(Config())), Slots(Limits(1_000, {"type-0": 0}, {"product-0": 100}))

    def task(kind: Kind, blocked: int, minutes: float) -> Waiting:
        number = next(numbers)
        return Waiting(f"task-{number}", kind, _START - dt.timedelta(minutes=minutes), number, blocked)

    groups = list(itertools.product(KINDS, (0, 1)))
    for i in range(waiting):
        queue.add(task(*groups[i % len(groups)], dice.uniform(0, 200)))
    moment = Moment(_START, waiting + 1_000, {"product-1", "product-2"})
    seen = []
    for _ in range(_CYCLES):
        began = time.perf_counter()
        best = pick(queue, slots, moment, lambda waiting: True)
        assert best is not None
        left = queue.remove(best.waiting.task)
        queue.add(task(left.kind, left.blocked, dice.uniform(0, 200)))
        seen.append(time.perf_counter() - began)
    return percentile(seen, 0.5)


def tenants_evenness() -> tuple[float, float] | None:
    """Fairness and Jain's index of 421 real tenants in the hour after all offered at once; None without their data."""
    if REAL is None:
        return None
    return evenness(Machine(config_of(SLOTS), offered()).run(until=3_600.0))
