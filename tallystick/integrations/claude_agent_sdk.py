"""Claude Agent SDK: hooks that ask before each call of a model, and messages that settle it."""

import dataclasses
from collections.abc import AsyncIterable, AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar, Unpack

from claude_agent_sdk import AssistantMessage, ClaudeAgentOptions, HookMatcher, ResultMessage
from claude_agent_sdk.types import ConversationResetMessage, HookContext, HookJSONOutput, SyncHookJSONOutput

from tallystick.actors.errors import Unanswered
from tallystick.integrations.calls import AccountTerms
from tallystick.integrations.claude_calls import SessionCalls
from tallystick.integrations.claude_usage import Kind, message_of
from tallystick.interface.calls import WAIT_SECONDS
from tallystick.interface.interface import Interface
from tallystick.interface.refusals import Refused

_EVENTS: Final = ("UserPromptSubmit", "PreToolUse", "PostToolBatch", "SubagentStop")
_SPAWNING: Final = frozenset({"Agent", "Task"})
_MARGIN_SECONDS: Final = 60.0
_Said = TypeVar("_Said")


class Budget:
    """A session of the SDK, whose model calls are made at the account ``agent``.

    ``async with Budget(fleet, "lead") as budget`` holds while the session lasts: `options` makes the options of `query`
    or `ClaudeSDKClient`, and `messages` passes their messages on. A call that is refused is not made: the prompt or the
    tool before it is refused, with the reason. With ``sub_agents``, each type of sub-agent has an account of its own
    below. The arguments are those of `calls.Accounts`.
    """

    def __init__(self, fleet: Interface, agent: str, **terms: Unpack[AccountTerms]) -> None:
        self._calls = SessionCalls(fleet, agent, terms)
        self._hook_seconds = float(terms.get("wait_seconds", WAIT_SECONDS)) + _MARGIN_SECONDS
        self._kinds: dict[str | None, Kind] = {}
        """By the use of the tool that began a sub-agent, its type."""
        self._with_past = False
        self.refused: Refused | Unanswered | None = None
        """The newest refusal, if there was one."""

    def options(self, options: ClaudeAgentOptions | None = None) -> ClaudeAgentOptions:
        """Options with hooks that ask, before those that are there."""
        given = options or ClaudeAgentOptions()
        self._with_past = bool(given.resume or given.continue_conversation)
        hooks: dict[Any, list[HookMatcher]] = {**(given.hooks or {})}
        for event in _EVENTS:
            hooks[event] = [HookMatcher(hooks=[self._hook], timeout=self._hook_seconds), *hooks.get(event, ())]
        return dataclasses.replace(given, hooks=hooks)

    async def messages(self, messages: AsyncIterable[_Said]) -> AsyncIterator[_Said]:
        """The messages of `query`, `receive_response` or `receive_messages`; what they say of usage settles calls."""
        async for message in messages:
            await self._hear(message)
            yield message

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._calls.end(error)

    async def _hook(self, given: Any, tool_use_id: str | None, context: HookContext) -> HookJSONOutput:
        agent, event, calls = given.get("agent_id"), given["hook_event_name"], self._calls
        kind: Kind = given["agent_type"] if agent else None
        calls.transcripts.watch(*_transcript(given))
        try:
            if event == "UserPromptSubmit":
                await calls.ask(None, given["prompt"])
            elif event == "PreToolUse":
                await calls.ask_for_next(agent, kind)
                if given["tool_name"] in _SPAWNING:
                    return await self._spawn(given["tool_use_id"], given["tool_input"])
            elif event == "PostToolBatch":
                await calls.make_next(agent, kind)
        except (Refused, Unanswered) as error:
            return self._refuse(event, error)
        return {}

    async def _spawn(self, tool_use_id: str, wanted: Mapping[str, Any]) -> HookJSONOutput:
        """Ask for the first call of a sub-agent; where it is refused, the one that wanted it goes on."""
        kind = self._kinds[tool_use_id] = wanted.get("subagent_type") or "general-purpose"
        try:
            await self._calls.ask(kind, wanted.get("prompt"))
        except (Refused, Unanswered) as error:
            return {**self._refuse("PreToolUse", error), "continue_": True}
        return {}

    def _refuse(self, event: str, error: Refused | Unanswered) -> SyncHookJSONOutput:
        self.refused, why = error, f"tallystick: {error}"
        if event == "UserPromptSubmit":
            return {"decision": "block", "reason": why}
        if event != "PreToolUse":
            return {"continue_": False, "stopReason": why}
        return {
            "continue_": False,
            "stopReason": why,
            "hookSpecificOutput": {
                "hookEventName": "PreToolUse",
                "permissionDecision": "deny",
                "permissionDecisionReason": why,
            },
        }

    async def _hear(self, message: Any) -> None:
        calls = self._calls
        if isinstance(message, AssistantMessage):
            said = message_of({"id": message.message_id, "model": message.model, "usage": message.usage})
            if said is not None:
                await calls.hear(message.parent_tool_use_id, self._kinds.get(message.parent_tool_use_id), said)
        elif isinstance(message, ConversationResetMessage):
            calls.reported.clear()
        elif isinstance(message, ResultMessage):
            with_past, self._with_past = self._with_past, False
            await calls.settle_totals(message.model_usage or {}, with_past=with_past)


def _transcript(given: Any) -> tuple[Path, Kind]:
    """The file to which the agent of a hook writes, and its type."""
    path = Path(given["transcript_path"])
    if not (agent := given.get("agent_id")):
        return path, None
    of_agent = given.get("agent_transcript_path") or path.with_suffix("") / "subagents" / f"agent-{agent}.jsonl"
    return Path(of_agent), given["agent_type"]
