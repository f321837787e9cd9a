"""Tasks of the typed interface: a slot is waited for, kept while the block lasts, and given back with its outcome."""

import asyncio
import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tallystick import Fleet, Refused, Stopped, Throttled
from tallystick.actors.runtime.clock import ManualClock
from tests.support.core import START
from tests.support.programs import agents, consumed, fleet_of, in_thread, nothing_is_open, run, until

ONE_SLOT = {"max_concurrent": {"total": 1, "per_type": {}}, "token_budgets": {"default": 1_000}}
PAGE: Any = {"agent_type": "writer", "product": "docs"}


def beat_by(fleet: Fleet, clock: ManualClock) -> None:
    """Let the heartbeats go by the test's clock."""

    def seconds() -> float:
        return (clock.now() - START).total_seconds()

    fleet._runner.heartbeats.clock = seconds


def state(fleet: Fleet, task: str) -> str:
    found: str = fleet.ask({"type": "GetTask", "task": task})["ok"]["state"]
    return found


def test_a_task_runs_with_the_budget_and_the_model_of_its_type_and_is_completed() -> None:
    with fleet_of(**ONE_SLOT) as fleet:
        with fleet.task("page-1", estimated_tokens=700, estimated_minutes=1.5, **PAGE) as task:
            assert state(fleet, "page-1") == "running"
            assert (task.id, task.attempt, task.token_budget) == ("page-1", 1, 1_000)
            assert task.max_tokens is not None
            assert task.model is not None
            with task.call(task.model, max_output_tokens=100) as call:
                call.done({"input_tokens": 50, "output_tokens": 50})
            assert task.report(tokens=10).remaining.tokens == task.max_tokens - 110
        assert state(fleet, "page-1") == "completed"
        assert nothing_is_open(fleet)
        assert consumed(fleet)["tokens"] == 110


def test_tasks_wait_for_their_slots_and_all_are_completed() -> None:
    def work(fleet: Fleet, number: int) -> int:
        with fleet.task(f"page-{number}", **PAGE) as task, task.call(tokens=10) as call:
            call.done(tokens=10)
            return len(agents(fleet))

    with fleet_of(**ONE_SLOT) as fleet, ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda number: work(fleet, number), range(8))) == [1] * 8
        assert consumed(fleet)["tokens"] == 80


def test_coroutines_wait_for_their_slots_in_the_same_way() -> None:
    async def work(fleet: Fleet, number: int) -> None:
        async with fleet.task(f"page-{number}", **PAGE) as task, task.call(tokens=10) as call:
            call.done(tokens=10)

    async def program() -> None:
        with fleet_of(**ONE_SLOT) as fleet:
            await asyncio.gather(*(work(fleet, number) for number in range(8)))
            assert consumed(fleet)["tokens"] == 80

    run(program())


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_task_whose_block_raises_has_failed(error: type[BaseException]) -> None:
    with fleet_of(**ONE_SLOT) as fleet:
        with pytest.raises(error), fleet.task("page-1", **PAGE):
            raise error
        assert state(fleet, "page-1") == "failed"
        assert nothing_is_open(fleet)


def test_a_task_that_was_submitted_elsewhere_is_worked_on_when_it_starts() -> None:
    with fleet_of(**ONE_SLOT) as fleet:
        with pytest.raises(Refused, match="unknown_task"), fleet.task("page-1"):
            pass
        fleet.ask({"type": "SubmitTask", "task": "page-1", **PAGE})
        with fleet.task("page-1") as task:
            assert task.attempt == 1
        assert state(fleet, "page-1") == "completed"


def test_a_task_that_can_never_run_is_refused_with_the_reason() -> None:
    with fleet_of(max_concurrent={"total": 5, "per_type": {"writer": 0}}) as fleet:
        with pytest.raises(Refused) as refused, fleet.task("page-1", **PAGE):
            pass
        assert refused.value.code == "type_concurrency"
        assert refused.value.details["state"] == "rejected"


def test_a_task_that_does_not_start_in_time_is_cancelled_and_says_what_was_in_the_way() -> None:
    with fleet_of(**ONE_SLOT) as fleet, fleet.task("page-1", **PAGE):
        with (
            pytest.raises(Throttled, match="page-2 is queued") as refused,
            fleet.task("page-2", wait_seconds=0, **PAGE),
        ):
            pass
        assert refused.value.details["limit"] == 1
        assert state(fleet, "page-2") == "cancelled"


def test_a_task_that_is_interrupted_while_it_waits_does_not_start_later() -> None:
    async def program() -> None:
        with fleet_of(**ONE_SLOT) as fleet:
            async with fleet.task("page-1", **PAGE):

                async def second() -> None:
                    async with fleet.task("page-2", **PAGE):
                        pass

                waiting = asyncio.create_task(second())
                await asyncio.to_thread(until, lambda: "ok" in fleet.ask({"type": "GetTask", "task": "page-2"}))
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                assert state(fleet, "page-2") == "cancelled"

    run(program())


def test_a_run_that_lost_its_slot_is_stopped_at_its_next_call_and_completes_nothing(clock: ManualClock) -> None:
    with fleet_of(clock, leases={"seconds": 60, "max_attempts": 3}, **ONE_SLOT) as fleet:
        beat_by(fleet, clock)

        def work() -> None:
            with fleet.task("page-1", **PAGE) as task:
                fleet.advance(clock.now() + dt.timedelta(seconds=70))
                fleet._runner.heartbeats.beat()
                with pytest.raises(Stopped), task.call(tokens=1):
                    pass

        with pytest.raises(Stopped) as stopped:
            work()
        assert stopped.value.code == "lease_lost"
        assert state(fleet, "page-1") == "running", "it has another attempt, which no program has taken"


def test_a_quiet_run_keeps_its_slot(clock: ManualClock) -> None:
    with fleet_of(clock, **ONE_SLOT) as fleet:
        beat_by(fleet, clock)
        with fleet.task("page-1", **PAGE) as task:
            for _ in range(40):
                fleet.advance(clock.now() + dt.timedelta(seconds=30))
                fleet._runner.heartbeats.beat()
            assert task.attempt == 1
        assert state(fleet, "page-1") == "completed"


def test_a_run_that_was_preempted_is_stopped(clock: ManualClock) -> None:
    with fleet_of(clock, preemption_cooldown_minutes=0, **ONE_SLOT) as fleet:
        beat_by(fleet, clock)

        def work() -> None:
            with fleet.task("page-1", priority="low", **PAGE) as task:
                fleet.advance(clock.now() + dt.timedelta(seconds=45))
                urgent = in_thread(
                    lambda: fleet.ask({"type": "SubmitTask", "task": "fire", "priority": "critical", **PAGE})
                )
                until(lambda: "ok" in urgent.result() and state(fleet, "fire") == "running")
                fleet._runner.heartbeats.beat()
                with pytest.raises(Stopped, match="higher priority"), task.call(tokens=1):
                    pass

        with pytest.raises(Stopped, match="lease_lost"):
            work()
        assert state(fleet, "fire") == "running"


def test_a_task_needs_both_its_type_and_its_product() -> None:
    with fleet_of() as fleet, pytest.raises(TypeError, match="product"):
        fleet.task("page-1", agent_type="writer")
