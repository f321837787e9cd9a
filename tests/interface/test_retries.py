"""What is not answered, or finds no place, is sent again under its id: it is done once, and counts once."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tallystick import Fleet, Refused
from tallystick.actors.runtime.pending import Unanswered
from tests.support.programs import consumed, fleet_of, nothing_is_open, recorded, run

PAGE: Any = {"agent_type": "writer", "product": "docs"}


class Lossy(Fleet):
    """Carries out what it is asked, and loses the answer to the first time of each message."""

    def _lose(self, message: Any) -> None:
        if isinstance(message, list):
            return
        seen = self.__dict__.setdefault("seen", Counter())
        seen[message.id if hasattr(message, "id") else str(message)] += 1
        if hasattr(message, "id") and seen[message.id] == 1:
            raise Unanswered(f"the answer to {message.id} was lost")

    def ask(self, message: Any, by: str = "local", timeout: float = 30) -> Any:
        answer = super().ask(message, by, timeout)
        self._lose(message)
        return answer

    async def ask_async(self, message: Any, by: str = "local", timeout: float = 30) -> Any:  # noqa: ASYNC109
        answer = await super().ask_async(message, by, timeout)
        self._lose(message)
        return answer


@contextlib.contextmanager
def retrying(kind: type[Fleet] = Fleet, patience: float = 60) -> Iterator[Fleet]:
    """A fleet whose interface sends again at once."""
    with fleet_of(kind=kind) as fleet:
        fleet._runner.first_wait_seconds, fleet._runner.retry_seconds = 0.0, patience
        yield fleet


def test_answers_that_are_lost_do_no_harm() -> None:
    with retrying(Lossy) as fleet:
        with fleet.agent("ann", tokens=1_000) as agent:
            with agent.call(tokens=100) as call:
                call.done(tokens=60)
            agent.report(tokens=7)
            with pytest.raises(ValueError, match="a mistake"), agent.call(tokens=100):
                raise ValueError("a mistake")
            with fleet.task("page-1", **PAGE) as task:
                task.report(tokens=5)
        assert consumed(fleet)["tokens"] == 72
        assert nothing_is_open(fleet)
        events = Counter(recorded(fleet))
        assert (events["budget-allocated"], events["hold-placed"], events["task-completed"]) == (2, 2, 1)


def test_coroutines_send_again_in_the_same_way() -> None:
    async def program() -> None:
        with retrying(Lossy) as fleet:
            async with fleet.agent("ann", tokens=1_000) as agent:

                async def work() -> None:
                    async with agent.call(tokens=10) as call:
                        call.done(tokens=6)

                await asyncio.gather(*(work() for _ in range(20)))
            assert consumed(fleet)["tokens"] == 120
            assert nothing_is_open(fleet)

    run(program())


def test_a_message_for_which_there_is_no_place_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with retrying() as fleet, fleet.agent("ann", tokens=1_000) as agent:
        ask, answered = fleet.ask, []

        def asked_when_full(message: Any, by: str = "local", timeout: float = 30) -> Any:
            if len(answered) == 3:
                return ask(message, by, timeout)
            with monkeypatch.context() as patch:
                patch.setattr("tallystick.actors.runtime.intake.INBOX_MAX", 0)
                answer = ask(message, by, timeout)
            answered.append(answer["error"]["code"])
            return answer

        with monkeypatch.context() as patch:
            patch.setattr(fleet, "ask", asked_when_full)
            assert agent.report(tokens=5).remaining.tokens == 995
        assert answered == ["busy"] * 3


def test_what_is_never_answered_is_an_error_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(message: Any, by: str = "local", timeout: float = 30) -> Any:
        raise Unanswered("no answer")

    with retrying(patience=0) as fleet, fleet.agent("ann", tokens=1_000) as agent:
        with monkeypatch.context() as patch:
            patch.setattr(fleet, "ask", silent)
            with pytest.raises(Unanswered, match="no answer"):
                agent.report(tokens=5)
        assert agent.report(tokens=5).remaining.tokens == 995


def test_what_cannot_be_ended_does_not_hide_why_the_block_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(message: Any, by: str = "local", timeout: float = 30) -> Any:
        raise Unanswered("no answer")

    def work(fleet: Fleet) -> None:
        with fleet.agent("ann", tokens=1_000):
            monkeypatch.setattr(fleet, "ask", silent)
            raise ValueError("a mistake")

    with retrying() as fleet:
        monkeypatch.setattr("tallystick.interface.blocks.LEAVE_SECONDS", 0)
        with pytest.raises(ValueError, match="a mistake") as raised:
            work(fleet)
        assert raised.value.__notes__ == ["and what was open could not be ended, which its lease will do: no answer"]


def test_a_halted_fleet_is_not_asked_again() -> None:
    with retrying() as fleet:
        block = fleet.agent("ann", tokens=1_000)
        fleet.close()
        with pytest.raises(Refused, match="halted"), block:
            pass
