"""What all adapters share: at whose account a framework calls, and calls that one hook begins and another one ends."""

import contextlib
import hashlib
import logging
from collections.abc import Hashable, Mapping
from typing import Any, Final, Generic, Self, TypedDict, TypeVar, Unpack

import structlog

from tallystick.config.kinds import NAME_MAX
from tallystick.interface.agent_state import GONE, LEASE_SECONDS, AgentState, Dollars, OnCrash, Seconds
from tallystick.interface.agents import Agent, AgentBlock, AgentTerms, AsyncAgent, ReportTerms
from tallystick.interface.blocks import ending
from tallystick.interface.calls import WAIT_SECONDS, AsyncCall, Call, Calling, CallTerms, reserve_of
from tallystick.interface.interface import Interface
from tallystick.interface.refusals import Refused, Stopped
from tallystick.interface.steps import Steps
from tallystick.interface.usage import UsageNotUnderstood

MAX_OUTPUT_TOKENS: Final = 4_096
_ID_CHARACTERS_MIN: Final = 16
"""Those of Ollama have 12: they are one of a thousand. Those of others have 24 and more."""
_CHARACTERS_PER_TOKEN: Final = 4
_DATA_CHARACTERS: Final = 1_000
"""A text of so many characters without a space is an image or another file, in base64."""
_DATA_TOKENS: Final = 85
log = structlog.wrap_logger(logging.getLogger("tallystick.integrations"))
K = TypeVar("K", bound=Hashable)


class AccountTerms(TypedDict, total=False):
    """What an adapter may say beside its fleet and agent; see `Accounts`."""

    sub_agents: AgentTerms | None
    on_crash: OnCrash
    wait_seconds: Seconds
    max_output_tokens: int


class Accounts:
    """At whose account the calls of a framework's agents are made, for threads and coroutines.

    ``agent`` is an account that is open, or one that opens by itself (`accounts.auto`). With ``sub_agents``, a budget
    and what else `Fleet.agent` takes, each agent that the framework names has an account of its own below it,
    ``agent.name``: it is opened at its first call, kept alive as long as these accounts are referred to, and released
    with ``agent``. Without, all calls are made at ``agent``. ``on_crash`` and ``wait_seconds`` are as in `Fleet.agent`
    and `Agent.call`. A call that names no bound of its output holds what earlier ones of its model needed, and at most
    ``max_output_tokens``.
    """

    def __init__(
        self,
        fleet: Interface,
        agent: str,
        *,
        sub_agents: AgentTerms | None = None,
        on_crash: OnCrash = "release",
        wait_seconds: Seconds = WAIT_SECONDS,
        max_output_tokens: int = MAX_OUTPUT_TOKENS,
    ) -> None:
        self._runner, self._sub_agents, self._on_crash = fleet.runner, sub_agents, on_crash
        self._terms: CallTerms = {"wait_seconds": wait_seconds, "max_output_tokens": max_output_tokens}
        self._own = _State(self._runner, agent, on_crash, LEASE_SECONDS)
        self._own.begin(keep_alive=False)
        self._below: dict[str, AgentState] = {}

    def call(self, model: str | None, sub_agent: str | None = None, **terms: Unpack[CallTerms]) -> "FrameworkCall":
        """`Agent.call`, of the agent that the framework calls ``sub_agent``."""
        return FrameworkCall(self, *self._asked(model, sub_agent, terms))

    def async_call(
        self, model: str | None, sub_agent: str | None = None, **terms: Unpack[CallTerms]
    ) -> "AsyncFrameworkCall":
        """`call`, for a coroutine."""
        return AsyncFrameworkCall(self, *self._asked(model, sub_agent, terms))

    def report(self, reply: Any, sub_agent: str | None = None, **terms: Unpack[ReportTerms]) -> None:
        """`Agent.report`, for a call that could not be asked for before. Usage is a fact: it counts for the whole fleet
        where the account of ``sub_agent`` cannot be opened.
        """
        state = self._of(sub_agent)
        with contextlib.suppress(Refused):
            self._runner.run(self.open(state))
        if source := source_of(terms.pop("source_id", None)):
            terms["source_id"] = source
        Agent(state).report(reply, **terms)

    async def report_async(self, reply: Any, sub_agent: str | None = None, **terms: Unpack[ReportTerms]) -> None:
        """`report`, for a coroutine."""
        state = self._of(sub_agent)
        with contextlib.suppress(Refused):
            await self._runner.run_async(self.open(state))
        if source := source_of(terms.pop("source_id", None)):
            terms["source_id"] = source
        await AsyncAgent(state).report(reply, **terms)

    def open(self, state: AgentState) -> Steps[None]:
        """Open the account of a sub-agent where it is not open; another program may have opened it, too.

        Raises:
            Refused: it cannot be opened, as where ``agent`` has too little left.
        """
        if state.is_open and state.lost is None:
            return
        assert self._sub_agents is not None
        yield from _Opening(self._runner, state.id, self._own.id, **self._sub_agents).steps()
        state.lost = None
        if not state.is_open:
            state.begin(keep_alive=True)

    def open_again(self, state: AgentState, refused: Refused) -> Steps[None]:
        """`open` for a sub-agent that was released in the meantime, with ``agent`` or by others.

        Raises:
            Refused: it cannot be opened, or was not opened here.
        """
        if state is self._own or refused.code not in GONE:
            raise refused
        state.lost = Stopped(refused.code, refused.message, refused.details)
        yield from self.open(state)

    def _asked(self, model: str | None, sub_agent: str | None, terms: CallTerms) -> tuple[AgentState, Any]:
        state, given = self._of(sub_agent), dict[str, Any]({**self._terms, **terms})
        if model is None and given.keys().isdisjoint(("tokens", "usd", "seconds")):
            given["tokens"] = given.pop("input_tokens", 0) + given.pop("max_output_tokens")
        return state, reserve_of(state, model, **given)

    def _of(self, sub_agent: str | None) -> AgentState:
        if sub_agent in (None, self._own.id) or self._sub_agents is None:
            return self._own
        lease_seconds = float(self._sub_agents.get("lease_seconds", LEASE_SECONDS))
        new = _State(self._runner, f"{self._own.id}.{sub_agent}", self._on_crash, lease_seconds)
        return self._below.setdefault(sub_agent, new)


class _State(AgentState):
    def model_for(self, asked: str | None) -> str | None:
        """The framework chooses the model: the hold and the settlement are of that one."""
        return asked


class _Opening(AgentBlock):
    def steps(self) -> Steps[None]:
        try:
            yield from self._open()
        except Refused as refused:
            if refused.code != "already_allocated":
                raise


class _OpensFirst(Calling):
    """A call whose account is opened where it has to be."""

    def __init__(self, accounts: Accounts, *given: Any) -> None:
        super().__init__(*given)
        self._accounts = accounts

    def _open(self) -> Steps[None]:
        yield from self._accounts.open(self._agent)
        try:
            yield from super()._open()
        except Refused as refused:
            yield from self._accounts.open_again(self._agent, refused)
            yield from super()._open()

    def finish(self, reply: Any, *, usd: Dollars | None = None, source_id: str | None = None) -> None:
        """`done`, for a reply that the framework goes on with in any case: where it does not say what it used, the cost
        counts alone; where that is not known either, all of the hold does, and a warning is logged.
        """
        source_id = source_of(source_id)
        try:
            self.done(reply, usd=usd, source_id=source_id)
        except UsageNotUnderstood as error:
            if usd is not None:
                self.done(usd=usd, source_id=source_id)
            else:
                log.warning("usage_not_understood", call=self.id, error=str(error), instead="all of the hold counts")

    def leave(self) -> None:
        """Say that a stream was left before it was through: ``on_crash`` says what becomes of the hold."""
        self._stream_left = True

    def give_up(self, error: BaseException) -> None:
        """End it from any thread, as a block that raised ``error``."""
        self._runner.run(ending(self._end(error), error))


class FrameworkCall(_OpensFirst, Call):
    """A call of a framework, of a thread."""

    def __enter__(self) -> Self:
        super().__enter__()
        return self


class AsyncFrameworkCall(_OpensFirst, AsyncCall):
    """A call of a framework, of a coroutine."""

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        return self


class OpenCalls(Generic[K]):
    """Calls that one hook of a framework begins and another one ends, by how the framework names them.

    A call that is begun under a name that is open ends the one before. What is not open is not ended.
    """

    def __init__(self) -> None:
        self._calls: dict[K, FrameworkCall | AsyncFrameworkCall] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._calls

    def begin(self, name: K, call: FrameworkCall) -> None:
        """Ask for the hold of a call.

        Raises:
            Refused: it was refused; nothing is open then.
        """
        self.cancel(name, InterruptedError("it was begun again"))
        call.__enter__()
        self._calls[name] = call

    def settle(self, name: K, reply: Any, *, usd: Dollars | None = None, source_id: str | None = None) -> None:
        """End a call by what it used."""
        if isinstance(call := self._calls.pop(name, None), FrameworkCall):
            call.finish(reply, usd=usd, source_id=source_id)
            call.__exit__(None, None, None)

    def cancel(self, name: K, error: BaseException) -> None:
        """End a call that raised ``error``, or was given up: ``on_crash`` says what becomes of its hold."""
        if isinstance(call := self._calls.pop(name, None), FrameworkCall):
            call.__exit__(type(error), error, None)

    def give_up(self, name: K, error: BaseException) -> None:
        """`cancel`, of threads and coroutines alike, from any thread; it blocks."""
        if (call := self._calls.pop(name, None)) is not None:
            call.give_up(error)

    async def begin_async(self, name: K, call: AsyncFrameworkCall) -> None:
        """`begin`, for a coroutine."""
        await self.cancel_async(name, InterruptedError("it was begun again"))
        await call.__aenter__()
        self._calls[name] = call

    async def settle_async(
        self, name: K, reply: Any, *, usd: Dollars | None = None, source_id: str | None = None
    ) -> None:
        """`settle`, for a coroutine."""
        if isinstance(call := self._calls.pop(name, None), AsyncFrameworkCall):
            call.finish(reply, usd=usd, source_id=source_id)
            await call.__aexit__(None, None, None)

    async def cancel_async(self, name: K, error: BaseException) -> None:
        """`cancel`, for a coroutine."""
        if isinstance(call := self._calls.pop(name, None), AsyncFrameworkCall):
            await call.__aexit__(type(error), error, None)


def source_of(id: str | None) -> str | None:
    """A provider's id of a call as a `source_id`: of one that is too long for a name, its SHA-256; None for one that is
    too short to be that of one call alone.
    """
    if id is None or len(id) < _ID_CHARACTERS_MIN:
        return None
    return id if len(id) <= NAME_MAX else hashlib.sha256(id.encode()).hexdigest()


def about_tokens(*given: Any) -> int:
    """About how many input tokens texts are, in messages and objects of any shape: a token for four characters."""
    tokens, left, seen = 0, list(given), set[int]()
    while left:
        one = left.pop()
        if id(one) in seen:
            continue
        if isinstance(one, str):
            data = len(one) > _DATA_CHARACTERS and one.isascii() and not any(map(str.isspace, one[:_DATA_CHARACTERS]))
            tokens += _DATA_TOKENS if data else -(-len(one) // _CHARACTERS_PER_TOKEN)
            continue
        seen.add(id(one))
        if isinstance(one, Mapping):
            left += one.values()
        elif isinstance(one, list | tuple):
            left += one
        elif not isinstance(one, type) and hasattr(one, "__dict__"):
            left += vars(one).values()
    return tokens
