"""Google ADK: a plugin that asks before each call of a model, and settles it with the usage of the response."""

import sys
from typing import Any, NamedTuple, Unpack

from google.adk.agents.base_agent import BaseAgent
from google.adk.agents.callback_context import CallbackContext
from google.adk.agents.invocation_context import InvocationContext
from google.adk.models.llm_request import LlmRequest
from google.adk.models.llm_response import LlmResponse
from google.adk.plugins import BasePlugin

from tallystick.integrations.calls import Accounts, AccountTerms, AsyncFrameworkCall, about_tokens
from tallystick.interface.calls import CallTerms
from tallystick.interface.interface import Interface
from tallystick.interface.refusals import Refused


class Budget(BasePlugin):
    """For ``App(…, plugins=[Budget(fleet, "lead")])``: the calls of all agents are made at the account ``lead``.

    It is to stand before plugins that change responses: ADK asks those behind them no more.

    With ``sub_agents``, each agent has an account of its own below, by its name. The arguments are those of
    `calls.Accounts`. A call that is refused is answered with an error in place of the model: ``error_code`` is the code
    of the refusal, ``error_message`` its sentence, and ``custom_metadata`` has the numbers that decided.
    """

    def __init__(self, fleet: Interface, agent: str, **terms: Unpack[AccountTerms]) -> None:
        super().__init__(name=f"tallystick:{agent}")
        self._accounts, self._leaves_whole = Accounts(fleet, agent, **terms), terms.get("on_crash") == "spend"
        self._running: dict[_Run, _Running] = {}
        """The newest call of each run of an agent."""

    async def before_model_callback(
        self, *, callback_context: CallbackContext, llm_request: LlmRequest
    ) -> LlmResponse | None:
        """Ask for the hold of a call; a refusal is the answer."""
        run = _run_of(callback_context)
        await self._end(run, None)
        config = llm_request.config
        sent = about_tokens(llm_request.contents, config.system_instruction, config.tools)
        terms: CallTerms = {"input_tokens": sent}
        if (most := config.max_output_tokens) is not None:
            terms["max_output_tokens"] = most
        call = self._accounts.async_call(llm_request.model, run.agent, **terms)
        try:
            await call.__aenter__()
        except Refused as refused:
            details = {"code": refused.code, **refused.details}
            return LlmResponse(error_code=refused.code, error_message=refused.message, custom_metadata=details)
        self._running[run] = _Running(call)
        return None

    async def after_model_callback(self, *, callback_context: CallbackContext, llm_response: LlmResponse) -> None:
        """Settle a call by its whole response; the parts of a stream before say what is used so far."""
        run = _run_of(callback_context)
        running, usage = self._running.get(run), llm_response.usage_metadata
        if running is None or usage is None:
            return
        call, running.usage = running.call, usage
        if llm_response.partial:
            return
        if not running.is_open:
            # Another whole response of the same call: the larger one counts.
            await self._accounts.report_async(usage, run.agent, model=call.model or "", source_id=call.id)
            return
        running.is_open = False
        call.model = llm_response.model_version or call.model
        call.finish(usage, source_id=call.id)
        await call.__aexit__(None, None, None)

    async def on_model_error_callback(
        self, *, callback_context: CallbackContext, llm_request: LlmRequest, error: Exception
    ) -> None:
        """End a call that raised."""
        await self._end(_run_of(callback_context), error)

    async def after_agent_callback(self, *, agent: BaseAgent, callback_context: CallbackContext) -> None:
        """End what a run of an agent has open: it was cancelled, or another plugin answered."""
        await self._end(_run_of(callback_context), sys.exception())

    async def on_agent_error_callback(
        self, *, agent: BaseAgent, callback_context: CallbackContext, error: Exception
    ) -> None:
        """End what a run of an agent has open that raised."""
        await self._end(_run_of(callback_context), error)

    async def after_run_callback(self, *, invocation_context: InvocationContext) -> None:
        """End what is open of a run that the program has left."""
        for run in [run for run in self._running if run.invocation_id == invocation_context.invocation_id]:
            await self._end(run, InterruptedError("the run was left"))

    async def _end(self, run: "_Run", error: BaseException | None) -> None:
        running = self._running.pop(run, None)
        if running is None or not running.is_open:
            return
        call = running.call
        if running.usage is not None and not self._leaves_whole:
            call.finish(running.usage, source_id=call.id)
        elif error is None:
            call.unused()
        await call.__aexit__(None if error is None else type(error), error, None)


class _Run(NamedTuple):
    """A run of an agent, which makes one call of a model at a time."""

    invocation_id: str
    branch: str | None
    node: str
    agent: str


def _run_of(context: CallbackContext) -> _Run:
    return _Run(context.invocation_id, context.branch, context.node_path, context.agent_name)


class _Running:
    """A call of a model, and the newest that it said of its use."""

    def __init__(self, call: AsyncFrameworkCall) -> None:
        self.call, self.is_open = call, True
        self.usage: Any = None
