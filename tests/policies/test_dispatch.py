"""Which task starts next under the limits, and the index that finds it."""

import datetime as dt
import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tallystick.actors.policies.scheduling.dispatch import pick
from tallystick.actors.policies.scheduling.queue import Queue
from tallystick.actors.policies.scheduling.ranking import Moment, Order, Ranking
from tallystick.actors.policies.scheduling.slots import Left, Limits, Slots
from tallystick.actors.policies.scheduling.tasks import Kind, Waiting
from tallystick.config.loader import from_mapping
from tallystick.config.settings import Config
from tallystick.events.messages import PRIORITIES
from tests.support.core import START
from tests.support.limits import with_seed_limits
from tests.support.queue_machine import Job, Machine, may_start
from tests.support.ranking import RANKING, queue_of, waiting

MOMENT = Moment(START, 10)


def picked(queue: Queue, slots: Slots, moment: Moment = MOMENT) -> str | None:
    best = pick(queue, slots, moment, may_start)
    return None if best is None else best.waiting.task


def slots(
    total: int | None = None,
    per_type: dict[str, int] | None = None,
    per_product: dict[str, int] | None = None,
    *running: Kind,
) -> Slots:
    taken = Slots(Limits(total, per_type or {}, per_product or {}))
    for kind in running:
        taken.take(kind)
    return taken


# --- limits -----------------------------------------------------------------------------------------------------------


def test_of_five_ready_tasks_under_two_and_two_four_start_and_the_last_backend_task_waits() -> None:
    """Seed 000, with the packaged limits: 5 in all, 2 backend engineers, 2 frontend engineers."""
    jobs = [Job(f"backend-{i}", agent_type="backend-engineer") for i in (1, 2, 3)]
    jobs += [Job(f"frontend-{i}", agent_type="frontend-engineer") for i in (1, 2)]
    machine = Machine(Config(), jobs).run(until=0)
    assert list(machine.running) == ["backend-1", "backend-2", "frontend-1", "frontend-2"]
    assert [ranked.waiting.task for ranked in machine.queue.ranked(machine.moment)] == ["backend-3"]
    assert machine.run(until=60).first_start("backend-3") == 60, "when one finishes, the last one starts"


def test_the_limits_of_a_configuration_are_read_from_it() -> None:
    products = {"urgent": {"max_concurrent_agents": 8}, "other": {"weight": 2}}
    config = from_mapping(with_seed_limits({"products": products}))
    assert Limits.of(config) == (5, {"backend-engineer": 2, "frontend-engineer": 2}, {"urgent": 8})


def test_what_is_not_limited_has_always_more() -> None:
    kind = Kind("p", "t", "low")
    assert slots(None, {}, {}, kind).left(kind) == Left(None, None, None)
    assert slots(3, {"t": 2}, {"p": 1}, kind).left(kind) == Left(2, 1, 0)
    assert slots(0).full
    assert not slots(None, {}, {}, kind).full


def test_a_lowered_limit_lets_what_runs_go_on_and_nothing_start() -> None:
    kind = Kind("p", "t", "low")
    held = slots(3, {}, {}, kind, kind)
    held.limits = Limits(1, {}, {})
    assert held.left(kind).total == -1
    held.give_back(kind)
    assert held.full


def test_a_task_at_its_limit_does_not_hold_up_those_that_can_start() -> None:
    queue = queue_of(waiting("type", "high", agent_type="full"), waiting("product", "high", product="full", number=1))
    queue.add(waiting("free", number=2))
    held = slots(9, {"full": 1}, {"full": 1}, Kind("full", "full", "low"))
    assert picked(queue, held) == "free"


def test_of_tasks_for_the_same_slot_the_one_that_ranks_higher_goes_first() -> None:
    queue = queue_of(waiting("low", "low", 30), waiting("high", "high", agent_type="other"))
    assert picked(queue, slots(1)) == "high"
    assert picked(queue, slots(1, {}, {}, Kind("q", "t", "low"))) is None


def test_where_something_else_is_in_the_way_of_the_first_its_group_waits_and_others_do_not() -> None:
    queue = queue_of(waiting("first", waited=3, number=1), waiting("second", waited=2, number=2))
    queue.add(waiting("elsewhere", waited=1, number=3, product="q"))
    best = pick(queue, slots(5), MOMENT, lambda task: task.task != "first")
    assert best is not None
    assert best.waiting.task == "elsewhere"


def test_tasks_that_another_account_pays_for_do_not_wait_for_one_that_is_empty() -> None:
    queue = Queue(RANKING)
    for number, parent in enumerate(("empty", None)):
        queue.add(Waiting(f"{parent}", Kind("p", "t", "normal", parent), START, number))
    best = pick(queue, slots(5), MOMENT, lambda task: task.kind.parent != "empty")
    assert best is not None
    assert best.waiting.task == "None"


# --- what aged tasks keep ---------------------------------------------------------------------------------------------

AGED = 9 * 60.0
A, B = Kind("q", "t", "low"), Kind("p", "u", "low")


def test_an_aged_task_whose_product_is_full_keeps_one_slot_of_its_type() -> None:
    queue = queue_of(waiting("aged", "low", AGED), waiting("other", "high", product="q", number=1))
    assert picked(queue, slots(9, {"t": 1}, {"p": 1}, B)) is None
    assert picked(queue, slots(9, {"t": 2}, {"p": 1}, B)) == "other", "one slot is kept, not all of them"


def test_an_aged_task_whose_type_is_full_keeps_one_slot_of_its_product() -> None:
    queue = queue_of(waiting("aged", "low", AGED), waiting("other", "high", agent_type="u", number=1))
    assert picked(queue, slots(9, {"t": 1}, {"p": 1}, A)) is None
    assert picked(queue, slots(9, {"t": 1}, {"p": 2}, A)) == "other"


def test_a_task_that_is_not_aged_keeps_nothing() -> None:
    queue = queue_of(waiting("young", "high", 20), waiting("other", "low", product="q", number=1))
    assert picked(queue, slots(9, {"t": 1}, {"p": 1}, B)) == "other"


def test_many_aged_tasks_keep_no_more_than_one() -> None:
    tasks = [waiting(f"{i}", "low", AGED, number=i, product=f"p{i % 2}") for i in range(6)]
    queue = queue_of(*tasks, waiting("other", "high", product="q", number=9))
    held = slots(9, {"t": 2}, {"p0": 1, "p1": 1}, B._replace(product="p0"), B._replace(product="p1"))
    assert picked(queue, held) == "other"


def test_an_aged_task_in_whose_way_is_something_else_keeps_nothing() -> None:
    queue = queue_of(waiting("aged", "low", AGED), waiting("other", "high", product="q", number=1))
    best = pick(queue, slots(9, {"t": 1}, {"p": 1}, B), MOMENT, lambda task: task.task != "aged")
    assert best is not None
    assert best.waiting.task == "other"


# --- the index --------------------------------------------------------------------------------------------------------


def test_a_task_cannot_wait_twice_and_one_that_does_not_wait_is_not_found() -> None:
    queue = queue_of(waiting("a"))
    with pytest.raises(AssertionError, match="a waits already"):
        queue.add(waiting("a"))
    with pytest.raises(KeyError):
        queue.remove("b")
    with pytest.raises(KeyError):
        queue["b"]


def test_a_task_that_blocks_more_ranks_higher_at_once() -> None:
    queue = queue_of(waiting("a"), waiting("b", number=1))
    queue.replace(waiting("b", number=1, blocked=2))
    assert queue["b"].blocked == 2
    assert [ranked.waiting.task for ranked in queue.ranked(MOMENT)] == ["b", "a"]
    queue.replace(waiting("b", number=1))
    assert [ranked.waiting.task for ranked in queue.ranked(MOMENT)] == ["a", "b"]


def test_only_as_much_of_the_queue_is_ranked_as_is_asked_for() -> None:
    queue = queue_of(*(waiting(f"{i}", number=i) for i in range(1_000)))
    asked = 0

    class Counting(Ranking):
        def ordering(self, moment: Moment) -> Callable[[int, Waiting], Order]:
            order = super().ordering(moment)

            def counted(queued: int, task: Waiting) -> Order:
                nonlocal asked
                asked += 1
                return order(queued, task)

            return counted

    queue.ranking = Counting(Config())
    assert len(list(itertools.islice(queue.ranked(MOMENT), 10))) == 10
    assert asked <= 11


KINDS = st.builds(Kind, st.sampled_from("pqr"), st.sampled_from("tu"), st.sampled_from(PRIORITIES))


class AnyQueue(RuleBasedStateMachine):
    """The index beside a plain list that is searched from end to end."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = Queue(RANKING)
        self.tasks: dict[str, Waiting] = {}
        self.number = 0

    @rule(kind=KINDS, waited=st.integers(0, 700), blocked=st.integers(0, 2))
    def add(self, kind: Kind, waited: int, blocked: int) -> None:
        self.number += 1
        task = Waiting(f"{self.number}", kind, START - dt.timedelta(minutes=waited), self.number, blocked)
        self.tasks[task.task] = task
        self.queue.add(task)

    @precondition(lambda self: self.tasks)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        task = data.draw(st.sampled_from(sorted(self.tasks)))
        assert self.queue.remove(task) == self.tasks.pop(task)

    @precondition(lambda self: self.tasks)
    @rule(data=st.data(), blocked=st.integers(0, 2))
    def reblock(self, data: st.DataObject, blocked: int) -> None:
        old = self.tasks[data.draw(st.sampled_from(sorted(self.tasks)))]
        self.tasks[old.task] = Waiting(old.task, old.kind, old.queued_at, old.number, blocked)
        self.queue.replace(self.tasks[old.task])

    @precondition(lambda self: self.tasks)
    @rule(running=st.lists(KINDS, max_size=4), total=st.integers(1, 5), above=st.sets(st.sampled_from("pqr")))
    def pick(self, running: list[Kind], total: int, above: set[str]) -> None:
        # One family of limits only, so that nothing is kept for anybody.
        held = slots(total, {"t": 1}, {}, *running)
        moment = Moment(START, len(self.tasks), above)
        order = [ranked.waiting for ranked in self.queue.ranked(moment)]
        fits = [task.task for task in order if all(left is None or left > 0 for left in held.left(task.kind))]
        assert picked(self.queue, held, moment) == (fits[0] if fits else None)

    @invariant()
    def holds_the_same(self) -> None:
        assert len(self.queue) == len(self.tasks)
        assert set(self.queue.products) == {task.kind.product for task in self.tasks.values()}
        assert self.queue.priorities == {task.kind.priority for task in self.tasks.values()}
        moment = Moment(START, max(1, len(self.tasks)))
        assert {ranked.waiting.task: ranked.waiting for ranked in self.queue.ranked(moment)} == self.tasks


TestAnyQueue = AnyQueue.TestCase


@given(st.lists(st.tuples(KINDS, st.booleans()), max_size=30))
def test_slots_are_counted_as_they_are_taken_and_given_back(changes: list[tuple[Kind, bool]]) -> None:
    held, running = slots(10, {"t": 3}, {"p": 2}), list[Kind]()
    for kind, back in changes:
        if back and kind in running:
            running.remove(kind)
            held.give_back(kind)
        else:
            running.append(kind)
            held.take(kind)
    other = held.copy()
    held.take(A)
    assert other.left(Kind("p", "t", "low")) == Left(
        10 - len(running),
        3 - sum(kind.agent_type == "t" for kind in running),
        2 - sum(kind.product == "p" for kind in running),
    )
