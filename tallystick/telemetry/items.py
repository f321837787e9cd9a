"""Exports in one form, whichever encoding they came in: spans, log records and points of metrics, with their origin."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Generic, Literal, NamedTuple, TypeVar

Signal = Literal["traces", "metrics", "logs"]
Attributes = Mapping[str, Any]
"""By name: texts, whole numbers, floats and truths. Lists and maps are left out: nothing that is counted is in them."""

PART_OF: Final[Mapping[Signal, str]] = {"traces": "Spans", "metrics": "DataPoints", "logs": "LogRecords"}
"""What an export of a signal consists of, as OTLP calls it in its answer."""


class Malformed(Exception):
    """An export that cannot be decoded; the text says where and why."""


class Unusable(Exception):
    """A part of an export that says something of usage, and cannot be reported; the text says why."""


class Span(NamedTuple):
    """An operation that has ended. ``trace`` and ``span`` are ids in hex, ``ended_ns`` is Unix time; 0 is not known."""

    name: str
    trace: str
    span: str
    ended_ns: int
    attributes: Attributes


class LogRecord(NamedTuple):
    """An event. ``name`` is ``event.name``, or what takes its place. ``trace`` and ``span`` say within what it was."""

    name: str
    trace: str
    span: str
    at_ns: int
    attributes: Attributes


class Point(NamedTuple):
    """A figure of a metric. ``total``: it counts from ``start_ns`` on (cumulative), and not since the export before.

    ``value`` is the sum, ``calls`` of how many measurements, where a histogram says so.
    """

    metric: str
    total: bool
    start_ns: int
    at_ns: int
    value: float
    calls: int | None
    attributes: Attributes


Item = TypeVar("Item", Span, LogRecord, Point)


class Group(NamedTuple, Generic[Item]):
    """What one instrumentation of one program exported: the attributes of the program, the instrumentation's name."""

    resource: Attributes
    scope: str
    items: list[Item]


class Export(NamedTuple):
    """A whole request: groups of one signal."""

    traces: Sequence[Group[Span]] = ()
    logs: Sequence[Group[LogRecord]] = ()
    metrics: Sequence[Group[Point]] = ()
