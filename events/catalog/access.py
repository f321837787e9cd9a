"""Who may reach the fleet from elsewhere: keys are created, revoked, and used where they may not be any more."""

import datetime as dt
from typing import ClassVar, Literal

from tallystick.events.catalog.event import Event, Kind

Role = Literal["operator", "orchestrator", "agent", "analyst", "auditor", "telemetry"]


class KeyCreated(Event, kw_only=True, tag="key-created.v1"):
    """A key of the HTTP service is valid from here on; of the key itself only its SHA-256 is known.

    ``agent`` is in whose name it acts; ``approve_up_to_nanos`` is up to which cost its holder may raise limits.
    """

    kind: ClassVar[Kind] = "fact"
    key: str
    role: Role
    sha256: str
    agent: str | None = None
    expires_at: dt.datetime | None = None
    approve_up_to_nanos: int | None = None


class KeyRevoked(Event, kw_only=True, tag="key-revoked.v1"):
    """A key is not valid any more."""

    kind: ClassVar[Kind] = "fact"
    key: str
    reason: str | None = None


class KeyMisused(Event, kw_only=True, tag="key-misused.v1"):
    """A key was shown, and refused, after it had expired or was revoked: recorded at most once an hour for each key."""

    kind: ClassVar[Kind] = "fact"
    key: str
    why: Literal["expired", "revoked"]
