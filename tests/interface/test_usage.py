"""What a provider's reply says is found by its names, in whole replies, usage objects and streams."""

from types import SimpleNamespace as Thing
from typing import Any

import pytest

from tallystick.events.messages.provider_usage import Counts, counted
from tallystick.interface.usage import UsageNotUnderstood, described, usage_of

CHAT = {
    "prompt_tokens": 1_000,
    "completion_tokens": 100,
    "total_tokens": 1_100,
    "prompt_tokens_details": {"cached_tokens": 800},
    "completion_tokens_details": {"reasoning_tokens": 40},
}
RESPONSES = {
    "input_tokens": 1_000,
    "input_tokens_details": {"cached_tokens": 800},
    "output_tokens": 100,
    "output_tokens_details": {"reasoning_tokens": 40},
    "total_tokens": 1_100,
}
ANTHROPIC = {
    "input_tokens": 200,
    "cache_read_input_tokens": 800,
    "cache_creation_input_tokens": None,
    "output_tokens": 100,
    "service_tier": "standard",
}
GEMINI = {
    "prompt_token_count": 1_000,
    "cached_content_token_count": 800,
    "candidates_token_count": 60,
    "thoughts_token_count": 40,
    "total_token_count": 1_100,
}
LITELLM = {**CHAT, "cache_read_input_tokens": 800, "cache_creation_input_tokens": 0}


def thing(fields: Any) -> Any:
    """An object with attributes, as the providers' libraries return."""
    return Thing(**{key: thing(value) for key, value in fields.items()}) if isinstance(fields, dict) else fields


REPLIES = {
    "openai chat": {"id": "c-1", "model": "gpt", "choices": [], "service_tier": "default", "usage": CHAT},
    "openai responses": {"id": "r-1", "status": "completed", "service_tier": "default", "usage": RESPONSES},
    "anthropic messages": {"id": "m-1", "type": "message", "content": [], "usage": ANTHROPIC},
    "gemini": {"candidates": [], "model_version": "gemini", "usage_metadata": GEMINI},
    "litellm": {"id": "l-1", "choices": [], "usage": LITELLM},
}
USAGES = {"openai chat": CHAT, "openai responses": RESPONSES, "anthropic": ANTHROPIC, "gemini": GEMINI}


@pytest.mark.parametrize("form", [dict, thing], ids=["a mapping", "an object"])
@pytest.mark.parametrize(
    "given", [*REPLIES.values(), *USAGES.values()], ids=[*REPLIES, *(f"{one}, alone" for one in USAGES)]
)
def test_all_providers_are_counted_alike_with_cached_tokens_within_the_input(given: Any, form: Any) -> None:
    found = counted(usage_of(form(given)))
    assert (found.input_tokens, found.output_tokens, found.cached_tokens) == (1_000, 100, 800)


CHUNK = {"id": "c-1", "object": "chat.completion.chunk", "service_tier": "default", "choices": []}
STREAMS = {
    "openai chat": [{**CHUNK, "usage": None}, {**CHUNK, "usage": None}, {**CHUNK, "usage": CHAT}],
    "openai responses": [
        {"type": "response.created", "response": {"service_tier": "auto", "usage": None}},
        {"type": "response.output_text.delta", "delta": "a"},
        {"type": "response.completed", "response": {"service_tier": "default", "usage": RESPONSES}},
    ],
    "anthropic messages": [
        {"type": "message_start", "message": {"id": "m-1", "usage": {**ANTHROPIC, "output_tokens": 1}}},
        {"type": "content_block_delta", "delta": {"text": "a"}},
        {"type": "message_delta", "usage": {"output_tokens": 100}},
        {"type": "message_stop"},
    ],
    "gemini": [
        {"candidates": [], "usage_metadata": {"prompt_token_count": 1_000, "total_token_count": 1_000}},
        {"candidates": [], "usage_metadata": GEMINI},
    ],
    "bedrock converse": [
        {"contentBlockDelta": {"delta": {"text": "a"}}},
        {"metadata": {"usage": {"inputTokens": 200, "cacheReadInputTokens": 800, "outputTokens": 100}}},
    ],
}


@pytest.mark.parametrize("form", [dict, thing], ids=["mappings", "objects"])
@pytest.mark.parametrize("parts", STREAMS.values(), ids=STREAMS)
def test_a_stream_is_counted_by_its_last_figures(parts: list[Any], form: Any) -> None:
    found = counted(usage_of([form(part) for part in parts]))
    assert (found.input_tokens, found.output_tokens, found.cached_tokens) == (1_000, 100, 800)


def test_zero_tokens_are_a_usage() -> None:
    assert counted(usage_of({"input_tokens": 0, "output_tokens": 0})) == Counts(0, 0)


class Strange:
    """An object of a library that fails when it is asked."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (None, "None"),
        ("1,000 tokens", "a str with no attributes"),
        ({}, "a mapping with no keys"),
        ({"tokens_in": 5, "prompt": "a secret"}, "a mapping with tokens_in, prompt"),
        ({str(n): n for n in range(20)}, "a mapping with 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, …"),
        (Thing(text="a secret", _private=1), "a SimpleNamespace with text"),
        (Strange(), "a Strange with no attributes"),
        ([Thing(), Thing(), 5], "a list of 3 (SimpleNamespace, int)"),
        ([], "a list of 0 (nothing)"),
        ({"usage": {"service_tier": "default"}}, "a mapping with usage"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_what_is_not_understood_is_an_error_that_names_what_was_found_and_no_values(given: Any, found: str) -> None:
    with pytest.raises(UsageNotUnderstood) as error:
        usage_of(given)
    assert str(error.value).startswith(f"found {found}, and no usage in it: allowed are ")
    assert "secret" not in str(error.value)
    assert described(given) == found
