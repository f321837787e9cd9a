"""A session of Claude Code that is played to the SDK's own transport, with the frames that its command line writes."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from typing import Any

from claude_agent_sdk import Transport

from tests.support.claude_cli import MODEL, events, text

_NUMBERS = itertools.count(1)


class PlayedSession(Transport):
    """One prompt, one hook before it, and one answer, unless the hook blocks it; ``calls`` counts the answers."""

    def __init__(self, calls: list[int]) -> None:
        self._calls, self._id = calls, f"s-{next(_NUMBERS)}"
        self._frames: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._hook = ""

    async def connect(self) -> None:
        """There is nothing to start."""

    async def write(self, data: str) -> None:
        given = json.loads(data)
        if given["type"] == "control_request":
            hooks = given["request"]["hooks"]
            self._hook = hooks["UserPromptSubmit"][0]["hookCallbackIds"][0]
            answer = {"subtype": "success", "request_id": given["request_id"], "response": {}}
            self._say({"type": "control_response", "response": answer})
        elif given["type"] == "user":
            prompt = {"hook_event_name": "UserPromptSubmit", "prompt": given["message"]["content"]}
            prompt["transcript_path"] = f"{self._id}.jsonl"  # sessions may be kept from writing one
            asked = {"subtype": "hook_callback", "callback_id": self._hook, "input": prompt}
            self._say({"type": "control_request", "request_id": "hook-1", "request": asked})
        else:
            said = given["response"]["response"]
            self._end(said["reason"], {}) if "reason" in said else self._answer()

    def _answer(self) -> None:
        self._calls.append(1)
        parts = events(1, [text("hello")], {"model": MODEL})
        message = {**parts[0]["message"], "id": f"msg_01{self._id:>22}".replace(" ", "x"), "content": [text("hello")]}
        parts[0]["message"] = message
        about = {"session_id": self._id, "uuid": self._id, "parent_tool_use_id": None}
        for part in parts:
            self._say({"type": "stream_event", "event": part, **about})
            if part["type"] == "content_block_delta":
                self._say({"type": "assistant", "message": message, **about})
        totals = {"inputTokens": 100, "cacheCreationInputTokens": 5, "cacheReadInputTokens": 1_000, "outputTokens": 20}
        self._end("hello", {MODEL: totals})

    def _end(self, result: str, totals: dict[str, Any]) -> None:
        figures = {"duration_ms": 1, "duration_api_ms": 1, "num_turns": 1, "session_id": self._id}
        said = {"is_error": False, "result": result, "modelUsage": totals}
        self._say({"type": "result", "subtype": "success", **figures, **said})

    def _say(self, frame: dict[str, Any] | None) -> None:
        self._frames.put_nowait(frame)

    async def read_messages(self) -> AsyncIterator[dict[str, Any]]:
        while (frame := await self._frames.get()) is not None:
            yield frame

    async def end_input(self) -> None:
        self._say(None)

    async def close(self) -> None:
        """Nothing is open."""

    def is_ready(self) -> bool:
        return True
