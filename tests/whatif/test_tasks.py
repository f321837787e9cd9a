"""Another policy places, starts, preempts and loses tasks otherwise, and their runs take their messages with them."""

import datetime as dt
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick.actors.fleet import Fleet
from tallystick.actors.messages import ALLOCATOR, Envelope, Proposal
from tallystick.actors.simulation import House
from tallystick.actors.whatif.fates import MOVED, STOPPED
from tallystick.actors.whatif.question import Question
from tallystick.actors.whatif.rerun import Rerun
from tallystick.config.loader import from_mapping
from tallystick.events import catalog as e
from tallystick.events import proposals as p
from tallystick.events.codec import decode_event, read_message
from tallystick.events.store import Record
from tallystick.events.store_memory import MemoryStore
from tests.actors.test_every_sequence import at_once
from tests.law import START
from tests.simulation.a_day import DAY, day_of
from tests.simulation.test_a_day_of_tasks import SCARCE
from tests.whatif.asking import after, ask, log, policy, reproduce, use
from tests.whatif.test_reproduction import TickingClock
from tests.whatif.test_specialists import made, of_log

ONE = {"max_concurrent": {"total": 1, "per_type": {}}}
TWO = {"max_concurrent": {"total": 2, "per_type": {}}}
SMALL = {"token_budgets": {"default": 200}}

CHANCE = settings(
    max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), print_blob=False
)


def submit(task: str, **rest: Any) -> dict[str, Any]:
    return {"type": "SubmitTask", "task": task, "agent_type": "coder", "product": "shop", **rest}


def report(task: str, tokens: int, **rest: Any) -> dict[str, Any]:
    return {"type": "ReportUsage", "task": task, "usage": {"tokens": tokens}, **rest}


def done(task: str, tokens: int | None = None, **rest: Any) -> dict[str, Any]:
    usage = {} if tokens is None else {"usage": {"tokens": tokens}}
    return {"type": "CompleteTask", "task": task, "outcome": "completed", **usage, **rest}


def beat(task: str, **rest: Any) -> dict[str, Any]:
    return {"type": "Heartbeat", "task": task, **rest}


TWO_IN_TURN = (
    submit("a", at=0),
    submit("b", at=1),
    report("a", 30, at=10),
    done("a", 50, at=20),
    report("b", 7, at=30),
    done("b", 9, at=45),
)
"""Under one slot `b` starts at 20, when `a` is done, and reports 10 s later; it takes 25 s."""


def happened(records: list[Record], question: Question) -> tuple[Rerun, list[tuple[float, str]]]:
    """What happens to the tasks under the other policy: seconds since the start, and what."""
    rerun, events = made(records, question)
    told = []
    for event in events:
        match event:
            case e.TaskStarted():
                told.append((seconds(event.at), f"{event.task} starts"))
            case e.TaskCompleted():
                told.append((seconds(event.at), f"{event.task} {event.outcome}"))
            case e.LeaseLost():
                told.append((seconds(event.at), f"{event.task} lost"))
            case e.TaskPreempted():
                told.append((seconds(event.at), f"{event.task} preempted"))
            case e.UsageReported():
                told.append((seconds(event.at), f"{event.agent} uses {event.tokens}"))
    return rerun, told


A_LEASE, B_LEASE = "lease-6", "lease-13"
"""A lease is named by the position of its event, which each test checks that names one."""


def lease_of(records: list[Record], task: str) -> str:
    """The lease of a task's first run in the log."""
    events = (decode_event(record.data, record.name) for record in records)
    return next(event.lease for event in events if isinstance(event, e.TaskStarted) and event.task == task)


def seconds(at: dt.datetime) -> float:
    return (at - after(0)).total_seconds()


# --- runs that start at another time ---------------------------------------------------------------------------------


def test_a_run_that_starts_earlier_sends_everything_as_much_earlier() -> None:
    records = log(*TWO_IN_TURN, **ONE, **SMALL)
    rerun, told = happened(records, Question(policy(**TWO, **SMALL)))
    assert told == [
        (0, "a starts"),
        (1, "b starts"),
        (10, "a uses 30"),
        (11, "b uses 7"),
        (20, "a uses 20"),
        (20, "a completed"),
        (26, "b uses 2"),
        (26, "b completed"),
    ]
    assert rerun.made.used == rerun.recorded.used
    assert rerun.made.used[0] == 59
    assert rerun.fates.saved == {}
    assert rerun.moving.moved == 1


def test_a_run_that_starts_later_sends_everything_as_much_later() -> None:
    records = log(*TWO_IN_TURN, **TWO, **SMALL)
    rerun, told = happened(records, Question(policy(**ONE, **SMALL)))
    assert told == [
        (0, "a starts"),
        (10, "a uses 30"),
        (20, "a uses 20"),
        (20, "a completed"),
        (20, "b starts"),
    ]
    # In the log b reported 29 s after its start; so it would here, and then the log had ended.
    assert rerun.made.used[0] == 50
    assert {reason: one.used[0] for reason, one in rerun.fates.saved_by_reason.items() if one.reports} == {MOVED: 9}
    assert rerun.made.work.counts["running"] == 1


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
    rerun, told = happened(records, Question(policy(**TWO, **SMALL)))
    assert (26, "b completed") in told
    assert rerun.made.refused == {}


def test_the_first_decision_that_differs_is_the_start_and_no_message_of_a_moved_run() -> None:
    rerun = ask(log(*TWO_IN_TURN, **ONE, **SMALL), Question(policy(**TWO, **SMALL)))
    assert rerun.difference is not None
    assert isinstance(rerun.difference.recorded, e.TaskQueued)
    assert isinstance(rerun.difference.made, e.TaskStarted)
    assert rerun.difference.request == "SubmitTask"


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
    rerun, told = happened(records, Question(policy(**TWO, **SMALL)))
    assert (9, "b/sub uses 5") in told
    assert (12, "b completed") in told
    assert rerun.made.used == rerun.recorded.used
    assert rerun.made.refused == {}


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
    rerun, told = happened(records, Question(policy(**TWO, **SMALL)))
    assert [entry for entry in told if entry[1].startswith("low")] == [
        (0, "low starts"),
        (10, "low uses 10"),
        # The whole run took 60 s, and had used 40 tokens at its end.
        (60, "low uses 30"),
        (60, "low completed"),
    ]
    assert rerun.made.work.counts["preempted"] == 0
    assert rerun.fates.saved_by_reason[MOVED].used[0] == rerun.recorded.used[0] - rerun.made.used[0]


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
    rerun, told = happened(records, Question(policy(**ONE, **SMALL)))
    assert told == [
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
    assert rerun.fates.added[0] == 10
    assert rerun.made.used[0] == rerun.recorded.used[0] + 10


# --- leases ----------------------------------------------------------------------------------------------------------


def leases(of_seconds: int) -> dict[str, Any]:
    return {"leases": {"seconds": of_seconds, "max_attempts": 2}}


def test_who_was_lost_stays_lost_and_is_found_out_when_the_lease_ends_here() -> None:
    records = log(
        submit("a", at=0), report("a", 5, at=5), done("a", 7, at=150), until=200, **ONE, **SMALL, **leases(100)
    )
    assert [record.name for record in records].count("lease-lost.v1") == 1
    rerun, told = happened(records, Question(policy(**ONE, **SMALL, **leases(30))))
    # The second attempt takes 50 s in the log, of which 30 are too long here.
    assert [what for _, what in told] == ["a starts", "a uses 5", "a lost", "a starts", "a lost", "a uses 7"]
    assert [at for at, what in told if what == "a lost"] == [30, 60]
    assert rerun.made.work.counts["failed"] == 1
    assert rerun.made.refused == {"lease_lost": 1}


def test_who_spoke_after_its_lease_was_lost_would_have_gone_on_with_a_longer_one() -> None:
    records = log(
        submit("a", at=0),
        beat("a", at=50, lease=A_LEASE),  # too late, and told so
        report("a", 5, at=55),
        done("a", 9, at=58),
        use("x", 1, at=90),
        **ONE,
        **SMALL,
        **leases(30),
    )
    assert lease_of(records, "a") == A_LEASE
    _, told = happened(records, Question(policy(**ONE, **SMALL, **leases(100))))
    # The whole run took 28 s. When it is known that this one is none that dies, 30 have passed.
    assert told == [(0, "a starts"), (30, "a uses 9"), (30, "a completed"), (90, "x uses 1")]


# --- what the log does not know --------------------------------------------------------------------------------------


def test_a_task_that_the_log_rejected_takes_what_it_was_estimated_at() -> None:
    none = {"max_concurrent": {"total": 2, "per_type": {"coder": 0}}}
    records = log(submit("a", at=0, estimated_tokens=77, estimated_minutes=1), use("x", 1, at=100), **none, **SMALL)
    rerun, told = happened(records, Question(policy(**TWO, **SMALL)))
    assert told == [(0, "a starts"), (60, "a uses 77"), (60, "a completed"), (100, "x uses 1")]
    assert rerun.moving.guessed == 1
    assert rerun.fates.added[0] == 77


def test_a_run_that_is_stopped_uses_no_more_and_still_says_that_it_is_over() -> None:
    records = log(
        submit("a", at=0), report("a", 190, at=5), report("a", 50, at=10), done("a", 250, at=20), **ONE, **SMALL
    )
    tighter = {"enforcement": {"stop_at": "0.5", "degrade_at": "0.5", "throttle_at": "0.5", "warn_at": "0.5"}}
    rerun, told = happened(records, Question(policy(**ONE, **SMALL, **tighter)))
    assert told == [(0, "a starts"), (5, "a uses 190"), (20, "a completed")]
    assert rerun.fates.saved_by_reason[STOPPED].used[0] == 60


# --- limits and the breaker ------------------------------------------------------------------------------------------


def test_a_daily_limit_that_is_tighter_lets_tasks_wait_until_the_next_day() -> None:
    day = 43_200  # the tests begin at noon
    records = log(
        submit("a", at=0), done("a", 100, at=10), submit("b", at=20), done("b", 100, at=30), use("x", 1, at=day + 600),
        **ONE, **SMALL,
    )  # fmt: skip
    limit = {"daily_limits": {"max_tokens_total": 250, "max_cost_usd": None}}
    rerun, told = happened(records, Question(policy(**ONE, **SMALL, **limit)))
    assert (day, "b starts") in told
    assert (day + 10, "b completed") in told
    assert rerun.made.work.waits.longest_ms == (day - 20) * 1000
    assert rerun.made.used == rerun.recorded.used


def test_a_breaker_that_trips_lets_nothing_start_any_more() -> None:
    records = log(submit("a", at=0), done("a", 100, at=10), submit("b", at=20), done("b", 100, at=30), **ONE, **SMALL)
    trips = {"circuit_breaker": {"trip_conditions": ["tokens_daily > 50"]}}
    rerun, told = happened(records, Question(policy(**ONE, **SMALL, **trips)))
    assert [what for _, what in told] == ["a starts", "a uses 100", "a completed"]
    assert rerun.made.work.counts["breaker_tripped"] == 1
    assert rerun.made.work.counts["waiting"] == 1
    assert rerun.fates.saved_by_reason[MOVED].used[0] == 100


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
    rerun, told = happened(records, Question(policy(**ONE, **SMALL)))
    assert rerun.made.refused == {}
    # It started with the reset, and 10 s earlier here.
    assert told[-1] == (50, "b completed")


# --- figures ---------------------------------------------------------------------------------------------------------


def test_waits_and_slots_are_counted_exactly() -> None:
    records = log(*TWO_IN_TURN, **ONE, **SMALL)
    rerun = ask(records, Question(policy(**TWO, **SMALL)))
    log_, other = rerun.recorded.work, rerun.made.work
    assert (log_.waits.average_ms, log_.waits.longest_ms) == (9_500, 19_000)
    assert (other.waits.average_ms, other.waits.longest_ms) == (0, 0)
    assert log_.by_product["shop"].started == other.by_product["shop"].started == 2
    assert (log_.busy_ms, log_.available_ms) == (45_000, 45_000)
    assert (other.busy_ms, other.available_ms) == (45_000, 90_000)
    assert other.utilization == pytest.approx(0.5)


# --- days ------------------------------------------------------------------------------------------------------------


def the_day(seed: int, tasks: int = 60, **config: Any) -> list[Record]:
    return list(day_of(tasks, seed, deaths=0.2, hours=1.5, **config).store.read())


@pytest.mark.parametrize("seed", range(3))
def test_a_day_of_tasks_is_made_again_by_its_own_policy(seed: int) -> None:
    records = the_day(seed)
    names = {record.name for record in records}
    assert {"task-preempted.v1", "lease-lost.v1", "task-completed.v1", "task-queued.v1"} <= names
    reproduce(records)
    rerun, events = made(records, Question(from_mapping(DAY)))
    assert events == of_log(records)
    assert rerun.difference is None
    assert rerun.parting is None
    assert rerun.moving.moved == 0


@CHANCE
@given(st.integers(0, 1_000), st.integers(1, 12), st.integers(60, 900), st.booleans())
def test_no_usage_is_lost_and_no_slot_given_twice_under_any_policy(
    seed: int, slots: int, lease: int, preempts: bool
) -> None:
    records = the_day(seed % 5)
    config = from_mapping(
        {
            **DAY,
            "max_concurrent": {"total": slots, "per_type": {}},
            "leases": {"seconds": lease, "max_attempts": 2},
            "priority_levels": {"critical": {"preempt_lower": preempts}},
        }
    )
    rerun, events = made(records, Question(config))
    running = 0
    for event in events:
        running += isinstance(event, e.TaskStarted)
        ends = isinstance(event, e.TaskPreempted | e.LeaseLost | e.TaskCompleted)
        running -= ends
        assert running <= slots + 1  # a preemption passes the slot on in one transaction
    fates = rerun.fates
    for d in (0, 2):
        saved = sum(one.used[d] for one in fates.saved.values())
        assert rerun.made.used[d] + saved == rerun.recorded.used[d] + fates.added[d]
    counts = rerun.made.work.counts
    assert counts["submitted"] == sum(counts[what] for what in ("completed", "failed", "running", "waiting"))


def test_more_slots_let_nobody_wait_longer_on_average() -> None:
    records = the_day(1)
    averages = []
    for slots in (6, 8, 12, 60):
        rerun = ask(records, Question(from_mapping({**DAY, "max_concurrent": {"total": slots, "per_type": {}}})))
        averages.append(rerun.made.work.waits.average_ms)
        assert rerun.made.work.counts["completed"] + rerun.made.work.counts["failed"] > 0
    assert averages[-1] == 0
    assert averages == sorted(averages, reverse=True)


def test_a_later_cancellation_stays_where_it_was() -> None:
    cancel = {"type": "CancelTask", "task": "b", "at": 40}
    records = log(submit("a", at=0), submit("b", at=1), done("a", at=20), report("b", 3, at=30), cancel, **ONE, **SMALL)
    rerun = ask(records, Question(policy(**TWO, **SMALL)))
    assert rerun.made.work.counts["cancelled"] == 1
    assert rerun.made.used == [3, 0, 0]


# --- starts that the law refuses, and people who are late ------------------------------------------------------------


def test_starts_that_were_refused_and_left_no_trace_are_no_reason_to_part() -> None:
    """Limits of the day refuse what the allocator proposes; it is told so, and the log does not say it."""
    records = list(day_of(70, 2, deaths=0.15, hours=3, **SCARCE).store.read())
    assert {"breaker-tripped.v1", "day-began.v1", "estimate-adjusted.v1"} <= {record.name for record in records}
    reproduce(records)
    rerun, events = made(records, Question(from_mapping({**DAY, **SCARCE})))
    assert events == of_log(records)
    assert (rerun.difference, rerun.parting, rerun.moving.moved) == (None, None, 0)


def test_a_limit_that_the_log_did_not_have_is_asked_about_start_by_start() -> None:
    records = list(day_of(70, 2, deaths=0.15, hours=3, **SCARCE).store.read())
    looser = {**DAY, **SCARCE, "daily_limits": {"max_tokens_total": None, "max_cost_usd": None}, "circuit_breaker": {}}
    rerun = ask(records, Question(from_mapping(looser)))
    log_, other = rerun.recorded.work, rerun.made.work
    assert other.counts["completed"] >= log_.counts["completed"]
    assert other.waits.longest_ms < log_.waits.longest_ms
    assert other.counts["breaker_tripped"] == 0 < log_.counts["breaker_tripped"]
    assert rerun.made.alerts.keys() <= rerun.recorded.alerts.keys()
    assert not any(code.startswith("daily_") for code in rerun.made.alerts)


def busy_slots(fleet: Fleet, clock: TickingClock, threads: int = 5) -> None:
    """Agents in threads of their own that share few slots, while time passes between their messages."""

    def work(number: int) -> None:
        dice = random.Random(number)
        for n in range(8):
            task = f"{number}-{n}"
            wanted = submit(task, product=dice.choice("xyz"), priority=dice.choice(("low", "normal", "critical")))
            state = fleet.ask({**wanted, "id": f"s-{task}"})["ok"]
            if state["lease"] is not None:
                fleet.ask(report(task, 5, lease=state["lease"], id=f"r-{task}"))
                if dice.random() < 0.8:
                    fleet.ask(done(task, 9, lease=state["lease"], id=f"d-{task}"))
            fleet.ask({"type": "GetTask", "task": task, "id": f"g-{task}"})
            if number == 0:
                fleet.advance(clock.now() + dt.timedelta(seconds=20))

    at_once(threads, work)
    fleet.quiesce()


def test_a_live_fleet_whose_allocator_is_always_a_little_late_is_made_again() -> None:
    store, clock = MemoryStore(), TickingClock(START)
    config = policy(max_concurrent={"total": 3, "per_type": {}}, **leases(50), **SMALL)
    with Fleet.open(store, config, clock=clock) as fleet:
        busy_slots(fleet, clock)
        assert fleet.halted is None
    records = list(store.read())
    assert {"task-queued.v1", "task-started.v1", "lease-lost.v1"} <= {record.name for record in records}
    reproduce(records)
    rerun, events = made(records, Question(config))
    assert events == of_log(records)
    assert rerun.difference is None


LIMITED = {"daily_limits": {"max_tokens_total": 400, "max_cost_usd": None}}
KEPT_BACK = (
    submit("a", at=0),
    submit("b", at=1),
    done("a", 250, at=10),
    use("x", 1, at=10.5),
    {"type": "ApproveLimit", "max_tokens_total": 1_000, "at": 20},
    report("b", 240, at=20.2),
    done("b", 243, at=30),
)
"""When `a` is done the allocator proposes `b`, and the limit of the day refuses it: of that the log has no trace."""


def test_a_start_that_only_the_log_s_law_refused_is_made_here() -> None:
    rerun, told = happened(log(*KEPT_BACK, **ONE, **SMALL, **LIMITED), Question(policy(**ONE, **SMALL)))
    assert [entry for entry in told if entry[1].startswith("b")] == [
        (10, "b starts"),
        (10.2, "b uses 240"),
        (20, "b uses 3"),
        (20, "b completed"),
    ]
    assert rerun.parting is not None
    assert rerun.parting.at == after(10)


def test_what_a_moved_run_leads_to_is_not_laid_beside_what_the_log_has_then() -> None:
    """Within the second in which its start waits for its like, `b` has come to another level."""
    looser = {"daily_limits": {"max_tokens_total": 500, "max_cost_usd": None}}
    rerun = ask(log(*KEPT_BACK, **ONE, **SMALL, **LIMITED), Question(policy(**ONE, **SMALL, **looser)))
    assert rerun.difference is not None
    assert isinstance(rerun.difference.made, e.TaskStarted)
    assert rerun.difference.at == after(10)


class Sleepy(House):
    """A house whose manager never hears of the starts that the allocator proposes."""

    def _decide(self, message: Any, now: dt.datetime) -> None:
        if not (isinstance(message, Proposal) and isinstance(message.command, p.StartTask)):
            super()._decide(message, now)


def test_a_start_that_both_proposed_and_the_log_does_not_show_was_refused_there() -> None:
    store = MemoryStore()
    house = Sleepy.open(store, policy(**ONE, **SMALL), None, START)
    for number, message in enumerate((submit("a"), submit("b"), done("a", 10), use("x", 1), use("x", 1))):
        read = read_message({**message, "id": f"m-{number}"}, lambda: "unnamed")
        assert isinstance(read, tuple)
        house.ask(Envelope([read[0]], [read[1]], "local", None), after(10 * number))
    records = list(store.read())
    rerun = ask(records, Question(policy(**ONE, **SMALL)))
    assert rerun.parting is None
    assert rerun.difference is None
    # It waits again in the picture that the allocator has, and is no slot's holder.
    allocator: Any = rerun._others._people[ALLOCATOR]
    assert "b" in allocator._roster.queue
