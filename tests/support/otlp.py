"""Exports in both encodings, and a fleet that takes them under a clock of its own."""

import asyncio
import base64
import datetime as dt
import json
import math
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from starlette.types import ASGIApp

from tallystick.actors.runtime.clock import ManualClock
from tallystick.config.price_list import PriceList
from tallystick.config.prices import from_mapping
from tallystick.events.catalog import Event, UsageCorrected, UsageReported
from tallystick.events.log.codec import decode_event
from tallystick.fleet import Fleet
from tallystick.http.app import application
from tallystick.http.guard import LOOPBACK
from tests.support.asgi import Answered, call
from tests.support.few_prices import few_prices

AT: Final = dt.datetime(2026, 3, 2, 8, 0, tzinfo=dt.UTC)
"""When what is exported here was used."""
NS: Final = int(AT.timestamp()) * 10**9
JSON, PROTOBUF = "application/json", "application/x-protobuf"
REQUESTS: Final[Any] = {
    "traces": ExportTraceServiceRequest,
    "metrics": ExportMetricsServiceRequest,
    "logs": ExportLogsServiceRequest,
}
_IDS = ("traceId", "spanId", "parentSpanId")
AUTO: Final = {"accounts": {"auto": {}}}


def attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    """Attributes as OTLP/JSON has them."""
    return [{"key": key, "value": _value(value)} for key, value in values.items()]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, float) and math.isinf(value):
        return {"doubleValue": "Infinity"}
    for kind, name in ((bool, "boolValue"), (int, "intValue"), (float, "doubleValue")):
        if isinstance(value, kind):
            return {name: str(value) if kind is int else value}
    return {"stringValue": value}


def spans(*listed: dict[str, Any], resource: dict[str, Any] | None = None) -> dict[str, Any]:
    """An export of spans: each has its attributes, and a number by which its id is made."""
    made = [
        {
            "name": "chat",
            "traceId": "ab" * 16,
            "spanId": f"{n:016x}",
            "endTimeUnixNano": str(NS + n),
            "attributes": attributes(one),
        }
        for n, one in enumerate(listed, start=1)
    ]
    of = {"attributes": attributes({"service.name": "program"} if resource is None else resource)}
    return {"resourceSpans": [{"resource": of, "scopeSpans": [{"scope": {"name": "x"}, "spans": made}]}]}


def chat(sent: Any = 100, got: Any = 10, **more: Any) -> dict[str, Any]:
    """The attributes of a call; names have two underscores where they have dots."""
    named = {key.replace("__", "."): value for key, value in more.items()}
    usage = {"gen_ai.usage.input_tokens": sent, "gen_ai.usage.output_tokens": got}
    called = {"gen_ai.operation.name": "chat", "gen_ai.response.model": "claude-haiku-4-5", **usage, **named}
    return {key: value for key, value in called.items() if value is not None}


def as_protobuf(signal: str, export: Any) -> bytes:
    """An export of OTLP/JSON in protobuf: there ids are bytes, which protobuf's own JSON writes otherwise."""
    data: bytes = json_format.ParseDict(_with_bytes(export), REQUESTS[signal]()).SerializeToString()
    return data


def _with_bytes(part: Any) -> Any:
    if isinstance(part, list):
        return [_with_bytes(one) for one in part]
    if not isinstance(part, dict):
        return part
    return {
        key: base64.b64encode(bytes.fromhex(value)).decode() if key in _IDS else _with_bytes(value)
        for key, value in part.items()
    }


def encoded(signal: str, export: Any, media: str) -> bytes:
    return as_protobuf(signal, export) if media == PROTOBUF else json.dumps(export).encode()


async def post(app: ASGIApp, signal: str, export: Any, media: str = JSON, **headers: str) -> Answered:
    """Send an export, which is encoded unless it is bytes already."""
    body = export if isinstance(export, bytes) else encoded(signal, export, media)
    return await call(app, "POST", f"/v1/{signal}", body, content_type=media, **headers)


def prices() -> PriceList:
    """A short list, with models of other providers at prices of our own."""
    written = {
        "gpt-5": {"input": "1.25", "output": 10, "cached_input": "0.125"},
        "gemini-2.5-pro": {"input": "1.25", "output": 10, "cached_input": "0.31"},
    }
    return PriceList(from_mapping(written).written, few_prices().published)


class Taking:
    """A fleet whose time is five minutes after what is exported; its store may be opened again."""

    def __init__(self, config: dict[str, Any] | None = None, store: str = "memory:") -> None:
        self.clock = ManualClock(AT - dt.timedelta(minutes=5))
        self._config, self._store = {**AUTO, **(config or {})}, store
        self.fleet = self._opened()
        self.clock.move_to(AT + dt.timedelta(minutes=5))

    def _opened(self) -> Fleet:
        begun = self.clock.now() > AT
        prices_now = None if begun else prices()
        return Fleet.open(self._store, self._config, prices_now, clock=self.clock)

    def run(self, test: Callable[[ASGIApp], Awaitable[None]], served: Any = None) -> None:
        """Run a test against the API of the fleet, or of what stands for it; each time it is another server."""

        async def running() -> None:
            app, service = application(served or self.fleet, LOOPBACK)
            await test(app)
            await service.close()

        asyncio.run(running())

    def restart(self) -> None:
        """Close the fleet, and open it on its store again."""
        self.fleet.close()
        self.fleet = self._opened()

    def events(self) -> list[Event]:
        """What is in the log."""
        return [decode_event(record.data, record.name) for record in self.fleet.store.read(0)]

    def used(self) -> dict[str, int]:
        """The tokens that count, by agent."""
        found: dict[str, int] = {}
        for event in self.events():
            if isinstance(event, UsageReported | UsageCorrected):
                found[event.agent] = found.get(event.agent, 0) + event.tokens
        return found

    def reported(self) -> list[UsageReported]:
        return [event for event in self.events() if isinstance(event, UsageReported)]


RECORDED = Path(__file__).parents[1] / "telemetry" / "recorded"


def recorded() -> dict[str, tuple[str, Any]]:
    """Exports of tools, by file: the signal, and what is exported."""
    return {
        path.stem: (path.stem.rpartition("-")[2], json.loads(path.read_text(encoding="utf-8")))
        for path in sorted(RECORDED.glob("*.json"))
    }
