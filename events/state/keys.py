"""The keys of the HTTP service: who holds them, and what they are compared with."""

import datetime as dt
import hmac
from collections import deque
from typing import Any, Final

import msgspec

from tallystick.events.catalog import KeyCreated
from tallystick.events.catalog.access import Role

KEYS_MAX: Final = 10_000
"""Keys that are not revoked."""
REVOKED_KEPT: Final = 1_000
"""Revoked keys that are remembered, newest last: so their use is noticed, and their names are not taken again."""
_MARK: Final = 16
_NO_DIGEST: Final = "0" * 64


class Key(msgspec.Struct, array_like=True, eq=False):
    """One key. ``sha256`` is that of the key itself, in hex; times are the fleet's."""

    name: str
    role: Role
    agent: str | None
    sha256: str
    created_at: dt.datetime
    expires_at: dt.datetime | None
    approve_up_to_nanos: int | None
    revoked_at: dt.datetime | None = None
    misused_at: dt.datetime | None = None
    """When it was last noticed that it was shown although it is not valid."""

    def invalid_since(self, now: dt.datetime) -> "tuple[str, dt.datetime] | None":
        """Why the key is not valid (``revoked``, ``expired``), and since when; None where it is."""
        if self.revoked_at is not None:
            return "revoked", self.revoked_at
        if self.expires_at is not None and now >= self.expires_at:
            return "expired", self.expires_at
        return None


class Keys:
    """All keys, by name and by digest. Once there was one, there always is: the service does not open again."""

    def __init__(self) -> None:
        self.by_name: dict[str, Key] = {}
        self._by_mark: dict[str, Key] = {}
        self._revoked: deque[str] = deque()

    def __bool__(self) -> bool:
        return bool(self.by_name)

    @property
    def valid_count(self) -> int:
        """How many are not revoked."""
        return len(self.by_name) - len(self._revoked)

    def find(self, sha256: str) -> Key | None:
        """The key with this digest, in hex, valid or not.

        It is looked up by a part of the digest, and then compared in constant time. No key can be chosen by its digest,
        so how long the look-up takes says nothing about other keys.
        """
        key = self._by_mark.get(sha256[:_MARK])
        same = hmac.compare_digest(_NO_DIGEST if key is None else key.sha256, sha256)
        return key if same else None

    def holds(self, sha256: str) -> bool:
        """Whether a key with this digest, or another one that is looked up in its place, is there."""
        return sha256[:_MARK] in self._by_mark

    def create(self, event: KeyCreated) -> None:
        """A key is valid from now on."""
        key = Key(
            event.key,
            event.role,
            event.agent,
            event.sha256,
            event.at,
            event.expires_at,
            event.approve_up_to_nanos,
        )
        self._put(key)

    def revoke(self, name: str, at: dt.datetime) -> None:
        """A key is not valid any more; of many, the one that was revoked first is forgotten."""
        self.by_name[name].revoked_at = at
        self._revoked.append(name)
        if len(self._revoked) > REVOKED_KEPT:
            gone = self.by_name.pop(self._revoked.popleft())
            del self._by_mark[gone.sha256[:_MARK]]

    def note_misuse(self, name: str, at: dt.datetime) -> None:
        """A key was shown although it is not valid."""
        self.by_name[name].misused_at = at

    def _put(self, key: Key) -> None:
        self.by_name[key.name] = key
        self._by_mark[key.sha256[:_MARK]] = key

    def dump(self) -> list[Any]:
        """The keys and the order in which they were revoked, for a snapshot."""
        return [list(map(msgspec.to_builtins, self.by_name.values())), list(self._revoked)]

    @classmethod
    def load(cls, kept: list[Any]) -> "Keys":
        """What `dump` gave."""
        keys = cls()
        for key in msgspec.convert(kept[0], list[Key]):
            keys._put(key)
        keys._revoked.extend(kept[1])
        return keys
