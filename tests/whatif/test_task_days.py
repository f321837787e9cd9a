"""Days of tasks under other policies: their own makes them again, no usage is lost, and refused starts leave no
trace.
"""

import datetime as dt
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick.actors.manager import Manager
from tallystick.actors.runtime.fleet import Fleet
from tallystick.actors.runtime.messages import Envelope, Proposal
from tallystick.actors.runtime.simulation import SimulatedFleet
from tallystick.actors.runtime.supervision import Crashes
from tallystick.config.loader import from_mapping
from tallystick.events import catalog as e
from tallystick.events.log.broken_chain import BrokenChain
from tallystick.events.log.codec import read_message
from tallystick.events.log.store import Record, Store
from tallystick.events.log.store_memory import MemoryStore
from tallystick.events.messages import proposals as p
from tallystick.events.state.ledger import Ledger
from tallystick.whatif.question import Question
from tests.support.core import START
from tests.support.examples import examples
from tests.support.late_fleet import TickingClock
from tests.support.task_day import DAY, SCARCE, day_of
from tests.support.threads import at_once
from tests.support.whatif import after, ask, events_of, log, policy, reproduce, rerun_with_events, use
from tests.support.whatif_tasks import ONE, SMALL, TWO, done, leases, report, submit, task_story

CHANCE = settings(
    max_examples=examples(12),
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)


def the_day(seed: int, tasks: int = 60, **config: Any) -> list[Record]:
    return list(day_of(tasks, seed, deaths=0.2, hours=1.5, **config).store.read())


@pytest.mark.parametrize("seed", range(3))
def test_a_day_of_tasks_is_made_again_by_its_own_policy(seed: int) -> None:
    records = the_day(seed)
    names = {record.name for record in records}
    assert {"task-preempted.v1", "lease-lost.v1", "task-completed.v1", "task-queued.v1"} <= names
    reproduce(records)
    rerun, events = rerun_with_events(records, Question(from_mapping(DAY)))
    assert events == events_of(records)
    assert rerun.difference is None
    assert rerun.divergence is None
    assert rerun.shifted.shifted == 0


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
    rerun, events = rerun_with_events(records, Question(config))
    running = 0
    for event in events:
        running += isinstance(event, e.TaskStarted)
        ends = isinstance(event, e.TaskPreempted | e.LeaseLost | e.TaskCompleted)
        running -= ends
        assert running <= slots + 1  # a preemption passes the slot on in one transaction
    messages = rerun.message_filter
    for d in (0, 2):
        saved = sum(one.used[d] for one in messages.saved.values())
        assert rerun.other.used[d] + saved == rerun.recorded.used[d] + messages.beyond_log[d]
    counts = rerun.other.tasks.counts
    assert counts["submitted"] == sum(counts[what] for what in ("completed", "failed", "running", "waiting"))


def test_more_slots_let_no_task_wait_longer_on_average() -> None:
    records = the_day(1)
    averages = []
    for slots in (6, 8, 12, 60):
        rerun = ask(records, Question(from_mapping({**DAY, "max_concurrent": {"total": slots, "per_type": {}}})))
        averages.append(rerun.other.tasks.waits.average_ms)
        assert rerun.other.tasks.counts["completed"] + rerun.other.tasks.counts["failed"] > 0
    assert averages[-1] == 0
    assert averages == sorted(averages, reverse=True)


def test_a_later_cancellation_stays_where_it_was() -> None:
    cancel = {"type": "CancelTask", "task": "b", "at": 40}
    records = log(submit("a", at=0), submit("b", at=1), done("a", at=20), report("b", 3, at=30), cancel, **ONE, **SMALL)
    rerun = ask(records, Question(policy(**TWO, **SMALL)))
    assert rerun.other.tasks.counts["cancelled"] == 1
    assert rerun.other.used == (3, 0, 0)


def test_a_broken_log_is_named_where_it_breaks_and_not_where_its_runs_are_read() -> None:
    records = the_day(1)
    for name in ("task-started.v1", "task-completed.v1", "lease-lost.v1"):
        place = next(place for place, record in enumerate(records) if record.name == name)
        missing = [*records[:place], *records[place + 1 :]]
        changed = [*records]
        changed[place] = records[place]._replace(data=records[place].data.replace(b'"attempt":1', b'"attempt":[]', 1))
        for broken in (missing, changed):
            with pytest.raises(BrokenChain, match=f"position {place + 1}: |belongs to no command before it"):
                ask(broken, Question(from_mapping(DAY)))


# --- starts that the core refuses, and people who are late ------------------------------------------------------------


def test_starts_that_were_refused_and_left_no_trace_are_no_reason_to_part() -> None:
    """Limits of the day refuse what the allocator proposes; it is story so, and the log does not say it."""
    records = list(day_of(70, 2, deaths=0.15, hours=3, **SCARCE).store.read())
    assert {"breaker-tripped.v1", "day-began.v1", "estimate-adjusted.v1"} <= {record.name for record in records}
    reproduce(records)
    rerun, events = rerun_with_events(records, Question(from_mapping({**DAY, **SCARCE})))
    assert events == events_of(records)
    assert (rerun.difference, rerun.divergence, rerun.shifted.shifted) == (None, None, 0)


def test_a_limit_that_the_log_did_not_have_is_asked_about_start_by_start() -> None:
    records = list(day_of(70, 2, deaths=0.15, hours=3, **SCARCE).store.read())
    looser = {**DAY, **SCARCE, "daily_limits": {"max_tokens_total": None, "max_cost_usd": None}, "circuit_breaker": {}}
    rerun = ask(records, Question(from_mapping(looser)))
    log_, other = rerun.recorded.tasks, rerun.other.tasks
    assert other.counts["completed"] >= log_.counts["completed"] - 1, "some leases are lost, by chance"
    assert other.waits.longest_ms < log_.waits.longest_ms
    assert other.counts["breaker_tripped"] == 0 < log_.counts["breaker_tripped"]
    assert rerun.other.alerts.keys() <= rerun.recorded.alerts.keys() | {"attempts_exhausted"}
    assert not any(code.startswith("daily_") for code in rerun.other.alerts)


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


def test_a_live_fleet_that_works_while_time_passes_is_made_again() -> None:
    store, clock = MemoryStore(), TickingClock(START)
    config = policy(max_concurrent={"total": 3, "per_type": {}}, **leases(50), **SMALL)
    with Fleet.open(store, config, clock=clock) as fleet:
        busy_slots(fleet, clock)
        assert fleet.halted is None
    records = list(store.read())
    assert {"task-queued.v1", "task-started.v1", "lease-lost.v1"} <= {record.name for record in records}
    reproduce(records)
    rerun, events = rerun_with_events(records, Question(config))
    assert events == events_of(records)
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


def test_a_start_that_only_the_logs_rules_refused_is_made_here() -> None:
    rerun, story = task_story(log(*KEPT_BACK, **ONE, **SMALL, **LIMITED), Question(policy(**ONE, **SMALL)))
    assert [entry for entry in story if entry[1].startswith("b")] == [
        (10, "b starts"),
        (10.2, "b uses 240"),
        (20, "b uses 3"),
        (20, "b completed"),
    ]
    assert rerun.divergence is not None
    assert rerun.divergence.at == after(10)


def test_what_a_moved_run_leads_to_is_not_laid_beside_what_the_log_has_then() -> None:
    """Within the second in which its start waits for its like, `b` has come to another level."""
    looser = {"daily_limits": {"max_tokens_total": 500, "max_cost_usd": None}}
    rerun = ask(log(*KEPT_BACK, **ONE, **SMALL, **LIMITED), Question(policy(**ONE, **SMALL, **looser)))
    assert rerun.difference is not None
    assert isinstance(rerun.difference.other, e.TaskStarted)
    assert rerun.difference.at == after(10)


class SleepyManager(Manager):
    """A manager that never hears of the starts that the allocator proposes."""

    def take_proposal(self, proposal: Proposal, now: dt.datetime) -> bool:
        return not isinstance(proposal.command, p.StartTask) and super().take_proposal(proposal, now)


class Sleepy(SimulatedFleet):
    @staticmethod
    def manager(ledger: Ledger, store: Store, digest: bytes, crashes: Crashes | None = None) -> Manager:
        return SleepyManager(ledger, store, digest, crashes)


def test_a_start_that_both_proposed_and_the_log_does_not_show_was_refused_there() -> None:
    store = MemoryStore()
    simulated = Sleepy.open(store, policy(**ONE, **SMALL), None, START)
    for number, message in enumerate((submit("a"), submit("b"), done("a", 10), use("x", 1), use("x", 1))):
        read = read_message({**message, "id": f"m-{number}"}, lambda: "unnamed")
        assert isinstance(read, tuple)
        simulated.ask(Envelope([read[0]], [read[1]], "local", None), after(10 * number))
    records = list(store.read())
    rerun = ask(records, Question(policy(**ONE, **SMALL)))
    assert rerun.divergence is None
    assert rerun.difference is None
    # It waits again in the picture that the allocator has, and is no slot's holder.
    assert "b" in rerun._other._allocator._index.queue
