"""A slot goes at once to a task that can start: one that cannot, for want of money or of the day, holds up no other."""

import datetime as dt
import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick.events.decide.admission import obstacle
from tallystick.whatif.mismatch import Mismatch
from tallystick.whatif.reproduction import Reproduction
from tallystick.whatif.steps import steps_of
from tests.support.core import START
from tests.support.driving import Outcome, simulated, timed
from tests.support.strategies import Step, commands

QUIET: dict[str, Any] = {
    "emergency_reserve_percent": 0,
    "daily_limits": {"max_tokens_total": None, "max_cost_usd": None},
    "token_budgets": {"default": 2_000},
}
CHANCE = settings(
    max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), print_blob=False
)


def config(**more: Any) -> tuple[float, dict[str, Any]]:
    return 0.0, {"type": "LoadConfig", "config": {"total_budget": {"tokens": 1_000_000}, **QUIET, **more}}


def submit(at: float, task: str, **rest: Any) -> tuple[float, dict[str, Any]]:
    return at, {"type": "SubmitTask", "task": task, "agent_type": "x", "product": "a", **rest}


def played(*messages: tuple[float, dict[str, Any]]) -> Outcome:
    """The messages, each at its second after `START`."""
    return simulated(
        [
            (START + dt.timedelta(seconds=seconds), {"id": f"m-{number}", **message})
            for number, (seconds, message) in enumerate(messages)
        ]
    )


ONE_THOUSAND_FOR_P = (0.0, {"type": "AllocateBudget", "agent": "p", "budget": {"tokens": 1_000}})
QUEUE = {"type": "GetQueue"}


def test_a_slot_that_a_lost_lease_frees_goes_past_a_task_without_money_in_the_same_commit() -> None:
    outcome = played(
        config(max_concurrent={"total": 2, "per_type": {}}),
        ONE_THOUSAND_FOR_P,
        submit(1, "poor", priority="critical", parent="p"),
        submit(2, "c", priority="critical"),
        submit(3, "n"),
        (122, QUEUE),
    )
    queue = outcome.replies[-1]["ok"]
    assert [task["task"] for task in queue["tasks"]] == ["poor"]
    assert {task["task"]: task["started_at"] for task in queue["running"]}["c"] == "2026-03-04T12:02:02Z"


def test_a_newcomer_is_not_outranked_by_a_task_that_cannot_start() -> None:
    outcome = played(
        config(max_concurrent={"total": 2, "per_type": {"qa": 1}}, products={"a": {"max_concurrent_agents": 1}}),
        ONE_THOUSAND_FOR_P,
        submit(2, "poor", agent_type="qa", product="b", priority="high", parent="p"),
        submit(3, "second", agent_type="qa"),
    )
    assert outcome.replies[-1]["ok"]["decision"] == "admitted"


@pytest.mark.parametrize(
    "limits",
    [
        {"daily_limits": {"max_tokens_total": 3_000, "max_cost_usd": None}},
        {"total_budget": {"tokens": 4_000}},
        {"products": {"a": {"token_budget_daily": 3_000}}},
    ],
    ids=["the day's room", "the pool's money", "the product's day"],
)
def test_what_a_lost_lease_brings_back_goes_to_the_task_that_ranks_higher(limits: dict[str, Any]) -> None:
    outcome = played(
        config(**{"max_concurrent": {"total": 4, "per_type": {}}, **limits}),
        submit(1, "low", priority="low"),
        submit(2, "high", priority="high"),
        (121, QUEUE),
    )
    assert outcome.replies[-2]["ok"]["decision"] == "queued"
    assert [task["task"] for task in outcome.replies[-1]["ok"]["running"]] == ["high"]


@CHANCE
@given(commands(40))
def test_whatever_happens_no_task_waits_that_could_start_and_from_which_nothing_is_kept(steps: list[Step]) -> None:
    """Nothing that the core would start is left waiting, where no aged task keeps anything."""
    outcome = simulated(timed(steps), until=START + dt.timedelta(hours=1))
    ledger = outcome.ledger
    waiting = [task for task in ledger.tasks.known.values() if task.state == "queued"]
    aged = [task for task in waiting if task.queued_at + dt.timedelta(minutes=21) < ledger.now]
    # A limit on cost leaves room without an event, little by little: that is tried every ten seconds.
    if not aged and ledger.rules.config.daily_limits.max_cost_usd is None:
        assert [task.id for task in waiting if obstacle(ledger, task) is None] == []


# --- when it starts ---------------------------------------------------------------------------------------------------


def expected(task: dict[str, Any]) -> tuple[Any, Any]:
    return task["expected_start"], task.get("expected_start_reason")


ONE_SLOT = {"max_concurrent": {"total": 1, "per_type": {}}}
HELD_UP: dict[str, tuple[list[tuple[float, dict[str, Any]]], str]] = {
    "a parent without money": ([ONE_THOUSAND_FOR_P], "p has no more than 1000 left"),
    "a stopped parent": (
        [
            (0, {"type": "AllocateBudget", "agent": "p", "budget": {"tokens": 9_000}}),
            (0, {"type": "Stop", "agent": "p", "reason": "enough"}),
        ],
        "p is stopped",
    ),
    "a pause": (
        [
            (0, {"type": "AllocateBudget", "agent": "p", "budget": {"tokens": 9_000}}),
            (0, {"type": "PauseAll", "reason": "a fire"}),
        ],
        "everything is paused: a fire",
    ),
    "an open breaker": (
        [
            (0, {"type": "AllocateBudget", "agent": "p", "budget": {"tokens": 9_000}}),
            (0, {"type": "ReportUsage", "agent": "other", "usage": {"cost_usd": "7"}}),
        ],
        "the circuit breaker is open",
    ),
    "a day that is used up": (
        [
            (0, {"type": "AllocateBudget", "agent": "p", "budget": {"tokens": 9_000}}),
            (0, {"type": "ReportUsage", "agent": "other", "usage": {"tokens": 99_000}}),
        ],
        "daily token limit",
    ),
}


@pytest.mark.parametrize("why", HELD_UP)
def test_where_something_other_than_slots_is_in_the_way_no_start_is_expected_and_a_sentence_says_why(why: str) -> None:
    messages, sentence = HELD_UP[why]
    limits = {
        "daily_limits": {"max_tokens_total": 100_000, "max_cost_usd": None},
        "circuit_breaker": {"trip_conditions": ["cost_daily_usd > 5"]},
    }
    get = {"type": "GetTask", "task": "t"}
    outcome = played(config(**ONE_SLOT, **limits), *messages, submit(1, "t", parent="p"), (7_200, get), (7_200, QUEUE))
    for reply in outcome.replies[-3:]:
        task = reply["ok"]["tasks"][0] if "tasks" in reply["ok"] else reply["ok"]
        start, reason = expected(task)
        assert start is None
        assert sentence in reason


def test_a_start_that_was_announced_is_taken_back_when_it_cannot_be_known_any_more() -> None:
    get = {"type": "GetTask", "task": "t"}
    outcome = played(
        config(**ONE_SLOT),
        submit(0, "busy", estimated_minutes=1),
        submit(0, "t"),
        (1, get),
        (2, {"type": "PauseAll", "reason": "a fire"}),
        (3, get),
        (4, {"type": "ResumeAll"}),
        (5, get),
    )
    before, during, after = (outcome.replies[place]["ok"] for place in (-5, -3, -1))
    assert before["expected_start"] == "2026-03-04T12:01:00Z"
    assert expected(during) == (None, "the start is not known: everything is paused: a fire")
    assert after["expected_start"] == "2026-03-04T12:01:00Z"


def test_of_two_tasks_for_which_there_is_money_for_one_only_the_first_has_an_expected_start() -> None:
    outcome = played(
        config(**ONE_SLOT, total_budget={"tokens": 7_000}),
        submit(0, "busy", estimated_minutes=1),
        submit(0, "first", estimated_minutes=1),
        submit(0, "second"),
        (1, QUEUE),
    )
    first, second = outcome.replies[-1]["ok"]["tasks"]
    assert first["expected_start"] == "2026-03-04T12:01:00Z"
    assert expected(second) == (None, "the start is not known: what is free goes to others first")


# --- any number that is accepted --------------------------------------------------------------------------------------

MINUTES = st.sampled_from([0, 0.001, 1, 90, 10**6, 10**9 - 1, 10**9])
TOKENS = st.sampled_from([0, 1, 2_000, 2**53, 2**63 - 1])
NUMBERS = st.fixed_dictionaries({}, optional={"estimated_minutes": MINUTES, "estimated_tokens": TOKENS})


def test_five_tasks_of_ten_thousand_years_are_all_answered_and_so_is_the_next() -> None:
    tasks = [submit(n, f"t{n}", estimated_minutes=10**9) for n in range(5)]
    outcome = played(config(**ONE_SLOT), *tasks, submit(6, "next"), (7, QUEUE))
    assert all("ok" in reply for reply in outcome.replies)
    last = outcome.replies[-1]["ok"]["tasks"][-1]
    assert last["task"] == "next"
    assert expected(last) == (
        None,
        "the start is not known: by the estimates, it would start after the end of the calendar",
    )


EXTREME_SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "preemption_cooldown_minutes": st.just(9_000_000_000),
        "idempotency_hours": st.just(9_000_000_000),
        "leases": st.just({"seconds": 9_000_000_000}),
        "holds": st.just({"ttl_seconds": 9_000_000_000}),
        "token_budgets": st.just({"default": 2**63 - 1}),
        "token_budget_multiplier": st.just(9_000_000_000),
        "daily_limits": st.just({"max_tokens_total": 2**63 - 1, "max_cost_usd": 9_000_000_000}),
        "priority_levels": st.just(
            {
                "high": {"weight": "0.000000001", "max_wait_time_minutes": 9_000_000_000, "preempt_lower": True},
                "low": {"weight": 9_000_000_000, "max_wait_time_minutes": "0.000000001"},
            }
        ),
        "scoring": st.just({"priority": "0.000000001", "wait": 9_000_000_000, "blocking": 9_000_000_000}),
        "estimates": st.just({"over_by_percent": 9_000_000_000, "over_tasks": 2**63 - 1, "percentile": 0}),
    },
)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    EXTREME_SETTINGS,
    st.lists(NUMBERS, min_size=3, max_size=6),
    st.sampled_from([1, 3]),
    st.sampled_from([0, 300, 80_000]),
)
def test_no_accepted_number_makes_a_later_message_fail(
    extreme: dict[str, Any], tasks: list[dict[str, Any]], slots: int, passes: int
) -> None:
    """Estimates, settings and times to their very ends: everything is answered, and nothing raises."""
    limits = {
        **extreme,
        "max_concurrent": {"total": slots, "per_type": {}},
        "total_budget": {"tokens": 2**63 - 1},
        "reallocation": {"enabled": False},
    }
    levels = ("high", "low", "normal", "critical")
    submitted = [
        submit(n, f"t{n}", priority=levels[n % 4], **numbers, **({"depends_on": ["t0"]} if n == 2 else {}))
        for n, numbers in enumerate(tasks)
    ]
    done = {"type": "CompleteTask", "task": "t0", "outcome": "completed", "usage": {"tokens": 2**62, "cost_usd": 10**9}}
    hold = {"type": "Reserve", "agent": "t1", "estimate": {"tokens": 1}, "ttl_seconds": 9_000_000_000}
    outcome = played(
        config(**limits),
        *submitted,
        (7, QUEUE),
        (8, hold),
        (9 + passes, QUEUE),
        (9 + passes, done),
        (10 + passes, QUEUE),
        (11 + passes, {"type": "GetTask", "task": "t2"}),
    )
    assert all("ok" in reply or reply["error"]["code"] for reply in outcome.replies)
    assert "ok" in outcome.replies[-1]


def test_no_start_is_shown_that_has_passed_also_where_it_was_announced_and_is_still_about_right() -> None:
    """The answers in the log come out the same when they are decided again."""
    late, get = submit(0, "busy", estimated_minutes=1), {"type": "GetTask", "task": "t"}
    outcome = played(
        config(**ONE_SLOT), late, submit(0, "t"), (1, get), (90, get), (91, QUEUE), submit(91, "u"), (100, QUEUE)
    )
    first, at_90, (at_91, *_), (at_100, second) = (
        outcome.replies[-6]["ok"],
        outcome.replies[-4]["ok"],
        outcome.replies[-3]["ok"]["tasks"],
        outcome.replies[-1]["ok"]["tasks"],
    )
    assert first["expected_start"] == "2026-03-04T12:01:00Z"
    assert [one["expected_start"] for one in (at_90, at_91, at_100)] == [
        "2026-03-04T12:01:30Z",
        "2026-03-04T12:01:31Z",
        "2026-03-04T12:01:40Z",
    ]
    assert second["task"] == "u"
    assert mismatch(outcome) is None


def mismatch(outcome: Outcome) -> Mismatch | None:
    """The first record that is not as recorded when the log is decided again."""
    reproduction = Reproduction()
    return next(filter(None, map(reproduction.take, steps_of(outcome.records))), None)


ASKED = st.sampled_from(["a", "b", "c"])
SHORT = st.tuples(
    st.integers(0, 70),
    st.builds(lambda task: {"type": "GetTask", "task": task}, ASKED)
    | st.just(QUEUE)
    | st.builds(lambda task, minutes: submit(0, task, estimated_minutes=minutes)[1], ASKED, st.integers(1, 3))
    | st.builds(lambda task: {"type": "CancelTask", "task": task, "reason": "r"}, ASKED),
)


@CHANCE
@given(st.lists(SHORT, min_size=4, max_size=25))
def test_whatever_is_asked_no_answer_shows_a_start_before_its_own_time(asked: list[tuple[int, dict[str, Any]]]) -> None:
    times = list(itertools.accumulate(seconds for seconds, _ in asked))
    outcome = played(config(**ONE_SLOT), *zip(times, (message for _, message in asked), strict=True))
    for seconds, reply in zip(times, outcome.replies[1:], strict=True):
        answer = reply.get("ok", {})
        starts = [task.get("expected_start") for task in (answer, *answer.get("tasks", ()))]
        now = START + dt.timedelta(seconds=seconds)
        assert all(dt.datetime.fromisoformat(start) >= now for start in starts if start is not None)
    assert mismatch(outcome) is None
