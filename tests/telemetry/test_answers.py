"""Exports are answered as OTLP says: what was rejected and why, in the encoding in which it came."""

import asyncio
import gzip
import json
import random
import re
import sys
import threading
import zlib
from typing import Any

import pytest
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from starlette.types import ASGIApp

from tallystick.events.log.codec import BODY_MAX
from tallystick.http import otlp
from tallystick.telemetry.answers import UNPACKED_MAX
from tallystick.telemetry.items import Signal
from tests.support.asgi import Answered, call
from tests.support.otlp import JSON, NS, PROTOBUF, Taking, attributes, chat, encoded, post, spans
from tests.support.programs import SECONDS

MEDIA = [JSON, PROTOBUF]
RESPONSES: dict[str, Any] = {
    "traces": ExportTraceServiceResponse,
    "metrics": ExportMetricsServiceResponse,
    "logs": ExportLogsServiceResponse,
}
EMPTY = {"traces": "resourceSpans", "metrics": "resourceMetrics", "logs": "resourceLogs"}


def status_of(answer: Answered, media: str) -> tuple[int, str]:
    """The code and the text of the ``google.rpc.Status`` of an answer."""
    assert answer.headers["content-type"] == media
    if media == JSON:
        return answer.json["code"], answer.json["message"]
    status: Any = Status.FromString(answer.body)
    return status.code, status.message


def partial_of(answer: Answered, media: str, signal: str = "traces") -> tuple[int, str] | None:
    """How much was rejected, and why; None where an answer says nothing."""
    assert (answer.status, answer.headers["content-type"]) == (200, media)
    if media == PROTOBUF:
        made: Any = RESPONSES[signal].FromString(answer.body)
        if not made.HasField("partial_success"):
            return None
        part: Message = made.partial_success
        (rejected,) = [getattr(part, one.name) for one in part.DESCRIPTOR.fields if one.name != "error_message"]
        return rejected, part.error_message
    if answer.json == {}:
        return None
    (part,) = answer.json.values()
    (rejected,) = [value for name, value in part.items() if name.startswith("rejected")]
    return int(rejected), part["errorMessage"]


@pytest.mark.parametrize("media", MEDIA)
@pytest.mark.parametrize("signal", RESPONSES)
def test_an_export_that_is_taken_whole_is_answered_with_nothing(signal: str, media: str) -> None:
    taking = Taking()

    async def test(app: ASGIApp) -> None:
        for export in ({}, {EMPTY[signal]: []}):
            assert partial_of(await post(app, signal, export, media), media, signal) is None

    taking.run(test)
    taking.fleet.close()


def dp(**fields: Any) -> dict[str, Any]:
    return {"attributes": attributes({"gen_ai.token.type": "input"}), "asInt": "5", **fields}


def metric(*points: dict[str, Any], total: bool = True) -> dict[str, Any]:
    """An export of a counter of tokens."""
    data = {"aggregationTemporality": 2 if total else 1, "isMonotonic": True, "dataPoints": list(points)}
    name = "gen_ai.client.inference.usage.input_tokens"
    of = {"attributes": attributes({"service.name": "meters"})}
    return {"resourceMetrics": [{"resource": of, "scopeMetrics": [{"metrics": [{"name": name, "sum": data}]}]}]}


def event(**values: Any) -> dict[str, Any]:
    record = {"timeUnixNano": str(NS), "attributes": attributes({"event.name": "gemini_cli.api_response", **values})}
    return {"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}


REJECTED: dict[str, tuple[str, dict[str, Any], str]] = {
    "a negative count": ("traces", spans(chat(sent=-1)), r"gen_ai.usage.input_tokens: found '-1', allowed"),
    "a count that is no number": ("traces", spans(chat(sent="many")), r"gen_ai.usage.input_tokens: found 'many'"),
    "a count that is a truth": ("traces", spans(chat(got=True)), r"gen_ai.usage.output_tokens: found 'True'"),
    "a count without end": ("traces", spans(chat(got=float("inf"))), r"gen_ai.usage.output_tokens: found 'inf'"),
    "a count above all sense": ("traces", spans(chat(sent=2**62)), r"allowed is a number of tokens from 0 to 10+$"),
    "nothing that names an account": (
        "traces",
        spans(chat(), resource={}),
        r"none of the attributes of telemetry\.acc",
    ),
    "a total without its start": ("metrics", metric(dp(timeUnixNano=str(NS))), r"found no time"),
    "a figure without its time": ("metrics", metric(dp(startTimeUnixNano=str(NS))), r"found no time"),
    "an event that nothing tells from the next": ("logs", event(input_token_count=5), r"session.id: found nothing"),
}


@pytest.mark.parametrize("media", MEDIA)
@pytest.mark.parametrize(("signal", "export", "why"), REJECTED.values(), ids=REJECTED)
def test_what_cannot_be_reported_is_counted_and_the_rest_is_taken(
    signal: str, export: Any, why: str, media: str
) -> None:
    taking = Taking({"telemetry": {"metrics_of": ["meters"]}})
    good = spans(chat(), chat(sent=200))

    async def test(app: ASGIApp) -> None:
        sent = {name: [*parts, *good.get(name, [])] for name, parts in export.items()}
        rejected = partial_of(await post(app, signal, sent, media), media, signal)
        assert rejected is not None
        assert rejected[0] == 1
        assert re.search(why, rejected[1]), rejected[1]

    taking.run(test)
    assert taking.used() == ({"program": 320} if signal == "traces" else {})
    taking.fleet.close()


def bomb() -> bytes:
    """A small body that unpacks to more than is taken."""
    packing = zlib.compressobj(wbits=31)
    parts = [packing.compress(bytes(2**20)) for _ in range(UNPACKED_MAX // 2**20 + 1)]
    return b"".join((*parts, packing.flush()))


GOOD = encoded("traces", spans(chat()), JSON)
REFUSED: dict[str, tuple[bytes | None, dict[str, str], int, int, str]] = {
    "a body that is nothing of the kind": (b"\xff\xfe{", {}, 400, 3, "malformed_export: not an export of traces"),
    "a body that is cut off": (GOOD[:-7], {}, 400, 3, "malformed_export: not an export of traces"),
    "a type that is none of OTLP's": (GOOD, {"content_type": "text/plain"}, 415, 3, "content-type: found 'text/plain'"),
    "an unknown packing": (GOOD, {"content_encoding": "br"}, 415, 3, "content-encoding: found 'br'"),
    "a packing that is not there": (GOOD, {"content_encoding": "gzip"}, 400, 3, "gzip does not unpack"),
    "a packing that is cut off": (gzip.compress(GOOD)[:-5], {"content_encoding": "gzip"}, 400, 3, "ends too early"),
    "a body that unpacks to very much": (
        bomb(),
        {"content_encoding": "gzip"},
        413,
        3,
        "found more than 16777216 bytes",
    ),
    "a body that is too large": (bytes(BODY_MAX + 1), {}, 413, 3, "the body: found"),
    "a page of another site": (GOOD, {"origin": "https://elsewhere.example"}, 403, 7, "wrong_origin: origin: found"),
    "another name of the server": (GOOD, {"host": "elsewhere.example"}, 421, 3, "wrong_host: host: found"),
}


@pytest.mark.parametrize("media", MEDIA)
@pytest.mark.parametrize(("body", "headers", "status", "code", "why"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_export_is_refused_with_a_status(
    body: bytes, headers: dict[str, str], status: int, code: int, why: str, media: str
) -> None:
    taking = Taking()
    if media == PROTOBUF and body in (GOOD, GOOD[:-7]):
        body = encoded("traces", spans(chat()), PROTOBUF)[: None if body is GOOD else -7]
    shown = JSON if headers.get("content_type") else media

    async def test(app: ASGIApp) -> None:
        answer = await call(app, "POST", "/v1/traces", body, **{"content_type": media, **headers})
        assert answer.status == status
        found = status_of(answer, shown)
        assert found[0] == code
        assert why in found[1]

    taking.run(test)
    assert taking.used() == {}
    taking.fleet.close()


def deep(depth: int) -> bytes:
    """An attribute of lists within lists."""
    value = b'{"arrayValue":{"values":[' * depth + b'{"intValue":"1"}' + b"]}}" * depth
    return b'{"resourceSpans":[{"resource":{"attributes":[{"key":"x","value":' + value + b"}]}}]}"


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"null",
        b'{"resourceSpans":{}}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"endTimeUnixNano":"soon"}]}]}]}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"endTimeUnixNano":"-1"}]}]}]}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"key":"a","value":{"intValue":"1_0"}}]}]}]}]}',
        b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"key":1}]}]}]}]}',
        deep(100_000),
    ],
    ids=lambda body: repr(body[:60]),
)
def test_json_that_says_something_else_is_malformed(body: bytes) -> None:
    taking = Taking()

    async def test(app: ASGIApp) -> None:
        answer = await post(app, "traces", body)
        assert answer.status == 400, answer.body
        assert status_of(answer, JSON)[1].startswith("malformed_export: not an export of traces in JSON")

    taking.run(test)
    taking.fleet.close()


def test_lists_and_maps_in_attributes_are_passed_over() -> None:
    taking = Taking()
    export = spans(chat())
    (span,) = export["resourceSpans"][0]["scopeSpans"][0]["spans"]
    span["attributes"] += [{"key": "session.id", "value": {"arrayValue": {"values": []}}}, {"key": "x"}]

    async def test(app: ASGIApp) -> None:
        for media in MEDIA:
            assert partial_of(await post(app, "traces", export, media), media) is None

    taking.run(test)
    assert taking.used() == {"program": 110}
    taking.fleet.close()


def test_a_wrong_method_and_a_stopped_fleet_are_statuses_too() -> None:
    taking = Taking()

    async def test(app: ASGIApp) -> None:
        answer = await call(app, "GET", "/v1/logs")
        assert (answer.status, answer.headers["allow"]) == (405, "POST")
        assert status_of(answer, JSON)[0] == 12
        taking.fleet.close()
        for media in MEDIA:
            answer = await post(app, "traces", spans(chat()), media)
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert status_of(answer, media)[0] == 14
            assert status_of(answer, media)[1].startswith("halted: ")

    taking.run(test)


def test_an_export_whose_fleet_has_too_much_to_do_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    taking = Taking()

    async def test(app: ASGIApp) -> None:
        monkeypatch.setattr("tallystick.actors.runtime.intake.INBOX_MAX", 0)
        answer = await post(app, "traces", spans(chat()), PROTOBUF)
        assert (answer.status, answer.headers["retry-after"]) == (429, "1")
        assert status_of(answer, PROTOBUF)[0] == 8
        monkeypatch.undo()
        assert partial_of(await post(app, "traces", spans(chat()), PROTOBUF), PROTOBUF) is None

    taking.run(test)
    assert taking.used() == {"program": 110}
    taking.fleet.close()


def test_of_many_reasons_the_first_are_shown() -> None:
    taking = Taking()
    export = spans(*(chat(sent=f"n{n % 7}") for n in range(50)))

    async def test(app: ASGIApp) -> None:
        found = partial_of(await post(app, "traces", export), JSON)
        assert found is not None
        assert found[0] == 50
        assert "'n2'" in found[1]
        assert found[1].endswith("(and 4 other reasons)")

    taking.run(test)
    taking.fleet.close()


def test_without_the_packages_protobuf_is_refused_by_name_and_json_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    taking = Taking()
    body = encoded("traces", spans(chat()), PROTOBUF)

    async def test(app: ASGIApp) -> None:
        monkeypatch.delattr("tallystick.telemetry.from_protobuf")
        monkeypatch.setitem(sys.modules, "tallystick.telemetry.from_protobuf", None)
        answer = await call(app, "POST", "/v1/traces", body, content_type=PROTOBUF)
        assert answer.status == 415
        assert "pip install 'tallystick[telemetry]'" in status_of(answer, PROTOBUF)[1]
        assert partial_of(await post(app, "traces", spans(chat())), JSON) is None

    taking.run(test)
    assert taking.used() == {"program": 110}
    taking.fleet.close()


def test_a_packed_export_is_unpacked() -> None:
    taking = Taking()

    async def test(app: ASGIApp) -> None:
        for media in MEDIA:
            body = gzip.compress(encoded("traces", spans(chat()), media))
            answer = await call(app, "POST", "/v1/traces", body, content_type=media, content_encoding="gzip")
            assert partial_of(answer, media) is None
        # As some send it, with parameters and in capitals.
        answer = await call(app, "POST", "/v1/traces", json.dumps({}).encode(), content_type="Application/JSON; a=b")
        assert answer.json == {}

    taking.run(test)
    assert taking.used() == {"program": 110}
    taking.fleet.close()


def test_a_large_export_is_reported_whole() -> None:
    taking = Taking()
    export = spans(*(chat(sent=10, got=1, session__id=f"s-{n % 2}") for n in range(1_200)))

    async def test(app: ASGIApp) -> None:
        for media in MEDIA:
            assert partial_of(await post(app, "traces", export, media), media) is None

    taking.run(test)
    assert taking.used() == {"s-0": 6_600, "s-1": 6_600}
    taking.fleet.close()


@pytest.mark.parametrize("media", MEDIA)
@pytest.mark.parametrize("signal", RESPONSES)
def test_damaged_bytes_are_taken_or_malformed_and_bring_nothing_down(signal: str, media: str) -> None:
    taking = Taking({"telemetry": {"metrics_of": ["meters"]}})
    whole = {
        "traces": spans(chat(), chat(gen_ai__response__id="msg_1")),
        "metrics": metric(dp(startTimeUnixNano=str(NS), timeUnixNano=str(NS + 1))),
        "logs": event(input_token_count=5, prompt_id="p", **{"service.name": "gemini-cli"}),
    }[signal]
    body = encoded(signal, whole, media)
    dice = random.Random(len(body))

    async def test(app: ASGIApp) -> None:
        for _ in range(300):
            damaged = bytearray(body)
            for _ in range(dice.randrange(1, 5)):
                damaged[dice.randrange(len(damaged))] = dice.randrange(256)
            if dice.random() < 0.3:
                del damaged[dice.randrange(len(damaged)) :]
            answer = await post(app, signal, bytes(damaged), media)
            assert answer.status in (200, 400), (bytes(damaged), answer.body)
        assert (await post(app, signal, body, media)).status == 200

    taking.run(test)
    answer = taking.fleet.ask({"type": "GetGlobalStatus"})
    assert "ok" in answer
    taking.fleet.close()


def test_few_exports_that_are_large_when_unpacked_are_read_at_a_time_and_small_ones_pass_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taking, read, unpack, go_on = Taking(), otlp.decode, otlp.unpacked, threading.Event()
    large_ones = list[int]()

    def slowly(media: str, signal: Signal, body: bytes) -> Any:
        if len(body) > 1_000_000:
            go_on.wait(SECONDS)
        return read(media, signal, body)

    def counted(body: bytes) -> bytes:
        data = unpack(body)
        if len(data) > 1_000_000:
            large_ones.append(len(data))
        return data

    monkeypatch.setattr(otlp, "decode", slowly)
    monkeypatch.setattr(otlp, "unpacked", counted)
    bomb = gzip.compress(b'{"resourceSpans":[' + b" " * 1_000_000 + b"]}")

    async def test(app: ASGIApp) -> None:
        large = [asyncio.create_task(call(app, "POST", "/v1/traces", bomb, content_encoding="gzip")) for _ in range(6)]
        await asyncio.sleep(0)  # each of them goes as far as it may
        for packing in ("identity", "gzip"):
            body = b"{}" if packing == "identity" else gzip.compress(b"{}")
            assert (await call(app, "POST", "/v1/traces", body, content_encoding=packing)).status == 200
        assert len(large_ones) == 2
        go_on.set()
        assert [(await one).status for one in large] == [200] * 6
        assert len(large_ones) == 6

    taking.run(test)
    taking.fleet.close()
