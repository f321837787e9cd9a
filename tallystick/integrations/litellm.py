"""LiteLLM: a callback that asks before each call of the SDK or the proxy, and settles it by what LiteLLM says of it.

`litellm.completion` and the other functions without `await` ask no callback before they call: what they used is
reported afterwards, and cannot be refused.
"""

import asyncio
import contextlib
import uuid
import weakref
from typing import Any, Final, Unpack

from litellm.exceptions import BudgetExceededError
from litellm.integrations.custom_logger import CustomLogger
from litellm.litellm_core_utils.agentic_followup_failure import mark_agentic_followup_failure

from tallystick.integrations.calls import Accounts, AccountTerms, OpenCalls, about_tokens
from tallystick.interface.interface import Interface
from tallystick.interface.refusals import Refused

_SENT: Final = ("messages", "input", "prompt", "instructions", "tools")
_LARGEST: Final = ("max_completion_tokens", "max_tokens", "max_output_tokens")
Request = dict[str, Any]


class CallRefused(Refused, BudgetExceededError):
    """A call was refused: LiteLLM's own error of a budget, with the code and the numbers that decided."""

    def __init__(self, refused: Refused) -> None:
        Refused.__init__(self, refused.code, refused.message, refused.details)
        # What the proxy's clients read has the code in it.
        BudgetExceededError.__init__(self, 0.0, 0.0, message=str(refused))

    __str__ = BudgetExceededError.__str__


class Budget(CustomLogger):
    """``litellm.callbacks = [Budget(fleet, "writer")]``: all calls are made at the account ``writer``; or, where
    ``sub_agents`` is given, at the one below it that a call names by ``metadata={"agent": "reader"}`` (see `Accounts`).

    In the proxy the accounts below are those of its keys' aliases, or of its users.
    """

    def __init__(self, fleet: Interface, agent: str, **terms: Unpack[AccountTerms]) -> None:
        super().__init__()
        self._accounts, self._calls = Accounts(fleet, agent, **terms), OpenCalls[str]()
        self._whose: dict[str, tuple[str | None, dict[str, str]]] = {}
        # LiteLLM takes two callbacks for one that do not differ in their public attributes. Under this name its record
        # of a call has the name that the call has here: its own id may be the choice of the proxy's client.
        self.key = f"tallystick-{uuid.uuid4().hex}"

    async def async_pre_call_hook(self, user_api_key_dict: Any, cache: Any, data: Request, call_type: Any) -> None:
        """The proxy was asked. A refusal is answered with `litellm.budget_exceeded_status_code`, which is 422."""
        known = (("team", user_api_key_dict.team_id), ("user", user_api_key_dict.user_id))
        labels = {name: value for name, value in known if value}
        await self._begin(data, user_api_key_dict.key_alias or user_api_key_dict.user_id, labels)

    async def async_pre_call_deployment_hook(self, kwargs: Request, call_type: Any) -> None:
        """The SDK, or the proxy's router, is about to call; what the proxy was asked for is open already."""
        await self._begin(kwargs, _agent_in(kwargs), {})

    async def _begin(self, request: Request, sub_agent: str | None, labels: dict[str, str]) -> None:
        name = request["litellm_logging_obj"].model_call_details.setdefault(self.key, uuid.uuid4().hex)
        if name in self._calls:
            return
        self._watch(name, request)
        sub_agent, labels = self._whose.setdefault(name, (sub_agent, labels))
        terms: dict[str, Any] = {"labels": labels} if labels else {}
        if largest := next((request[key] for key in _LARGEST if request.get(key)), None):
            terms["max_output_tokens"] = largest
        sent = about_tokens([request.get(key) for key in _SENT])
        call = self._accounts.async_call(request.get("model"), sub_agent, input_tokens=sent, **terms)
        try:
            await self._calls.begin_async(name, call)
        except Exception as error:  # noqa: BLE001 - it is raised again
            failed = CallRefused(error) if isinstance(error, Refused) else error
            # Else `num_retries` would make the call after all, by a function that asks no callback.
            mark_agentic_followup_failure(failed, ())
            raise failed from None

    def _watch(self, name: str, request: Request) -> None:
        """LiteLLM says nothing of a call that is cancelled, nor of a stream that is left: only its objects end."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        weakref.finalize(request["litellm_logging_obj"], self._collected, loop, name).atexit = False
        if task is not None and not request.get("stream"):
            task.add_done_callback(lambda ended: self._give_up(loop, name) if ended.cancelled() else None)

    def _collected(self, loop: asyncio.AbstractEventLoop, name: str) -> None:
        """Objects are collected anywhere: nothing may be waited for. Without a loop the hold's time to live ends it."""
        self._whose.pop(name, None)
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self._give_up, loop, name)

    def _give_up(self, loop: asyncio.AbstractEventLoop, name: str) -> None:
        if name in self._calls:
            loop.run_in_executor(None, self._calls.give_up, name, asyncio.CancelledError("it was left"))

    async def async_post_call_success_deployment_hook(
        self, request_data: Request, response: Any, call_type: Any
    ) -> None:
        """It was answered whole, and goes on when it is settled."""
        record = request_data["litellm_logging_obj"]
        cost = record.response_cost_calculator(result=response)
        unknown = record.model_call_details.get("response_cost_failure_debug_information")
        id = response.get("id") if isinstance(response, dict) else getattr(response, "id", None)
        used = _used(response, None if unknown else cost, id)
        await self._calls.settle_async(self._name_in(request_data), **used)

    async def async_log_success_event(self, kwargs: Request, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """A stream has ended, or LiteLLM had the answer in its cache."""
        await self._calls.settle_async(kwargs.get(self.key, ""), **_logged(kwargs, response_obj))

    async def async_post_call_failure_deployment_hook(
        self, request_data: Any, exception: Exception, call_type: Any, fallback_depth: int | None = None
    ) -> None:
        """An attempt failed; the next one is asked for anew."""
        await self._calls.cancel_async(self._name_in(request_data), exception)

    async def async_log_failure_event(self, kwargs: Request, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """A call has failed, or a stream on its way."""
        await self._calls.cancel_async(kwargs.get(self.key, ""), kwargs.get("exception") or RuntimeError("it failed"))

    def log_success_event(self, kwargs: Request, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """A call of a function without `await` has ended."""
        if self.key not in kwargs:
            sub_agent = _agent_in(kwargs.get("litellm_params", {}))
            self._accounts.report(sub_agent=sub_agent, model=kwargs["model"], **_logged(kwargs, response_obj))

    def _name_in(self, request: Any) -> str:
        name: str = request["litellm_logging_obj"].model_call_details.get(self.key, "")
        return name


def _agent_in(request: Request) -> str | None:
    agent = (request.get("metadata") or {}).get("agent")
    return agent if isinstance(agent, str) else None


def _logged(kwargs: Request, response: Any) -> dict[str, Any]:
    """What LiteLLM's event says of a call. What comes out of its cache is free."""
    said = kwargs["standard_logging_object"]
    if said.get("cache_hit"):
        return {"reply": {"input_tokens": 0, "output_tokens": 0}, "usd": 0}
    return _used(response, None if said.get("response_cost_failure_debug_info") else said["response_cost"], said["id"])


def _used(response: Any, cost: float | None, id: str | None) -> dict[str, Any]:
    """Its cost is LiteLLM's, where that knows the model; else the fleet's prices count."""
    return {"reply": response, "usd": None if cost is None else f"{cost:.9f}", "source_id": id}
