"""The reply that travels in an envelope: whoever settles the matter sets it, only the face of the house waits for it."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Protocol

from tallystick.events.codec import encode_answer
from tallystick.events.replies import Refusal


class Unanswered(TimeoutError):
    """No answer came in time. The command may still be carried out: send it again with the same id."""

_UNANSWERED = "no answer within {:g} s; send it again with the same id to learn what became of it"


class Answers(Protocol):
    """Somebody who waits for the answers of one envelope."""

    loop: asyncio.AbstractEventLoop | None
    """Where the waiting coroutine runs; None for a thread."""

    def set(self, answers: Sequence[bytes]) -> None: ...


class Pending:
    """A thread that waits. One lock is all it costs."""

    __slots__ = ("_answers", "_lock")
    loop = None

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self._answers: Sequence[bytes] | None = None

    def set(self, answers: Sequence[bytes]) -> None:
        """Give the answers; only the first time counts."""
        if self._answers is None:
            self._answers = answers
            self._lock.release()

    def result(self, timeout: float) -> Sequence[bytes]:
        """Wait for the answers.

        Raises:
            Unanswered: none came within ``timeout`` seconds.
        """
        if not self._lock.acquire(timeout=timeout):
            raise Unanswered(_UNANSWERED.format(timeout))
        self._lock.release()
        assert self._answers is not None
        return self._answers


class LoopPending:
    """A coroutine that waits. The loop is woken once per commit, not once per answer (see `answer_all`)."""

    __slots__ = ("future", "loop")

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        self.future: asyncio.Future[Sequence[bytes]] = asyncio.get_running_loop().create_future()

    def set(self, answers: Sequence[bytes]) -> None:
        """Give the answers; called in the loop's own thread."""
        if not self.future.done():
            self.future.set_result(answers)

    async def result(self, timeout: float) -> Sequence[bytes]:
        """Wait for the answers.

        Raises:
            Unanswered: none came within ``timeout`` seconds.
        """
        try:
            async with asyncio.timeout(timeout):
                return await self.future
        except TimeoutError:
            raise Unanswered(_UNANSWERED.format(timeout)) from None


def answer_all(ready: Sequence[tuple[Answers, Sequence[bytes]]]) -> None:
    """Give many answers at once: threads directly, each event loop by one wake-up."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Answers, Sequence[bytes]]]] = {}
    for waiting, answers in ready:
        if waiting.loop is None:
            waiting.set(answers)
        else:
            by_loop.setdefault(waiting.loop, []).append((waiting, answers))
    for loop, group in by_loop.items():
        try:
            loop.call_soon_threadsafe(_set_each, group)
        except RuntimeError:
            continue  # the loop is closed: nobody waits any more


def _set_each(group: list[tuple[Answers, Sequence[bytes]]]) -> None:
    for waiting, answers in group:
        waiting.set(answers)


def refused(code: str, detail: str, **numbers: object) -> bytes:
    """An answer of the house itself, when a command could not even be decided."""
    return encode_answer(Refusal(code, detail, numbers))
