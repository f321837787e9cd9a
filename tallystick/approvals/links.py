"""A link: what may be done by it, by whom, until when, and a signature over all of that.

It is one text, ``CONTENT.SIGNATURE``, both in base64url. Only the text that was signed is taken, to the letter.
"""

import base64
import binascii
import datetime as dt
import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

import msgspec

from tallystick.config.outgoing import ApprovalLinks, NoSecret, secret_at

PATH: Final = "/links/"
LIFE: Final = dt.timedelta(hours=24)
"""How long a link works after its alert."""
KEY_BYTES_MIN: Final = 32
TOKEN_MAX: Final = 4_096
"""Characters of a link's text."""
_PURPOSE: Final = b"tallystick approval link 1\n"
"""What the key signs is nothing else, whatever else it is used for."""


class Link(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a link says. ``fleet`` is the fleet's id, ``order`` what it does (`orders`), ``to`` its recipient.

    ``expires`` is in seconds since 1970. An order to an agent has ``agent``; a raise has ``limit``, ``value``,
    ``measure``, and ``most``, the new maximum as it is shown.
    """

    fleet: str
    alert: str
    order: str
    to: str
    expires: int
    agent: str | None = None
    limit: str | None = None
    value: str | None = None
    measure: str | None = None
    most: str | None = None

    @property
    def position(self) -> int:
        """Where in the log its alert is: what it did stands behind that."""
        found = self.alert.rpartition("-")[2]
        return int(found) if found.isdigit() else 0

    @property
    def id(self) -> str:
        """The id of the message that it sends: of all recipients' links to the same order, one works, once."""
        content = msgspec.json.encode([self.alert, self.order, self.limit, self.value, self.measure])
        return f"link-{self.order}-{hashlib.sha256(content).hexdigest()[:24]}"


class Forged(Exception):
    """A text is no link that was signed with this key."""


_encode = msgspec.json.Encoder().encode
_link = msgspec.json.Decoder(Link).decode


def key_of(links: ApprovalLinks, environ: Mapping[str, str]) -> bytes:
    """The key that signs.

    Raises:
        NoSecret: it is not where the configuration says, or is too short; the text shows nothing of it.
    """
    key = secret_at(links.key, environ)
    if len(key) < KEY_BYTES_MIN:
        raise NoSecret(f"approval_links.key: found {len(key)} bytes, allowed are {KEY_BYTES_MIN} or more")
    return key


def text_of(link: Link, key: bytes) -> str:
    """A link, signed."""
    content = _encode(link)
    return f"{_text(content)}.{_text(hmac.digest(key, _PURPOSE + content, 'sha256'))}"


def link_of(text: str, key: bytes) -> Link:
    """The link that a text is.

    Raises:
        Forged: it is none, was changed, or was signed with another key.
    """
    if len(text) > TOKEN_MAX or not text.isascii():
        raise Forged
    content = text.partition(".")[0]
    try:
        data = base64.urlsafe_b64decode(content + "=" * (-len(content) % 4))
        # The signature is looked at before what is signed.
        signed = f"{_text(data)}.{_text(hmac.digest(key, _PURPOSE + data, 'sha256'))}"
        if not hmac.compare_digest(signed, text):
            raise Forged
        return _link(data)
    except (binascii.Error, msgspec.DecodeError, ValueError):
        raise Forged from None


def address_of(links: ApprovalLinks, text: str) -> str:
    """Where a link is opened."""
    return f"{links.public_url.rstrip('/')}{PATH}{text}"


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
