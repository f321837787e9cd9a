"""What is forgotten with the very event that a message about it causes stops nothing, neither there nor in a replay."""

from typing import Any

import msgspec
import pytest

from tallystick.events import messages as c
from tests.support.core import Core, allocate, budget, complete, fleet, hold, preempt, settle, submit, use

HOUR = 3_600
QUIET: dict[str, Any] = {"daily_limits": {"max_tokens_total": None, "max_cost_usd": None}}


def ended_long_ago() -> Core:
    """Within one minute: an account was released, holds ended, a task was completed, one failed, and one was cancelled
    whose slot was taken before."""
    core = Core(fleet(10_000_000, **QUIET, idempotency_hours=1, max_concurrent={"total": 1}))
    core.given(allocate("ann", 100), hold("ann", "h", 10), settle("h", 5), hold("ann", "g", 10), c.CancelHold(hold="g"))
    core.given(c.ReleaseBudget(agent="ann"), submit("done"), complete("done"))
    core.given(submit("failed"), complete("failed", outcome="failed"))
    core.given(submit("victim", priority="low"), submit("first", priority="critical"), preempt("victim", "first"))
    core.given(c.CancelTask(task="victim"), complete("first"))
    return core


LEASE = "lease-of-victim"
MESSAGES: dict[str, c.Command] = {
    "a task that depends on one that is completed": submit("t", depends_on=["done"]),
    "a task that depends on one that has failed": submit("t", depends_on=["failed"]),
    "a task that depends on both": submit("t", depends_on=["done", "failed", "victim"]),
    "a report of the run that lost its slot": c.ReportUsage(task="victim", lease=LEASE, usage=budget(70)),
    "its end": c.CompleteTask(task="victim", lease=LEASE, outcome="completed", usage=budget(500)),
    "its end without its lease": complete("victim", used=500),
    "its sign of life": c.Heartbeat(task="victim", lease=LEASE),
    "a report of a completed task": c.ReportUsage(task="done", usage=budget(70)),
    "the end of a completed task": complete("done", used=500),
    "a late settlement": settle("h", 5),
    "a settlement of a cancelled hold": settle("g", 5),
    "a late report": use("ann", 5),
    "a new account": allocate("ann", 5),
    "an order": c.Stop(agent="ann", reason="x"),
}


@pytest.mark.parametrize("seconds", [0, HOUR - 1, HOUR + 61, 3 * HOUR])
@pytest.mark.parametrize("what", MESSAGES)
def test_it_is_answered(what: str, seconds: int) -> None:
    core = ended_long_ago()
    message = MESSAGES[what]
    if getattr(message, "lease", None) == LEASE:
        message = msgspec.structs.replace(message, lease=core.ledger.tasks.known["victim"].ended[0].lease)
    core.wait(seconds).when(message)
    core.wait(61).when(use("bob", 1))
    core.compare()
