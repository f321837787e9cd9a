"""A provider's own usage object is read as its provider means it, kept without its texts, and never in the way."""

import datetime as dt
import json
import math
from typing import Any

import msgspec
import pytest
from genai_prices import data_snapshot
from hypothesis import given
from hypothesis import strategies as st

from tallystick.config.price_list import PriceList
from tallystick.config.prices import to_mapping
from tallystick.config.published import published_prices
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.log.codec import read_message
from tallystick.events.messages import proposals as p
from tallystick.events.messages.legible import mended
from tallystick.events.messages.provider_usage import KEPT_MAX, Counts, counted, stripped
from tallystick.events.messages.replies import Refusal
from tests.support.core import Core, allocate, fleet

MIDNIGHT = dt.datetime(2026, 3, 4, tzinfo=dt.UTC)
PUBLISHED = to_mapping(PriceList({}, published_prices(MIDNIGHT.date())))
THEIRS = data_snapshot.get_snapshot()

ANTHROPIC = {
    "input_tokens": 1_200,
    "cache_creation_input_tokens": 2_000,
    "cache_read_input_tokens": 5_000,
    "cache_creation": {"ephemeral_5m_input_tokens": 1_500, "ephemeral_1h_input_tokens": 500},
    "output_tokens": 300,
    "output_tokens_details": {"thinking_tokens": 120},
    "service_tier": "standard",
}
LONG_ANTHROPIC = {"input_tokens": 150_000, "cache_read_input_tokens": 100_000, "output_tokens": 1_000}
CHAT = {
    "prompt_tokens": 2_117,
    "completion_tokens": 460,
    "total_tokens": 2_577,
    "prompt_tokens_details": {"cached_tokens": 1_024, "audio_tokens": 100},
    "completion_tokens_details": {
        "reasoning_tokens": 200, "audio_tokens": 50, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0,
    },
}  # fmt: skip
RESPONSES = {
    "input_tokens": 3_280,
    "input_tokens_details": {"cached_tokens": 1_000},
    "output_tokens": 520,
    "output_tokens_details": {"reasoning_tokens": 400},
    "total_tokens": 3_800,
}
GEMINI = {
    "promptTokenCount": 210_000,
    "cachedContentTokenCount": 20_000,
    "candidatesTokenCount": 50,
    "thoughtsTokenCount": 700,
    "toolUsePromptTokenCount": 30,
    "totalTokenCount": 210_780,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 210_000}],
}
GEMINI_AUDIO = {
    "promptTokenCount": 1_000,
    "candidatesTokenCount": 50,
    "totalTokenCount": 1_050,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 600}, {"modality": "AUDIO", "tokenCount": 400}],
}
BEDROCK = {
    "inputTokens": 100,
    "outputTokens": 20,
    "totalTokens": 620,
    "cacheReadInputTokens": 400,
    "cacheWriteInputTokens": 100,
}
LITELLM = {
    "prompt_tokens": 8_200,
    "completion_tokens": 300,
    "total_tokens": 8_500,
    "cache_creation_input_tokens": 2_000,
    "cache_read_input_tokens": 5_000,
    "prompt_tokens_details": {"cached_tokens": 5_000, "cache_creation_tokens": 2_000, "text_tokens": None},
    "completion_tokens_details": None,
}
XAI = {
    "prompt_tokens": 100,
    "completion_tokens": 10,
    "total_tokens": 310,
    "completion_tokens_details": {"reasoning_tokens": 200},
}
OBJECTS = [
    ("anthropic", "default", "claude-sonnet-4-5", ANTHROPIC),
    ("anthropic", "default", "claude-sonnet-4-5", LONG_ANTHROPIC),
    ("openai", "chat", "gpt-4o-audio-preview", CHAT),
    ("openai", "responses", "gpt-5", RESPONSES),
    ("google", "default", "gemini-2.5-pro", GEMINI),
    ("google", "default", "gemini-2.5-flash", GEMINI_AUDIO),
    ("aws", "default", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", BEDROCK),
    ("x-ai", "chat", "grok-4", XAI),
]


@pytest.fixture
def core() -> Core:
    return Core(fleet(), p.LoadPrices(prices={}, published=PUBLISHED["published"]), allocate("ann", 10_000_000))


def asked(message: dict[str, Any]) -> c.Command:
    """A message as it comes in as JSON."""
    read = read_message(msgspec.json.encode(message), lambda: "new")
    assert not isinstance(read, Refusal), read
    return read[0]


def reported(core: Core, **fields: Any) -> e.UsageReported:
    core.given(asked({"type": "ReportUsage", "agent": "ann", "id": f"r-{core.ledger.position}", **fields}))
    return core.only(e.UsageReported)


@pytest.mark.parametrize(("provider", "flavor", "model", "usage"), OBJECTS)
def test_an_object_costs_what_the_library_makes_of_it(
    core: Core, provider: str, flavor: str, model: str, usage: dict[str, Any]
) -> None:
    theirs = next(one for one in THEIRS.providers if one.id == provider)
    root = {"google": "usageMetadata"}.get(provider, "usage")
    _, used = theirs.extract_usage({"model": model, root: usage}, api_flavor=flavor)
    found = theirs.find_model(model, all_providers=THEIRS.providers)
    assert found is not None
    price = found.calc_price(used, theirs, genai_request_timestamp=MIDNIGHT)
    event = reported(core, model=model, provider_usage=usage)
    assert (event.input_tokens, event.output_tokens) == (used.input_tokens, used.output_tokens)
    assert event.tokens == used.input_tokens + used.output_tokens
    assert event.cost_nanos == math.ceil(price.total_price * 10**9)
    assert not event.unpriced


def test_litellm_writes_anthropics_parts_within_its_input(core: Core) -> None:
    plain = {key: value for key, value in ANTHROPIC.items() if key != "cache_creation"}
    theirs, ours = (reported(core, model="claude-sonnet-4-5", provider_usage=one) for one in (plain, LITELLM))
    assert (theirs.input_tokens, theirs.cost_nanos) == (ours.input_tokens, ours.cost_nanos) == (8_200, ours.cost_nanos)


def test_what_the_message_names_wins_and_the_rest_is_read(core: Core) -> None:
    event = reported(core, model="gpt-5", provider_usage=RESPONSES, output_tokens=600)
    assert (event.input_tokens, event.output_tokens, event.cached_tokens) == (3_280, 600, 1_000)


def test_parts_beyond_an_input_that_was_read_make_it_larger(core: Core) -> None:
    event = reported(core, model="gpt-5", input_tokens=10, provider_usage=RESPONSES)
    assert event.cost_nanos == 1_000 * 125 + 520 * 10_000


def test_an_hours_cache_costs_more_than_a_short_one(core: Core) -> None:
    event = reported(core, model="claude-sonnet-4-5", provider_usage=ANTHROPIC)
    assert event.cache_write_1h_tokens == 500
    assert event.cost_nanos == 1_200 * 3_000 + 5_000 * 300 + 1_500 * 3_750 + 500 * 6_000 + 300 * 15_000


# --- what is kept ----------------------------------------------------------------------------------------------------

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(sorted(
        {"input_tokens", "prompt_tokens_details", "cacheDetails", "cache_creation", "promptTokensDetails", "usage",
         "service_tier", "totalTokenCount", "prompt", "content"}
    )), inner, max_size=6),
    max_leaves=30,
)  # fmt: skip


@given(ANYTHING)
def test_any_object_is_read_and_of_it_only_numbers_and_short_codes_are_kept(given: Any) -> None:
    kept = stripped(given)
    assert len(msgspec.json.encode(kept)) <= KEPT_MAX
    assert stripped(kept) == kept
    assert counted(given) == counted(kept)
    assert all(count is None or count >= 0 for count in counted(given))
    for leaf in _leaves(kept):
        assert isinstance(leaf, int | float) or (isinstance(leaf, str) and len(leaf) <= 32 and " " not in leaf)


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for inner in value.values() for leaf in _leaves(inner)]
    if isinstance(value, list):
        return [leaf for inner in value for leaf in _leaves(inner)]
    return [] if value is None else [value]


def test_no_text_of_a_prompt_or_reply_is_recorded() -> None:
    words = "what was asked for"
    given = {**CHAT, "prompt": words, "choices": [{"text": words}], "service_tier": words, words: 5}
    given["prompt_tokens_details"] = {"cached_tokens": 5, "text": words, words: 1}
    for message in (
        {"type": "ReportUsage", "agent": "a", "provider_usage": given},
        msgspec.json.encode({"type": "ReportUsage", "agent": "a", "provider_usage": given}),
        c.ReportUsage(agent="a", provider_usage=given),
    ):
        read = read_message(message, lambda: "new")
        assert not isinstance(read, Refusal)
        assert words.encode() not in read[1]
        assert b"cached_tokens" in read[1]


def test_an_object_of_a_providers_library_is_read_by_its_attributes() -> None:
    class Details:
        cached_tokens = 5
        audio_tokens = None

    class Usage:
        prompt_tokens, completion_tokens = 10, 3
        prompt_tokens_details = Details()

        @property
        def total_tokens(self) -> int:
            raise RuntimeError("not now")

    read = read_message(c.ReportUsage(agent="a", provider_usage=Usage()), lambda: "new")
    assert not isinstance(read, Refusal)
    assert counted(Usage()) == Counts(10, 3, 5)
    assert msgspec.json.decode(read[1])["provider_usage"] == {
        "prompt_tokens": 10, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 5},
    }  # fmt: skip


DEEP = b"[" * 50_000 + b"]" * 50_000
STRANGE = {
    "deep": b'{"input_tokens":7,"x":' + DEEP + b"}",
    "deep at once": DEEP,
    "a huge number": b'{"input_tokens":7,"x":' + b"9" * 5_000 + b"}",
    "beyond floats": b'{"input_tokens":7,"x":1e400}',
    "half a character": b'{"input_tokens":7,"x":"\\ud800"}',
    "a text": b'"input_tokens {[ \\" "',
    "a number": b"5",
    "a list": b'[{"input_tokens":7}]',
    "a large one": b'{"input_tokens":7,"x":"' + b"y" * 1_000_000 + b'"}',
    "many keys": b'{"input_tokens":7,' + b",".join(b'"k%d":{"a":[1]}' % n for n in range(20_000)) + b"}",
}


@pytest.mark.parametrize("what", STRANGE)
def test_a_strange_object_never_loses_the_report(what: str) -> None:
    message = b'{"type":"ReportUsage","agent":"a","provider_usage":%b,"usage":{"tokens":5}}' % STRANGE[what]
    for text in (message, message.decode()):
        read = read_message(text, lambda: "new")
        assert not isinstance(read, Refusal), read
        command, kept = read
        assert isinstance(command, c.ReportUsage)
        assert command.usage is not None
        assert command.usage.tokens == 5
        assert len(kept) < 3_000
        expected = 7 if STRANGE[what].startswith(b'{"input') else None
        assert counted(command.provider_usage).input_tokens == expected


def test_a_cycle_in_a_python_object_is_no_danger() -> None:
    usage: dict[str, Any] = {"prompt_tokens": 3}
    usage["prompt_tokens_details"] = usage["again"] = usage
    for message in (
        {"type": "ReportUsage", "agent": "a", "provider_usage": usage},
        c.ReportUsage(agent="a", provider_usage=usage),
    ):
        read = read_message(message, lambda: "new")
        assert not isinstance(read, Refusal)


def test_an_object_of_which_nothing_is_known_is_refused_by_name_where_nothing_else_was_said(core: Core) -> None:
    core.when(asked({"type": "ReportUsage", "agent": "ann", "provider_usage": {"words": 5}}))
    # Nothing of it is kept, and so nothing was said.
    assert "usage" in core.then_refused("invalid_amount").detail


@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_a_message_that_is_cut_off_anywhere_in_its_usage_object_is_refused_at_once(ensure_ascii: bool) -> None:
    deep: dict[str, Any] = {"input_tokens": [1_000], "nested": {"deeper": {"é": {"y": {"z": {"q": 1e-300}}}}}}
    message = {"type": "ReportUsage", "agent": "a", "usage": {"tokens": 100}, "provider_usage": deep}
    text = json.dumps(message, ensure_ascii=ensure_ascii)
    for at in range(len(text)):
        again = mended(text[:at].encode())
        assert again is None or mended(again) == again, "what was mended once stays as it is"
        assert isinstance(read_message(text[:at], lambda: "m-1"), Refusal)
    assert not isinstance(read_message(text, lambda: "m-1"), Refusal)
