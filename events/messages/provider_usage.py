"""What a provider says that a request used, in the provider's own words: which of it is kept, and what it means.

A usage object comes as it is: of Anthropic, OpenAI (chat and responses), Gemini, Bedrock, LiteLLM, and those that
write it like one of them. `stripped` keeps the numbers and the short codes that stand under known names, and nothing
else, before the message is recorded: no text of prompts or replies ever enters the log. `counted` reads the tokens
out of what was kept. Only known names are looked at, at known depths: however deep, large or strange an object is,
it costs the same.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

KEPT_MAX: Final = 2_048
"""Bytes of a usage object that are kept at most."""
COUNT_MAX: Final = 10**12
"""No request has as many tokens; what is said to have more is not kept."""
_CODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
_ITEMS_MAX: Final = 8

_NUMBER, _WORD = "number", "word"
_CACHES: Final = {"ephemeral_5m_input_tokens": _NUMBER, "ephemeral_1h_input_tokens": _NUMBER}
_HEARD: Final = {"modality": _WORD, "tokenCount": _NUMBER, "token_count": _NUMBER}
_INPUT_DETAILS: Final = {
    **dict.fromkeys(("cached_tokens", "cache_write_tokens", "cache_creation_tokens", "audio_tokens"), _NUMBER),
    "cache_creation_token_details": _CACHES,
    **_HEARD,
}
_OUTPUT_DETAILS: Final = {**dict.fromkeys(("reasoning_tokens", "thinking_tokens", "audio_tokens"), _NUMBER), **_HEARD}
_TTL: Final = {"ttl": _WORD, "inputTokens": _NUMBER}
_PLAIN: Final = (
    # Anthropic, and those that write as it does
    "input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens",
    # OpenAI, DeepSeek, Moonshot, LiteLLM
    "prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "reasoning_tokens",
    "prompt_cache_hit_tokens", "prompt_cache_miss_tokens", "cached_prompt_text_tokens",
    # Gemini
    "promptTokenCount", "candidatesTokenCount", "responseTokenCount", "thoughtsTokenCount", "toolUsePromptTokenCount",
    "cachedContentTokenCount", "totalTokenCount", "prompt_token_count", "candidates_token_count",
    "response_token_count", "thoughts_token_count", "tool_use_prompt_token_count", "cached_content_token_count",
    "total_token_count", # Bedrock
    "inputTokens", "outputTokens", "totalTokens", "cacheReadInputTokens", "cacheWriteInputTokens",
    "cacheReadInputTokenCount", "cacheWriteInputTokenCount", "inputTokenCount", "outputTokenCount",
    "cacheReadTokens", "cacheWriteTokens",
    # Vercel's and other kits
    "promptTokens", "completionTokens", "cachedInputTokens", "reasoningTokens",
)  # fmt: skip
_NAMES: Final[Mapping[str, Any]] = {
    **dict.fromkeys(_PLAIN, _NUMBER),
    **dict.fromkeys(("service_tier", "serviceTier", "trafficType", "traffic_type"), _WORD),
    "cache_creation": _CACHES,
    **dict.fromkeys(("input_tokens_details", "input_token_details", "prompt_tokens_details"), _INPUT_DETAILS),
    **dict.fromkeys(("output_tokens_details", "output_token_details", "completion_tokens_details"), _OUTPUT_DETAILS),
    **dict.fromkeys(
        ("promptTokensDetails", "candidatesTokensDetails", "responseTokensDetails", "candidates_tokens_details",
         "toolUsePromptTokensDetails", "tool_use_prompt_tokens_details", "response_tokens_details"),
        _HEARD,
    ),
    "cacheDetails": _TTL,
    "billed_units": dict.fromkeys(("input_tokens", "output_tokens"), _NUMBER),
}  # fmt: skip
_INSIDE: Final = ("usage", "usageMetadata", "usage_metadata", "tokenUsage", "response")
"""Where a usage object stands in a reply that was given whole."""


def stripped(given: Any) -> dict[str, Any] | None:
    """What is kept of a usage object: at most 2 kB of numbers and short codes; None where nothing of it is known.

    ``given`` may be a mapping, or an object of a provider's library with these names as attributes.
    """
    kept: dict[str, Any] = {}
    for place in _places(given):
        found = _known(place, _NAMES)
        kept = kept or found
        # A whole reply may have short codes of its own beside its usage object.
        if any(not isinstance(value, str) for value in found.values()):
            kept = found
            break
    while len(msgspec.json.encode(kept)) > KEPT_MAX:
        kept.popitem()
    return kept or None


def _places(given: Any) -> Iterator[Any]:
    """Where the names of a usage object may stand: in what was given, or within it."""
    yield given
    for name in _INSIDE:
        inner = _at(given, name)
        yield inner
        yield _at(inner, "usage")


def _known(given: Any, names: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of an object that are known, each in the form that is expected of it."""
    kept: dict[str, Any] = {}
    if given is None or isinstance(given, str | bytes | int | float | list | tuple):
        return kept
    if type(given) is dict and len(given) < len(names):
        found = [(name, value) for name, value in given.items() if isinstance(name, str) and name in names]
    else:
        found = [(name, _at(given, name)) for name in names]
    for name, value in found:
        if value is None:
            continue
        kind = names[name]
        if kind is _NUMBER:
            known: Any = _number(value)
        elif kind is _WORD:
            known = _word(value)
        elif isinstance(value, list | tuple):
            known = [item for one in value[:_ITEMS_MAX] if (item := _known(one, kind))] or None
        else:
            known = _known(value, kind) or None
        if known is not None:
            kept[name] = known
    return kept


def _at(given: Any, name: str) -> Any:
    try:
        return given.get(name) if isinstance(given, Mapping) else getattr(given, name, None)
    except Exception:  # noqa: BLE001 - an object of somebody's library may do anything when it is asked
        return None


def _number(value: Any) -> int | float | None:
    if type(value) is int:
        return value if 0 <= value <= COUNT_MAX else None
    if type(value) is float:
        return value if 0 <= value <= COUNT_MAX else None
    return None


def _word(value: Any) -> str | None:
    text = value if isinstance(value, str) else _at(value, "value")
    return str.__str__(text) if isinstance(text, str) and _CODE.fullmatch(text) else None


# --- what it means ---------------------------------------------------------------------------------------------------


class Counts(NamedTuple):
    """The tokens that a usage object names, as the fields of `ReportUsage` do; None where it does not say."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    reasoning_tokens: int | None = None
    audio_input_tokens: int | None = None
    audio_output_tokens: int | None = None


NONE: Final = Counts()


def counted(given: Any) -> Counts:
    """What a usage object says, in one way of counting: all input with its cached parts, all output with its reasoning.

    Anthropic and Bedrock count cached tokens beside the input, OpenAI and Gemini within it; Gemini counts thoughts
    beside the output.
    """
    found = stripped(given)
    if found is None:
        return NONE
    reading = _Reading(found)
    cached, written = reading.cached(), reading.written()
    heard, spoken = reading.audio("input"), reading.audio("output")
    sent = reading.input(cached or 0, written[0] or 0)
    got = reading.output()
    parts = (cached or 0) + (written[0] or 0)
    if sent is not None or parts or heard:
        sent = max(sent or 0, parts, heard or 0)
    if got is not None or spoken or reading.reasoning():
        # What a total has beyond the rest was written too: some count reasoning beside the output.
        got = max(got or 0, spoken or 0, reading.total() - (sent or 0))
        got = max(got, reading.reasoning() or 0)
    elif sent is None and reading.total():
        sent = reading.total()
    return Counts(
        sent,
        got,
        cached,
        *written,
        reading.reasoning(),
        heard,
        spoken,
    )


class _Reading:
    """A stripped usage object, and its numbers by the names that they may have."""

    def __init__(self, found: Mapping[str, Any]) -> None:
        self._found = found
        self._input = [found.get(f"{name}_details") for name in ("prompt_tokens", "input_tokens", "input_token")]
        self._output = [found.get(f"{name}_details") for name in ("completion_tokens", "output_tokens", "output_token")]

    def input(self, cached: int, written: int) -> int | None:
        """All input tokens."""
        within = self._first("prompt_tokens", "promptTokens", "promptTokenCount", "prompt_token_count")
        if within is not None:
            return within + (self._first("toolUsePromptTokenCount", "tool_use_prompt_token_count") or 0)
        if "cachedInputTokens" in self._found:
            return self._first("inputTokens")
        beside = self._first("input_tokens", "inputTokens", "inputTokenCount")
        if beside is None:
            hits = (self._first("prompt_cache_hit_tokens"), self._first("prompt_cache_miss_tokens"))
            if hits != (None, None):
                return (hits[0] or 0) + (hits[1] or 0)
            return _whole(_inside(self._found.get("billed_units"), "input_tokens"))
        if any(isinstance(details, dict) for details in self._input):
            return beside
        return beside + cached + written

    def output(self) -> int | None:
        """All output tokens."""
        got = self._first("completion_tokens", "completionTokens", "output_tokens", "outputTokens", "outputTokenCount")
        if got is None:
            got = self._first(
                "candidatesTokenCount", "candidates_token_count", "responseTokenCount", "response_token_count"
            )
            thought = self._first("thoughtsTokenCount", "thoughts_token_count")
            if got is not None or thought is not None:
                return (got or 0) + (thought or 0)
            return _whole(_inside(self._found.get("billed_units"), "output_tokens"))
        return got

    def total(self) -> int:
        """All tokens, or 0."""
        return self._first("total_tokens", "totalTokens", "totalTokenCount", "total_token_count") or 0

    def cached(self) -> int | None:
        """Tokens that were read from a cache."""
        plain = self._first(
            "cache_read_input_tokens", "cacheReadInputTokens", "cacheReadInputTokenCount", "cacheReadTokens",
            "cachedContentTokenCount", "cached_content_token_count", "cachedInputTokens",
            "prompt_cache_hit_tokens", "cached_tokens", "cached_prompt_text_tokens",
        )  # fmt: skip
        return plain if plain is not None else self._detail(self._input, "cached_tokens")

    def written(self) -> tuple[int | None, int | None]:
        """Tokens that were written to a cache, and those of them to one that lives for an hour."""
        found = self._found
        caches = [
            found.get("cache_creation"),
            _inside(found.get("prompt_tokens_details"), "cache_creation_token_details"),
        ]
        short, hour = (self._detail(caches, f"ephemeral_{ttl}_input_tokens") for ttl in ("5m", "1h"))
        lists = found.get("cacheDetails")
        for item in lists if isinstance(lists, list) else ():
            if item.get("ttl") == "1h":
                hour = (hour or 0) + (_whole(item.get("inputTokens")) or 0)
        every = self._first(
            "cache_creation_input_tokens", "cacheWriteInputTokens", "cacheWriteInputTokenCount", "cacheWriteTokens"
        )
        if every is None:
            every = self._detail(self._input, "cache_write_tokens", "cache_creation_tokens")
        if every is None and (short is not None or hour is not None):
            every = (short or 0) + (hour or 0)
        return every, None if hour is None or every is None else min(hour, every)

    def reasoning(self) -> int | None:
        """Output tokens that were thought and not shown."""
        plain = self._first("thoughtsTokenCount", "thoughts_token_count", "reasoning_tokens", "reasoningTokens")
        return plain if plain is not None else self._detail(self._output, "reasoning_tokens", "thinking_tokens")

    def audio(self, direction: str) -> int | None:
        """Tokens of audio, of input or output."""
        if direction == "input":
            names, details = ("promptTokensDetails", "prompt_tokens_details"), self._input
            more = ("toolUsePromptTokensDetails", "tool_use_prompt_tokens_details")
        else:
            names, details = ("candidatesTokensDetails", "candidates_tokens_details"), self._output
            more = ("responseTokensDetails", "response_tokens_details")
        plain = self._detail(details, "audio_tokens")
        if plain is not None:
            return plain
        counts = [count for name in (*names, *more) for count in self._of_audio(name)]
        return sum(counts) if counts else None

    def _of_audio(self, name: str) -> Iterator[int]:
        listed = self._found.get(name)
        for item in listed if isinstance(listed, list) else ():
            if str(item.get("modality", "")).upper().endswith("AUDIO"):
                yield _whole(item.get("tokenCount", item.get("token_count"))) or 0

    def _first(self, *names: str) -> int | None:
        """The number under the first of these names that is there."""
        return next((_whole(self._found[name]) for name in names if name in self._found), None)

    @staticmethod
    def _detail(details: list[Any], *names: str) -> int | None:
        found = (_whole(_inside(one, name)) for one in details for name in names)
        return next((count for count in found if count is not None), None)


def _inside(details: Any, name: str) -> Any:
    return details.get(name) if isinstance(details, dict) else None


def _whole(value: Any) -> int | None:
    """A number of tokens; what is finer is rounded up."""
    return math.ceil(value) if isinstance(value, int | float) else None
