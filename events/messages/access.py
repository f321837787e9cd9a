"""The keys of the HTTP service."""

import datetime as dt
from decimal import Decimal
from typing import Annotated, ClassVar

import msgspec

from tallystick.events.catalog.access import Role
from tallystick.events.messages.command import Command, Name, Reason

Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}(?!\n)$")]


class CreateKey(Command):
    """Make a key valid that its sender has drawn: ``sha256`` is the key's, in 64 hex digits; the key is never sent.

    ``key`` is its name. ``agent`` is in whose name it acts, which a key of the role ``agent`` must say; messages sent
    with another key are recorded under the key's name. ``approve_up_to_usd``: up to which cost an operator's key may
    raise limits; without it, as far as it likes.
    """

    group: ClassVar[str] = "access"
    key: Name
    role: Role
    sha256: Sha256
    agent: Name | None = None
    expires_at: Annotated[dt.datetime, msgspec.Meta(tz=True)] | None = None
    approve_up_to_usd: Decimal | None = None


class RevokeKey(Command):
    """End a key at once, and with it what is logged in by it."""

    group: ClassVar[str] = "access"
    key: Name
    reason: Reason | None = None


class ListKeys(Command):
    """The keys by name, without what they are compared with: ``limit`` of them whose name sorts behind ``after``."""

    group: ClassVar[str] = "access"
    query: ClassVar[bool] = True
    limit: Annotated[int, msgspec.Meta(ge=0, le=1_000)] = 100
    after: str | None = None
