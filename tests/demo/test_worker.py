"""An agent whose run is a task: it waits for its slot, keeps its lease alive, and obeys when its slot is taken."""

from typing import Any

import msgspec
import pytest

from tallystick.config.loader import from_mapping
from tallystick.demo.agent import CHECK_AGAIN_MS, PATIENCE_MS, Outcome, Phase, Refused
from tallystick.demo.generate import PRICES
from tallystick.demo.worker import FAR, Worker
from tallystick.demo.workload import Run, Step
from tallystick.events import messages as c

STEP = Step(0, 4000, "claude-sonnet-5-5", 1000, 100, 0, 4_500_000)
CONFIG = from_mapping({"token_budgets": {"t": 10_000}, "leases": {"seconds": 120}})
ADMITTED = {"ok": {"decision": "admitted", "reason": None, "lease": "lease-1"}}
QUEUED = {"ok": {"decision": "queued", "reason": {"message": "max 5 tasks already running"}, "lease": None}}


def submitted(answer: dict[str, Any], priority: Any = "normal", steps: int = 3, **step: Any) -> Worker:
    """One whose task was submitted at second 1, and answered so."""
    one = msgspec.structs.replace(STEP, **step)
    worker = Worker(Run("a", "t", "p", priority, 1000, (one,) * steps), CONFIG, PRICES)
    message = worker.message()
    assert isinstance(message, c.SubmitTask)
    assert (message.task, message.agent_type, message.product) == ("a", "t", "p")
    worker.hear(answer, 1000)
    return worker


def heard(action: str = "continue", **more: Any) -> dict[str, Any]:
    return {"ok": {"action": action, "decided_by": "level", "wait_seconds": 0, **more}}


def no(code: str, **numbers: Any) -> dict[str, Any]:
    return {"error": {"code": code, "detail": "because", **numbers}}


def test_an_admitted_task_runs_its_step_at_once_and_reports_it_under_its_lease() -> None:
    a = submitted(ADMITTED)
    assert (a.phase, a.due_ms, a.runs) == (Phase.REPORT, 5000, 1)
    message = a.message()
    assert isinstance(message, c.ReportUsage)
    assert (message.agent, message.task, message.lease, message.input_tokens) == (None, "a", "lease-1", 1000)


def test_what_it_may_use_is_the_hard_end_of_its_type() -> None:
    assert submitted(ADMITTED).grant == (15_000, None, None)


def test_a_queued_task_says_nothing_until_it_hears_of_its_start() -> None:
    a = submitted(QUEUED)
    assert (a.is_away, a.due_ms, a.reason) == (True, FAR, "max 5 tasks already running")
    a.started("lease-9", 61_000)
    assert (a.is_away, a.phase, a.due_ms, a.runs, a.reason) == (False, Phase.REPORT, 65_000, 1, None)
    message = a.message()
    assert isinstance(message, c.ReportUsage)
    assert message.lease == "lease-9"


def test_the_start_that_its_submission_answered_is_no_second_one() -> None:
    a = submitted(ADMITTED)
    a.started("lease-1", 1000)
    assert (a.phase, a.due_ms, a.runs) == (Phase.REPORT, 5000, 1)


def test_it_gives_signs_of_life_twice_in_a_lease_however_long_its_step_takes() -> None:
    a, beats = submitted(ADMITTED, steps=1, duration_ms=200_000), []
    while a.due_ms < 201_000:
        now = a.due_ms
        message = a.message()
        assert isinstance(message, c.Heartbeat)
        assert (message.task, message.lease) == ("a", "lease-1")
        a.hear({"ok": {"task": "a", "action": "continue"}}, now)
        beats.append(now)
    assert beats == [61_000, 121_000, 181_000]
    assert isinstance(a.message(), c.ReportUsage)
    assert a.due_ms == 201_000


def test_it_gives_signs_of_life_while_it_is_stopped() -> None:
    a = submitted(ADMITTED)
    a.message()
    a.hear(heard("stop"), 5000)
    a.message()
    a.hear(no("pool_exhausted"), 5000)
    assert (a.phase, a.due_ms) == (Phase.CHECK, 5000 + CHECK_AGAIN_MS)
    a.message()
    a.hear(heard("stop"), 35_000)
    a.message()
    a.hear(no("pool_exhausted"), 35_000)
    assert a.due_ms == 61_000
    assert isinstance(a.message(), c.Heartbeat)


@pytest.mark.parametrize("refusal", [heard("stop", lease_lost=True), no("lease_lost")])
def test_one_whose_slot_was_taken_waits_again_and_goes_on_where_it_was(refusal: dict[str, Any]) -> None:
    a = submitted(ADMITTED)
    a.message()
    a.hear(refusal, 5000)
    assert (a.phase, a.due_ms, a.lease, a.lost) == (Phase.QUEUED, FAR, None, 1)
    a.started("lease-2", 65_000)
    assert (a.phase, a.due_ms, a.runs) == (Phase.REPORT, 69_000, 2)
    # The step that it ran when its slot was taken is on record where it was reported.
    assert a.done == ("ok" in refusal)


def test_one_that_learns_of_it_by_its_sign_of_life_has_not_run_its_step() -> None:
    a = submitted(ADMITTED, duration_ms=100_000)
    a.message()
    a.hear({"ok": {"task": "a", "action": "stop", "preempted": True}}, 61_000)
    assert (a.phase, a.done, a.lost) == (Phase.QUEUED, 0, 1)


def test_a_new_start_that_comes_before_the_news_of_the_loss_is_taken_up_then() -> None:
    a = submitted(ADMITTED)
    a.started("lease-2", 3000)
    message = a.message()
    assert isinstance(message, c.ReportUsage)
    assert message.lease == "lease-1", "it does not know yet"
    a.hear(heard("stop", lease_lost=True), 5000)
    assert (a.phase, a.lease, a.due_ms) == (Phase.REPORT, "lease-2", 9000)


def test_one_that_was_done_when_its_slot_was_taken_completes_when_it_has_another() -> None:
    a = submitted(ADMITTED, steps=1)
    a.message()
    a.hear(heard(), 5000)
    completes = a.message()
    assert isinstance(completes, c.CompleteTask)
    assert (completes.outcome, completes.lease) == ("completed", "lease-1")
    a.hear(no("lease_lost"), 5000)
    assert (a.outcome, a.phase) == (Outcome.RUNNING, Phase.QUEUED)
    a.started("lease-2", 9000)
    again = a.message()
    assert isinstance(again, c.CompleteTask)
    assert again.lease == "lease-2"
    a.hear({"ok": {"task": "a", "state": "completed"}}, 9000)
    assert (a.outcome, a.phase) == (Outcome.FINISHED, Phase.GONE)


def test_a_careful_one_sets_aside_in_the_account_of_its_task() -> None:
    a = submitted(ADMITTED, "critical")
    first = a.message()
    assert isinstance(first, c.Reserve)
    assert (first.agent, first.estimate.exact("estimate")) == ("a", (300, None, None))
    a.hear({"ok": {"hold": "h"}}, 1000)
    assert isinstance(a.message(), c.Settle)


@pytest.mark.parametrize("code", ["already_released", "unknown_agent"])
def test_a_careful_one_whose_account_is_gone_has_lost_its_slot(code: str) -> None:
    a = submitted(ADMITTED, "critical")
    a.message()
    a.hear(no(code), 1000)
    assert a.phase is Phase.QUEUED


def test_one_that_no_more_budget_comes_for_fails_its_task() -> None:
    a, now = submitted(ADMITTED), 5000
    a.message()
    a.hear(heard("stop"), now)
    while a.phase is not Phase.RELEASE:
        now = a.due_ms
        message = a.message()
        answers = {c.BorrowFromPool: no("pool_exhausted"), c.Heartbeat: {"ok": {"task": "a"}}}
        a.hear(answers.get(type(message), heard("stop")), now)
    assert now <= 5000 + PATIENCE_MS
    failed = a.message()
    assert isinstance(failed, c.CompleteTask)
    assert (failed.outcome, a.outcome) == ("failed", Outcome.STOPPED)


def test_one_that_gives_up_waiting_cancels_its_task() -> None:
    a = submitted(QUEUED)
    a.give_up(90_000)
    assert a.due_ms == 90_000
    assert isinstance(a.message(), c.CancelTask)
    a.hear({"ok": {"task": "a", "state": "cancelled"}}, 90_000)
    assert (a.outcome, a.phase, a.is_away) == (Outcome.REFUSED, Phase.GONE, True)


def test_a_rejected_task_never_starts() -> None:
    a = submitted({"ok": {"decision": "rejected", "reason": {"message": "no task may run"}, "lease": None}})
    assert (a.outcome, a.phase, a.reason) == (Outcome.REFUSED, Phase.GONE, "no task may run")


def test_an_answer_that_cannot_be_ends_the_show() -> None:
    a = submitted(ADMITTED)
    a.message()
    with pytest.raises(Refused, match="a, report: halted: because"):
        a.hear(no("halted"), 5000)
