"""OpenAI Agents: models that are asked for before each of their calls, for all agents of a run."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from contextvars import ContextVar
from dataclasses import replace
from inspect import isawaitable
from typing import Any, Final, Unpack

from agents import Model, ModelProvider, ModelResponse, RunConfig
from agents.exceptions import AgentsException, UserError
from agents.items import TResponseStreamEvent
from agents.retry import ModelRetryAdvice, ModelRetryAdviceRequest
from agents.run_config import CallModelData, ModelInputData

from tallystick.integrations.calls import Accounts, AccountTerms, AsyncFrameworkCall, about_tokens
from tallystick.interface.interface import Interface
from tallystick.interface.refusals import Refused

_agent: Final[ContextVar[str | None]] = ContextVar("tallystick_agent", default=None)
_GIVEN: Final = ("system_instructions", "input", "model_settings", "tools")
"""What the SDK gives a model first, by position or by name."""
_LAST: Final = ("response.completed", "response.incomplete", "response.failed")


class CallRefused(Refused, AgentsException):
    """A call was refused: an error of the SDK, with the code and the numbers that decided."""

    def __init__(self, refused: Refused) -> None:
        AgentsException.__init__(self, str(refused))
        Refused.__init__(self, refused.code, refused.message, refused.details)


class Budget:
    """``Runner.run(agent, …, run_config=Budget(fleet, "lead").run_config())``: all calls of the run are made at the
    account ``lead``; or, where ``sub_agents`` is given, at those below it of the agents' names (see `Accounts`).
    """

    def __init__(self, fleet: Interface, agent: str, **terms: Unpack[AccountTerms]) -> None:
        self._accounts = Accounts(fleet, agent, **terms)

    def run_config(self, config: RunConfig | None = None) -> RunConfig:
        """A configuration with which a run asks; agents that are tools of its agents do so, too.

        Models that agents name come from it. An agent with a model of its own needs `model` around it.
        """
        config = RunConfig() if config is None else config
        own, provider = config.model, _Provider(self, config.model_provider)
        return replace(
            config,
            model=self.model(own) if isinstance(own, Model) else own,
            model_provider=provider,
            call_model_input_filter=_Filter(config.call_model_input_filter, config.model),
        )

    def model(self, model: Model, name: str | None = None) -> "BudgetedModel":
        """A model that asks before each call; ``name`` is the one by which it is priced, where it has no ``model``."""
        return model if isinstance(model, BudgetedModel) else BudgetedModel(self._accounts, model, name)


class _Filter:
    """Called before each call of a model, in the task that makes it: the only place that knows whose call it is."""

    def __init__(self, then: Any, overridden: Any) -> None:
        self._then, self._overridden = then, overridden

    async def __call__(self, data: CallModelData[Any]) -> ModelInputData:
        own = data.agent.model
        if self._overridden is None and isinstance(own, Model) and not isinstance(own, BudgetedModel):
            raise UserError(
                f"agent {data.agent.name}: found a model of its own ({type(own).__name__}) that asks for no budget;"
                " allowed are the name of a model, and Agent(model=budget.model(...))"
            )
        _agent.set(data.agent.name)
        given = data.model_data if self._then is None else self._then(data)
        filtered: ModelInputData = await given if isawaitable(given) else given
        return filtered


class _Provider(ModelProvider):
    def __init__(self, budget: Budget, provider: ModelProvider) -> None:
        self._budget, self._provider = budget, provider

    def get_model(self, model_name: str | None) -> Model:
        return self._budget.model(self._provider.get_model(model_name), model_name)

    async def aclose(self) -> None:
        await self._provider.aclose()


class BudgetedModel(Model):
    """A model of the SDK with a hold around each of its calls."""

    def __init__(self, accounts: Accounts, model: Model, name: str | None) -> None:
        self._accounts, self._model = accounts, model
        self._name = name or getattr(model, "model", None)

    async def get_response(self, *given: Any, **named: Any) -> ModelResponse:
        """Ask, call, and settle.

        Raises:
            CallRefused: it was refused, and the model was not called.
        """
        async with AsyncExitStack() as ended:
            call = await self._begun(ended, **{**dict(zip(_GIVEN, given, strict=False)), **named})
            response = await self._model.get_response(*given, **named)
            _finish(call, response.usage, response.response_id)
            return response

    async def stream_response(self, *given: Any, **named: Any) -> AsyncIterator[TResponseStreamEvent]:
        """`get_response` as a stream, whose last event says what it used."""
        async with AsyncExitStack() as ended:
            call = await self._begun(ended, **{**dict(zip(_GIVEN, given, strict=False)), **named})
            events: Any = self._model.stream_response(*given, **named)
            if hasattr(events, "aclose"):
                ended.push_async_callback(events.aclose)
            async for event in events:
                if event.type in _LAST:
                    _finish(call, event.response.usage, event.response.id)
                yield event

    async def _begun(
        self, ended: AsyncExitStack, system_instructions: Any, model_settings: Any, tools: Any, **named: Any
    ) -> AsyncFrameworkCall:
        described = [(tool.name, vars(tool).get("description"), vars(tool).get("params_json_schema")) for tool in tools]
        terms: dict[str, Any] = {"input_tokens": about_tokens(system_instructions, named["input"], described)}
        if model_settings.max_tokens is not None:
            terms["max_output_tokens"] = model_settings.max_tokens
        try:
            return await ended.enter_async_context(self._accounts.async_call(self._name, _agent.get(), **terms))
        except Refused as refused:
            raise CallRefused(refused) from None

    def get_retry_advice(self, request: ModelRetryAdviceRequest) -> ModelRetryAdvice | None:
        return self._model.get_retry_advice(request)

    async def close(self) -> None:
        await self._model.close()

    async def _cleanup_on_run_end(self, owner: object) -> None:
        await self._model._cleanup_on_run_end(owner)  # noqa: SLF001 - the runner asks it of the model that it knows


def _finish(call: AsyncFrameworkCall, usage: Any, id: str | None) -> None:
    # Where a provider does not say what was used, the SDK counts zeros.
    known = usage is not None and (usage.input_tokens or usage.output_tokens)
    call.finish(usage if known else {}, source_id=id)
