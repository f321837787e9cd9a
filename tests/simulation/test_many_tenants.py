"""Many products that offer more than there are slots for, all at once, through the fleet: each gets its share.

The policies alone are measured on all 421 tenants (`tests/policies/test_many_tenants.py`); here every seventh of them
goes through core and allocator, and `python -m benchmarks.tenants` does it with all.
"""

import random

import pytest

from benchmarks.tenants import serve
from tests.support.queue_machine import Job
from tests.support.tenants import REAL, offered

SLOTS = 4
SEVENTH = 7
ENOUGH = 1_000.0
"""Seconds of work that are left of a tenant's: four times its share of the hour, so that something always waits."""


def some(jobs: list[Job]) -> list[Job]:
    """Of every seventh tenant as much as it could do in the hour."""
    tenants = sorted({job.product for job in jobs})[::SEVENTH]
    work, kept = dict.fromkeys(tenants, 0.0), []
    for job in jobs:
        if work.get(job.product, ENOUGH) < ENOUGH:
            work[job.product] += job.lasts
            kept.append(job)
    return kept


def test_small_products_are_served_though_a_large_one_came_first_with_a_thousand_tasks() -> None:
    dice = random.Random(7)
    jobs = [Job(f"large/{i}", "large", lasts=30) for i in range(1_000)]
    for number in range(1, 40):
        jobs += [Job(f"{number}/{i}", f"{number}", lasts=dice.randint(20, 60)) for i in range(dice.randint(1, 40))]
    served = serve(jobs, 2 * SLOTS, until=1_800)
    assert "large" in served.waiting
    assert served.delays == 0
    assert served.idle_seconds == 0
    fair, even = served.evenness
    assert fair >= 0.9
    assert even >= 0.9


@pytest.mark.skipif(REAL is None, reason="the public data are not here")
def test_the_tenants_of_a_real_service_each_get_their_share() -> None:
    served = serve(some(offered()), SLOTS)
    assert len(served.slot_seconds) == 61
    assert len(served.waiting) > 20
    assert served.delays == 0, "a product over its share never goes before one under it"
    assert served.idle_seconds == 0
    fair, even = served.evenness
    assert fair >= 0.9
    assert even >= 0.9
