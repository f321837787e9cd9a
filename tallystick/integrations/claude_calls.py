"""The model calls of a session of Claude Code, which makes them itself: each is asked for by the hook before it, and
settled by its message, which says neither of which hook it is, nor of which sub-agent but for its type.
"""

import asyncio
import contextlib
import time
from collections import defaultdict, deque
from collections.abc import Mapping
from typing import Any, Final

from tallystick.integrations.calls import Accounts, AccountTerms, AsyncFrameworkCall, about_tokens
from tallystick.integrations.claude_usage import Kind, Message, Reported, Transcripts
from tallystick.interface.calls import CallTerms
from tallystick.interface.interface import Interface
from tallystick.interface.refusals import Refused, Throttled

_CATCH_UP_SECONDS: Final = 3.0
"""So long the transcripts are waited for, which Claude Code writes a few times a second."""
_LOOK_SECONDS: Final = 0.02


class SessionCalls:
    """What is held for the calls of a session, and what was reported of them."""

    def __init__(self, fleet: Interface, agent: str, terms: AccountTerms) -> None:
        self._accounts = Accounts(fleet, agent, **terms)
        self._leaves_whole, self.is_over = terms.get("on_crash") == "spend", False
        self._next: dict[str | None, AsyncFrameworkCall] = {}
        """By agent, what is held for its next call while its tools work."""
        self._made: dict[Kind, deque[AsyncFrameworkCall]] = defaultdict(deque)
        """What is held for calls that are being made, the oldest first."""
        self._heard: dict[str | None, tuple[Kind, Message]] = {}
        """By agent, as messages name it, its newest message in the stream."""
        self._lines: deque[tuple[Kind, Message]] = deque()  # of the transcripts
        self._asking, self._hearing = asyncio.Lock(), asyncio.Lock()
        self.reported, self.transcripts = Reported(), Transcripts()

    async def ask(self, kind: Kind, *sent: Any) -> None:
        """Hold for a call that is made now.

        Raises:
            Refused: it was refused.
        """
        self._made[kind].append(await self._held(kind, *sent))

    async def ask_for_next(self, agent: str | None, kind: Kind) -> None:
        """Hold for the call that follows the tools of an agent. Where waiting may help, they work in the meantime; what
        messages have left of their holds is free in a moment.

        Raises:
            Refused: it was refused, and waiting cannot help.
        """
        async with self._asking:
            for catch_up in (self.settle_transcripts, self._catch_up):
                if agent in self._next:
                    return
                await catch_up()
                with contextlib.suppress(Throttled):
                    self._next[agent] = await self._held(kind, waits=False)

    async def make_next(self, agent: str | None, kind: Kind) -> None:
        """The call that follows tools is made now; where it was not held for yet, ask.

        Raises:
            Refused: it was refused.
        """
        await self.ask_for_next(agent, kind)
        self._made[kind].append(self._next.pop(agent) if agent in self._next else await self._held(kind))

    async def _held(self, kind: Kind, *sent: Any, waits: bool = True) -> AsyncFrameworkCall:
        if self.is_over:
            raise Refused("session_over", "the block of this session's budget has ended")
        # What the newest message was, with all that was sent for it, is sent again.
        newest = next((message for of, message in reversed(self._heard.values()) if of == kind), None)
        terms: CallTerms = {"input_tokens": (newest.size if newest else 0) + about_tokens(*sent)}
        if not waits:
            terms["wait_seconds"] = 0
        call = self._accounts.async_call(newest.model if newest else None, kind, **terms)
        await call.__aenter__()
        return call

    async def hear(self, agent: str | None, kind: Kind, message: Message) -> None:
        """A message in the stream; where there are no transcripts, it says all that is known of the one before."""
        await self.settle_transcripts()
        before = self._heard.pop(agent, None)
        self._heard[agent] = (kind, message)
        if before is not None and before[1].id != message.id and not self.transcripts.are_written:
            await self._settle(*before)

    async def settle_transcripts(self) -> None:
        """Settle what the transcripts say that is new."""
        async with self._hearing:
            self._lines += await asyncio.to_thread(self.transcripts.messages)
            while self._lines:
                await self._settle(*self._lines.popleft())

    async def settle_totals(self, totals: Mapping[str, Any], *, with_past: bool) -> None:
        """End a turn of the session's agent, and report what its totals have beside its messages; not where they are
        also those of a past session.
        """
        await self._catch_up()
        for heard in self._unreported():
            await self._settle(*heard)
        await self._end(None, None)
        for model, usage in self.reported.rest(totals):
            if not with_past:
                await self._accounts.report_async(usage, model=model)

    async def end(self, error: BaseException | None) -> None:
        """End all that is held, and ask for nothing more."""
        self.is_over = True
        await self.settle_transcripts()
        for heard in () if self._leaves_whole else self._unreported():
            await self._settle(*heard)
        for call in self._next.values():
            call.unused()
            await call.__aexit__(None, None, None)
        for kind in [*self._made]:
            await self._end(kind, error)

    async def _settle(self, kind: Kind, message: Message) -> None:
        """Settle a call by its message; where more is known of one, the larger figure counts."""
        is_new = message not in self.reported
        if (said := self.reported.add(message)) is None:
            return
        if is_new and self._made[kind]:
            call = self._made[kind].popleft()
            call.model = said.model
            call.finish(said.usage, source_id=said.source)
            await call.__aexit__(None, None, None)
        else:
            await self._accounts.report_async(said.usage, kind, model=said.model, source_id=said.source)

    def _unreported(self) -> list[tuple[Kind, Message]]:
        return [heard for heard in self._heard.values() if heard[1] not in self.reported]

    async def _catch_up(self) -> None:
        """Wait until the transcripts have all that was heard."""
        until = time.monotonic() + _CATCH_UP_SECONDS
        await self.settle_transcripts()
        while self._unreported() and self.transcripts.are_written and time.monotonic() < until:
            await asyncio.sleep(_LOOK_SECONDS)
            await self.settle_transcripts()

    async def _end(self, kind: Kind, error: BaseException | None) -> None:
        why = error or InterruptedError("it was not made")
        for call in self._made.pop(kind, ()):
            await call.__aexit__(type(why), why, None)
