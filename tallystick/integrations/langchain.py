"""LangChain and LangGraph: a middleware for agents, and a wrapper for models that the nodes of a graph call."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Unpack

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, convert_to_messages
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda, ensure_config

from tallystick.integrations.calls import Accounts, AccountTerms, AsyncFrameworkCall, FrameworkCall
from tallystick.interface.interface import Interface

Chat = Runnable[LanguageModelInput, AIMessage]


class Budget(AgentMiddleware):
    """``create_agent(…, middleware=[Budget(fleet, "writer")])``: each call of the model is made at the account
    ``writer``; or, where ``sub_agents`` is given, at the one below it of the agent's own ``name`` (see `Accounts`).

    Last in the list it sees each attempt of the middleware that tries again. A refusal is raised, as `Refused`.
    """

    def __init__(self, fleet: Interface, agent: str, **terms: Unpack[AccountTerms]) -> None:
        super().__init__()
        self._accounts = Accounts(fleet, agent, **terms)

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Ask, call, and settle.

        Raises:
            Refused: it was refused, and the model was not called.
        """
        with self._accounts.call(**_asked(request)) as call:
            response = handler(request)
            _finish(call, response.result)
        return response

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """`wrap_model_call`, of a coroutine."""
        async with self._accounts.async_call(**_asked(request)) as call:
            response = await handler(request)
            _finish(call, response.result)
        return response

    def around(self, model: Chat, agent: str | None = None) -> Chat:
        """A chat model for the nodes of a graph, whose calls are asked for before, and settled after.

        ``agent`` is the name below, where it is not that of the agent that the graph is part of. Bind tools first. What
        the model streams comes out of the graph's own stream; `stream` of the result itself is one part.
        """

        def ask(given: Any, config: RunnableConfig) -> AIMessage:
            with self._accounts.call(**_terms(model, given, agent)) as call:
                reply = model.invoke(given, config)
                _finish(call, [reply])
            return reply

        async def ask_async(given: Any, config: RunnableConfig) -> AIMessage:
            async with self._accounts.async_call(**_terms(model, given, agent)) as call:
                reply = await model.ainvoke(given, config)
                _finish(call, [reply])
            return reply

        return RunnableLambda(ask, afunc=ask_async, name="budget")


def _asked(request: ModelRequest[Any]) -> dict[str, Any]:
    system = [] if request.system_message is None else [request.system_message]
    terms = _terms(request.model, [*system, *request.messages], None, request.tools)
    if largest := request.model_settings.get("max_tokens"):
        terms["max_output_tokens"] = largest
    return terms


def _terms(model: Any, given: Any, agent: str | None, tools: list[Any] | None = None) -> dict[str, Any]:
    """What a call holds: the bound of a model's output is its own, or was bound to it."""
    bound: dict[str, Any] = {}
    while hasattr(model, "bound"):
        bound = {**getattr(model, "kwargs", {}), **bound}
        model = model.bound
    messages = given.to_messages() if isinstance(given, PromptValue) else given
    messages = convert_to_messages([("user", messages)] if isinstance(messages, str) else messages)
    terms = {
        "model": getattr(model, "model_name", None) or getattr(model, "model", None),
        "sub_agent": agent or ensure_config().get("metadata", {}).get("lc_agent_name"),
        "input_tokens": count_tokens_approximately(messages, tools=tools or bound.get("tools")),
    }
    largest = bound.get("max_tokens") or getattr(model, "max_tokens", None)
    return {**terms, "max_output_tokens": largest} if largest else terms


def _finish(call: FrameworkCall | AsyncFrameworkCall, messages: Iterable[BaseMessage]) -> None:
    """One reply, with what else was made of it."""
    reply = next((message for message in messages if isinstance(message, AIMessage)), None)
    usage = None if reply is None or reply.usage_metadata is None else _usage(dict(reply.usage_metadata))
    call.finish(usage or {}, source_id=None if reply is None else reply.response_metadata.get("id"))


def _usage(said: dict[str, Any]) -> dict[str, Any]:
    """LangChain's names in those of LiteLLM, which counts likewise: all input, with what was cached of it."""
    sent, got = said.get("input_token_details", {}), said.get("output_token_details", {})
    lives = {f"ephemeral_{life}_input_tokens": sent.get(f"ephemeral_{life}_input_tokens", 0) for life in ("5m", "1h")}
    return {
        "prompt_tokens": said["input_tokens"],
        "completion_tokens": said["output_tokens"],
        "prompt_tokens_details": {
            "cached_tokens": sent.get("cache_read", 0),
            # Where the parts are named, some packages leave the sum out.
            "cache_creation_tokens": max(sent.get("cache_creation", 0), sum(lives.values())),
            "cache_creation_token_details": lives,
            "audio_tokens": sent.get("audio", 0),
        },
        "completion_tokens_details": {
            "reasoning_tokens": got.get("reasoning", 0),
            "audio_tokens": got.get("audio", 0),
        },
    }
