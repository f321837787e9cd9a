"""Records of the log as CloudEvents 1.0 in the JSON format (https://cloudevents.io)."""

from collections.abc import Sequence
from typing import Final

import msgspec

from tallystick.events.log.store import Record

SINGLE: Final = "application/cloudevents+json; charset=utf-8"
BATCH: Final = "application/cloudevents-batch+json; charset=utf-8"
DIGEST: Final = 12
"""Hex digits of a record's digest in the id of its event."""


class CloudEvent(msgspec.Struct, omit_defaults=True):
    """The attributes of an event; ``data`` is the record as it is stored."""

    specversion: str
    id: str
    source: str
    type: str
    time: str
    datacontenttype: str
    sequence: str
    """The position in the log, with zeros in front: it sorts as text (the extension Sequence)."""
    data: msgspec.Raw
    subject: str | None = None
    """The agent, or else the task, that the event is about."""
    partitionkey: str | None = None
    """The same, for receivers that keep the order by key (the extension Partitioning)."""
    traceparent: str | None = None


class _Head(msgspec.Struct):
    """What is read of a record."""

    at: str
    agent: str | None = None
    task: str | None = None


_head = msgspec.json.Decoder(_Head).decode
_encode = msgspec.json.Encoder().encode


def source_of(fleet: str) -> str:
    """The source of all events of a fleet: what its id is as a URI."""
    return f"urn:tallystick:fleet:{fleet}"


def mark_of(record: Record) -> str:
    """The beginning of a record's digest, which it carries at its end: no two logs have the same at a position."""
    return record.data[-66 : DIGEST - 66].decode()


def id_of(record: Record) -> str:
    """The id of an event: its position, and what tells it from that of another log that begins in the same way."""
    return f"{record.position}-{mark_of(record)}"


def cloud_event(record: Record, source: str) -> CloudEvent:
    """A record as a CloudEvent."""
    head = _head(record.data)
    about = head.agent or head.task or None
    return CloudEvent(
        specversion="1.0",
        id=id_of(record),
        source=source,
        type=f"tallystick.{record.name}",
        time=head.at,
        datacontenttype="application/json",
        sequence=f"{record.position:020d}",
        data=msgspec.Raw(record.data),
        subject=about,
        partitionkey=about,
    )


def body_of(records: Sequence[Record], source: str, *, batch: bool) -> bytes:
    """What is sent: an array of events, or the one event."""
    events = [cloud_event(record, source) for record in records]
    return _encode(events if batch else events[0])
