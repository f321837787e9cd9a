"""Signatures of Standard Webhooks (https://www.standardwebhooks.com): HMAC-SHA256 over id, time and body."""

import base64
import binascii
import hmac
from collections.abc import Iterable, Mapping
from typing import Final

from tallystick.config.outgoing import NoSecret

KEY_BYTES_MIN: Final = 16
_PREFIX: Final = b"whsec_"


def keys_of(secret: bytes) -> list[bytes]:
    """The keys that a secret stands for: several that begin with ``whsec_``, while one replaces another.

    ``whsec_`` and base64 is how receivers show a secret; any other text, as it is, is the key itself.

    Raises:
        NoSecret: one is too short, or no base64; the text shows nothing of it.
    """
    parts = secret.split()
    if not all(part.startswith(_PREFIX) for part in parts):
        parts = [secret]
    return [_key(part, place) for place, part in enumerate(parts, 1)]


def _key(part: bytes, place: int) -> bytes:
    key = part
    if part.startswith(_PREFIX):
        try:
            key = base64.b64decode(part.removeprefix(_PREFIX), validate=True)
        except binascii.Error:
            raise NoSecret(f"secret {place}: what follows whsec_ is no base64") from None
    if len(key) < KEY_BYTES_MIN:
        raise NoSecret(f"secret {place}: found {len(key)} bytes, allowed are {KEY_BYTES_MIN} or more")
    return key


def signed(id: str, timestamp: int, body: bytes, keys: Iterable[bytes]) -> Mapping[str, str]:
    """The headers that sign a body; ``timestamp`` is in seconds since 1970. One signature for each key."""
    content = b"%b.%d.%b" % (id.encode(), timestamp, body)
    signatures = (b"v1," + base64.b64encode(hmac.digest(key, content, "sha256")) for key in keys)
    return {
        "webhook-id": id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": b" ".join(signatures).decode(),
    }
