"""What the interface does, as steps that ask and go on with the answers: threads and event loops drive the same steps.

A step asks by yielding. Whatever goes wrong while it waits, a cancellation too, is raised at that place, and the steps
that clean up after it ask on.
"""

import asyncio
import itertools
import logging
import math
import random
import secrets
from collections.abc import Generator, Sequence
from typing import Any, ClassVar, Final, NamedTuple, Protocol, TypeVar

import msgspec
import structlog
import tenacity

from tallystick.actors.errors import Unanswered
from tallystick.events.messages.command import Command
from tallystick.events.messages.replies import Reply
from tallystick.interface.heartbeats import Heartbeats
from tallystick.interface.refusals import Refused, refusal

RETRY_SECONDS: Final = 60.0
"""So long a message is sent again that was not answered, or for which there was no place."""
FIRST_WAIT_SECONDS: Final = 0.05
"""So long it waits before a message is sent again for the first time; then twice as long each time."""
_LONGEST_WAIT_SECONDS: Final = 3_600.0
_LONGEST_PAUSE_SECONDS: Final = 2.0
_DOUBLINGS: Final = 16
LEAVE_SECONDS: Final = 5.0
"""So long a block that was cancelled waits until what it had open has ended; then its lease ends it."""
log = structlog.wrap_logger(logging.getLogger("tallystick.interface"))

T = TypeVar("T")
R = TypeVar("R", bound=Reply)


class Asked(NamedTuple):
    """A message on its way, who sends it, and for how long it is tried again."""

    message: Any
    by: str
    retry_seconds: float | None
    waits_seconds: float = 0.0
    """How long the message itself asks to wait for its answer."""
    timeout: float | None = None
    """How long each try may take beside; None for as long as the transport gives it."""

    @property
    def handed_in(self) -> tuple[Any, ...]:
        """What a transport gets."""
        given = (self.message, self.by)
        return given if self.timeout is None else (*given, self.timeout)


Steps = Generator[Asked, dict[str, Any], T]


class Transport(Protocol):
    """Takes plain messages: a fleet in this process, or a client of a server."""

    temporary: ClassVar[frozenset[str]]
    """The codes of answers that the same message may not get later."""

    def retry_after(self, error: dict[str, Any]) -> float:
        """How many seconds to wait at least after such an answer before the message is sent again."""

    def ask(self, message: Any, by: str = ..., timeout: float = ...) -> Any:
        """Send a message, or a list; the answer, or a list. It is an `Unanswered` where none came."""

    async def ask_async(self, message: Any, by: str = ..., timeout: float = ...) -> Any:  # noqa: ASYNC109 - as `ask`
        """`ask`, without blocking the event loop."""


def asking(message: Command, reply: type[R], by: str, retry_seconds: float | None = None) -> Steps[R]:
    """Ask, and read the answer. ``retry_seconds``: the patience of the fleet or client where it is not named.

    Raises:
        Refused: the message was refused.
    """
    answer = yield Asked(message, by, retry_seconds, waits_seconds(message))
    if "error" in answer:
        raise refusal(answer["error"])
    return msgspec.convert(answer["ok"], reply)


def waits_seconds(message: Command) -> float:
    """How long a message asks to wait for its answer; 0 for what will be refused."""
    try:
        seconds = float(getattr(message, "wait_seconds", None) or 0)
    except (TypeError, ValueError):
        return 0.0
    return seconds if 0 < seconds <= _LONGEST_WAIT_SECONDS else 0.0


class Runner:
    """Drives steps, for all threads and event loops of a program. Each message has an id, which stays its own when it
    is sent again: so it counts once.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._leaving: set[asyncio.Task[Any]] = set()
        self.retry_seconds, self.first_wait_seconds = RETRY_SECONDS, FIRST_WAIT_SECONDS
        self.begin()

    def begin(self) -> None:
        """Begin with ids of its own; also in a fork, where what is open is kept alive by the process that opened it."""
        self._numbers, self._prefix = itertools.count(1), f"m-{secrets.token_hex(6)}"
        self.heartbeats = Heartbeats(self._beat)

    def new_id(self) -> str:
        """An id that no other message has."""
        return f"{self._prefix}-{next(self._numbers)}"

    def close(self) -> None:
        """No more signs of life: what is open ends with its lease."""
        self.heartbeats.close()

    def _beat(self, messages: Sequence[Command]) -> list[dict[str, Any]]:
        answers: list[dict[str, Any]] = self._transport.ask(messages, by="heartbeat")
        return answers

    # --- for threads --------------------------------------------------------------------------------------------------

    def run(self, steps: Steps[T]) -> T:
        """Go through all steps; each waits for its answer."""
        try:
            asked = next(steps)
            while True:
                try:
                    answer = self.ask(asked)
                except BaseException as error:  # noqa: BLE001 - the steps raise it again when they have cleaned up
                    asked = steps.throw(error)
                else:
                    asked = steps.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result

    def ask(self, asked: Asked) -> Any:
        """The answer to a message that has its id; it is sent until there is one, and for a while at most.

        Raises:
            Unanswered: there was none. It says how often it was sent, without how it failed inside.
        """
        try:
            return tenacity.Retrying(**self._policy(asked))(self._transport.ask, *asked.handed_in)
        except Unanswered as error:
            raise error.with_traceback(None) from None

    # --- for event loops ----------------------------------------------------------------------------------------------

    async def run_async(self, steps: Steps[T]) -> T:
        """`run`, without blocking the event loop. Where it is cancelled, the steps that clean up are not."""
        try:
            asked = next(steps)
            while True:
                try:
                    answer = await self.ask_async(asked)
                except Exception as error:  # noqa: BLE001 - as in `run`
                    asked = steps.throw(error)
                except BaseException as error:  # noqa: BLE001 - a cancellation
                    return await self._leave(steps, error)
                else:
                    asked = steps.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result

    async def leave_async(self, steps: Steps[T]) -> T:
        """`run_async` for steps that end something: a cancellation waits until they are through, for a while."""
        return await self._leave(steps, None)

    async def _leave(self, steps: Steps[T], error: BaseException | None) -> T:
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._go_through(steps, error))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
        cancelled: asyncio.CancelledError | None = None
        until = math.inf
        while not task.done() and loop.time() < until:
            try:
                await asyncio.wait((task,), timeout=None if cancelled is None else until - loop.time())
            except asyncio.CancelledError as again:
                if cancelled is None:
                    until = loop.time() + LEAVE_SECONDS
                cancelled = again
        if cancelled is not None:
            task.add_done_callback(_note_failure)
            raise cancelled
        return task.result()

    async def _go_through(self, steps: Steps[T], error: BaseException | None) -> T:
        """All steps that are left, whatever is raised in between; at first ``error``, where they wait."""
        try:
            asked = next(steps) if error is None else steps.throw(error)
            while True:
                try:
                    answer = await self.ask_async(asked)
                except BaseException as later:  # noqa: BLE001 - as in `run`
                    asked = steps.throw(later)
                else:
                    asked = steps.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result

    async def ask_async(self, asked: Asked) -> Any:
        """`ask`, without blocking the event loop.

        Raises:
            Unanswered: as for `ask`.
        """
        try:
            return await tenacity.AsyncRetrying(**self._policy(asked))(self._transport.ask_async, *asked.handed_in)
        except Unanswered as error:
            raise error.with_traceback(None) from None

    def _policy(self, asked: Asked) -> dict[str, Any]:
        patience = self.retry_seconds if asked.retry_seconds is None else asked.retry_seconds
        return {
            # What has waited for room is sent again, too, where the server is restarted in the meantime.
            "stop": tenacity.stop_before_delay(patience + asked.waits_seconds),
            "wait": self._wait,
            "retry": tenacity.retry_if_exception_type(Unanswered) | tenacity.retry_if_result(self._is_temporary),
            "retry_error_callback": _last_outcome,
        }

    def _wait(self, state: tenacity.RetryCallState) -> float:
        """How many seconds to wait before the next try: twice as long each time, and as long as was asked for."""
        first, outcome = self.first_wait_seconds, state.outcome
        assert outcome is not None
        if outcome.failed:
            error = outcome.exception()
            asked_for = error.retry_after_seconds if isinstance(error, Unanswered) else 0.0
        else:
            asked_for = max(map(self._transport.retry_after, _errors(outcome.result())))
        growing: float = min(first * 2 ** min(state.attempt_number - 1, _DOUBLINGS), _LONGEST_PAUSE_SECONDS)
        return max(growing, asked_for) + first * random.random()  # noqa: S311 - so that not all come back at once

    def _is_temporary(self, answer: Any) -> bool:
        """Whether nothing was decided of what was sent; of a list, all of it."""
        errors = _errors(answer)
        many = len(answer) if isinstance(answer, list) else 1
        return 0 < many == len(errors) and all(error["code"] in self._transport.temporary for error in errors)


def _errors(answer: Any) -> list[dict[str, Any]]:
    """The refusals in an answer, or in a list of answers."""
    return [one["error"] for one in (answer if isinstance(answer, list) else [answer]) if "error" in one]


def _last_outcome(state: tenacity.RetryCallState) -> Any:
    """When it is not tried any more: the last answer, or the last error, with how often it was tried."""
    assert state.outcome is not None
    error = state.outcome.exception()
    if isinstance(error, Unanswered) and state.attempt_number > 1:
        seconds = state.seconds_since_start or 0.0
        last = Unanswered(f"{error} (sent {state.attempt_number} times in {seconds:.1f} s)")
        last.retry_after_seconds = error.retry_after_seconds
        raise last
    return state.outcome.result()


def _note_failure(task: "asyncio.Task[Any]") -> None:
    """What a cancelled block had open could not be ended: its lease ends it."""
    if not task.cancelled() and isinstance(error := task.exception(), Exception) and not isinstance(error, Refused):
        log.warning("not_ended", error=str(error), instead="its lease ends it")
