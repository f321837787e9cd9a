"""Exports of spans to a served fleet beside arrays of reports in one process: reports in the log per second."""

import itertools
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from benchmarks.http_client import HOST, call
from benchmarks.http_service import started
from benchmarks.load import AGENTS, RICH, SECONDS, running_load
from benchmarks.result import Result, alternating
from tallystick.telemetry.answers import JSON, PROTOBUF
from tallystick.telemetry.from_json import decode as from_json
from tallystick.telemetry.from_protobuf import decode as from_protobuf

ROUNDS, CLIENTS = 5, 8
SPANS = 512
"""Spans of an export, as the SDK sends them."""
_MARK = "########"
_numbers = itertools.count()


def _attributes(n: int) -> dict[str, str | int]:
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-sonnet-5-5",
        "gen_ai.response.model": "claude-sonnet-5-5",
        "gen_ai.response.id": f"msg_{_MARK}_{n:04d}",
        "gen_ai.usage.input_tokens": 450 + n % 97,
        "gen_ai.usage.output_tokens": 40,
        "session.id": f"agent-{n % AGENTS:06d}",
    }


def _in_protobuf() -> bytes:
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for n in range(SPANS):
        span = spans.add(name="chat", trace_id=n.to_bytes(16), span_id=n.to_bytes(8))
        for key, value in _attributes(n).items():
            made = span.attributes.add(key=key).value
            if isinstance(value, int):
                made.int_value = value
            else:
                made.string_value = value
    data: bytes = request.SerializeToString()
    return data


def _in_json() -> bytes:
    def value(found: str | int) -> dict[str, str]:
        return {"intValue": str(found)} if isinstance(found, int) else {"stringValue": found}

    spans = [
        {
            "name": "chat",
            "traceId": f"{n:032x}",
            "spanId": f"{n:016x}",
            "attributes": [{"key": key, "value": value(found)} for key, found in _attributes(n).items()],
        }
        for n in range(SPANS)
    ]
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).encode()


BODIES = {PROTOBUF: _in_protobuf(), JSON: _in_json()}


def export(media: str, *, again: bool = False) -> bytes:
    """A request whose spans were never sent, or always the same ones."""
    number = 0 if again else next(_numbers)
    body = BODIES[media].replace(_MARK.encode(), f"{number:08d}".encode())
    head = f"POST /v1/traces HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: {media}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


@contextmanager
def served(folder: Path) -> Iterator[int]:
    """A served fleet whose accounts open by themselves."""
    config = folder / "limits.json"
    config.write_text(json.dumps({**RICH, "accounts": {"auto": {}}}), encoding="utf-8")
    options = ("--store", f"sqlite:///{folder / 'fleet.db'}", "--config", str(config), "--port", "0")
    with started("tallystick", "serve", *options) as port:
        yield port


def rate(port: int, media: str, *, again: bool = False) -> float:
    """Spans per second that are reported and answered."""
    return call(port, CLIENTS, partial(export, media, again=again), SECONDS)[0] * SPANS


def results() -> Iterator[Result]:
    """Each figure beside arrays of 100 reports in one process, in alternating rounds."""
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as port, running_load() as (load, _):
        for name, media, again, goal in (
            ("otlp.protobuf", PROTOBUF, False, (">=", 0.5)),
            ("otlp.json", JSON, False, (">=", 0.5)),
            ("otlp.repeated", PROTOBUF, True, None),
        ):
            ours = partial(rate, port, media, again=again)
            value, _, ratio = alternating(ours, load.batches, ROUNDS)
            yield Result(name, value, "spans/s", "batches of 100 in process", ratio, goal)


if __name__ == "__main__":
    for read, media in ((from_protobuf, PROTOBUF), (from_json, JSON)):
        assert len(read("traces", BODIES[media]).traces[0].items) == SPANS
    for result in results():
        print(f"{result.name}: {result.value:,.0f} {result.unit}, {result.ratio:.3f} of {result.against}", flush=True)
