"""A task that failed or was cancelled gets a new life under its id, and if asked those that fell with it."""

from typing import Any

import pytest

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.log import snapshot
from tests.support.core import Core, allocate, complete, dump, fleet, start, submit, use

QUIET: dict[str, Any] = {"daily_limits": {"max_tokens_total": None, "max_cost_usd": None}}


def configured(**config: Any) -> Core:
    return Core(fleet(10_000_000, **QUIET, **config))


def retry(task: str, **rest: Any) -> c.RetryTask:
    return c.RetryTask(task=task, reason="the provider is back", **rest)


def failed(task: str) -> c.CompleteTask:
    return c.CompleteTask(task=task, outcome="failed")


def states(core: Core) -> dict[str, str]:
    return {task.id: task.state for task in core.ledger.tasks.known.values()}


def test_a_failed_task_is_queued_anew_with_attempts_from_the_start_and_can_start_at_once() -> None:
    core = configured()
    core.given(submit("t"), use("t", 500), failed("t"))
    core.wait(100)
    answer = core.when(retry("t"))
    core.then_events(e.TaskRetried, e.TaskQueued)
    assert (answer.state, answer.attempt, answer.reason, answer.revived) == ("queued", 1, None, None)
    assert core.ledger.tasks.known["t"].queued_at == core.now
    core.given(start("t"))
    assert core.account("t").allocated == (120_000, None, None), "the whole of it"
    assert core.account("t").spent == (0, 0, 0), "what the last life used stays with that one"
    core.given(complete("t"))
    assert states(core) == {"t": "completed"}


def test_a_task_whose_leases_were_all_lost_has_all_attempts_again() -> None:
    core = configured(leases={"max_attempts": 1})
    core.given(submit("t"))
    core.wait(121).pass_time()
    assert states(core) == {"t": "failed"}
    core.given(retry("t"), start("t"))
    assert core.ledger.tasks.known["t"].attempt == 1


def test_a_cancelled_task_is_retried_and_its_old_lease_is_lost() -> None:
    core = configured()
    lease = core.when(submit("t")).lease
    core.given(c.CancelTask(task="t"), retry("t"), start("t"))
    assert core.ledger.tasks.known["t"].lease != lease
    core.when(c.CompleteTask(task="t", outcome="completed", lease=lease))
    core.then_refused("lease_lost")


def chain() -> Core:
    """`a`, on which `b` and `c` depend, and `d` on both; `e` depends on `d` and on `x`."""
    core = configured(max_concurrent={"total": 2})
    core.given(submit("a"), submit("x"), submit("b", depends_on=["a"]), submit("c", depends_on=["a"]))
    core.given(submit("d", depends_on=["b", "c"]), submit("e", depends_on=["d", "x"]))
    return core


def test_those_that_fell_with_it_are_revived_in_the_order_of_their_dependencies() -> None:
    core = chain()
    core.given(failed("a"))
    assert states(core) == {"a": "failed", "x": "running", **dict.fromkeys("bcde", "cancelled")}
    answer = core.when(retry("a", revive_dependents=True))
    assert answer.revived == ["b", "c", "d", "e"]
    assert states(core) == {"a": "queued", "x": "running", **dict.fromkeys("bcde", "waiting_on_dependencies")}
    assert [event.because for event in core.every(e.TaskRetried)][:3] == [None, "a", "a"]
    core.given(start("a"), complete("a"))
    assert [states(core)[name] for name in "bcd"] == ["queued", "queued", "waiting_on_dependencies"]


def test_without_revive_dependents_they_stay_as_they_are_and_can_be_retried_one_by_one() -> None:
    core = chain()
    core.given(failed("a"))
    core.when(retry("d"))
    core.then_refused("dependency_failed", dependency="b")
    core.given(retry("a"))
    assert states(core)["b"] == "cancelled"
    core.given(retry("b"))
    assert states(core)["b"] == "waiting_on_dependencies"


def test_one_that_depends_on_something_else_that_failed_is_not_revived() -> None:
    core = chain()
    core.given(failed("a"), failed("x"))
    assert core.when(retry("a", revive_dependents=True)).revived == ["b", "c", "d"]
    assert states(core)["e"] == "cancelled"


@pytest.mark.parametrize("state", ["running", "queued", "completed", "rejected"])
def test_only_a_task_that_failed_or_was_cancelled_is_retried(state: str) -> None:
    core = configured(max_concurrent={"total": 1, "per_type": {"never": 0}})
    core.given(submit("running"), submit("queued"), submit("rejected", "never"))
    if state == "completed":
        core.given(complete("running"))
    name = "running" if state == "completed" else state
    core.when(retry(name))
    core.then_refused("not_retryable", state=state)


def test_a_task_whose_parent_is_gone_is_not_retried_before_it_is_back() -> None:
    core = configured()
    core.given(allocate("p", 200_000), submit("t", parent="p"), c.ReleaseBudget(agent="p"))
    core.when(retry("t"))
    core.then_refused("unknown_parent", parent="p")
    core.given(allocate("p", 200_000), retry("t"), start("t"))
    assert states(core)["t"] == "running"


def test_a_retry_of_what_is_not_known_is_refused() -> None:
    core = configured()
    core.when(retry("t"))
    core.then_refused("unknown_task")


def test_after_a_restart_from_a_snapshot_those_that_fell_are_revived_as_well() -> None:
    core = chain()
    core.given(failed("a"))
    loaded = snapshot.load(snapshot.dump(core.ledger))
    assert loaded is not None
    assert dump(loaded) == dump(core.ledger)
    core.ledger = loaded
    assert core.when(retry("a", revive_dependents=True)).revived == ["b", "c", "d", "e"]


def test_ten_thousand_that_fell_with_it_are_revived_without_recursion() -> None:
    core = Core(fleet(10**12, **QUIET, max_concurrent={"total": 1}), compares=False)
    core.given(submit("0"))
    for number in range(1, 3_000):
        core.ledger  # noqa: B018
        core.given(submit(f"{number}", depends_on=[f"{number - 1}"]))
    core.given(failed("0"))
    assert len(core.when(retry("0", revive_dependents=True)).revived) == 2_999
