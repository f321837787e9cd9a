"""Leases: a slot is held by signs of life; a run that comes too late changes only the record of what it used."""

from typing import Any

import pytest

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.messages import proposals as p
from tests.support.core import Core, allocate, budget, complete, fleet, hold, preempt, settle, start, submit, use

QUIET: dict[str, Any] = {"daily_limits": {"max_tokens_total": None, "max_cost_usd": None}}


def configured(**config: Any) -> Core:
    return Core(fleet(10_000_000, **QUIET, **config))


def report(task: str, tokens: int, lease: str | None = None) -> c.ReportUsage:
    return c.ReportUsage(task=task, lease=lease, usage=budget(tokens))


def beat(task: str, lease: str | None = None) -> c.Heartbeat:
    return c.Heartbeat(task=task, lease=lease)


# --- while it lives ---------------------------------------------------------------------------------------------------


def test_a_heartbeat_extends_the_lease_and_says_what_to_do() -> None:
    core = configured()
    lease = core.when(submit("t")).lease
    core.wait(100)
    answer = core.when(beat("t", lease))
    assert (answer.state, answer.action, answer.lease_expires_at) == ("running", "continue", "2026-03-04T12:03:40Z")
    core.then_events(e.LeaseExtended)
    core.wait(119.999).when(c.GetGlobalStatus())
    assert core.ledger.tasks.known["t"].state == "running"
    core.wait(0.001).pass_time()
    assert core.ledger.tasks.known["t"].state == "queued"


def test_left_out_the_current_run_is_meant() -> None:
    core = configured()
    core.given(submit("t"))
    assert core.when(beat("t")).state == "running"
    assert core.when(report("t", 500)).lease_lost is False
    assert core.account("t").spent[0] == 500
    assert core.when(complete("t")).state == "completed"


def test_a_shorter_lease_in_a_new_configuration_takes_nothing_back() -> None:
    core = configured()
    core.given(submit("t"), fleet(10_000_000, **QUIET, leases={"seconds": 1}))
    assert core.when(beat("t")).lease_expires_at == "2026-03-04T12:02:00Z"


def test_a_report_of_a_task_is_charged_to_its_account_and_its_soft_mark_is_recorded_once() -> None:
    core = configured()
    lease = core.when(submit("t")).lease
    core.when(report("t", 80_000, lease))
    assert core.every(e.TokenBudgetPassed) == [], "reached is not passed"
    core.when(report("t", 1, lease))
    passed = core.only(e.TokenBudgetPassed)
    assert (passed.token_budget, passed.consumed, passed.max_tokens) == (80_000, 80_001, 120_000)
    answer = core.when(report("t", 39_999, lease))
    assert core.every(e.TokenBudgetPassed) == []
    assert (answer.action, answer.percentage) == ("stop", 1.0), "max_tokens is the hard end"


def test_the_mark_is_passed_also_by_a_settled_hold_and_by_a_sub_agent_that_limits_nothing() -> None:
    core = configured()
    core.given(submit("t"), hold("t", "h", 90_000))
    core.when(c.Settle(hold="h", usage=budget(90_000)))
    assert core.only(e.TokenBudgetPassed).consumed == 90_000
    core.given(submit("u"), allocate("u/1", seconds=5, parent="u"))
    core.when(use("u/1", 80_001))
    assert core.only(e.TokenBudgetPassed).task == "u"


# --- when no sign of life comes ---------------------------------------------------------------------------------------


def test_a_lost_lease_gives_slot_holds_and_unspent_budget_back_and_the_task_waits_again() -> None:
    core = configured(max_concurrent={"total": 1})
    core.given(submit("t"), submit("u"), hold("t", "h", 1_000, ttl_seconds=None))
    core.when(use("t", 700))
    queued_at = core.ledger.tasks.known["t"].queued_at
    core.pass_time(queued_at.replace(minute=2))
    lost, ended, released = core.due
    assert isinstance(lost, e.LeaseLost)
    assert (lost.attempt, lost.then, lost.id, lost.by) == (1, "queued", "", "clock")
    assert isinstance(ended, e.HoldEnded)
    assert isinstance(released, e.BudgetReleased)
    assert (released.consumed.tokens, released.unused.tokens) == (700, 119_300)
    task = core.ledger.tasks.known["t"]
    assert (task.state, task.attempt, task.queued_at) == ("queued", 2, queued_at)
    assert core.pool == (10_000_000 - 700, None, None)
    assert core.when(start("u")) is not None, "the slot is given away"
    assert core.ledger.tasks.running.keys() == {"u"}


def test_a_new_attempt_gets_a_fresh_budget_and_another_lease() -> None:
    core = configured()
    first = core.when(submit("t")).lease
    core.when(use("t", 100_000))
    core.wait(120).given(start("t"))
    answer = core.when(p.TellTask(task="t"))
    assert answer.attempt == 2
    assert answer.lease not in (None, first)
    assert core.free("t")[0] == 120_000


def test_a_task_fails_after_its_attempts_and_operators_are_alerted() -> None:
    core = configured(leases={"max_attempts": 2})
    core.given(submit("t"), submit("after", depends_on=["t"]))
    core.wait(120).given(start("t"))
    core.wait(120).pass_time()
    lost, released, given_up, alert = core.due
    assert isinstance(lost, e.LeaseLost)
    assert (lost.attempt, lost.then) == (2, "failed")
    assert isinstance(released, e.BudgetReleased)
    assert isinstance(given_up, e.TaskGivenUp)
    assert given_up.task == "after"
    assert isinstance(alert, e.AlertRaised)
    assert (alert.code, alert.agent) == ("attempts_exhausted", "t")
    answer = core.when(p.TellTask(task="t"))
    assert (answer.state, answer.attempt, answer.reason.code) == ("failed", 2, "attempts_exhausted")
    assert answer.reason.message == "its lease was lost 2 times"


def test_preemption_is_no_attempt() -> None:
    core = configured(max_concurrent={"total": 1}, preemption_cooldown_minutes=0)
    core.given(submit("t", priority="low"))
    for number in range(5):
        core.given(submit(f"c{number}", priority="critical", victim="t"), complete(f"c{number}"), start("t"))
    assert core.when(p.TellTask(task="t")).attempt == 1


def test_slots_are_kept_while_everything_is_paused_and_get_a_whole_lease_when_it_goes_on() -> None:
    core = configured()
    core.given(submit("t"), c.PauseAll(reason="lunch"))
    core.wait(3_600).pass_time()
    assert core.due == []
    core.given(c.ResumeAll())
    assert core.when(p.TellTask(task="t")).lease_expires_at == "2026-03-04T13:02:00Z"
    core.wait(120).pass_time()
    assert isinstance(core.due[0], e.LeaseLost)


def test_a_pause_by_configuration_keeps_slots_too() -> None:
    core = configured()
    core.given(submit("t"), fleet(10_000_000, **QUIET, manual_override={"pause_all_agents": True}))
    core.wait(3_600).given(c.PauseAll(reason="x"), c.ResumeAll())
    assert core.due == [], "the configuration still pauses"
    core.given(fleet(10_000_000, **QUIET))
    assert core.ledger.is_paused, "what a configuration leaves out ends no pause"
    core.given(fleet(10_000_000, **QUIET, manual_override={"pause_all_agents": False}))
    assert core.when(p.TellTask(task="t")).lease_expires_at == "2026-03-04T13:02:00Z"


def test_at_one_moment_what_ends_first_ends_first() -> None:
    core = configured()
    core.given(submit("t"), submit("u"), hold("u", "h", 5, ttl_seconds=60))
    core.wait(60).given(beat("u"))
    assert [type(event) for event in core.due] == [e.HoldEnded]
    core.wait(60).pass_time()
    assert [getattr(event, "task", None) for event in core.due if isinstance(event, e.LeaseLost)] == ["t"]


# --- too late ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def lost() -> tuple[Core, str]:
    """``t`` lost its first lease after 700 tokens, and runs a second time; a parent pays."""
    core = configured()
    core.given(allocate("lead", 1_000_000))
    lease = core.when(submit("t", parent="lead")).lease
    core.when(report("t", 700, lease))
    core.wait(120).given(start("t"))
    core.when(report("t", 10))
    return core, lease


def test_a_late_report_is_charged_to_the_parent_and_not_to_the_run_at_hand(lost: tuple[Core, str]) -> None:
    core, lease = lost
    answer = core.when(report("t", 55, lease))
    assert (answer.lease_lost, answer.late, answer.action, answer.decided_by) == (True, True, "stop", "lease")
    event = core.only(e.UsageReported)
    assert (event.agent, event.lease, event.charged, event.late) == ("t", lease, "lead", True)
    assert core.account("t").spent[0] == 10
    assert core.account("lead").consumed(0) == 700 + 55


def test_a_hold_of_a_run_that_is_over_is_settled_by_its_payer_and_not_by_the_run_at_hand() -> None:
    core = configured().given(allocate("lead", 1_000_000))
    lease = core.when(submit("t", parent="lead")).lease
    core.given(hold("t", "h", 500), hold("t", "i", 500))
    core.wait(120).given(start("t"))
    answer = core.when(settle("h", 400))
    event = core.only(e.UsageReported)
    assert (event.agent, event.hold, event.lease, event.charged, event.late) == ("t", "h", lease, "lead", True)
    assert answer.late
    assert core.account("t").spent[0] == 0
    core.given(settle("i", 100))
    assert core.account("lead").consumed(0) == 500
    core.when(complete("t", lease, 600))
    assert core.only(e.UsageReported).tokens == 100, "500 of its 600 tokens were settled"


def test_a_late_heartbeat_is_refused(lost: tuple[Core, str]) -> None:
    core, lease = lost
    core.when(beat("t", lease))
    core.then_refused("lease_lost", task="t", state="running")
    core.when(beat("t", "no-such-lease"))
    core.then_refused("lease_lost")


def test_a_zombie_does_not_finish_anothers_run_but_what_it_used_is_on_record_once(lost: tuple[Core, str]) -> None:
    core, lease = lost
    core.when(complete("t", lease, 1_000))
    core.then_refused("lease_lost", state="running")
    assert core.only(e.UsageReported).tokens == 300, "700 of its 1,000 tokens had been reported"
    assert isinstance(core.own[-1], e.RequestRefused)
    core.when(complete("t", lease, 1_000))
    assert core.every(e.UsageReported) == []
    core.when(report("t", 5, lease))
    core.when(complete("t", lease, 1_010))
    assert core.only(e.UsageReported).tokens == 5
    assert core.ledger.spent[0] == 1_010 + 10
    assert core.ledger.tasks.known["t"].state == "running"


def test_a_late_report_finds_who_pays_also_when_the_parent_is_gone(lost: tuple[Core, str]) -> None:
    core, lease = lost
    core.given(c.ReleaseBudget(agent="lead"))
    assert core.ledger.tasks.known["t"].state == "cancelled"
    core.when(report("t", 5, lease))
    assert core.only(e.UsageReported).charged is None, "the fleet pays"


def test_usage_with_a_lease_that_never_was_is_recorded_all_the_same(lost: tuple[Core, str]) -> None:
    core, _ = lost
    assert core.when(report("t", 5, "no-such-lease")).lease_lost is True
    assert core.ledger.spent[0] == 715


def test_a_report_after_completion_is_late_and_no_more() -> None:
    core = configured()
    lease = core.when(submit("t")).lease
    core.given(complete("t", lease, 100))
    answer = core.when(report("t", 7, lease))
    assert (answer.late, answer.lease_lost, answer.action) == (True, False, "continue")
    core.when(complete("t", lease, 107))
    core.then_refused("already_finished", state="completed")
    assert core.every(e.UsageReported) == [], "7 more than 100 were reported"
    core.when(beat("t", lease))
    core.then_refused("already_finished")


def test_who_never_ran_has_no_lease_to_extend_and_nothing_to_complete() -> None:
    core = configured(max_concurrent={"total": 1})
    core.given(submit("a"), submit("t"))
    core.when(beat("t"))
    core.then_refused("not_running", task="t", state="queued")
    core.when(complete("t", used=100))
    core.then_refused("not_running")
    assert core.ledger.spent[0] == 100, "usage is a fact"
    answer = core.when(report("t", 5))
    assert answer.unallocated is True
    assert core.when(report("t", 5, "whatever")).unallocated is True


def test_a_report_of_an_unknown_task_is_one_of_an_unknown_agent() -> None:
    core = configured()
    answer = core.when(report("nobody", 5))
    assert (answer.agent, answer.unallocated) == ("nobody", True)


def test_of_a_task_only_the_last_runs_are_remembered() -> None:
    core = configured(leases={"max_attempts": 100})
    leases = [core.when(submit("t")).lease]
    for _ in range(10):
        core.wait(120).given(start("t"))
        leases.append(core.ledger.tasks.known["t"].lease)
    assert [run.lease for run in core.ledger.tasks.known["t"].ended] == leases[2:10]
    core.when(complete("t", leases[0], 5))
    core.then_refused("lease_lost")


# --- preempted --------------------------------------------------------------------------------------------------------


@pytest.fixture
def preempted() -> tuple[Core, str]:
    core = configured(max_concurrent={"total": 1})
    lease = core.when(submit("t", priority="low")).lease
    core.when(report("t", 300, lease))
    core.given(submit("c", priority="critical"), preempt("t", "c"))
    return core, lease


def test_a_victim_learns_of_it_once_by_its_next_heartbeat(preempted: tuple[Core, str]) -> None:
    core, lease = preempted
    answer = core.when(beat("t", lease))
    assert (answer.preempted, answer.action, answer.state) == (True, "stop", "queued")
    core.then_events(e.PreemptionAcknowledged)
    core.when(beat("t", lease))
    core.then_refused("lease_lost")


def test_a_victim_learns_of_it_by_its_next_report_whose_usage_counts(preempted: tuple[Core, str]) -> None:
    core, lease = preempted
    answer = core.when(report("t", 20, lease))
    assert (answer.lease_lost, answer.action) == (True, "stop")
    core.then_events(e.UsageReported, e.PreemptionAcknowledged)
    assert core.ledger.spent[0] == 320


@pytest.mark.parametrize("named", [True, False])
def test_a_victim_that_says_it_is_done_has_lost_its_run(preempted: tuple[Core, str], named: bool) -> None:
    core, lease = preempted
    core.when(complete("t", lease if named else None, 350))
    core.then_refused("lease_lost", state="queued")
    core.then_events(e.UsageReported, e.AlertRaised, e.PreemptionAcknowledged, e.RequestRefused)
    assert core.only(e.AlertRaised).code == "unpriced_model"
    assert core.ledger.spent[0] == 350


def test_a_victim_is_shown_as_stopping_until_it_knows_or_its_lease_would_be_over(preempted: tuple[Core, str]) -> None:
    core, lease = preempted
    ask = p.TellQueue(waiting=[p.QueueView(task="t", score=0.1, priority=0.1, wait=0.0, blocking=0.0)])

    def stopping() -> list[str]:
        return [task.task for task in core.when(ask).running if task.stopping]

    assert stopping() == ["t"]
    core.given(beat("c")).wait(119).given(beat("c"))
    assert stopping() == ["t"]
    core.wait(1)
    assert stopping() == []
    core.now -= core.now - core.ledger.now
    core.given(beat("t", lease))
    assert stopping() == []


# --- messages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        c.ReportUsage(usage=budget(1)),
        c.ReportUsage(agent="a", task="t", usage=budget(1)),
        c.ReportUsage(agent="a", lease="x", usage=budget(1)),
        c.Heartbeat(agent="a", task="t"),
        c.Heartbeat(task="t", hold="h"),
        c.Heartbeat(agent="a", lease="x"),
    ],
)
def test_a_report_or_a_heartbeat_is_of_one_of_them(command: Any) -> None:
    core = configured()
    core.when(command)
    assert "a lease beside a task only" in core.then_refused("invalid_message").detail


@pytest.mark.parametrize("command", [beat("t"), complete("t"), c.CancelTask(task="t"), p.TellTask(task="t")])
def test_a_task_that_never_was_is_unknown(command: Any) -> None:
    core = configured()
    core.when(command)
    core.then_refused("unknown_task", task="t")
