"""Coroutines wait for so long and no longer, by one timer of their loop."""

import asyncio
from typing import Any

import pytest

from tallystick.actors.errors import Unanswered
from tallystick.actors.runtime.loop_deadlines import LoopDeadlines, deadlines
from tallystick.actors.runtime.pending import LoopPending


class Loop:
    """A loop whose clock the test sets, and the timers that it was given."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Any]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, at: float, call: Any, *given: Any) -> None:
        self.timers.append((at, lambda: call(*given)))

    def pass_time(self, until: float) -> None:
        self.now = until
        due, self.timers = (
            [one for one in self.timers if one[0] <= until],
            [one for one in self.timers if one[0] > until],
        )
        for _, call in due:
            call()


class Wait:
    def __init__(self) -> None:
        self.gave_up = False

    def give_up(self, seconds: float) -> None:
        self.gave_up = True


def begun(loop: Any, seconds: float) -> tuple[LoopDeadlines, Wait]:
    waits, wait = deadlines(loop, seconds), Wait()
    waits.begin(loop, wait)
    return waits, wait


def test_each_gives_up_at_its_own_end() -> None:
    loop = Loop()
    _, first = begun(loop, 30.0)
    loop.pass_time(10.0)
    _, second = begun(loop, 30.0)
    loop.pass_time(30.0)
    assert (first.gave_up, second.gave_up) == (True, False)
    loop.pass_time(40.0)
    assert second.gave_up


def test_who_was_answered_does_not_give_up() -> None:
    loop = Loop()
    waits, wait = begun(loop, 30.0)
    waits.end(wait)
    loop.pass_time(31.0)
    assert not wait.gave_up
    assert not loop.timers


def test_any_number_that_wait_equally_long_has_one_timer() -> None:
    loop = Loop()
    for _ in range(100):
        begun(loop, 30.0)
    assert len(loop.timers) == 1
    begun(loop, 5.0)
    assert len(loop.timers) == 2


def test_after_a_time_without_waits_the_next_one_has_a_timer_again() -> None:
    loop = Loop()
    waits, wait = begun(loop, 30.0)
    waits.end(wait)
    loop.pass_time(31.0)
    _, later = begun(loop, 30.0)
    loop.pass_time(61.0)
    assert later.gave_up


def test_an_answer_that_does_not_come_is_unanswered() -> None:
    async def ask() -> None:
        pending, answered = LoopPending(), LoopPending()
        answered.set([b'{"ok":{}}'])
        assert await answered.result(0.0) == {"ok": {}}
        with pytest.raises(Unanswered, match="no answer within 0 s"):
            await pending.result(0.0)

    asyncio.run(ask())
