"""The semantic conventions for generative AI: what a call to a model used, under their names of today and of before.

What is counted is a call. ``invoke_agent`` and ``invoke_workflow`` carry sums of the calls below them.
"""

from decimal import Decimal
from typing import Final, NamedTuple

from tallystick.sources_of_tools import provider_id, source_named
from tallystick.telemetry.attributes import count, dollars, text
from tallystick.telemetry.items import Attributes, Group, LogRecord, Span, Unusable

CALL_EVENT: Final = "gen_ai.client.inference.operation.details"
_INPUT: Final = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens")
_OUTPUT: Final = ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens")
_CACHED: Final = (
    *("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens", "gen_ai.usage.cached_tokens"),
    *("ai.usage.inputTokenDetails.cacheReadTokens", "ai.usage.cachedInputTokens"),
)
_WRITTEN: Final = (
    *("gen_ai.usage.cache_write.input_tokens", "gen_ai.usage.cache_creation.input_tokens"),
    *("gen_ai.usage.cache_creation_input_tokens", "ai.usage.inputTokenDetails.cacheWriteTokens"),
)
_REASONED: Final = (
    *("gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens"),
    *("ai.usage.outputTokenDetails.reasoningTokens", "ai.usage.reasoningTokens"),
)
_AI_DETAILS: Final = "ai.usage.inputTokenDetails.cacheReadTokens"
_NO_CALLS: Final = frozenset(("invoke_agent", "invoke_workflow", "create_agent", "execute_tool"))
_AI_CALLS: Final = (".doGenerate", ".doStream", ".doEmbed")
_COST: Final = ("gen_ai.usage.cost", "gen_ai.cost.total_cost")
_HEX: Final = frozenset("0123456789abcdef")


class Use(NamedTuple):
    """What a call used. ``input`` has all input, the parts from and to a cache included; ``output`` all output.

    ``source`` is what the call is known by, however often and by whatever way it comes. ``cost`` is the dollars that
    its program says; ``requests`` of how many calls it is the total, where it is not one.
    """

    source: str
    at_ns: int
    model: str | None
    input: int | None = None
    output: int | None = None
    cached: int | None = None
    written: int | None = None
    reasoned: int | None = None
    cost: Decimal | None = None
    operation: str | None = None
    requests: int | None = None


def use_of_span(group: Group[Span], span: Span) -> Use | None:
    """What a span used; None where it is no call.

    Raises:
        Unusable: it is one, and cannot be reported.
    """
    kind = span.attributes.get("ai.operationId")
    if isinstance(kind, str) and not kind.endswith(_AI_CALLS):
        return None
    return _use(span.attributes, span.trace, span.span, span.ended_ns)


def use_of_record(group: Group[LogRecord], record: LogRecord) -> Use | None:
    """What an event used; None where it is no call.

    Raises:
        Unusable: it is one, and cannot be reported.
    """
    if record.name != CALL_EVENT:
        return None
    return _use(record.attributes, record.trace, record.span, record.at_ns)


def _use(attributes: Attributes, trace: str, span: str, at_ns: int) -> Use | None:
    operation = text(attributes, "gen_ai.operation.name")
    if operation in _NO_CALLS:
        return None
    sent, got = count(attributes, *_INPUT), count(attributes, *_OUTPUT)
    cached, written = count(attributes, *_CACHED), count(attributes, *_WRITTEN)
    if not (sent or got or cached or written):
        return None
    return Use(
        _source(attributes, trace, span),
        at_ns,
        text(attributes, "gen_ai.response.model", "gen_ai.request.model", "ai.model.id"),
        _all_input(attributes, sent, cached, written),
        got,
        cached,
        written,
        count(attributes, *_REASONED),
        dollars(attributes, *_COST),
        operation,
    )


def _all_input(attributes: Attributes, sent: int | None, cached: int | None, written: int | None) -> int | None:
    """All input. Cached parts are within it; where they cannot be, they were counted beside it, as Anthropic does, and
    the AI SDK for Anthropic before its version 6.
    """
    parts = (cached or 0) + (written or 0)
    if not parts:
        return sent
    provider = text(attributes, "gen_ai.provider.name", "gen_ai.system", "ai.model.provider") or ""
    beside = "ai.operationId" in attributes and _AI_DETAILS not in attributes and provider.startswith("anthropic")
    return (sent or 0) + parts if beside or parts > (sent or 0) else sent


def _source(attributes: Attributes, trace: str, span: str) -> str:
    """The provider's id of the response; without one, the span: an event of the same call is within it."""
    id = text(attributes, "gen_ai.response.id")
    if id is not None:
        return provider_id(id)
    if len(trace) == 32 and len(span) == 16 and _HEX.issuperset(trace) and _HEX.issuperset(span):
        return source_named("otlp", trace, span)
    raise Unusable("gen_ai.response.id: found nothing, and no ids of a trace and a span: it would count each time")
