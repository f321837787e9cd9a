"""The reply that travels in an envelope: the manager sets it, and the caller waits for it."""

import asyncio
from collections.abc import Iterable, Sequence
from threading import RLock
from typing import Any, Final

from tallystick.actors.errors import Unanswered
from tallystick.actors.runtime.loop_deadlines import deadlines
from tallystick.actors.runtime.messages import Envelope
from tallystick.actors.runtime.waking import Sleeper, wake, wake_some
from tallystick.events.log.codec import decode_answer, encode_answer
from tallystick.events.messages.replies import Refusal

ANSWER_SECONDS = 30.0
MANY: Final = (list, tuple)
"""What several messages come in."""
_UNANSWERED = "no answer within {:g} s; send it again with the same id to learn its outcome"


class Awaited:
    """What of a message on its way does not depend on who waits.

    ``malformed`` are answers that were given before the command queue, by the place of their message; ``many`` says
    that a list of messages was sent, and that a list of replies is due. ``waits_seconds`` is how long the messages
    themselves ask to wait for their answers. ``envelope`` is let go of with the answers: in a circle of two, both would
    stay until the next collection, and for ever where `gc.freeze` comes before it.
    """

    loop: asyncio.AbstractEventLoop | None = None
    malformed: dict[int, bytes] | None = None
    envelope: Envelope | None = None
    waits_seconds: float = 0.0
    many: bool


class Pending(Awaited):
    """A message on its way, for threads to wait for."""

    _answers: Sequence[bytes] | None = None
    _sleepers: tuple[Sleeper, ...] = ()

    def __init__(self, many: bool = False) -> None:
        self.many = many

    def set(self, answers: Sequence[bytes]) -> None:
        """Give the answers; only the first time counts."""
        if self._answers is None:
            self._answers, self.envelope = answers, None
            # Behind the answers: who is about to wait looks for them once more.
            if self._sleepers:
                wake(self._sleepers)

    def result(self, timeout: float = ANSWER_SECONDS) -> Any:
        """Wait for the reply, or the list of replies: ``{"ok": …}`` or ``{"error": …}``.

        Raises:
            Unanswered: none came within ``timeout`` seconds; the command may still be carried out.
        """
        answers = self._answers
        if answers is None:
            answers = self._wait(timeout)
        return replies(answers, self.malformed, self.many)

    def _wait(self, timeout: float) -> Sequence[bytes]:
        sleeper = Sleeper()
        try:
            with _SLEEPERS:
                self._sleepers += (sleeper,)
            if self._answers is None:
                sleeper.sleep(timeout)
        finally:
            sleeper.go()
        if self._answers is None:
            with _SLEEPERS:
                self._sleepers = tuple(one for one in self._sleepers if one is not sleeper)
            raise Unanswered(_UNANSWERED.format(timeout))
        return self._answers


_SLEEPERS: Final = RLock()
"""While those change who wait for a message; its holder may be interrupted by a signal, whose handler asks too."""


class LoopPending(Awaited):
    """A message on its way, for a coroutine to wait for. Its loop is woken once per commit, not once per answer."""

    def __init__(self, many: bool = False) -> None:
        loop = asyncio.get_running_loop()
        self.loop: asyncio.AbstractEventLoop | None = loop
        self._future: asyncio.Future[Sequence[bytes]] = loop.create_future()
        self.many = many

    def set(self, answers: Sequence[bytes]) -> None:
        """Give the answers; called in the loop's own thread."""
        self.envelope = None
        if not self._future.done():
            self._future.set_result(answers)

    async def answers(self) -> Sequence[bytes]:
        """The replies as they go out, in the order of the messages, however long they take."""
        return in_order(await self._future, self.malformed)

    async def result(self, timeout: float) -> Any:  # noqa: ASYNC109 - as a thread waits
        """Wait for the reply, or the list of replies.

        Raises:
            Unanswered: none came within ``timeout`` seconds; the command may still be carried out.
        """
        assert self.loop is not None
        if not self._future.done():
            waits = deadlines(self.loop, timeout)
            waits.begin(self.loop, self)
            try:
                await self._future
            finally:
                waits.end(self)
        return replies(self._future.result(), self.malformed, self.many)

    def give_up(self, seconds: float) -> None:
        """No answer has come within so many seconds."""
        if not self._future.done():
            self._future.set_exception(Unanswered(_UNANSWERED.format(seconds)))


def replies(answers: Sequence[bytes], malformed: dict[int, bytes] | None, many: bool) -> Any:
    """The answers in the order of the messages, as Python programs read them."""
    if malformed:
        answers = in_order(answers, malformed)
    return [decode_answer(answer) for answer in answers] if many else decode_answer(answers[0])


def in_order(answers: Sequence[bytes], malformed: dict[int, bytes] | None) -> Sequence[bytes]:
    """The answers of the manager and those that were given before it, in the order of the messages."""
    if not malformed:
        return answers
    good = iter(answers)
    return [malformed[i] if i in malformed else next(good) for i in range(len(answers) + len(malformed))]


def answer_all(envelopes: Iterable[Envelope]) -> None:
    """Give the answers that are complete: to threads directly, to each event loop by one wake-up."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Envelope]] = {}
    for envelope in envelopes:
        reply = envelope.reply
        if reply is None or envelope.open:
            continue
        if reply.loop is None:
            reply.set(envelope.answers)
        else:
            by_loop.setdefault(reply.loop, []).append(envelope)
    wake_some()
    for loop, group in by_loop.items():
        try:
            loop.call_soon_threadsafe(_answer_each, group)
        except RuntimeError:
            continue  # the loop is closed: there is no one to answer


def _answer_each(group: list[Envelope]) -> None:
    for envelope in group:
        if envelope.reply is not None:
            envelope.reply.set(envelope.answers)


def answer_with(envelope: Envelope, answer: bytes) -> None:
    """Give every command of an envelope the same answer, whatever it waits for."""
    envelope.answers, envelope.open = [answer] * len(envelope.commands), 0
    answer_all((envelope,))


def refused(code: str, detail: str, **numbers: object) -> bytes:
    """An answer of the fleet itself, when a command could not even be decided."""
    return encode_answer(Refusal(code, detail, numbers))
