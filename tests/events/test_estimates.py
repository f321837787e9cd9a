"""Agent memory: estimates are held against what happened, and adjusted when they are over again and again."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.config.amounts import Amounts
from tallystick.config.settings import Estimates as Settings
from tallystick.events import catalog as e
from tallystick.events.state.estimates import KINDS_MAX, TASKS_MAX, Estimates, accuracy
from tests.support.core import Core, complete, fleet, submit

QUIET: dict[str, Any] = {"daily_limits": {"max_tokens_total": None, "max_cost_usd": None}}


def configured(**config: Any) -> Core:
    return Core(fleet(100_000_000, **QUIET, leases={"seconds": 1_000_000}, **config))


def work(
    core: Core, tokens: int, minutes: int = 10, outcome: str = "completed", **rest: Any
) -> list[e.EstimateAdjusted]:
    """A task from its submission to its end; what was adjusted by it."""
    name = f"task-{core.ledger.position}"
    core.given(submit(name, **rest))
    core.wait(minutes * 60)
    core.when(complete(name, used=tokens, outcome=outcome))
    return core.every(e.EstimateAdjusted)


def test_when_the_last_five_are_over_by_more_than_ten_percent_the_estimate_becomes_what_four_of_five_took() -> None:
    core = configured()
    for tokens in (100_000, 90_000, 95_000, 70_000):
        assert work(core, tokens, estimated_tokens=80_000) == []
    adjusted = work(core, 110_000, estimated_tokens=80_000)
    assert [(event.model, event.tokens, event.elapsed_ms) for event in adjusted] == [
        ("sonnet", 100_000, None),
        (None, 100_000, None),
    ]
    assert adjusted[0].over == 0.1875, "95,000 at the median"
    assert adjusted[0].tasks == 5


def test_over_by_ten_percent_is_not_more_than_ten_percent() -> None:
    core = configured()
    for _ in range(5):
        assert work(core, 88_000, estimated_tokens=80_000) == []


def test_submitting_without_an_estimate_uses_the_adjusted_one_and_the_token_budget_stays() -> None:
    core = configured()
    for _ in range(5):
        work(core, 100_000, 30, estimated_tokens=80_000, estimated_minutes="20")
    core.when(submit("next"))
    submitted = core.only(e.TaskSubmitted)
    assert (submitted.estimated_tokens, submitted.estimated_ms, submitted.learnt) == (100_000, 30 * 60_000, True)
    assert not submitted.assumed
    assert core.only(e.TaskStarted).token_budget == 80_000
    core.when(submit("given", estimated_tokens=5, estimated_minutes="1"))
    assert core.only(e.TaskSubmitted).learnt is False
    core.when(submit("elsewhere", product="another"))
    assert core.only(e.TaskSubmitted).estimated_tokens == 80_000, "where nothing is known, the type's token budget"
    assert core.only(e.TaskSubmitted).assumed


def test_a_model_has_an_estimate_of_its_own_and_tasks_that_name_none_learn_from_all() -> None:
    core = configured()
    for model in ("opus", "haiku", "opus", "haiku", "opus"):
        adjusted = work(core, 100_000, model=model)
    assert [event.model for event in adjusted] == [None]
    core.when(submit("named", model="opus"))
    assert core.only(e.TaskSubmitted).estimated_tokens == 80_000


def test_each_task_counts_once_towards_an_adjustment() -> None:
    core = configured()
    adjusted = [len(work(core, 100_000, estimated_tokens=50_000)) for _ in range(11)]
    assert adjusted == [0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0]


def test_a_task_that_failed_teaches_nothing() -> None:
    core = configured()
    for _ in range(8):
        assert work(core, 110_000, outcome="failed") == []
    assert core.ledger.estimates.dump() == []


def test_where_some_had_no_estimate_of_minutes_minutes_are_not_adjusted() -> None:
    core = configured()
    work(core, 10, 60)
    for _ in range(4):
        assert work(core, 10, 60, estimated_minutes="1") == []
    adjusted = work(core, 10, 60, estimated_minutes="1")
    assert [(event.elapsed_ms, event.tokens) for event in adjusted] == [(3_600_000, None)] * 2


def test_the_cost_of_an_estimate_is_that_of_the_kinds_last_tasks() -> None:
    memory = Estimates()
    assert memory.cost_nanos("t", "p", "m", 1_000) is None
    memory.completed(done(tokens=2_000, cost=600))
    memory.completed(done(tokens=1_000, cost=600))
    assert memory.cost_nanos("t", "p", "m", 5_000) == 2_000


def done(tokens: int = 1, elapsed: int = 1, cost: int = 0, agent_type: str = "t") -> e.TaskCompleted:
    return e.TaskCompleted(
        task="x",
        outcome="completed",
        lease="l",
        attempt=1,
        agent_type=agent_type,
        product="p",
        model="m",
        estimated_tokens=1,
        consumed=Amounts(tokens, None, cost),
        elapsed_ms=elapsed,
    )


def test_how_long_a_kind_usually_takes_is_the_median() -> None:
    memory = Estimates()
    assert memory.usual_ms("t", "p", "m") is None
    for elapsed in (5, 100, 7):
        memory.completed(done(elapsed=elapsed))
    assert memory.usual_ms("t", "p", "m") == memory.usual_ms("t", "p", None) == 7
    memory.completed(done(elapsed=8))
    assert memory.usual_ms("t", "p", "m") == 7


def test_the_memory_is_bounded_and_the_least_recently_taught_is_forgotten_first() -> None:
    memory = Estimates()
    for number in range(KINDS_MAX):
        memory.completed(done(agent_type=f"t{number}"))
        memory.completed(done(agent_type="often"))
    for _ in range(TASKS_MAX + 50):
        memory.completed(done(agent_type="often"))
    dumped = memory.dump()
    assert len(dumped) == KINDS_MAX
    assert max(len(kind[1]) for kind in dumped) == TASKS_MAX
    assert memory.usual_ms("t0", "p", "m") is None
    assert memory.usual_ms("often", "p", "m") == 1


def test_more_tasks_than_are_remembered_cannot_be_asked_for() -> None:
    memory = Estimates()
    for _ in range(TASKS_MAX):
        memory.completed(done(tokens=2))
    settings = Settings(over_tasks=10 * TASKS_MAX)
    assert [event.tasks for event in memory.adjustments("t", "p", "m", settings)] == [TASKS_MAX, TASKS_MAX]


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=30), st.integers(0, 100))
def test_the_adjusted_estimate_is_the_smallest_actual_that_so_many_percent_are_not_above(
    actuals: list[int], percentile: int
) -> None:
    memory = Estimates()
    for tokens in actuals:
        memory.completed(done(tokens=tokens))
    settings = Settings(over_tasks=len(actuals), over_by_percent=Decimal(0), percentile=Decimal(percentile))
    for event in memory.adjustments("t", "p", "m", settings):
        assert event.tokens in actuals
        below = sum(actual <= (event.tokens or 0) for actual in actuals)
        assert below * 100 >= percentile * len(actuals)
        smaller = [actual for actual in actuals if actual < (event.tokens or 0)]
        assert len(smaller) * 100 < percentile * len(actuals) or not smaller


@pytest.mark.parametrize(
    ("estimated", "actual", "word"),
    [
        (80_000, 75_000, "good"),
        (90, 85, "good"),
        (100, 110, "good"),
        (100, 111, "over"),
        (100, 89, "under"),
        (0, 0, "good"),
    ],
)
def test_good_is_within_ten_percent(estimated: int, actual: int, word: str) -> None:
    assert accuracy(estimated, actual) == word


def test_what_is_kept_is_kept_in_a_snapshot() -> None:
    core = configured()
    for _ in range(7):
        work(core, 100_000, estimated_tokens=50_000, estimated_minutes="3")
    dumped = core.ledger.estimates.dump()
    assert Estimates.load(dumped).dump() == dumped
