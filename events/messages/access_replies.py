"""What is answered about keys."""

import datetime as dt
from typing import Literal

import msgspec

from tallystick.events.catalog.access import Role
from tallystick.events.messages.replies import Reply

KeyState = Literal["valid", "expired", "revoked"]


class KeyLine(msgspec.Struct, omit_defaults=True):
    """One key."""

    key: str
    role: Role
    state: KeyState
    created_at: dt.datetime
    agent: str | None = None
    expires_at: dt.datetime | None = None
    revoked_at: dt.datetime | None = None
    approve_up_to_usd: str | None = None


class KeyShown(Reply):
    """Answers `CreateKey` and `RevokeKey`."""

    key: str
    role: Role
    state: KeyState
    agent: str | None = None
    expires_at: dt.datetime | None = None
    approve_up_to_usd: str | None = None


class KeysListed(Reply):
    """Answers `ListKeys`."""

    keys: list[KeyLine]
    next: str | None = None
