"""Many products offer more than there are slots for, all at once: each gets its share, whatever the others bring."""

import random

import pytest

from tallystick.actors.policies.scheduling.queue import Ranked
from tallystick.actors.policies.scheduling.ranking import Moment
from tests.support.queue_machine import Job, Machine, config_of
from tests.support.tenants import REAL, SLOTS, evenness, offered

HOUR = 3_600.0


def served(jobs: list[Job], slots: int) -> Machine:
    """The first hour, in which no product above its share is ever started before one that is not."""

    def watch(machine: Machine, moment: Moment, best: Ranked) -> None:
        if best.waiting.kind.product in moment.above:
            assert machine.queue.products <= moment.above, "a product over its share delays one under it"

    return Machine(config_of(slots), jobs, watch).run(until=HOUR)


def test_small_products_are_served_though_a_large_one_came_first_with_a_thousand_tasks() -> None:
    dice = random.Random(7)
    jobs = [Job(f"large/{i}", "large", lasts=30) for i in range(1_000)]
    for number in range(1, 40):
        lasts = dice.randint(5, 60)
        jobs += [Job(f"{number}/{i}", f"{number}", lasts=lasts) for i in range(dice.randint(1, 200))]
    machine = served(jobs, 8)
    assert len(machine.queue.products) > 20, "there is more to do than can be done"
    fair, even = evenness(machine)
    assert fair >= 0.9
    assert even >= 0.9


def test_a_product_of_twice_the_weight_gets_twice_the_slot_time() -> None:
    jobs = [Job(f"{product}/{i}", product, lasts=20) for product in ("light", "heavy") for i in range(1_000)]
    machine = Machine(config_of(3, products={"heavy": {"weight": 2}}), jobs).run(until=HOUR)
    held = machine.slot_time()
    assert held["heavy"] / held["light"] == pytest.approx(2, rel=0.02)


def test_a_product_that_is_alone_uses_everything() -> None:
    machine = served([Job(f"{i}", lasts=100) for i in range(500)], 5)
    assert machine.slot_time() == {"p": 5 * HOUR}


@pytest.mark.skipif(REAL is None, reason="the public data are not here")
def test_the_421_tenants_of_a_real_service_each_get_their_share() -> None:
    machine = served(offered(), SLOTS)
    assert len({job.product for job in machine.jobs.values()}) == 421
    assert machine.slots.full, "no slot is ever idle"
    fair, even = evenness(machine)
    assert fair >= 0.9
    assert even >= 0.9
