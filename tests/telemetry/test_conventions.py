"""What is read of spans and events, under the names that programs use, and what is left out."""

from typing import Any

import pytest
from starlette.types import ASGIApp

from tallystick.events.catalog import UsageReported
from tests.support.otlp import AT, JSON, NS, PROTOBUF, Taking, attributes, chat, post, spans


def taken(export: Any, signal: str = "traces", config: dict[str, Any] | None = None, media: str = JSON) -> Any:
    """What an export comes to: the reports that are recorded."""
    taking = Taking(config)

    async def test(app: ASGIApp) -> None:
        answer = await post(app, signal, export, media)
        assert answer.status == 200, answer.body
        assert not answer.body or media == PROTOBUF or answer.json == {}, answer.body

    taking.run(test)
    reported = taking.reported()
    taking.fleet.close()
    return reported


def counts(event: UsageReported) -> tuple[int | None, ...]:
    return (
        event.input_tokens,
        event.output_tokens,
        event.cached_tokens,
        event.cache_write_tokens,
        event.reasoning_tokens,
    )


SENT, GOT = "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"
NAMES: dict[str, tuple[dict[str, Any], tuple[int | None, ...]]] = {
    "of today": (
        {
            SENT: 1000,
            GOT: 50,
            "gen_ai.usage.cache_read.input_tokens": 700,
            "gen_ai.usage.cache_write.input_tokens": 100,
            "gen_ai.usage.reasoning.output_tokens": 20,
        },
        (1000, 50, 700, 100, 20),
    ),
    "of yesterday": (
        {SENT: 1000, GOT: 50, "gen_ai.usage.cache_creation.input_tokens": 100},
        (1000, 50, None, 100, None),
    ),
    "of the first days": (
        {"gen_ai.usage.prompt_tokens": 1000, "gen_ai.usage.completion_tokens": 50},
        (1000, 50, None, None, None),
    ),
    "as texts": ({SENT: "1000", GOT: "50"}, (1000, 50, None, None, None)),
    "as floats": ({SENT: 999.2, GOT: 50.0}, (1000, 50, None, None, None)),
    "only output": ({GOT: 50}, (0, 50, None, None, None)),
    "with parts beside the input": (
        {
            SENT: 10,
            GOT: 50,
            "gen_ai.usage.cache_read_input_tokens": 700,
            "gen_ai.usage.cache_creation_input_tokens": 100,
        },
        (810, 50, 700, 100, None),
    ),
    "with more reasoning than output": (
        {SENT: 10, GOT: 5, "gen_ai.usage.reasoning.output_tokens": 20},
        (10, 20, None, None, 20),
    ),
    "of the AI SDK 5 for Anthropic, beside the input": (
        {"ai.operationId": "ai.streamText.doStream", "gen_ai.system": "anthropic.messages", SENT: 900, GOT: 50}
        | {"ai.usage.cachedInputTokens": 700},
        (1600, 50, 700, None, None),
    ),
    "of the AI SDK 5 for OpenAI, within the input": (
        {"ai.operationId": "ai.streamText.doStream", "gen_ai.system": "openai.responses", SENT: 900, GOT: 50}
        | {"ai.usage.cachedInputTokens": 700},
        (900, 50, 700, None, None),
    ),
    "of the AI SDK 6, within the input": (
        {"ai.operationId": "ai.generateText.doGenerate", "gen_ai.system": "anthropic.messages", SENT: 900, GOT: 50}
        | {"ai.usage.inputTokenDetails.cacheReadTokens": 700, "ai.usage.cachedInputTokens": 700},
        (900, 50, 700, None, None),
    ),
}


@pytest.mark.parametrize("media", [JSON, PROTOBUF])
@pytest.mark.parametrize(("said", "expected"), NAMES.values(), ids=NAMES)
def test_tokens_are_read_under_the_names(said: dict[str, Any], expected: tuple[int | None, ...], media: str) -> None:
    (event,) = taken(spans({"gen_ai.request.model": "claude-haiku-4-5", **said}), media=media)
    assert counts(event) == expected
    assert event.tokens == (expected[0] or 0) + (expected[1] or 0)
    assert (event.model, event.unpriced) == ("claude-haiku-4-5", False)


LEFT_OUT = {
    **{
        f"a span of {name}": chat(gen_ai__operation__name=name)
        for name in ("invoke_agent", "invoke_workflow", "create_agent", "execute_tool")
    },
    "an outer span of the AI SDK": {"ai.operationId": "ai.streamText", **chat()},
    "a span without usage": chat(sent=None, got=None),
    "a span that used nothing": chat(sent=0, got=0),
    "a span of something else": {"http.request.method": "GET"},
}


@pytest.mark.parametrize("said", LEFT_OUT.values(), ids=LEFT_OUT)
def test_what_is_no_call_is_left_out(said: dict[str, Any]) -> None:
    assert taken(spans(said)) == []


@pytest.mark.parametrize("model", ["claude-haiku-4-5", "a-model-of-our-own", None])
def test_what_a_program_says_that_a_call_cost_counts_where_the_model_has_no_price(model: str | None) -> None:
    said = {"event.name": "api_request", "session.id": "s", "request_id": "req_1", "cost_usd": "0.75"}
    said |= {"input_tokens": 1000, "output_tokens": 100} | ({} if model is None else {"model": model})
    record = {"timeUnixNano": str(NS), "attributes": attributes(said)}
    scope = {"name": "com.anthropic.claude_code.events"}
    (event,) = taken({"resourceLogs": [{"scopeLogs": [{"scope": scope, "logRecords": [record]}]}]}, "logs")
    priced = 1000 * 1_000 + 100 * 5_000
    assert event.cost_nanos == (priced if model == "claude-haiku-4-5" else 750_000_000)
    assert (event.agent, event.source_id, event.model, event.unpriced) == ("s", "req_1", model, False)


def test_a_call_is_of_its_own_time_and_never_of_a_time_to_come() -> None:
    export = spans(chat(session__id="past"), chat(session__id="to come"), chat(session__id="no time"))
    listed = export["resourceSpans"][0]["scopeSpans"][0]["spans"]
    listed[1]["endTimeUnixNano"] = str(NS + 3_600 * 10**9)
    listed[2]["endTimeUnixNano"] = "0"
    assert [(event.agent, event.occurred_at) for event in taken(export)] == [
        ("past", AT),
        ("to come", None),
        ("no time", None),
    ]


def test_an_account_is_named_by_the_first_attribute_that_is_there() -> None:
    config = {"telemetry": {"account": ["gen_ai.agent.name", "session.id", "service.name"]}}
    long = "x" * 300
    export = spans(
        chat(session__id="s", gen_ai__agent__name="planner"),
        chat(session__id="s"),
        chat(session__id="  "),
        chat(session__id=7),
        chat(session__id=long),
    )
    names = [event.agent for event in taken(export, config=config)]
    assert names[:4] == ["planner", "s", "program", "7"]
    assert names[4].startswith("x" * 32)
    assert len(names[4]) <= 128


def test_only_labels_that_are_allowed_are_kept() -> None:
    labels = {"who": ["user.name", "user.id"], "urgent": ["urgent"], "long": ["long"], "user": None}
    config = {"telemetry": {"labels": labels}}
    resource = {"service.name": "program", "user.id": "u-1", "other": "no"}
    export = spans(
        chat(urgent=True, other="no", long="x" * 129), chat(user__name="ann", gen_ai__prompt="no"), resource=resource
    )
    assert [event.labels for event in taken(export, config=config)] == [
        {"urgent": "true", "who": "u-1"},
        {"who": "ann"},
    ]


def test_of_a_program_whose_metrics_count_spans_and_events_do_not() -> None:
    export = spans(chat())
    assert taken(export, config={"telemetry": {"metrics_of": ["program"]}}) == []


CLAUDE = {"session.id": "s", "model": "claude-haiku-4-5", "input_tokens": 10, "output_tokens": 5}


def claude_event(at: int, **more: Any) -> dict[str, Any]:
    record = {"timeUnixNano": str(at), "attributes": attributes({"event.name": "api_request", **CLAUDE, **more})}
    scope = {"name": "com.anthropic.claude_code.events"}
    return {"resourceLogs": [{"scopeLogs": [{"scope": scope, "logRecords": [record]}]}]}


def test_behind_a_gateway_without_ids_calls_of_claude_code_are_known_by_their_events() -> None:
    taking = Taking()
    span = spans(CLAUDE)
    span["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["name"] = "claude_code.llm_request"

    async def test(app: ASGIApp) -> None:
        for signal, export in (
            ("logs", claude_event(NS)),
            ("logs", claude_event(NS)),
            ("logs", claude_event(NS + 10**9)),
            # Nothing says of which event it is the span.
            ("traces", span),
        ):
            assert (await post(app, signal, export)).json == {}

    taking.run(test)
    assert taking.used() == {"s": 30}
    taking.fleet.close()


def test_another_programs_event_of_that_name_is_not_claude_codes() -> None:
    export = claude_event(NS)
    export["resourceLogs"][0]["scopeLogs"][0]["scope"]["name"] = "a-web-server"
    assert taken(export, "logs") == []
