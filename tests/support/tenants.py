"""Products that offer more than there are slots for: the 421 clients of a real service, where its data is here."""

import csv
import gzip

from benchmarks.data import found
from tallystick.events.state.fairness import fairness, jain, shares
from tests.support.queue_machine import Job, Machine

REAL = found("servegen-client-hourly.csv.gz")
SLOTS = 32
TOKENS_PER_SECOND = 5_000
"""Of one slot. What the tenants offer in their first hour would take all slots twelve hours."""
_REQUESTS_PER_TASK = 100


def evenness(machine: Machine) -> tuple[float, float]:
    """Fairness and Jain's index of the slot-time of the products that had something waiting all the time."""
    held = machine.slot_time()
    parts = shares([(held.get(product, 0.0), 1.0) for product in machine.queue.products])
    fair, even = fairness(parts), jain(parts)
    assert fair is not None
    assert even is not None
    return fair, even


def offered() -> list[Job]:
    """The first hour of each client: one task per 100 requests, of the row's mean size (or the mean of all)."""
    assert REAL is not None
    with gzip.open(REAL, "rt", encoding="utf-8") as file:
        first: dict[str, dict[str, str]] = {}
        for row in csv.DictReader(file):
            first.setdefault(row["agent"], row)
    counts = {agent: -(-int(row["requests"]) // _REQUESTS_PER_TASK) for agent, row in first.items()}
    sizes = {
        agent: (int(row["input_tokens"]) + int(row["output_tokens"])) / int(row["requests"]) * _REQUESTS_PER_TASK
        for agent, row in first.items()
        if row["input_tokens"] and row["output_tokens"]
    }
    mean = sum(size * counts[agent] for agent, size in sizes.items()) / sum(counts[agent] for agent in sizes)
    return [
        Job(f"{agent}/{i}", agent, lasts=sizes.get(agent, mean) / TOKENS_PER_SECOND)
        for agent, count in counts.items()
        for i in range(count)
    ]
