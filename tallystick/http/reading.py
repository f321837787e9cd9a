"""Requests as messages: bodies within bounds, the message's name from the path, its id from ``Idempotency-Key``."""

import re
from typing import Any, Final

import msgspec
from starlette.convertors import Convertor
from starlette.requests import Request

from tallystick.events.log.codec import BODY_MAX
from tallystick.events.messages import MESSAGES_MAX, NAME_MAX, WIRE
from tallystick.events.messages.invalid import explained

ENDPOINTS: Final = {re.sub(r"(?<=.)(?=[A-Z])", "-", message.__name__).lower(): message for message in WIRE}
"""The message behind each ``POST /v1/<name>``."""
_KEY: Final = re.compile(r'"([\x20\x21\x23-\x5b\x5d-\x7e]+)"|([\x21\x23-\x7e][\x20\x21\x23-\x7e]*)')
"""A string of a structured field, or the same without its quotes, as many clients send it."""
_MEDIA: Final = "application/json"


class MessageName(Convertor[str]):
    """The part of a path that names a message: other methods of another path are not taken for it."""

    regex = "|".join(ENDPOINTS)

    def convert(self, value: str) -> str:
        """The name."""
        return value

    def to_string(self, value: str) -> str:
        """The same."""
        return value


class Unreadable(Exception):
    """A request that no message can be read from: the code, the sentence, and the status."""

    def __init__(self, code: str, detail: str, status: int) -> None:
        super().__init__(detail)
        self.code, self.detail, self.status = code, detail, status


class _Head(msgspec.Struct):
    """What of a message the path and the headers may say, too."""

    type: Any = msgspec.UNSET
    id: Any = msgspec.UNSET


_decode_head = msgspec.json.Decoder(_Head).decode
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


async def body_of(request: Request, most: int = BODY_MAX) -> bytes:
    """The body of a request, of ``most`` bytes.

    Raises:
        Unreadable: it is of another media type, or too large; nothing more of it is read then.
        starlette.requests.ClientDisconnect: the client went away.
    """
    found = request.headers.get("content-type", "")
    if found.partition(";")[0].strip().lower() != _MEDIA:
        detail = f"content-type: found {found[:100]!r}, allowed is {_MEDIA}"
        raise Unreadable("unsupported_media_type", detail, 415)
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Unreadable("unsupported_media_type", "content-encoding: allowed is identity", 415)
    return await bytes_of(request, most)


async def bytes_of(request: Request, most: int) -> bytes:
    """The body of a request, of ``most`` bytes, whatever it is.

    Raises:
        Unreadable: it is too large; nothing more of it is read then.
        starlette.requests.ClientDisconnect: the client went away.
    """
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > most:
        raise _too_large(declared, most)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise _too_large("more", most)
        parts.append(part)
    return b"".join(parts)


def _too_large(found: str, most: int) -> Unreadable:
    return Unreadable("body_too_large", f"the body: found {found} bytes, allowed are {most}", 413)


def messages_of(body: bytes, name: str | None, key: str | None) -> "bytes | list[bytes]":
    """One message, or those of an array, as the fleet reads them. ``name`` is that of the path, None for any.

    Raises:
        Unreadable: it is no JSON, or the path or ``Idempotency-Key`` contradicts the body.
    """
    start = body.lstrip(b" \t\r\n")
    if name is None and start.startswith(b"["):
        return _array(body, key)
    try:
        head = _decode_head(body)
    except msgspec.ValidationError as error:
        raise _invalid(explained(str(error), None)) from error
    except msgspec.DecodeError as error:
        raise Unreadable("invalid_message", f"not JSON: {error}", 400) from error
    except (RecursionError, UnicodeError):
        return body  # what is wrong with it is said where messages are read
    added = {}
    if name is not None:
        if head.type is msgspec.UNSET:
            added["type"] = name
        elif head.type != name:
            raise _invalid(f"type: found {head.type!r:.100}, allowed here is {name!r}")
    if key is not None:
        id = key_of(key)
        if head.id is msgspec.UNSET:
            added["id"] = id
        elif head.id != id:
            raise _invalid(f"id: found {head.id!r:.100}, but Idempotency-Key says {id!r}")
    if not added:
        return body
    inside = start[1:]
    comma = b"" if inside.lstrip(b" \t\r\n").startswith(b"}") else b","
    return msgspec.json.encode(added)[:-1] + comma + inside


def _array(body: bytes, key: str | None) -> list[bytes]:
    if key is not None:
        raise _invalid("Idempotency-Key: it names one message; in an array, each message has its own id")
    try:
        array = _decode_array(body)
    except msgspec.DecodeError as error:
        raise Unreadable("invalid_message", f"not JSON: {error}", 400) from error
    except RecursionError as error:
        raise _invalid("nested too deeply to be read") from error
    if len(array) > MESSAGES_MAX:
        raise _invalid(f"found {len(array)} messages, allowed are up to {MESSAGES_MAX} together")
    return [bytes(one) for one in array]


def key_of(key: str) -> str:
    """The id that an ``Idempotency-Key`` gives: with quotes, as its standard has it, or without.

    Raises:
        Unreadable: it is no id.
    """
    found = _KEY.fullmatch(key)
    id = "" if found is None else found[1] or found[2]
    if not 0 < len(id) <= NAME_MAX:
        raise _invalid(f"Idempotency-Key: found {key!r:.100}, allowed are 1 to {NAME_MAX} printable ASCII characters")
    return id


def _invalid(detail: str) -> Unreadable:
    return Unreadable("invalid_message", detail, 422)
