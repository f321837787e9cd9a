"""Calls: a hold that is asked for before a model is, and settled by what the provider's reply says that it used."""

import contextlib
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from decimal import Decimal
from typing import Any, Final, TypedDict, TypeVar

import msgspec
from msgspec.structs import replace

from tallystick.config.amounts import Budget, Usage
from tallystick.events import messages as c
from tallystick.events.messages.replies import EdgeAmounts, Enforcement, Held, HoldGone
from tallystick.interface.agent_state import AgentState, Dollars, Seconds
from tallystick.interface.blocks import AwaitedBlock, Block, PlainBlock, patience
from tallystick.interface.heartbeats import PER_LEASE
from tallystick.interface.refusals import Refused, Throttled
from tallystick.interface.steps import LEAVE_SECONDS, Steps, asking
from tallystick.interface.usage import UsageNotUnderstood, UsageSoFar, usage_of

WAIT_SECONDS: Final = 300.0
"""So long a call waits for room where the program does not say: longer than the windows by which providers pace."""
_ENDED: Final = frozenset({"hold_ended", "unknown_hold", "already_settled"})
Part = TypeVar("Part")


class CallTerms(TypedDict, total=False):
    """What a call may say beside its model: an estimate in tokens, dollars and seconds, or the tokens that it sends and
    the most that it lets the model answer; and how many seconds it waits for room.
    """

    input_tokens: int
    max_output_tokens: int
    tokens: int
    usd: Dollars
    seconds: Seconds
    operation: str
    labels: dict[str, str]
    wait_seconds: Seconds


def amounts(tokens: int | None, usd: Dollars | None, seconds: Seconds | None) -> Budget | None:
    """Amounts as messages have them; None where none is named. What is not allowed is refused with its field."""
    given: tuple[Any, ...] = (tokens, seconds, usd)
    return None if given == (None, None, None) else Budget(*given)


def reserve_of(agent: AgentState, model: str | None, *, last_call: bool = False, **terms: Any) -> c.Reserve:
    """The hold that a call asks for. Where a call names a model and no estimate, its output is held, and its input as
    far as it is named.
    """
    estimate = amounts(terms.pop("tokens", None), terms.pop("usd", None), terms.pop("seconds", None))
    wanted = {"wait_seconds": WAIT_SECONDS, **terms}
    if model is not None and estimate is None:
        wanted = {"input_tokens": 0, **wanted}
    return c.Reserve(
        agent=agent.id,
        model=model,
        estimate=estimate,
        ttl_seconds=Decimal(str(agent.lease_seconds)),
        on_expiry=agent.on_crash,
        last_call=last_call,
        **wanted,
    )


class Calling(Block):
    """One call. Its hold is kept alive while the block lasts, and ends with it in any case."""

    def __init__(self, agent: AgentState, wanted: c.Reserve) -> None:
        super().__init__(agent.runner)
        self._agent, self._wanted, self._asked = agent, wanted, wanted.model
        self._held: Held | None = None
        self._used: c.Settle | None = None
        self._unused = False
        self._began = time.monotonic()
        self._streamed = UsageSoFar()
        self._stream_left = False
        self.model = wanted.model
        """The model to use: a cheaper one than was asked for while the agent is degraded."""
        self.reply: Enforcement | None = None
        """What the fleet answered to the settlement, once the block has ended."""
        self.beat_seconds = agent.lease_seconds / PER_LEASE
        self.last_sign = agent.last_sign

    @property
    def id(self) -> str:
        """The name of the hold."""
        return self._wanted.id or ""

    # --- what the program says ----------------------------------------------------------------------------------------

    def done(
        self,
        reply: Any = None,
        *,
        tokens: int | None = None,
        usd: Dollars | None = None,
        seconds: Seconds | None = None,
        source_id: str | None = None,
    ) -> None:
        """Say what was used: by the reply of a provider, its usage object or the parts of a stream; or in figures.

        The block's end settles the hold by it. Where no seconds are named, those since the hold was granted count.
        ``source_id`` is the provider's id of the call: reported by others, too, the call counts once.

        Raises:
            UsageNotUnderstood: no usage is in ``reply``; the hold will count as used as a whole.
        """
        counts = None
        if reply is not None or amounts(tokens, usd, seconds) is None:
            try:
                counts = usage_of(reply)
            except UsageNotUnderstood as error:
                self._used = self._whole(f"{type(error).__name__}: what it used is not known")
                raise
        took: Any = round(time.monotonic() - self._began, 3) if seconds is None else seconds
        given: Any = (tokens, took, usd)
        self._used = c.Settle(
            hold=self.id, model=self.model, usage=Usage(*given), provider_usage=counts, source_id=source_id
        )

    def unused(self) -> None:
        """Say that nothing was used: the hold is given back."""
        self._unused = True

    # --- its hold -----------------------------------------------------------------------------------------------------

    def _open(self) -> Steps[None]:
        agent = self._agent
        agent.check()
        self.model = agent.model_for(self._wanted.model)
        self._wanted = wanted = replace(self._wanted, id=self._runner.new_id(), model=self.model)
        if wanted.wait_seconds and not (yield from self._waiting_may_help()):
            wanted = replace(wanted, wait_seconds=None)
        try:
            self._held = yield from asking(wanted, Held, agent.id)
        except Exception:
            raise
        except BaseException:
            # It was interrupted, and may have been granted.
            with contextlib.suppress(Exception):
                yield from self._give_back("the program was interrupted", LEAVE_SECONDS)
            raise
        self._began = time.monotonic()
        self.last_sign = agent.last_sign = agent.runner.heartbeats.clock()
        agent.runner.heartbeats.keep(self)

    def _waiting_may_help(self) -> Steps[bool]:
        """Whether it is granted, or will be. Else it is asked for without waiting, and refused at once."""
        trial = replace(self._wanted, dry_run=True, wait_seconds=None)
        try:
            yield from asking(trial, Held, self._agent.id)
        except Refused as refused:
            return isinstance(refused, Throttled)
        return True

    def _end(self, error: BaseException | None) -> Steps[None]:
        held, self._held = self._held, None
        assert held is not None, "a block that was not opened is not ended"
        why = "the block ended without done()" if error is None else f"{type(error).__name__} in its block"
        used, forgotten = None, False
        if not self._unused:
            used = self._used or self._from_stream()
            if used is None:
                forgotten = error is None and not self._stream_left
                used = self._whole(why, held) if self._agent.on_crash == "spend" else None
        if used is None:
            yield from self._give_back(None if self._unused else why, patience(error))
        else:
            yield from self._settle(used, patience(error))
        if forgotten:
            raise UsageNotUnderstood(
                f"the call {self.id} ended, and what it used is not known: call.done(reply) says it,"
                " call.unused() that it used nothing"
            )

    def _from_stream(self) -> c.Settle | None:
        """What the stream said, if there was one."""
        if not self._streamed.usage or (self._stream_left and self._agent.on_crash == "spend"):
            return None
        self.done(self._streamed.usage)
        return self._used

    def _whole(self, why: str, held: Held | None = None) -> c.Settle:
        """Count all that is held as used."""
        amount = (held or self._held or _NOTHING).amount
        usage = msgspec.convert(msgspec.to_builtins(amount), Usage)
        return c.Settle(hold=self.id, model=self.model, usage=usage, reason=why)

    def _settle(self, used: c.Settle, retry_seconds: float | None) -> Steps[None]:
        agent = self._agent
        used.id = self._runner.new_id()
        try:
            reply = yield from asking(used, Enforcement, agent.id, retry_seconds)
        except Refused as refused:
            if refused.code != "unknown_hold":
                raise
            # It ended so long ago that it was forgotten; what was used is a fact all the same.
            said = {"model": used.model, "usage": used.usage, "provider_usage": used.provider_usage}
            report = agent.report(**said, source_id=used.source_id)
            reply = yield from asking(report, Enforcement, agent.id, retry_seconds)
        self.reply = reply
        agent.hear(reply, asked=self._asked, used=self.model)

    def _give_back(self, why: str | None, retry_seconds: float | None) -> Steps[None]:
        message = c.CancelHold(id=self._runner.new_id(), hold=self.id, reason=why)
        try:
            yield from asking(message, HoldGone, self._agent.id, retry_seconds)
        except Refused as refused:
            if refused.code not in _ENDED:
                raise

    # --- as heartbeats see it -----------------------------------------------------------------------------------------

    def sign_of_life(self) -> c.Command | None:
        return c.Heartbeat(hold=self.id) if self._held is not None else None

    def take_answer(self, answer: dict[str, Any]) -> None:
        """A hold that is not there any more is settled late: there is nothing to do about it before."""


_NOTHING: Final = Held("", "", EdgeAmounts(), EdgeAmounts(), "")


class Call(Calling, PlainBlock["Call"]):
    """One call of a thread."""

    def _plain(self) -> "Call":
        return self

    def stream(self, parts: Iterable[Part]) -> Iterator[Part]:
        """The parts of a stream as they come; what they say of usage settles the call, where `done` does not."""
        self._stream_left = True
        for part in parts:
            self._streamed.add(part)
            yield part
        self._stream_left = False


class AsyncCall(Calling, AwaitedBlock["AsyncCall"]):
    """One call of a coroutine."""

    def _awaited(self) -> "AsyncCall":
        return self

    async def stream(self, parts: AsyncIterable[Part]) -> AsyncIterator[Part]:
        """The parts of a stream as they come; what they say of usage settles the call, where `done` does not."""
        self._stream_left = True
        async for part in parts:
            self._streamed.add(part)
            yield part
        self._stream_left = False
