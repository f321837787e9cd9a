"""A model for tests of LiteLLM, and what they wait for."""

import asyncio
import warnings
from collections.abc import AsyncIterator
from typing import Any

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import litellm

from tallystick import Fleet
from tests.support.programs import holds

MESSAGES = [{"role": "user", "content": "hello"}]


class Model(litellm.CustomLLM):
    """A provider of LiteLLM that answers here: 10 tokens in, 5 out; it fails or is slow where its model says so."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.asked = asyncio.Event()

    def _answer(self, response: Any) -> Any:
        response.choices[0].message.content = "hello"
        response.usage = litellm.Usage(prompt_tokens=10, completion_tokens=5, total_tokens=15)
        return response

    async def _asked(self, model: str) -> None:
        self.calls += 1
        self.asked.set()
        if model == "slow":
            await asyncio.Event().wait()
        if model == "broken":
            raise RuntimeError("it is broken")
        await asyncio.sleep(0)

    async def acompletion(self, model: str, model_response: Any, *given: Any, **named: Any) -> Any:  # type: ignore[override]
        await self._asked(model)
        return self._answer(model_response)

    def completion(self, model: str, model_response: Any, *given: Any, **named: Any) -> Any:  # type: ignore[override]
        self.calls += 1
        return self._answer(model_response)

    async def astreaming(self, model: str, *given: Any, **named: Any) -> AsyncIterator[Any]:  # type: ignore[override]
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        for number in range(3):
            await self._asked("" if number == 0 else model)
            last = number == 2
            yield {
                "text": "ab", "index": 0, "is_finished": last, "finish_reason": "stop" if last else "",
                "tool_use": None, "usage": usage if last else None,
            }  # fmt: skip


async def ended(fleet: Fleet) -> None:
    """LiteLLM's events come a moment after its answers."""
    while holds(fleet):  # noqa: ASYNC110 - LiteLLM's worker sets no event
        await asyncio.sleep(0.001)
