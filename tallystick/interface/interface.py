"""What a program does with a fleet, in process or over HTTP: agents, tasks, functions with a budget, and messages."""

import asyncio
from types import TracebackType
from typing import Self, TypeVar, Unpack

from tallystick.events import messages as c
from tallystick.events.messages.replies import Reply
from tallystick.interface.agent_state import OnCrash, Seconds
from tallystick.interface.agents import AgentBlock, AgentTerms
from tallystick.interface.budgeted import Budgeted
from tallystick.interface.steps import Runner, asking
from tallystick.interface.tasks import TaskBlock, TaskTerms

R = TypeVar("R", bound=Reply)


class Interface:
    """The typed interface over anything that takes plain messages (see `Transport`).

    Each of its requests has an id, and is sent again with it where it was not answered, or where there was no place for
    it: so it counts once. A refusal is an exception (`Refused`).
    """

    _runner: Runner

    @property
    def runner(self) -> Runner:
        """What sends the messages of all that is open, and keeps it alive; for adapters of other libraries."""
        return self._runner

    def agent(self, id: str, *, parent: str | None = None, **terms: Unpack[AgentTerms]) -> AgentBlock:
        """An agent, for `with` and `async with`: its account is opened, kept alive, and released at the end.

        ``tokens`` (whole), ``usd`` (dollars, exact: whole, `Decimal`, text or a float as it is written) and ``seconds``
        are its budget, which comes out of that of ``parent``, or of the pool. Without one it works on an account that
        is open already. If the program dies, the account is released after ``lease_seconds``, and its holds end by
        ``on_crash``.

        Raises:
            Refused: it cannot be opened; `already_allocated` where it is open, also after a crash within its lease.
        """
        return AgentBlock(self._runner, id, parent, **terms)

    def task(
        self,
        id: str,
        *,
        wait_seconds: Seconds | None = None,
        on_crash: OnCrash = "release",
        **terms: Unpack[TaskTerms],
    ) -> TaskBlock:
        """A task, for `with` and `async with`: it is submitted, waits for its slot, and is completed at the end.

        It has failed where the block raises; where the program dies, its slot is given to others when its lease ends,
        and it waits again. Without ``agent_type`` and ``product`` it is one that was submitted already.
        ``wait_seconds`` is the patience for its start; then it is cancelled. Left out, there is no end to it.

        Raises:
            Refused: it was refused, or ended before it started; `Throttled` where it did not start in time.
        """
        return TaskBlock(self._runner, id, terms, wait_seconds=wait_seconds, on_crash=on_crash)

    def budgeted(self, *, parent: str | None = None, **terms: Unpack[AgentTerms]) -> Budgeted:
        """A decorator for functions and generators, plain and of coroutines: each call has a budget of its own.

        The function gets its agent (see `agent`) as the first argument.
        """
        return Budgeted(lambda id: AgentBlock(self._runner, id, parent, **terms))

    def request(self, message: c.Command, reply: type[R], by: str = "local") -> R:
        """Send one message of the reference, and read the answer as ``reply``, one of the typed replies.

        Raises:
            Refused: it was refused.
            Unanswered: it was not answered, however often it was sent.
        """
        return self._runner.run(asking(self._named(message), reply, by))

    async def request_async(self, message: c.Command, reply: type[R], by: str = "local") -> R:
        """`request`, without blocking the event loop."""
        return await self._runner.run_async(asking(self._named(message), reply, by))

    def _named(self, message: c.Command) -> c.Command:
        if message.id is None:
            message.id = self._runner.new_id()
        return message

    def close(self) -> None:
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.close)
