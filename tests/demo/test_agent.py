"""An agent obeys: what it sends next follows from what it was answered."""

from typing import Any

import msgspec
import pytest

from tallystick.demo.agent import CHECK_AGAIN_MS, PATIENCE_MS, Agent, Outcome, Phase, Refused
from tallystick.demo.generate import PRICES
from tallystick.demo.workload import Run, Step
from tallystick.events import messages as c

STEP = Step(0, 4000, "claude-sonnet-5-5", 1000, 100, 0, 4_500_000)
GRANT = (10_000, None, 100_000_000)


def agent(priority: Any = "normal", steps: int = 3, gap_ms: int = 0) -> Agent:
    """One that has just begun, at second 1."""
    later = (msgspec.structs.replace(STEP, gap_ms=gap_ms),) * (steps - 1)
    run = Run("a", "t", "p", priority, 1000, (STEP, *later))
    made = Agent(run, GRANT, PRICES)
    assert isinstance(made.message(), c.AllocateBudget)
    made.hear({"ok": {}}, 1000)
    return made


def answer(action: str, wait: float = 0, by: str = "level", **more: Any) -> dict[str, Any]:
    return {"ok": {"action": action, "decided_by": by, "wait_seconds": wait, **more}}


def no(code: str, **numbers: Any) -> dict[str, Any]:
    return {"error": {"code": code, "detail": "because", **numbers}}


def test_it_runs_its_step_and_then_reports_it() -> None:
    a = agent()
    assert (a.phase, a.due_ms) == (Phase.REPORT, 5000)
    message = a.message()
    assert isinstance(message, c.ReportUsage)
    assert (message.input_tokens, message.output_tokens, message.usage) == (1000, 100, message.usage)
    a.hear(answer("continue"), 5000)
    assert (a.reported, a.done, a.due_ms) == ((1100, 4000, 4_500_000), 1, 9000)


def test_a_throttled_agent_waits_before_its_next_step() -> None:
    a = agent()
    a.message()
    a.hear(answer("throttle", wait=3.5), 5000)
    assert (a.phase, a.due_ms, a.throttled_ms) == (Phase.REPORT, 5000 + 3500 + 4000, 3500)


def test_waiting_and_a_pause_of_its_own_pass_at_the_same_time() -> None:
    a = agent(gap_ms=10_000)
    a.message()
    a.hear(answer("throttle", wait=3.5), 5000)
    assert a.due_ms == 5000 + 10_000 + 4000


def test_a_stopped_agent_asks_for_more_and_reports_nothing() -> None:
    a = agent()
    a.message()
    a.hear(answer("stop"), 5000)
    assert isinstance(a.message(), c.BorrowFromPool)
    a.hear(no("pool_exhausted"), 5000)
    assert (a.phase, a.due_ms) == (Phase.CHECK, 5000 + CHECK_AGAIN_MS)


def test_a_stopped_agent_goes_on_once_it_is_topped_up() -> None:
    a = agent()
    a.message()
    a.hear(answer("stop"), 5000)
    a.message()
    a.hear({"ok": {"agent": "a"}}, 5000)
    assert isinstance(a.message(), c.CheckEnforcement)
    a.hear(answer("warn"), 5000)
    assert (a.phase, a.due_ms, a.action) == (Phase.REPORT, 9000, "warn")


def test_a_stopped_agent_gives_up_when_no_budget_comes() -> None:
    a, now = agent(), 5000
    a.message()
    a.hear(answer("stop"), now)
    seen = []
    while a.phase is not Phase.RELEASE:
        now = a.due_ms
        seen.append(type(a.message()))
        a.hear(no("pool_exhausted") if a.phase is Phase.BORROW else answer("stop"), now)
    assert set(seen) == {c.BorrowFromPool, c.CheckEnforcement}
    assert now == 5000 + PATIENCE_MS
    assert (a.outcome, a.stopped_ms, a.lacked[0]) == (Outcome.STOPPED, PATIENCE_MS, 2200)
    assert isinstance(a.message(), c.ReleaseBudget)


def test_an_agent_that_the_fleet_stopped_only_looks_again() -> None:
    a = agent()
    a.message()
    a.hear(answer("stop", by="fleet_response"), 5000)
    assert (a.phase, a.due_ms) == (Phase.CHECK, 5000 + CHECK_AGAIN_MS)


def test_a_degraded_agent_asks_once_and_goes_on_with_the_cheaper_model() -> None:
    a = agent()
    a.message()
    a.hear(answer("degrade", model="claude-haiku-5-5"), 5000)
    assert isinstance(a.message(), c.BorrowFromPool)
    a.hear(no("pool_exhausted"), 5000)
    assert a.phase is Phase.REPORT
    message = a.message()
    assert isinstance(message, c.ReportUsage)
    assert message.usage is not None
    haiku = PRICES.models["claude-haiku-5-5"]
    assert (message.model, message.usage.exact("usage")[2]) == ("claude-haiku-5-5", haiku.cost(1000, 100, 0))


def test_a_finished_agent_releases_its_budget_whatever_it_was_answered_last() -> None:
    a = agent(steps=1)
    a.message()
    a.hear(answer("stop"), 5000)
    assert isinstance(a.message(), c.ReleaseBudget)
    a.hear({"ok": {}}, 5000)
    assert (a.outcome, a.phase) == (Outcome.FINISHED, Phase.GONE)


def test_a_careful_agent_sets_aside_first_and_settles_after() -> None:
    a = agent("critical")
    first = a.message()
    assert isinstance(first, c.Reserve)
    assert first.estimate.exact("estimate") == (200, None, 2_000_000)
    a.hear({"ok": {"hold": "h"}}, 1000)
    settled = a.message()
    assert isinstance(settled, c.Settle)
    assert (settled.hold, settled.usage.exact("usage")) == ("h", (1100, 4000, 4_500_000))
    a.hear(answer("continue"), 5000)
    second = a.message()
    assert isinstance(second, c.Reserve)
    assert second.estimate.exact("estimate") == (1375, None, 5_625_000)


def test_a_careful_agent_waits_as_long_as_a_refusal_says() -> None:
    a = agent("critical")
    a.message()
    a.hear(no("throttled", retry_after_seconds=2.5), 1000)
    assert (a.phase, a.due_ms) == (Phase.RESERVE, 3500)


def test_a_careful_agent_without_room_gives_up_in_the_end() -> None:
    a, now = agent("critical"), 1000
    while a.phase is not Phase.RELEASE:
        now = a.due_ms
        a.message()
        answers = {Phase.RESERVE: no("budget_exhausted"), Phase.BORROW: no("pool_exhausted")}
        a.hear(answers.get(a.phase, answer("degrade")), now)
        assert now <= 1000 + 2 * PATIENCE_MS
    assert a.outcome is Outcome.STOPPED


def test_an_agent_that_gets_no_budget_never_starts() -> None:
    a = Agent(Run("a", None, None, "normal", 0, (STEP,)), GRANT, None)
    while a.phase is not Phase.GONE:
        a.message()
        a.hear(no("pool_exhausted"), a.due_ms)
    assert (a.outcome, a.due_ms, a.reported) == (Outcome.REFUSED, PATIENCE_MS, (0, 0, 0))


def test_an_answer_that_cannot_be_ends_the_show() -> None:
    a = agent()
    a.message()
    with pytest.raises(Refused, match="a, report: halted: because"):
        a.hear(no("halted"), 5000)


def test_its_messages_have_ids_of_their_own() -> None:
    a = agent()
    assert [a.message().id, a.message().id] == ["a.2", "a.3"]
