"""Two products with a steady backlog, one with long answers and one with long prompts, share evenly."""

import datetime as dt
import heapq
import random
from collections.abc import Callable
from typing import NamedTuple

import pytest

from tallystick.config.loader import from_mapping
from tallystick.demo.campaign import Starts
from tallystick.demo.stage import Stage
from tallystick.events import messages as c
from tallystick.events.log.store_memory import MemoryStore
from tallystick.events.messages.command import Command
from tests.support.core import START

HOUR = 3_600.0
SLOTS = 16


class Shape(NamedTuple):
    """A task: tokens of input and output, and how long it runs, in seconds."""

    given: int
    output: int
    lasts: float

    @property
    def tokens(self) -> int:
        return self.given + 2 * self.output


def known(product: str, dice: random.Random) -> Shape:
    """`talk` has short prompts and long answers, `read` the reverse; each takes what the others of its product take."""
    given, output = (500, 3_600) if product == "talk" else (7_200, 150)
    return Shape(given, output, (5 + given / 1_000 + output / 20) * dice.uniform(0.6, 1.4))


def varied(product: str, dice: random.Random) -> Shape:
    """The same, but what a task takes is known only when it ends."""
    if product == "talk":
        given, output = dice.randint(300, 700), dice.randint(3_200, 4_000)
    else:
        given, output = dice.randint(6_400, 8_000), dice.randint(50, 250)
    return Shape(given, output, 5 + given / 1_000 + output / 20)


class Use(NamedTuple):
    at: float
    product: str
    units: float


def run(
    by: str, hours: float, seed: int, shape: Callable[[str, random.Random], Shape] = varied
) -> tuple[list[Use], float]:
    """What each product was given and when, in weighted tokens of tasks that start, or in slot-seconds; and the largest
    task.
    """
    dice, store, starts = random.Random(seed), MemoryStore(), Starts()
    config = from_mapping(
        {
            "total_budget": {},
            "token_budgets": {"default": 20_000},
            "max_concurrent": {"total": SLOTS, "per_type": {}},
            "daily_limits": {"max_tokens_total": None, "max_cost_usd": None},
            "leases": {"seconds": 100_000},
            "reallocation": {"enabled": False},
            "fairness": {"by": by},
        }
    )
    stage = Stage.opened(store, config, None, START, [starts.note])
    shapes: dict[str, tuple[str, Shape]] = {}
    ends: list[tuple[float, int, str]] = []
    uses: list[Use] = []
    last = 0.0

    def say(at: float, *commands: Command) -> None:
        stage.say(list(commands), "test", START + dt.timedelta(seconds=at))
        for event in starts.heard():
            since = (event.at - START).total_seconds()
            if by == "tokens":
                # What it takes is given to its product when it starts.
                product, one = shapes[event.task]
                uses.append(Use(since, product, one.tokens))
            heapq.heappush(ends, (since + shapes[event.task][1].lasts, event.position, event.task))

    def submission(product: str) -> c.SubmitTask:
        task = f"t{len(shapes)}"
        shapes[task] = (product, shape(product, dice))
        return c.SubmitTask(id=task, task=task, agent_type="x", product=product)

    for _ in range(2 * SLOTS):
        say(0, submission("talk"), submission("read"))
    while ends[0][0] < hours * HOUR:
        at, _, task = heapq.heappop(ends)
        product, one = shapes[task]
        report = c.ReportUsage(
            id=f"u-{task}", task=task, input_tokens=one.given, output_tokens=one.output, model="claude-haiku-4-5"
        )
        if by == "slot_time":
            # What each held since the last end.
            uses += [Use(at, shapes[run][0], at - last) for run in stage.ledger.tasks.running]
            last = at
        say(at, report, c.CompleteTask(id=f"d-{task}", task=task, outcome="completed"), submission(product))
    units = [one.tokens if by == "tokens" else one.lasts for _, one in shapes.values()]
    return uses, max(units)


def differences(uses: list[Use]) -> list[float]:
    """How far the sums of the two over the last hour are apart, at every moment from the end of the first hour on."""
    apart, first, found = 0.0, 0, []
    for use in uses:
        apart += use.units if use.product == "talk" else -use.units
        while uses[first].at <= use.at - HOUR:
            old = uses[first]
            apart -= old.units if old.product == "talk" else -old.units
            first += 1
        if use.at >= HOUR:
            found.append(apart)
    return found


def test_by_slot_time_the_two_never_differ_by_two_of_the_longest_tasks_once_the_window_is_full() -> None:
    uses, longest = run("slot_time", hours=1.05, seed=1)
    apart = differences(uses)
    assert len(apart) > 200
    assert max(map(abs, apart)) < 2 * longest


@pytest.mark.parametrize("seed", [1, 2])
def test_by_tokens_the_two_never_differ_by_two_of_the_largest_tasks_once_the_window_is_full(seed: int) -> None:
    uses, largest = run("tokens", 1.1, seed, known)
    apart = differences(uses)
    assert len(apart) > 50
    assert max(map(abs, apart)) < 2 * largest


def test_what_a_run_takes_beyond_the_mean_of_its_product_adds_less_than_one_more_task() -> None:
    """What a run takes is known when it ends; until then it counts as runs of its product do at the mean."""
    uses, largest = run("tokens", 1.2, 1)
    assert max(map(abs, differences(uses))) < 3 * largest


def test_by_slot_time_the_same_two_are_far_apart_in_tokens() -> None:
    uses, _ = run("slot_time", hours=0.5, seed=1)
    slots = {product: sum(use.units for use in uses if use.product == product) for product in ("talk", "read")}
    talk, read = (varied(product, random.Random(1)) for product in ("talk", "read"))
    assert slots["talk"] == pytest.approx(slots["read"], rel=0.05)
    assert read.tokens / read.lasts > 3 * talk.tokens / talk.lasts, "so much more in the same slot-time"
