"""Pydantic AI: a capability that asks before each request to a model, and settles it with the usage of the response."""

import copy
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Self, Unpack

from pydantic_ai import RunContext
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.exceptions import UsageLimitExceeded
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import RequestUsage

from tallystick.integrations.calls import Accounts, AccountTerms, AsyncFrameworkCall, about_tokens
from tallystick.interface.calls import CallTerms
from tallystick.interface.interface import Interface
from tallystick.interface.refusals import Refused


class CallRefused(UsageLimitExceeded, Refused):
    """A request was refused before the model was called: the framework's own error, with the numbers that decided."""

    def __init__(self, refused: Refused) -> None:
        UsageLimitExceeded.__init__(self, str(refused))
        Refused.__init__(self, refused.code, refused.message, refused.details)

    __str__ = Refused.__str__


class Budget(AbstractCapability[Any]):
    """For ``Agent(…, capabilities=[Budget(fleet, "writer")])``: its requests are made at the account ``writer``.

    Each attempt at a request has a hold of its own, and is settled by what its provider says that it used; of a stream
    that was left, by what it had said. With ``sub_agents``, each agent that has this capability has an account of its
    own below, by its name. The arguments are those of `calls.Accounts`. A refusal is a `CallRefused`.
    """

    def __init__(self, fleet: Interface, agent: str, **terms: Unpack[AccountTerms]) -> None:
        self.accounts, self.leaves_whole = Accounts(fleet, agent, **terms), terms.get("on_crash") == "spend"
        self.name: str | None = None

    async def for_run(self, ctx: RunContext[Any]) -> Self:
        """The capability of one run, which knows the name of its agent."""
        of_run = copy.copy(self)
        of_run.name = None if ctx.agent is None else ctx.agent.name
        return of_run

    def get_wrapper_model(self, model: Model) -> Model:
        """The model of an attempt, which is asked for before it is called."""
        return _Budgeted(model, self)


class _Budgeted(WrapperModel):
    def __init__(self, wrapped: Model, budget: Budget) -> None:
        super().__init__(wrapped)
        self._budget = budget

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        async with self._asked(messages, model_settings, model_request_parameters) as call:
            response = await self.wrapped.request(messages, model_settings, model_request_parameters)
            await self._settle(call, response)
            return response

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        async with (
            self._asked(messages, model_settings, model_request_parameters) as call,
            self.wrapped.request_stream(messages, model_settings, model_request_parameters, run_context) as stream,
        ):
            try:
                yield stream
            finally:
                await self._settle(call, stream.get())

    @asynccontextmanager
    async def _asked(
        self, messages: list[ModelMessage], settings: ModelSettings | None, given: ModelRequestParameters
    ) -> AsyncGenerator[AsyncFrameworkCall]:
        parts = [part for message in messages for part in message.parts]
        said = [getattr(part, name, None) for part in parts for name in ("content", "args")]
        tools = [(tool.name, tool.description, tool.parameters_json_schema) for tool in given.function_tools]
        terms: CallTerms = {"input_tokens": about_tokens(said, tools, given.instruction_parts)}
        if (most := (settings or {}).get("max_tokens")) is not None:
            terms["max_output_tokens"] = most
        budget = self._budget
        async with AsyncExitStack() as stack:
            call = budget.accounts.async_call(self.model_name, budget.name, **terms)
            try:
                await stack.enter_async_context(call)
            except Refused as refused:
                raise CallRefused(refused) from refused
            yield call

    async def _settle(self, call: AsyncFrameworkCall, response: ModelResponse) -> None:
        budget = self._budget
        for attempt in response.failed_attempts or ():
            if attempt.usage is not None and attempt.usage.has_values():
                await budget.accounts.report_async(_counts(attempt.usage), budget.name, model=attempt.model_name)
        was_left = response.state in ("incomplete", "interrupted")
        if was_left and (budget.leaves_whole or not response.usage.has_values()):
            call.leave()
            return
        call.model = response.model_name or call.model
        call.finish(_counts(response.usage), source_id=response.provider_response_id)


def _counts(usage: RequestUsage) -> Mapping[str, Any]:
    """A usage of the framework in the names of a provider; cached tokens are within its input."""
    details = usage.details
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
            "audio_tokens": usage.input_audio_tokens,
        },
        "output_tokens_details": {
            "reasoning_tokens": details.get("reasoning_tokens") or details.get("thinking_tokens"),
            "audio_tokens": usage.output_audio_tokens,
        },
        "cache_creation": {"ephemeral_1h_input_tokens": details.get("ephemeral_1h_input_tokens")},
    }
