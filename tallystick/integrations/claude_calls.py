"""The model calls of a session of Claude Code, which makes them itself: each is asked for by the hook before it, and
settled by its message, which says neither of which hook it is, nor of which sub-agent but for its type.
"""

import asyncio
import contextlib
from collections import defaultdict, deque
from collections.abc import Mapping
from typing import Any, Final

from tallystick.integrations.calls import Accounts, AccountTerms, AsyncFrameworkCall, about_tokens
from tallystick.integrations.claude_usage import Message, Reported, Transcripts
from tallystick.interface.calls import CallTerms
from tallystick.interface.interface import Interface
from tallystick.interface.refusals import Refused, Throttled

_CATCH_UP_SECONDS: Final = 1.0
"""So long a call waits for the program to read the message before it, which says what of its hold is free again."""
Kind = str | None
"""The type of a sub-agent; None for the session's own agent."""


class SessionCalls:
    """What is held for the calls of a session, and what was reported of them."""

    def __init__(self, fleet: Interface, agent: str, terms: AccountTerms) -> None:
        self._accounts = Accounts(fleet, agent, **terms)
        self._next: dict[str | None, AsyncFrameworkCall] = {}
        """By agent, what is held for its next call while its tools work."""
        self._made: dict[Kind, deque[AsyncFrameworkCall]] = defaultdict(deque)
        """What is held for calls that are being made, the oldest first."""
        self._models: dict[Kind, str] = {}
        self._sizes: dict[Kind, int] = {}
        """How many tokens the newest message was, with what was sent: the next call sends them again."""
        self._asking, self._settled = asyncio.Lock(), asyncio.Event()
        self.reported, self.transcripts = Reported(), Transcripts()
        self.is_over = False

    async def ask(self, kind: Kind, *sent: Any) -> None:
        """Hold for a call that is made now.

        Raises:
            Refused: it was refused.
        """
        self._made[kind].append(await self._held(kind, *sent))

    async def ask_for_next(self, agent: str | None, kind: Kind) -> None:
        """Hold for the call that follows the tools of an agent. Where waiting may help, they work in the meantime; the
        message that wants them may just be ending, and what is left of its hold be free in a moment.

        Raises:
            Refused: it was refused, and waiting cannot help.
        """
        async with self._asking:
            for _ in range(0 if agent in self._next else 2):
                with contextlib.suppress(Throttled):
                    self._next[agent] = await self._held(kind, waits=False)
                    return
                await self._catch_up(kind)

    async def make_next(self, agent: str | None, kind: Kind) -> None:
        """The call that follows tools is made now; where it was not held for yet, ask.

        Raises:
            Refused: it was refused.
        """
        await self.settle_transcripts()
        await self._catch_up(kind)
        self._made[kind].append(self._next.pop(agent) if agent in self._next else await self._held(kind))

    def note(self, kind: Kind, message: Message) -> None:
        """What the next call is estimated by."""
        self._models[kind], self._sizes[kind] = message.model, message.size

    async def settle(self, kind: Kind, message: Message | None) -> None:
        """Settle a call by its message; where more is known of one, the larger figure counts."""
        if message is None or (news := self.reported.add(message)) is None:
            return
        self.note(kind, message)
        if news == "new" and self._made[kind]:
            call = self._made[kind].popleft()
            call.model = message.model
            call.finish(message.usage, source_id=message.id)
            await call.__aexit__(None, None, None)
            self._settled.set()
        else:
            await self._accounts.report_async(message.usage, kind, model=message.model, source_id=message.id)

    async def settle_transcripts(self) -> None:
        """Settle what sub-agents that have ended used: the session's messages say less of it."""
        for kind, message in await asyncio.to_thread(self.transcripts.messages):
            await self.settle(kind, message)

    async def settle_totals(self, totals: Mapping[str, Any], *, with_past: bool) -> None:
        """End a turn of the session's agent, and report what its totals have beside its messages; not where they are
        also those of a past session.
        """
        await self.settle_transcripts()
        await self._end(None, None)
        for rest in self.reported.rest(totals):
            if not with_past:
                await self._accounts.report_async(rest.usage, model=rest.model)

    async def end(self, error: BaseException | None) -> None:
        """End all that is held, and ask for nothing more."""
        self.is_over = True
        for call in self._next.values():
            call.unused()
            await call.__aexit__(None, None, None)
        for kind in list(self._made):
            await self._end(kind, error)

    async def _catch_up(self, kind: Kind) -> None:
        """Wait until the messages of the session's agent so far were read."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CATCH_UP_SECONDS):
                while kind is None and self._made[kind]:
                    self._settled.clear()
                    await self._settled.wait()

    async def _held(self, kind: Kind, *sent: Any, waits: bool = True) -> AsyncFrameworkCall:
        if self.is_over:
            raise Refused("session_over", "the block of this session's budget has ended")
        terms: CallTerms = {"input_tokens": self._sizes.get(kind, 0) + about_tokens(*sent)}
        if not waits:
            terms["wait_seconds"] = 0
        call = self._accounts.async_call(self._models.get(kind), kind, **terms)
        await call.__aenter__()
        return call

    async def _end(self, kind: Kind, error: BaseException | None) -> None:
        why = error or InterruptedError("it was not made")
        for call in self._made.pop(kind, ()):
            await call.__aexit__(type(why), why, None)
