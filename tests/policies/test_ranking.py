"""Who goes first: the seed's score, exactly, and the age from which a task goes before all that are younger."""

import datetime as dt
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.actors.policies.scheduling.queue import Queue
from tallystick.actors.policies.scheduling.ranking import Moment, Ranking
from tallystick.actors.policies.scheduling.tasks import Kind, Waiting
from tallystick.config.kinds import Priority
from tallystick.config.loader import from_mapping
from tallystick.config.settings import Config
from tallystick.events.messages import PRIORITIES
from tests.support.core import START
from tests.support.ranking import RANKING, queue_of, waiting


def names(queue: Queue, moment: Moment) -> list[str]:
    return [ranked.waiting.task for ranked in queue.ranked(moment)]


# --- the score --------------------------------------------------------------------------------------------------------

SEED = [
    (waiting("1", "normal", 45, 2), ("0.25", "0.225", "0.04"), "0.515"),
    (waiting("2", "high", 5), ("0.375", "0.1", "0"), "0.475"),
    (waiting("3", "low", 120, 1), ("0.125", "0.15", "0.02"), "0.295"),
]
"""The worked example of seed 000, with 10 open tasks."""


@pytest.mark.parametrize(("task", "terms", "score"), SEED, ids=["normal", "high", "low"])
def test_the_scores_of_the_seed_come_out_with_their_terms(task: Waiting, terms: tuple[str, ...], score: str) -> None:
    found = RANKING.terms(task, Moment(START, 10))
    assert tuple(found) == tuple(map(Fraction, terms))
    assert found.score == Fraction(score)


def test_the_first_task_of_the_seed_runs_first_despite_being_of_normal_priority() -> None:
    assert names(queue_of(*(task for task, _, _ in reversed(SEED))), Moment(START, 10)) == ["1", "2", "3"]


def test_the_wait_term_is_not_clamped() -> None:
    assert RANKING.terms(waiting("a", "normal", 120), Moment(START, 1)).wait == Fraction("0.6")


def test_a_critical_task_has_its_full_wait_term_at_once_and_never_more() -> None:
    for minutes in (0, 1, 1_000):
        assert RANKING.terms(waiting("a", "critical", minutes), Moment(START, 1)).wait == Fraction("0.3")


def test_a_clock_that_was_set_back_makes_no_task_younger_than_new() -> None:
    later = waiting("a", "normal", -5)
    assert RANKING.terms(later, Moment(START, 1)).wait == 0
    assert names(queue_of(later, waiting("b", "low")), Moment(START, 2)) == ["a", "b"]


def test_ties_go_to_who_was_queued_earlier_and_then_to_who_was_submitted_earlier() -> None:
    # High, 0 min: 0.375. Normal, 25 min: 0.25 + 0.125. The same score, and the normal one was queued earlier.
    tasks = [
        waiting("high", "high", number=1),
        waiting("b", "normal", 25, number=3),
        waiting("a", "normal", 25, number=2),
    ]
    assert names(queue_of(*tasks), Moment(START, 3)) == ["a", "b", "high"]


def test_a_score_that_is_higher_by_one_microsecond_of_waiting_goes_first() -> None:
    hour = dt.timedelta(hours=1)
    slow = from_mapping({"priority_levels": {"normal": {"weight": "0.5", "max_wait_time_minutes": 100_000_000}}})
    younger = Waiting("younger", Kind("p", "t", "normal"), START - hour, 1)
    older = Waiting("older", Kind("p", "u", "normal"), START - hour - dt.timedelta(microseconds=1), 2)
    assert names(queue_of(younger, older, config=slow), Moment(START, 10**9)) == ["older", "younger"]


def test_the_configured_weights_count() -> None:
    config = from_mapping({"scoring": {"priority": 0, "wait": 0, "blocking": 1}})
    tasks = [waiting("high", "high", 10), waiting("low", "low", blocked=1)]
    # Without a wait term no task grows old: only what blocks others counts.
    assert names(queue_of(*tasks, config=config), Moment(START, 2))[0] == "high", "with no weight, all are aged"
    config = from_mapping({"scoring": {"priority": "0.001", "wait": 0, "blocking": 1}})
    assert names(queue_of(*tasks, config=config), Moment(START, 2)) == ["low", "high"]


# --- age --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("priority", "minutes"), [("critical", 0), ("high", Decimal("21.25")), ("normal", 110), ("low", 9 * 60)]
)
def test_a_level_is_aged_after(priority: Priority, minutes: Decimal) -> None:
    age = dt.timedelta(minutes=float(minutes))
    assert RANKING.aged_after(priority) == age
    task = Waiting("a", Kind("p", "t", priority), START, 0)
    (ranked,) = queue_of(task).ranked(Moment(START + age, 1))
    assert ranked.aged
    if age:
        (ranked,) = queue_of(task).ranked(Moment(START + age - dt.timedelta(microseconds=1), 1))
        assert not ranked.aged


def test_a_low_task_passes_a_fresh_critical_one_after_nine_hours() -> None:
    tasks = [waiting("critical", "critical", number=1), waiting("low", "low", 540, number=2)]
    assert names(queue_of(*tasks), Moment(START, 2)) == ["low", "critical"]
    tasks = [waiting("critical", "critical", number=1), waiting("low", "low", 539.99, number=2)]
    assert names(queue_of(*tasks), Moment(START, 2)) == ["critical", "low"]


def test_of_aged_tasks_the_oldest_goes_first_whatever_its_level_its_score_and_its_product() -> None:
    tasks = [
        waiting("high", "high", 600, 3),
        waiting("low", "low", 601, product="greedy"),
        waiting("critical", "critical", 1, 9),
    ]
    assert names(queue_of(*tasks), Moment(START, 9, {"greedy"})) == ["low", "high", "critical"]


def test_a_level_that_must_not_wait_at_all_is_aged_at_once_whatever_its_weight() -> None:
    config = from_mapping({"priority_levels": {"low": {"weight": "0.25", "max_wait_time_minutes": 0}}})
    assert Ranking(config).aged_after("low") == dt.timedelta(0)


def test_where_waiting_counts_for_nothing_only_the_full_weight_is_aged() -> None:
    ranking = Ranking(from_mapping({"scoring": {"priority": 1, "wait": 0}}))
    assert [ranking.aged_after(priority) for priority in PRIORITIES] == [dt.timedelta(0), None, None, None]


# --- fairness ---------------------------------------------------------------------------------------------------------


def test_products_above_their_share_come_behind_whatever_their_score() -> None:
    tasks = [waiting("rich", "high", 15, product="rich"), waiting("poor", "low", product="poor")]
    assert names(queue_of(*tasks), Moment(START, 2)) == ["rich", "poor"]
    assert names(queue_of(*tasks), Moment(START, 2, {"rich"})) == ["poor", "rich"]


def test_critical_tasks_are_exempt_even_where_they_are_not_aged_at_once() -> None:
    config = from_mapping({"priority_levels": {"critical": {"weight": 1, "max_wait_time_minutes": 60}}})
    tasks = [waiting("rich", "critical", product="rich"), waiting("poor", "high", product="poor")]
    assert names(queue_of(*tasks, config=config), Moment(START, 2, {"rich"})) == ["rich", "poor"]


# --- exactness --------------------------------------------------------------------------------------------------------

WEIGHTS = st.decimals(0, 2, places=3)
CONFIGS = st.builds(
    lambda weights, waits, scoring: from_mapping(
        {
            "priority_levels": {
                priority: {"weight": str(weight), "max_wait_time_minutes": str(wait)}
                for priority, weight, wait in zip(PRIORITIES, weights, waits, strict=True)
            },
            "scoring": dict(zip(("priority", "wait", "blocking"), map(str, scoring), strict=True)),
        }
    ),
    st.tuples(WEIGHTS, WEIGHTS, WEIGHTS, WEIGHTS),
    st.tuples(*[st.decimals(0, 300, places=1)] * 4),
    st.tuples(WEIGHTS, WEIGHTS, WEIGHTS),
)
TASKS = st.lists(
    st.tuples(
        st.sampled_from(PRIORITIES),
        st.integers(0, 200),
        st.integers(0, 3),
        st.sampled_from("pq"),
        st.sampled_from("tu"),
    ),
    max_size=25,
)


@given(CONFIGS, TASKS, st.integers(0, 50), st.sets(st.sampled_from("pq")))
def test_the_queue_is_in_the_order_of_the_exact_definition(
    config: Config, specs: list[tuple[Priority, int, int, str, str]], more: int, above: set[str]
) -> None:
    """The definition, task by task in fractions, against the queue that only ever looks at heads in whole numbers."""
    tasks = [
        waiting(f"{number}", priority, waited, blocked, number, product, agent_type)
        for number, (priority, waited, blocked, product, agent_type) in enumerate(specs)
    ]
    ranking, moment = Ranking(config), Moment(START, len(tasks) + more + 1, above)

    def defined(task: Waiting) -> tuple[int, Fraction, dt.datetime, int]:
        terms = ranking.terms(task, moment)
        level = config.priority_levels.of(task.kind.priority)
        full = Fraction(config.scoring.priority) + Fraction(config.scoring.wait)
        if not level.max_wait_time_minutes or terms.priority + terms.wait >= full:
            return (0, Fraction(0), task.queued_at, task.number)
        behind = task.kind.product in above and task.kind.priority != "critical"
        return (2 if behind else 1, -terms.score, task.queued_at, task.number)

    expected = [task.task for task in sorted(tasks, key=defined)]
    assert names(queue_of(*tasks, config=config), moment) == expected
