"""Tools that export in a way of their own: for each, the one signal that is counted, and under which source.

The same call of a tool arrives as an event, a span and in metrics. Of Claude Code the events are counted, and spans
that have the same id of the request; of Codex and Gemini CLI the events. All else that they export is left out.
"""

from typing import Final

from tallystick import sources_of_tools as sources
from tallystick.telemetry import genai
from tallystick.telemetry.attributes import count, dollars, text
from tallystick.telemetry.genai import Use
from tallystick.telemetry.items import Attributes, Group, LogRecord, Span, Unusable

_CLAUDE_SCOPE: Final = "com.anthropic.claude_code"
_CODEX: Final = frozenset(
    ("codex", "codex_cli_rs", "codex_exec", "codex_vscode", "codex_sdk_ts", "codex-cli", "codex-app-server")
)
"""What Codex calls itself (``service.name``)."""
_GEMINI: Final = "gemini-cli"
"""What Gemini CLI calls itself, its instrumentation and its agent."""


def use_of_record(group: Group[LogRecord], record: LogRecord) -> Use | None:
    """What an event used; None where it is none of a call that is counted.

    Raises:
        Unusable: it is one, and cannot be reported.
    """
    match record.name:
        case "claude_code.api_request":
            return _of_claude_code(record.attributes, record.at_ns)
        case "api_request" if (
            group.scope.startswith(_CLAUDE_SCOPE) or group.resource.get("service.name") == "claude-code"
        ):
            return _of_claude_code(record.attributes, record.at_ns)
        case "codex.sse_event":
            return _of_codex(record) if record.attributes.get("event.kind") == "response.completed" else None
        case "gemini_cli.api_response":
            return _of_gemini_cli(group, record)
    return None if _has_events(group, record.attributes) else genai.use_of_record(group, record)


def use_of_span(group: Group[Span], span: Span) -> Use | None:
    """What a span used; None where it is no call, or its call is counted as an event.

    Raises:
        Unusable: it is one, and cannot be reported.
    """
    if span.name.startswith("claude_code."):
        # Without an id of the request, nothing would say that it is the call of an event.
        identified = text(span.attributes, "request_id", "gen_ai.response.id") is not None
        is_call = span.name == "claude_code.llm_request" and identified
        return _of_claude_code(span.attributes, span.ended_ns) if is_call else None
    return None if _has_events(group, span.attributes) else genai.use_of_span(group, span)


def _has_events(group: "Group[Span] | Group[LogRecord]", attributes: Attributes) -> bool:
    """Whether the calls of a program are counted as events of its own kind."""
    service = group.resource.get("service.name")
    return service in _CODEX or _GEMINI in (service, group.scope, attributes.get("gen_ai.agent.name"))


def _of_claude_code(attributes: Attributes, at_ns: int) -> Use | None:
    sent, got = count(attributes, "input_tokens"), count(attributes, "output_tokens")
    cached, written = count(attributes, "cache_read_tokens"), count(attributes, "cache_creation_tokens")
    every = (sent or 0) + (cached or 0) + (written or 0)
    if not (every or got):
        return None
    source = sources.claude_code(text(attributes, "request_id", "gen_ai.response.id"))
    if source is None:
        when = text(attributes, "event.timestamp") or at_ns
        session, sequence = text(attributes, "session.id"), text(attributes, "event.sequence")
        source = sources.source_named("claude-code", *map(str, (session, when, sequence, every, got)))
    model = text(attributes, "model", "gen_ai.request.model")
    return Use(source, at_ns, model, every, got, cached, written, cost=dollars(attributes, "cost_usd"))


def _of_codex(record: LogRecord) -> Use | None:
    attributes = record.attributes
    sent, got = count(attributes, "input_token_count"), count(attributes, "output_token_count")
    cached, reasoned = count(attributes, "cached_token_count"), count(attributes, "reasoning_token_count")
    if not (sent or got):
        return None
    session = text(attributes, "conversation.id")
    if session is None:
        raise Unusable("conversation.id: found nothing, needed is the id of the session")
    counts = (sent or 0, cached or 0, got or 0, reasoned or 0)
    return Use(
        sources.codex(session, counts),
        record.at_ns,
        text(attributes, "model", "slug"),
        sent,
        got,
        cached,
        count(attributes, "cache_write_token_count"),
        reasoned,
    )


def _of_gemini_cli(group: Group[LogRecord], record: LogRecord) -> Use | None:
    """Input has the cached part in it; what tools said is input, too, and what was thought is more output."""
    attributes = record.attributes
    sent, got = count(attributes, "input_token_count") or 0, count(attributes, "output_token_count") or 0
    thought, of_tools = count(attributes, "thoughts_token_count") or 0, count(attributes, "tool_token_count") or 0
    if not (sent or got or thought or of_tools):
        return None
    session = text(attributes, "session.id") or text(group.resource, "session.id")
    prompt = text(attributes, "prompt_id")
    if session is None and prompt is None:
        raise Unusable("session.id: found nothing, and no prompt_id: it would count each time")
    return Use(
        sources.gemini_cli(session or "", prompt or "", (sent, got, thought)),
        record.at_ns,
        text(attributes, "model"),
        sent + of_tools,
        got + thought,
        count(attributes, "cached_content_token_count"),
        None,
        thought or None,
    )
