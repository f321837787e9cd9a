"""OTLP in JSON as `items`: names in lower camel case, ids in hex, whole numbers of 64 bits as texts or as numbers."""

from collections.abc import Iterable
from typing import Any, Final, Generic, TypeVar

import msgspec

from tallystick.telemetry.items import PART_OF, Attributes, Export, Group, LogRecord, Malformed, Point, Signal, Span

_TIME_MAX: Final = 2**64 - 1
_CUMULATIVE: Final = (2, "AGGREGATION_TEMPORALITY_CUMULATIVE")
_LARGEST: Final = 2**63

Whole = int | str
Inner = TypeVar("Inner")


class _Struct(msgspec.Struct, rename="camel", gc=False):
    """What is not named here is left out unread; null is what is not there."""


class _Value(_Struct):
    string_value: str | None = None
    int_value: Whole | None = None
    double_value: float | str | None = None
    bool_value: bool | None = None


class _Pair(_Struct):
    key: str = ""
    value: _Value | None = None


class _Named(_Struct):
    name: str | None = None


class _Resource(_Struct):
    attributes: list[_Pair] | None = None


class _Span(_Struct):
    name: str | None = None
    trace_id: str | None = None
    span_id: str | None = None
    end_time_unix_nano: Whole | None = None
    attributes: list[_Pair] | None = None


class _Record(_Struct):
    event_name: str | None = None
    trace_id: str | None = None
    span_id: str | None = None
    time_unix_nano: Whole | None = None
    observed_time_unix_nano: Whole | None = None
    body: _Value | None = None
    attributes: list[_Pair] | None = None


class _Point(_Struct):
    start_time_unix_nano: Whole | None = None
    time_unix_nano: Whole | None = None
    as_int: Whole | None = None
    as_double: float | str | None = None
    sum: float | str | None = None
    count: Whole | None = None
    attributes: list[_Pair] | None = None


class _Data(_Struct):
    data_points: list[_Point] | None = None
    aggregation_temporality: Whole | None = None
    is_monotonic: bool | None = None


class _Metric(_Struct):
    name: str | None = None
    sum: _Data | None = None
    histogram: _Data | None = None
    exponential_histogram: _Data | None = None


class _Scoped(_Struct, Generic[Inner]):
    scope: _Named | None = None
    spans: list[Inner] | None = None
    log_records: list[Inner] | None = None
    metrics: list[Inner] | None = None


class _Of(_Struct, Generic[Inner]):
    resource: _Resource | None = None
    scope_spans: list[_Scoped[Inner]] | None = None
    scope_logs: list[_Scoped[Inner]] | None = None
    scope_metrics: list[_Scoped[Inner]] | None = None


class _Traces(_Struct):
    resource_spans: list[_Of[_Span]] | None = None


class _Logs(_Struct):
    resource_logs: list[_Of[_Record]] | None = None


class _Metrics(_Struct):
    resource_metrics: list[_Of[_Metric]] | None = None


_TRACES, _LOGS = msgspec.json.Decoder(_Traces), msgspec.json.Decoder(_Logs)
_METRICS = msgspec.json.Decoder(_Metrics)


def decode(signal: Signal, body: bytes) -> Export:
    """An export of a signal.

    Raises:
        Malformed: it is none.
    """
    try:
        match signal:
            case "traces":
                return Export(traces=_spans(_TRACES.decode(body)))
            case "logs":
                return Export(logs=_records(_LOGS.decode(body)))
        return Export(metrics=_points(_METRICS.decode(body)))
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise Malformed(f"not an export of {signal} in JSON: {error}") from error
    except RecursionError as error:
        raise Malformed(f"not an export of {signal} in JSON: nested too deeply to be read") from error


def response(signal: Signal, rejected: int, text: str) -> bytes:
    """The answer to an export; ``{}`` where all was taken and there is nothing to say."""
    if not rejected and not text:
        return b"{}"
    # Whole numbers of 64 bits are texts in protobuf's JSON.
    partial = {f"rejected{PART_OF[signal]}": str(rejected), "errorMessage": text}
    return msgspec.json.encode({"partialSuccess": partial})


# --- the three signals ------------------------------------------------------------------------------------------------


def _spans(request: _Traces) -> list[Group[Span]]:
    return [
        Group(
            _resource(one.resource),
            _scope(scoped.scope),
            [
                Span(
                    span.name or "",
                    (span.trace_id or "").lower(),
                    (span.span_id or "").lower(),
                    _time(span.end_time_unix_nano, "endTimeUnixNano"),
                    _attributes(span.attributes or ()),
                )
                for span in scoped.spans or ()
            ],
        )
        for one in request.resource_spans or ()
        for scoped in one.scope_spans or ()
    ]


def _records(request: _Logs) -> list[Group[LogRecord]]:
    return [
        Group(_resource(one.resource), _scope(scoped.scope), [_record(record) for record in scoped.log_records or ()])
        for one in request.resource_logs or ()
        for scoped in one.scope_logs or ()
    ]


def _record(record: _Record) -> LogRecord:
    attributes = _attributes(record.attributes or ())
    name = record.event_name or attributes.get("event.name") or (record.body and record.body.string_value) or ""
    at = _time(record.time_unix_nano, "timeUnixNano") or _time(record.observed_time_unix_nano, "observedTimeUnixNano")
    return LogRecord(str(name), (record.trace_id or "").lower(), (record.span_id or "").lower(), at, attributes)


def _points(request: _Metrics) -> list[Group[Point]]:
    return [
        Group(
            _resource(one.resource),
            _scope(scoped.scope),
            [point for metric in scoped.metrics or () for point in _of_metric(metric)],
        )
        for one in request.resource_metrics or ()
        for scoped in one.scope_metrics or ()
    ]


def _of_metric(metric: _Metric) -> list[Point]:
    data = metric.sum or metric.histogram or metric.exponential_histogram
    if data is None or (data is metric.sum and not data.is_monotonic):
        return []
    total = data.aggregation_temporality in _CUMULATIVE
    found = []
    for point in data.data_points or ():
        if data is metric.sum:
            value, count = _number(point.as_int, "asInt", whole=True) or _number(point.as_double, "asDouble"), None
        else:
            value, count = _number(point.sum, "sum"), int(_number(point.count, "count", whole=True))
        found.append(
            Point(
                metric.name or "",
                total,
                _time(point.start_time_unix_nano, "startTimeUnixNano"),
                _time(point.time_unix_nano, "timeUnixNano"),
                value,
                count,
                _attributes(point.attributes or ()),
            )
        )
    return found


# --- their parts ------------------------------------------------------------------------------------------------------


def _resource(resource: _Resource | None) -> Attributes:
    return _attributes((resource and resource.attributes) or ())


def _scope(scope: _Named | None) -> str:
    return (scope and scope.name) or ""


def _attributes(pairs: Iterable[_Pair]) -> Attributes:
    found: dict[str, Any] = {}
    for pair in pairs:
        value = pair.value
        if value is None:
            continue
        if value.string_value is not None:
            found[pair.key] = value.string_value
        elif value.int_value is not None:
            found[pair.key] = int(_number(value.int_value, "intValue", whole=True))
        elif value.double_value is not None:
            found[pair.key] = _number(value.double_value, "doubleValue")
        elif value.bool_value is not None:
            found[pair.key] = value.bool_value
    return found


def _time(value: Whole | None, field: str) -> int:
    if value is None:
        return 0
    time = int(_number(value, field, whole=True))
    if not 0 <= time <= _TIME_MAX:
        raise msgspec.ValidationError(f"{field}: found {str(value)[:40]!r}, allowed are nanoseconds from 0 to 2^64-1")
    return time


def _number(value: float | str | None, field: str, *, whole: bool = False) -> float:
    """A number that may be written as a text, as protobuf's JSON has it; 0 where there is none.

    Raises:
        msgspec.ValidationError: it is none.
    """
    if value is None:
        return 0
    number = _read(value, whole=whole) if isinstance(value, str) else value
    if number is None or (whole and not -_LARGEST <= number < 2 * _LARGEST):
        allowed = "a whole number of 64 bits" if whole else "a number"
        raise msgspec.ValidationError(f"{field}: found {str(value)[:40]!r}, allowed is {allowed}")
    return number


def _read(text: str, *, whole: bool) -> float | None:
    if len(text) > 40 or not text.isascii() or "_" in text:
        return None
    try:
        return int(text) if whole else float(text)
    except ValueError:
        return None
