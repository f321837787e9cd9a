"""Queues and waiting tasks for tests of the scheduling policies."""

import datetime as dt

from tallystick.actors.policies.scheduling.queue import Queue
from tallystick.actors.policies.scheduling.ranking import Ranking
from tallystick.actors.policies.scheduling.tasks import Kind, Waiting
from tallystick.config.kinds import Priority
from tallystick.config.settings import Config
from tests.support.core import START

RANKING = Ranking(Config())


MINUTE = dt.timedelta(minutes=1)


def waiting(
    task: str,
    priority: Priority = "normal",
    waited: float = 0,
    blocked: int = 0,
    number: int = 0,
    product: str = "p",
    agent_type: str = "t",
) -> Waiting:
    """A task that has waited so many minutes at `START`."""
    return Waiting(task, Kind(product, agent_type, priority), START - waited * MINUTE, number, blocked)


def queue_of(*tasks: Waiting, config: Config | None = None) -> Queue:
    queue = Queue(RANKING if config is None else Ranking(config))
    for task in tasks:
        queue.add(task)
    return queue
