"""Leases: a slot is held by signs of life, and whoever comes too late changes nothing but the record of what it used."""

from typing import Any

import pytest

from tallystick.events import catalog as e
from tallystick.events import commands as c
from tallystick.events import proposals as p
from tests.law import Law, allocate, budget, complete, fleet, hold, preempt, settle, start, submit, use

QUIET: dict[str, Any] = {"daily_limits": {"max_tokens_total": None, "max_cost_usd": None}}


def house(**config: Any) -> Law:
    return Law(fleet(10_000_000, **QUIET, **config))


def report(task: str, tokens: int, lease: str | None = None) -> c.ReportUsage:
    return c.ReportUsage(task=task, lease=lease, usage=budget(tokens))


def beat(task: str, lease: str | None = None) -> c.Heartbeat:
    return c.Heartbeat(task=task, lease=lease)


# --- while it lives ---------------------------------------------------------------------------------------------------


def test_a_heartbeat_extends_the_lease_and_says_what_to_do() -> None:
    law = house()
    lease = law.when(submit("t")).lease
    law.wait(100)
    answer = law.when(beat("t", lease))
    assert (answer.state, answer.action, answer.lease_expires_at) == ("running", "continue", "2026-03-04T12:03:40Z")
    law.then_events(e.LeaseExtended)
    law.wait(119.999).when(c.GetGlobalStatus())
    assert law.ledger.tasks.known["t"].state == "running"
    law.wait(0.001).when(p.ExpireLease())
    assert law.ledger.tasks.known["t"].state == "queued"


def test_left_out_the_current_run_is_meant() -> None:
    law = house()
    law.given(submit("t"))
    assert law.when(beat("t")).state == "running"
    assert law.when(report("t", 500)).lease_lost is False
    assert law.account("t").spent[0] == 500
    assert law.when(complete("t")).state == "completed"


def test_a_shorter_lease_in_a_new_configuration_takes_nothing_back() -> None:
    law = house()
    law.given(submit("t"), fleet(10_000_000, **QUIET, leases={"seconds": 1}))
    assert law.when(beat("t")).lease_expires_at == "2026-03-04T12:02:00Z"


def test_a_report_of_a_task_is_charged_to_its_account_and_its_soft_mark_is_recorded_once() -> None:
    law = house()
    lease = law.when(submit("t")).lease
    law.when(report("t", 80_000, lease))
    assert law.every(e.TokenBudgetPassed) == [], "reached is not passed"
    law.when(report("t", 1, lease))
    passed = law.only(e.TokenBudgetPassed)
    assert (passed.token_budget, passed.consumed, passed.max_tokens) == (80_000, 80_001, 120_000)
    answer = law.when(report("t", 39_999, lease))
    assert law.every(e.TokenBudgetPassed) == []
    assert (answer.action, answer.percentage) == ("stop", 1.0), "max_tokens is the hard end"


def test_the_mark_is_passed_also_by_a_settled_hold_and_by_a_sub_agent_that_limits_nothing() -> None:
    law = house()
    law.given(submit("t"), hold("t", "h", 90_000))
    law.when(c.Settle(hold="h", usage=budget(90_000)))
    assert law.only(e.TokenBudgetPassed).consumed == 90_000
    law.given(submit("u"), allocate("u/1", seconds=5, parent="u"))
    law.when(use("u/1", 80_001))
    assert law.only(e.TokenBudgetPassed).task == "u"


# --- when nobody gives a sign of life ---------------------------------------------------------------------------------


def test_a_lost_lease_gives_slot_holds_and_unspent_budget_back_and_the_task_waits_again() -> None:
    law = house(max_concurrent={"total": 1})
    law.given(submit("t"), submit("u"), hold("t", "h", 1_000, ttl_seconds=None))
    law.when(use("t", 700))
    queued_at = law.ledger.tasks.known["t"].queued_at
    law.when(p.ExpireLease(), at=queued_at.replace(minute=2))
    lost, ended, released = law.due
    assert isinstance(lost, e.LeaseLost)
    assert (lost.attempt, lost.then, lost.id, lost.by) == (1, "queued", "", "clock")
    assert isinstance(ended, e.HoldEnded)
    assert isinstance(released, e.BudgetReleased)
    assert (released.consumed.tokens, released.unused.tokens) == (700, 119_300)
    task = law.ledger.tasks.known["t"]
    assert (task.state, task.attempt, task.queued_at) == ("queued", 2, queued_at)
    assert law.pool == (10_000_000 - 700, None, None)
    assert law.when(start("u")) is not None, "the slot is given away"
    assert law.ledger.tasks.running.keys() == {"u"}


def test_a_new_attempt_gets_a_fresh_budget_and_another_lease() -> None:
    law = house()
    first = law.when(submit("t")).lease
    law.when(use("t", 100_000))
    law.wait(120).given(start("t"))
    answer = law.when(p.TellTask(task="t"))
    assert answer.attempt == 2
    assert answer.lease not in (None, first)
    assert law.free("t")[0] == 120_000


def test_a_task_fails_after_its_attempts_and_operators_are_told() -> None:
    law = house(leases={"max_attempts": 2})
    law.given(submit("t"), submit("after", depends_on=["t"]))
    law.wait(120).given(start("t"))
    law.wait(120).when(p.ExpireLease())
    lost, released, given_up, alert = law.due
    assert isinstance(lost, e.LeaseLost)
    assert (lost.attempt, lost.then) == (2, "failed")
    assert isinstance(released, e.BudgetReleased)
    assert isinstance(given_up, e.TaskGivenUp)
    assert given_up.task == "after"
    assert isinstance(alert, e.AlertRaised)
    assert (alert.code, alert.agent) == ("attempts_exhausted", "t")
    answer = law.when(p.TellTask(task="t"))
    assert (answer.state, answer.attempt, answer.reason.code) == ("failed", 2, "attempts_exhausted")
    assert answer.reason.message == "its lease was lost 2 times"


def test_preemption_is_no_attempt() -> None:
    law = house(max_concurrent={"total": 1}, preemption_cooldown_minutes=0)
    law.given(submit("t", priority="low"))
    for number in range(5):
        law.given(submit(f"c{number}", priority="critical", victim="t"), complete(f"c{number}"), start("t"))
    assert law.when(p.TellTask(task="t")).attempt == 1


def test_slots_are_kept_while_everything_is_paused_and_get_a_whole_lease_when_it_goes_on() -> None:
    law = house()
    law.given(submit("t"), c.PauseAll(reason="lunch"))
    law.wait(3_600).when(p.ExpireLease())
    assert law.due == []
    law.given(c.ResumeAll())
    assert law.when(p.TellTask(task="t")).lease_expires_at == "2026-03-04T13:02:00Z"
    law.wait(120).when(p.ExpireLease())
    assert isinstance(law.due[0], e.LeaseLost)


def test_a_pause_by_configuration_keeps_slots_too() -> None:
    law = house()
    law.given(submit("t"), fleet(10_000_000, **QUIET, manual_override={"pause_all_agents": True}))
    law.wait(3_600).given(c.PauseAll(reason="x"), c.ResumeAll())
    assert law.due == [], "the configuration still pauses"
    law.given(fleet(10_000_000, **QUIET))
    assert law.when(p.TellTask(task="t")).lease_expires_at == "2026-03-04T13:02:00Z"


def test_at_one_moment_what_ends_first_ends_first() -> None:
    law = house()
    law.given(submit("t"), submit("u"), hold("u", "h", 5, ttl_seconds=60))
    law.wait(60).given(beat("u"))
    assert [type(event) for event in law.due] == [e.HoldEnded]
    law.wait(60).when(p.ExpireLease())
    assert [getattr(event, "task", None) for event in law.due if isinstance(event, e.LeaseLost)] == ["t"]


# --- too late ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def lost() -> tuple[Law, str]:
    """``t`` lost its first lease after 700 tokens, and runs a second time; a parent pays."""
    law = house()
    law.given(allocate("lead", 1_000_000))
    lease = law.when(submit("t", parent="lead")).lease
    law.when(report("t", 700, lease))
    law.wait(120).given(start("t"))
    law.when(report("t", 10))
    return law, lease


def test_a_late_report_is_charged_to_the_parent_and_not_to_the_run_at_hand(lost: tuple[Law, str]) -> None:
    law, lease = lost
    answer = law.when(report("t", 55, lease))
    assert (answer.lease_lost, answer.late, answer.action, answer.decided_by) == (True, True, "stop", "lease")
    event = law.only(e.UsageReported)
    assert (event.agent, event.lease, event.charged, event.late) == ("t", lease, "lead", True)
    assert law.account("t").spent[0] == 10
    assert law.account("lead").consumed(0) == 700 + 55


def test_a_hold_of_a_run_that_is_over_is_settled_by_its_payer_and_not_by_the_run_at_hand() -> None:
    law = house().given(allocate("lead", 1_000_000))
    lease = law.when(submit("t", parent="lead")).lease
    law.given(hold("t", "h", 500), hold("t", "i", 500))
    law.wait(120).given(start("t"))
    answer = law.when(settle("h", 400))
    event = law.only(e.UsageReported)
    assert (event.agent, event.hold, event.lease, event.charged, event.late) == ("t", "h", lease, "lead", True)
    assert answer.late
    assert law.account("t").spent[0] == 0
    law.given(settle("i", 100))
    assert law.account("lead").consumed(0) == 500
    law.when(complete("t", lease, 600))
    assert law.only(e.UsageReported).tokens == 100, "500 of its 600 tokens were settled"


def test_a_late_heartbeat_is_refused(lost: tuple[Law, str]) -> None:
    law, lease = lost
    law.when(beat("t", lease))
    law.then_refused("lease_lost", task="t", state="running")
    law.when(beat("t", "no-such-lease"))
    law.then_refused("lease_lost")


def test_a_zombie_does_not_finish_anothers_run_but_what_it_used_is_on_record_once(lost: tuple[Law, str]) -> None:
    law, lease = lost
    law.when(complete("t", lease, 1_000))
    law.then_refused("lease_lost", state="running")
    assert law.only(e.UsageReported).tokens == 300, "700 of its 1,000 tokens had been reported"
    assert isinstance(law.own[-1], e.RequestRefused)
    law.when(complete("t", lease, 1_000))
    assert law.every(e.UsageReported) == []
    law.when(report("t", 5, lease))
    law.when(complete("t", lease, 1_010))
    assert law.only(e.UsageReported).tokens == 5
    assert law.ledger.spent[0] == 1_010 + 10
    assert law.ledger.tasks.known["t"].state == "running"


def test_a_late_report_finds_who_pays_also_when_the_parent_is_gone(lost: tuple[Law, str]) -> None:
    law, lease = lost
    law.given(c.ReleaseBudget(agent="lead"))
    assert law.ledger.tasks.known["t"].state == "cancelled"
    law.when(report("t", 5, lease))
    assert law.only(e.UsageReported).charged is None, "the fleet pays"


def test_usage_with_a_lease_that_never_was_is_recorded_all_the_same(lost: tuple[Law, str]) -> None:
    law, _ = lost
    assert law.when(report("t", 5, "no-such-lease")).lease_lost is True
    assert law.ledger.spent[0] == 715


def test_a_report_after_completion_is_late_and_no_more() -> None:
    law = house()
    lease = law.when(submit("t")).lease
    law.given(complete("t", lease, 100))
    answer = law.when(report("t", 7, lease))
    assert (answer.late, answer.lease_lost, answer.action) == (True, False, "continue")
    law.when(complete("t", lease, 107))
    law.then_refused("already_finished", state="completed")
    assert law.every(e.UsageReported) == [], "7 more than 100 were reported"
    law.when(beat("t", lease))
    law.then_refused("already_finished")


def test_who_never_ran_has_no_lease_to_extend_and_nothing_to_complete() -> None:
    law = house(max_concurrent={"total": 1})
    law.given(submit("a"), submit("t"))
    law.when(beat("t"))
    law.then_refused("not_running", task="t", state="queued")
    law.when(complete("t", used=100))
    law.then_refused("not_running")
    assert law.ledger.spent[0] == 100, "usage is a fact"
    answer = law.when(report("t", 5))
    assert answer.unallocated is True
    assert law.when(report("t", 5, "whatever")).unallocated is True


def test_a_report_of_an_unknown_task_is_one_of_an_unknown_agent() -> None:
    law = house()
    answer = law.when(report("nobody", 5))
    assert (answer.agent, answer.unallocated) == ("nobody", True)


def test_of_a_task_only_the_last_runs_are_remembered() -> None:
    law = house(leases={"max_attempts": 100})
    leases = [law.when(submit("t")).lease]
    for _ in range(10):
        law.wait(120).given(start("t"))
        leases.append(law.ledger.tasks.known["t"].lease)
    assert list(law.ledger.tasks.known["t"].ended or {}) == leases[2:10]
    law.when(complete("t", leases[0], 5))
    law.then_refused("lease_lost")


# --- preempted --------------------------------------------------------------------------------------------------------


@pytest.fixture
def preempted() -> tuple[Law, str]:
    law = house(max_concurrent={"total": 1})
    lease = law.when(submit("t", priority="low")).lease
    law.when(report("t", 300, lease))
    law.given(submit("c", priority="critical"), preempt("t", "c"))
    return law, lease


def test_a_victim_is_told_once_by_its_next_heartbeat(preempted: tuple[Law, str]) -> None:
    law, lease = preempted
    answer = law.when(beat("t", lease))
    assert (answer.preempted, answer.action, answer.state) == (True, "stop", "queued")
    law.then_events(e.PreemptionAcknowledged)
    law.when(beat("t", lease))
    law.then_refused("lease_lost")


def test_a_victim_is_told_by_its_next_report_whose_usage_counts(preempted: tuple[Law, str]) -> None:
    law, lease = preempted
    answer = law.when(report("t", 20, lease))
    assert (answer.lease_lost, answer.action) == (True, "stop")
    law.then_events(e.UsageReported, e.PreemptionAcknowledged)
    assert law.ledger.spent[0] == 320


@pytest.mark.parametrize("named", [True, False])
def test_a_victim_that_says_it_is_done_has_lost_its_run(preempted: tuple[Law, str], named: bool) -> None:
    law, lease = preempted
    law.when(complete("t", lease if named else None, 350))
    law.then_refused("lease_lost", state="queued")
    law.then_events(e.UsageReported, e.AlertRaised, e.PreemptionAcknowledged, e.RequestRefused)
    assert law.only(e.AlertRaised).code == "unpriced_model"
    assert law.ledger.spent[0] == 350


def test_a_victim_is_shown_as_stopping_until_it_knows_or_its_lease_would_be_over(preempted: tuple[Law, str]) -> None:
    law, lease = preempted
    ask = p.TellQueue(waiting=[p.Standpoint(task="t", score=0.1, priority=0.1, wait=0.0, blocking=0.0)])

    def stopping() -> list[str]:
        return [task.task for task in law.when(ask).running if task.stopping]

    assert stopping() == ["t"]
    law.given(beat("c")).wait(119).given(beat("c"))
    assert stopping() == ["t"]
    law.wait(1)
    assert stopping() == []
    law.now -= law.now - law.ledger.now
    law.given(beat("t", lease))
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
    law = house()
    law.when(command)
    assert "a lease beside a task only" in law.then_refused("invalid_message").detail


@pytest.mark.parametrize("command", [beat("t"), complete("t"), c.CancelTask(task="t"), p.TellTask(task="t")])
def test_a_task_that_never_was_is_unknown(command: Any) -> None:
    law = house()
    law.when(command)
    law.then_refused("unknown_task", task="t")
