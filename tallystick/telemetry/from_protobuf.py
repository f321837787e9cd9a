"""OTLP in protobuf as `items`. Needs the extra ``telemetry``."""

from collections.abc import Iterable
from typing import Any, Final

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE

from tallystick.telemetry.items import Attributes, Export, Group, LogRecord, Malformed, Point, Signal, Span

_REQUESTS: Final[Any] = {
    "traces": ExportTraceServiceRequest,
    "metrics": ExportMetricsServiceRequest,
    "logs": ExportLogsServiceRequest,
}
_RESPONSES: Final[Any] = {
    "traces": ExportTraceServiceResponse,
    "metrics": ExportMetricsServiceResponse,
    "logs": ExportLogsServiceResponse,
}
_REJECTED: Final = {"traces": "rejected_spans", "metrics": "rejected_data_points", "logs": "rejected_log_records"}
_SCALARS: Final = frozenset(("string_value", "int_value", "double_value", "bool_value"))


def decode(signal: Signal, body: bytes) -> Export:
    """An export of a signal.

    Raises:
        Malformed: it is none.
    """
    try:
        request = _REQUESTS[signal].FromString(body)
    except DecodeError as error:
        raise Malformed(f"not an export of {signal} in protobuf: {error}") from error
    match signal:
        case "traces":
            return Export(traces=[_spans(one, scope) for one in request.resource_spans for scope in one.scope_spans])
        case "logs":
            return Export(logs=[_records(one, scope) for one in request.resource_logs for scope in one.scope_logs])
    return Export(metrics=[_points(one, scope) for one in request.resource_metrics for scope in one.scope_metrics])


def response(signal: Signal, rejected: int, text: str) -> bytes:
    """The answer to an export; empty where all was taken and there is nothing to say."""
    made = _RESPONSES[signal]()
    if rejected or text:
        setattr(made.partial_success, _REJECTED[signal], rejected)
        made.partial_success.error_message = text
    data: bytes = made.SerializeToString()
    return data


def _attributes(pairs: Iterable[Any]) -> Attributes:
    found: dict[str, Any] = {}
    for pair in pairs:
        value = pair.value
        said = value.string_value  # most are texts, and this is quicker than to ask which kind it is
        if said:
            found[pair.key] = said
        elif (kind := value.WhichOneof("value")) in _SCALARS:
            found[pair.key] = getattr(value, kind)
    return found


def _spans(one: Any, scope: Any) -> Group[Span]:
    spans = [
        Span(span.name, span.trace_id.hex(), span.span_id.hex(), span.end_time_unix_nano, _attributes(span.attributes))
        for span in scope.spans
    ]
    return Group(_attributes(one.resource.attributes), scope.scope.name, spans)


def _records(one: Any, scope: Any) -> Group[LogRecord]:
    records = []
    for record in scope.log_records:
        attributes = _attributes(record.attributes)
        name = record.event_name or attributes.get("event.name") or record.body.string_value
        at = record.time_unix_nano or record.observed_time_unix_nano
        records.append(LogRecord(str(name), record.trace_id.hex(), record.span_id.hex(), at, attributes))
    return Group(_attributes(one.resource.attributes), scope.scope.name, records)


def _points(one: Any, scope: Any) -> Group[Point]:
    points = []
    for metric in scope.metrics:
        kind = metric.WhichOneof("data")
        if kind not in ("sum", "histogram", "exponential_histogram"):
            continue
        data = getattr(metric, kind)
        if kind == "sum" and not data.is_monotonic:
            continue
        total = data.aggregation_temporality == AGGREGATION_TEMPORALITY_CUMULATIVE
        for point in data.data_points:
            if kind == "sum":
                named = point.WhichOneof("value")
                value, count = (getattr(point, named) if named else 0), None
            else:
                value, count = point.sum, point.count
            points.append(
                Point(
                    metric.name,
                    total,
                    point.start_time_unix_nano,
                    point.time_unix_nano,
                    value,
                    count,
                    _attributes(point.attributes),
                )
            )
    return Group(_attributes(one.resource.attributes), scope.scope.name, points)
