"""Another policy places, starts, preempts and loses tasks otherwise, and their runs take their messages with them."""

import pytest

from tallystick.events import catalog as e
from tallystick.events.log.codec import decode_event
from tallystick.events.log.store import Record
from tallystick.whatif.assumptions import assumptions
from tallystick.whatif.message_filter import SHIFTED, STOPPED
from tallystick.whatif.question import Question
from tests.support.whatif import ask, log, policy, use
from tests.support.whatif_tasks import ONE, SMALL, TWO, beat, done, leases, report, submit, task_story

TWO_IN_TURN = (
    submit("a", at=0),
    submit("b", at=1),
    report("a", 30, at=10),
    done("a", 50, at=20),
    report("b", 7, at=30),
    done("b", 9, at=45),
)
"""Under one slot `b` starts at 20, when `a` is done, and reports 10 s later; it takes 25 s."""


A_LEASE, B_LEASE = "lease-6", "lease-13"
"""A lease is named by the position of its event, which each test checks that names one."""


def lease_of(records: list[Record], task: str) -> str:
    """The lease of a task's first run in the log."""
    events = (decode_event(record.data, record.name) for record in records)
    return next(event.lease for event in events if isinstance(event, e.TaskStarted) and event.task == task)


# --- runs that start at another time ---------------------------------------------------------------------------------


def test_a_run_that_starts_earlier_sends_everything_as_much_earlier() -> None:
    records = log(*TWO_IN_TURN, **ONE, **SMALL)
    rerun, story = task_story(records, Question(policy(**TWO, **SMALL)))
    assert story == [
        (0, "a starts"),
        (1, "b starts"),
        (10, "a uses 30"),
        (11, "b uses 7"),
        (20, "a uses 20"),
        (20, "a completed"),
        (26, "b uses 2"),
        (26, "b completed"),
    ]
    assert rerun.other.used == rerun.recorded.used
    assert rerun.other.used[0] == 59
    assert rerun.message_filter.saved == {}
    assert rerun.shifted.shifted == 1


def test_a_run_that_starts_later_sends_everything_as_much_later() -> None:
    records = log(*TWO_IN_TURN, **TWO, **SMALL)
    rerun, story = task_story(records, Question(policy(**ONE, **SMALL)))
    assert story == [
        (0, "a starts"),
        (10, "a uses 30"),
        (20, "a uses 20"),
        (20, "a completed"),
        (20, "b starts"),
    ]
    # In the log b reported 29 s after its start; so it would here, and then the log had ended.
    assert rerun.other.used[0] == 50
    assert {reason: one.used[0] for reason, one in rerun.message_filter.saved_by_reason.items() if one.reports} == {
        SHIFTED: 9
    }
    assert rerun.other.tasks.counts["running"] == 1


def test_messages_carry_the_lease_that_the_run_has_here() -> None:
    records = log(
        submit("a", at=0),
        submit("b", at=1),
        done("a", 50, at=20),
        report("b", 7, at=30, lease=B_LEASE),
        done("b", 9, at=45, lease=B_LEASE),
        **ONE,
        **SMALL,
    )
    assert lease_of(records, "b") == B_LEASE
    rerun, story = task_story(records, Question(policy(**TWO, **SMALL)))
    assert (26, "b completed") in story
    assert rerun.other.refused == {}


def test_the_first_decision_that_differs_is_the_start_and_no_message_of_a_moved_run() -> None:
    rerun = ask(log(*TWO_IN_TURN, **ONE, **SMALL), Question(policy(**TWO, **SMALL)))
    assert rerun.difference is not None
    assert isinstance(rerun.difference.recorded, e.TaskQueued)
    assert isinstance(rerun.difference.other, e.TaskStarted)
    assert rerun.difference.answered.request == "SubmitTask"


def test_what_a_run_holds_and_whom_it_employs_moves_with_it() -> None:
    records = log(
        submit("a", at=0),
        submit("b", at=1),
        done("a", at=20),
        {"type": "Reserve", "agent": "b", "id": "h", "estimate": {"tokens": 20}, "at": 25},
        {"type": "AllocateBudget", "agent": "b/sub", "parent": "b", "budget": {"tokens": 30}, "at": 26},
        use("b/sub", 5, at=28),
        {"type": "Settle", "hold": "h", "usage": {"tokens": 11}, "at": 30},
        done("b", 11, at=31),
        **ONE,
        **SMALL,
    )
    rerun, story = task_story(records, Question(policy(**TWO, **SMALL)))
    assert (9, "b/sub uses 5") in story
    assert (12, "b completed") in story
    assert rerun.other.used == rerun.recorded.used
    assert rerun.other.refused == {}


# --- runs that are cut short -----------------------------------------------------------------------------------------

CUT = (
    submit("low", priority="low", at=0),
    report("low", 10, at=10),
    submit("top", priority="critical", at=20),
    beat("low", at=25),
    done("top", 5, at=50),  # low starts once more
    report("low", 12, at=60),
    done("low", 40, at=110),
)
UNLIKE_TOP = {"priority_levels": {"critical": {"preempt_lower": False}}}


def test_a_run_that_only_the_log_preempted_goes_on_like_the_one_that_was_whole() -> None:
    records = log(*CUT, **ONE, **SMALL)
    assert "task-preempted.v1" in {record.name for record in records}
    rerun, story = task_story(records, Question(policy(**TWO, **SMALL)))
    assert [entry for entry in story if entry[1].startswith("low")] == [
        (0, "low starts"),
        (10, "low uses 10"),
        # The whole run took 60 s, and had used 40 tokens at its end.
        (60, "low uses 30"),
        (60, "low completed"),
    ]
    assert rerun.other.tasks.counts["preempted"] == 0
    assert rerun.message_filter.saved_by_reason[SHIFTED].used[0] == rerun.recorded.used[0] - rerun.other.used[0]


def test_a_run_that_is_preempted_here_learns_of_it_stops_and_begins_anew() -> None:
    records = log(
        *CUT[:4],
        report("low", 5, at=30),
        done("low", 40, at=45),
        done("top", 5, at=50),
        use("x", 1, at=200),
        **TWO,
        **SMALL,
    )
    rerun, story = task_story(records, Question(policy(**ONE, **SMALL)))
    assert story == [
        (0, "low starts"),
        (10, "low uses 10"),
        (20, "low preempted"),
        (20, "top starts"),
        # Its next message, at 25, tells it that its slot is gone.
        (50, "top uses 5"),
        (50, "top completed"),
        (50, "low starts"),
        (60, "low uses 10"),
        (80, "low uses 5"),
        (95, "low uses 25"),
        (95, "low completed"),
        (200, "x uses 1"),
    ]
    assert rerun.message_filter.beyond_log[0] == 10
    assert rerun.other.used[0] == rerun.recorded.used[0] + 10


# --- leases ----------------------------------------------------------------------------------------------------------


def test_who_was_lost_stays_lost_and_is_found_out_when_the_lease_ends_here() -> None:
    records = log(
        submit("a", at=0), report("a", 5, at=5), done("a", 7, at=150), until=200, **ONE, **SMALL, **leases(100)
    )
    assert [record.name for record in records].count("lease-lost.v1") == 1
    rerun, story = task_story(records, Question(policy(**ONE, **SMALL, **leases(30))))
    # The second attempt takes 50 s in the log, of which 30 are too long here.
    assert [what for _, what in story] == ["a starts", "a uses 5", "a lost", "a starts", "a lost", "a uses 7"]
    assert [at for at, what in story if what == "a lost"] == [30, 60]
    assert rerun.other.tasks.counts["failed"] == 1
    assert rerun.other.refused == {"lease_lost": 1}


def test_who_spoke_after_its_lease_was_lost_would_have_gone_on_with_a_longer_one() -> None:
    records = log(
        submit("a", at=0),
        beat("a", at=50, lease=A_LEASE),  # too late, and story so
        report("a", 5, at=55),
        done("a", 9, at=58),
        use("x", 1, at=90),
        **ONE,
        **SMALL,
        **leases(30),
    )
    assert lease_of(records, "a") == A_LEASE
    _, story = task_story(records, Question(policy(**ONE, **SMALL, **leases(100))))
    # The whole run took 28 s. When it is known that this one is none that dies, 30 have passed.
    assert story == [(0, "a starts"), (30, "a uses 9"), (30, "a completed"), (90, "x uses 1")]


# --- what the log does not know --------------------------------------------------------------------------------------


def test_a_task_that_the_log_rejected_takes_what_it_was_estimated_at() -> None:
    none = {"max_concurrent": {"total": 2, "per_type": {"coder": 0}}}
    records = log(submit("a", at=0, estimated_tokens=77, estimated_minutes=1), use("x", 1, at=100), **none, **SMALL)
    rerun, story = task_story(records, Question(policy(**TWO, **SMALL)))
    assert story == [(0, "a starts"), (60, "a uses 77"), (60, "a completed"), (100, "x uses 1")]
    assert rerun.shifted.estimated == 1
    assert rerun.message_filter.beyond_log[0] == 77


def test_a_task_that_never_ran_costs_per_token_what_its_type_and_model_cost_on_average_and_the_answer_says_so() -> None:
    """On its sum the price list would reach the tier of long requests, which none of its requests reached."""
    same = {"estimated_tokens": 300_000, "estimated_minutes": 1}
    messages = [submit("a", at=0, **same), submit("h", at=1), submit("b", at=2, **same)]
    usage = {"tokens": 1_000, "cost_usd": "0.05"}
    messages += [{**done("a", at=10), "usage": usage}, use("x", 1, at=200)]
    rerun, _ = task_story(log(*messages, **ONE), Question(policy(**TWO)))
    assert (rerun.shifted.estimated, rerun.shifted.priced_by_mean) == (1, 1)
    assert rerun.message_filter.beyond_log[0] == 300_000
    assert rerun.message_filter.beyond_log[2] == 300_000 * 50_000, "0.05 dollars for 1,000 tokens"
    assert any("completed tasks of the same type and model cost" in sentence for sentence in assumptions(rerun))


def test_where_nothing_of_its_kind_was_completed_the_answer_names_the_price_list() -> None:
    none = {"max_concurrent": {"total": 2, "per_type": {"coder": 0}}}
    records = log(submit("a", at=0, estimated_tokens=77, estimated_minutes=1), use("x", 1, at=100), **none, **SMALL)
    rerun, _ = task_story(records, Question(policy(**TWO, **SMALL)))
    assert rerun.shifted.priced_by_mean == 0
    assert any("no task of the type and model was completed in the log" in sentence for sentence in assumptions(rerun))


def test_a_run_that_is_stopped_uses_no_more_and_still_says_that_it_is_over() -> None:
    records = log(
        submit("a", at=0), report("a", 190, at=5), report("a", 50, at=10), done("a", 250, at=20), **ONE, **SMALL
    )
    tighter = {"enforcement": {"stop_at": "0.5", "degrade_at": "0.5", "throttle_at": "0.5", "warn_at": "0.5"}}
    rerun, story = task_story(records, Question(policy(**ONE, **SMALL, **tighter)))
    assert story == [(0, "a starts"), (5, "a uses 190"), (20, "a completed")]
    assert rerun.message_filter.saved_by_reason[STOPPED].used[0] == 60


# --- limits and the breaker ------------------------------------------------------------------------------------------


def test_a_daily_limit_that_is_tighter_lets_tasks_wait_until_the_next_day() -> None:
    day = 43_200  # the tests begin at noon
    records = log(
        submit("a", at=0), done("a", 100, at=10), submit("b", at=20), done("b", 100, at=30), use("x", 1, at=day + 600),
        **ONE, **SMALL,
    )  # fmt: skip
    limit = {"daily_limits": {"max_tokens_total": 250, "max_cost_usd": None}}
    rerun, story = task_story(records, Question(policy(**ONE, **SMALL, **limit)))
    assert (day, "b starts") in story
    assert (day + 10, "b completed") in story
    assert rerun.other.tasks.waits.longest_ms == (day - 20) * 1000
    assert rerun.other.used == rerun.recorded.used


def test_a_breaker_that_trips_lets_nothing_start_any_more() -> None:
    records = log(submit("a", at=0), done("a", 100, at=10), submit("b", at=20), done("b", 100, at=30), **ONE, **SMALL)
    trips = {"circuit_breaker": {"trip_conditions": ["tokens_daily > 50"]}}
    rerun, story = task_story(records, Question(policy(**ONE, **SMALL, **trips)))
    assert [what for _, what in story] == ["a starts", "a uses 100", "a completed"]
    assert rerun.other.tasks.counts["breaker_tripped"] == 1
    assert rerun.other.tasks.counts["waiting"] == 1
    assert rerun.message_filter.saved_by_reason[SHIFTED].used[0] == 100


def test_a_breaker_that_does_not_trip_is_not_reset_either() -> None:
    trips = {"circuit_breaker": {"trip_conditions": ["tokens_daily > 50"]}}
    records = log(
        submit("a", at=0),
        done("a", 100, at=10),
        submit("b", at=20),
        {"type": "ResetBreaker", "reason": "go on", "at": 30},
        done("b", 100, at=60),
        **ONE,
        **SMALL,
        **trips,
    )
    assert "breaker-closed.v1" in {record.name for record in records}
    rerun, story = task_story(records, Question(policy(**ONE, **SMALL)))
    assert rerun.other.refused == {}
    # It started with the reset, and 10 s earlier here.
    assert story[-1] == (50, "b completed")


# --- figures ---------------------------------------------------------------------------------------------------------


def test_waits_and_slots_are_counted_exactly() -> None:
    records = log(*TWO_IN_TURN, **ONE, **SMALL)
    rerun = ask(records, Question(policy(**TWO, **SMALL)))
    log_, other = rerun.recorded.tasks, rerun.other.tasks
    assert (log_.waits.average_ms, log_.waits.longest_ms) == (9_500, 19_000)
    assert (other.waits.average_ms, other.waits.longest_ms) == (0, 0)
    assert log_.by_product["shop"].started == other.by_product["shop"].started == 2
    assert (log_.busy_ms, log_.available_ms) == (45_000, 45_000)
    assert (other.busy_ms, other.available_ms) == (45_000, 90_000)
    assert other.utilization == pytest.approx(0.5)
