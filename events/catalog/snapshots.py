"""What the log keeps of snapshots of the state."""

from typing import ClassVar

from tallystick.events.catalog.event import Event, Kind


class SnapshotRecorded(Event, kw_only=True, tag="snapshot-recorded.v1"):
    """The SHA-256 of the state at position ``upto``; a snapshot that does not match it is ignored."""

    kind: ClassVar[Kind] = "fact"
    upto: int
    sha256: str
