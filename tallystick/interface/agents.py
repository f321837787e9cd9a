"""Agents: an account that is opened for a block, kept alive, and released at its end."""

import contextlib
from decimal import Decimal
from typing import Any, TypedDict, Unpack

from tallystick.config.amounts import Budget, Usage
from tallystick.config.kinds import Priority
from tallystick.events import messages as c
from tallystick.events.messages.release_replies import ReleasedBudget
from tallystick.events.messages.replies import Allocation, BudgetStatus, Enforcement
from tallystick.interface.agent_state import GONE, LEASE_SECONDS, AgentState, Dollars, OnCrash, Seconds
from tallystick.interface.blocks import AwaitedBlock, PlainBlock, patience
from tallystick.interface.calls import AsyncCall, Call, CallTerms, amounts, reserve_of
from tallystick.interface.refusals import Refused
from tallystick.interface.steps import LEAVE_SECONDS, Runner, Steps, asking
from tallystick.interface.usage import usage_of


class AgentTerms(TypedDict, total=False):
    """What an agent may say of itself: its budget, its labels, for how long its account stays open without a message,
    and what becomes of holds whose block raised or whose program died.

    Without a budget it works on an account that is open already, which it neither opens nor releases.
    """

    tokens: int
    usd: Dollars
    seconds: Seconds
    agent_type: str
    product: str
    workflow: str
    priority: Priority
    labels: dict[str, str]
    lease_seconds: Seconds
    on_crash: OnCrash


class ReportTerms(TypedDict, total=False):
    """What a report may say beside, or in place of, a provider's reply. ``source_id`` is the provider's id of the call:
    reported by others, too, it counts once.
    """

    model: str
    tokens: int
    usd: Dollars
    seconds: Seconds
    operation: str
    labels: dict[str, str]
    source_id: str


class _Working:
    """What an agent of a thread and one of a coroutine have in common."""

    def __init__(self, state: AgentState) -> None:
        self._state, self._runner = state, state.runner

    @property
    def id(self) -> str:
        """The agent's name."""
        return self._state.id

    @property
    def enforcement(self) -> Enforcement | None:
        """The newest reply about it: its level, the action that applies, what it has left; None before the first."""
        return self._state.enforcement

    def agent(self, id: str, **terms: Unpack[AgentTerms]) -> "AgentBlock":
        """A sub-agent, whose budget comes out of this one's; see `Interface.agent`."""
        return AgentBlock(self._runner, id, self.id, **terms)

    def _reporting(self, reply: Any, terms: ReportTerms) -> Steps[Enforcement]:
        given: dict[str, Any] = {**terms}
        used: Any = amounts(given.pop("tokens", None), given.pop("usd", None), given.pop("seconds", None))
        counts = usage_of(reply) if reply is not None or used is None else None
        usage = None if used is None else Usage(used.tokens, used.time_seconds, used.cost_usd)
        report = self._state.report(usage=usage, provider_usage=counts, **given)
        answer = yield from asking(report, Enforcement, self.id)
        self._state.hear(answer)
        return answer


class Agent(_Working):
    """An agent of a thread."""

    def call(self, model: str | None = None, **terms: Unpack[CallTerms]) -> Call:
        """A call of a model, or another operation: it holds before, and settles at the end of its block."""
        return Call(self._state, reserve_of(self._state, model, **terms))

    def last_call(self, model: str | None = None, **terms: Unpack[CallTerms]) -> Call:
        """`call`, once, with what is kept of the allocation for a last one."""
        return Call(self._state, reserve_of(self._state, model, last_call=True, **terms))

    def report(self, reply: Any = None, **terms: Unpack[ReportTerms]) -> Enforcement:
        """Say what was used without a hold; what may be done next is the answer.

        Raises:
            Refused: the report is malformed.
            UsageNotUnderstood: no usage is in ``reply``, and nothing else is named.
        """
        return self._runner.run(self._reporting(reply, terms))


class AsyncAgent(_Working):
    """An agent of a coroutine."""

    def call(self, model: str | None = None, **terms: Unpack[CallTerms]) -> AsyncCall:
        """A call of a model, or another operation: it holds before, and settles at the end of its block."""
        return AsyncCall(self._state, reserve_of(self._state, model, **terms))

    def last_call(self, model: str | None = None, **terms: Unpack[CallTerms]) -> AsyncCall:
        """`call`, once, with what is kept of the allocation for a last one."""
        return AsyncCall(self._state, reserve_of(self._state, model, last_call=True, **terms))

    async def report(self, reply: Any = None, **terms: Unpack[ReportTerms]) -> Enforcement:
        """Say what was used without a hold; what may be done next is the answer.

        Raises:
            Refused: the report is malformed.
            UsageNotUnderstood: no usage is in ``reply``, and nothing else is named.
        """
        return await self._runner.run_async(self._reporting(reply, terms))


class AgentBlock(PlainBlock[Agent], AwaitedBlock[AsyncAgent]):
    """Opens an account, or works on one that is open; at its end nothing is open that it has opened."""

    def __init__(
        self,
        runner: Runner,
        id: str,
        parent: str | None,
        *,
        tokens: int | None = None,
        usd: Dollars | None = None,
        seconds: Seconds | None = None,
        lease_seconds: Seconds = LEASE_SECONDS,
        on_crash: OnCrash = "release",
        **labels: Any,
    ) -> None:
        super().__init__(runner)
        self._state = AgentState(runner, id, on_crash, float(lease_seconds))
        self._payer = parent or id
        budget = amounts(tokens, usd, seconds)
        self._opening = None if budget is None else _opening(id, budget, parent, lease_seconds, **labels)
        if budget is None and labels:
            named = ", ".join(labels)
            raise TypeError(f"{named}: an account that is open already has its own; to open one, name a budget")

    def _plain(self) -> Agent:
        return Agent(self._state)

    def _awaited(self) -> AsyncAgent:
        return AsyncAgent(self._state)

    def _open(self) -> Steps[None]:
        state = self._state
        if self._opening is None:
            status = yield from asking(c.GetStatus(agent=state.id), BudgetStatus, state.id)
            if status.lease_seconds:
                state.beat_seconds *= float(status.lease_seconds) / state.lease_seconds
                state.lease_seconds = float(status.lease_seconds)
            state.begin(keep_alive=bool(status.lease_seconds))
            return
        self._opening.id = self._runner.new_id()
        try:
            yield from asking(self._opening, Allocation, self._payer)
        except Exception:
            raise
        except BaseException:
            # It was interrupted: the same message says whether the account is ours, and is open.
            with contextlib.suppress(Exception):
                yield from asking(self._opening, Allocation, self._payer, LEAVE_SECONDS)
                yield from self._release(LEAVE_SECONDS)
            raise
        state.begin(keep_alive=True)

    def _end(self, error: BaseException | None) -> Steps[None]:
        self._state.is_open = False
        if self._opening is not None and self._state.lost is None:
            yield from self._release(patience(error))

    def _release(self, retry_seconds: float | None) -> Steps[None]:
        message = c.ReleaseBudget(id=self._runner.new_id(), agent=self._state.id)
        try:
            yield from asking(message, ReleasedBudget, self._state.id, retry_seconds)
        except Refused as refused:
            if refused.code not in GONE:
                raise


def _opening(
    id: str,
    budget: Budget,
    parent: str | None,
    lease_seconds: Seconds,
    *,
    agent_type: str | None = None,
    product: str | None = None,
    workflow: str | None = None,
    priority: Priority = "normal",
    labels: dict[str, str] | None = None,
) -> c.AllocateBudget:
    return c.AllocateBudget(
        agent=id,
        budget=budget,
        agent_type=agent_type,
        product=product,
        workflow=workflow,
        priority=priority,
        parent=parent,
        lease_seconds=Decimal(str(lease_seconds)),
        labels=labels,
    )
