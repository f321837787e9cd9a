"""Answers to exports in the encoding of the request: what was taken, or a ``google.rpc.Status``."""

import zlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from tallystick.telemetry import from_json
from tallystick.telemetry.items import Export, Malformed, Signal

JSON: Final = "application/json"
PROTOBUF: Final = "application/x-protobuf"
UNPACKED_MAX: Final = 16 * 1024 * 1024
"""Bytes of an export, unpacked."""
_MISSING: Final = "it needs more packages: pip install 'tallystick[telemetry]'; application/json needs none"
_CODES: Final[Mapping[int, int]] = {
    400: 3,
    401: 16,
    403: 7,
    404: 5,
    405: 12,
    409: 9,
    413: 3,
    415: 3,
    421: 3,
    422: 3,
    429: 8,
    499: 1,
    500: 13,
    501: 12,
    503: 14,
    504: 4,
}
"""The code of gRPC for a status of HTTP; 2 (unknown) for any other."""
_TEXT_MAX: Final = 1_000


class MissingPackages(Exception):
    """Protobuf cannot be read: the extra is not installed."""


class TooLarge(Exception):
    """An export unpacks to more than is taken."""


def protobuf() -> Any:
    """The module that reads and writes protobuf.

    Raises:
        MissingPackages: the packages of the extra are missing.
    """
    try:
        from tallystick.telemetry import from_protobuf
    except ImportError as error:
        raise MissingPackages(f"{PROTOBUF}: {_MISSING}") from error
    return from_protobuf


def unpacked(body: bytes) -> bytes:
    """A body that was packed with gzip.

    Raises:
        Malformed: it was not, or it is cut off.
        TooLarge: it has more than is taken; no more of it is unpacked.
    """
    unpacking = zlib.decompressobj(wbits=31)
    try:
        data = unpacking.decompress(body, UNPACKED_MAX + 1)
    except zlib.error as error:
        raise Malformed(f"content-encoding: gzip does not unpack: {error}") from error
    if len(data) > UNPACKED_MAX:
        raise TooLarge(f"the body: unpacked, found more than {UNPACKED_MAX} bytes, which are allowed")
    if not unpacking.eof or unpacking.unused_data:
        raise Malformed("content-encoding: gzip ends too early, or goes on behind its end")
    return data


def is_more_than(body: bytes, most: int) -> bool:
    """Whether a body that was packed with gzip has more than so many bytes; no more of it is unpacked."""
    try:
        return len(zlib.decompressobj(wbits=31).decompress(body, most + 1)) > most
    except zlib.error:
        return False


def decode(media: str, signal: Signal, body: bytes) -> Export:
    """An export.

    Raises:
        Malformed: it is none.
        MissingPackages: it is protobuf, which cannot be read here.
    """
    return (from_json if media == JSON else protobuf()).decode(signal, body)  # type: ignore[no-any-return]


def taken(media: str, signal: Signal, rejected: int, text: str) -> bytes:
    """The answer to an export that was taken, but for so many of its parts."""
    answering = from_json if media == JSON else protobuf()
    data: bytes = answering.response(signal, rejected, text[:_TEXT_MAX])
    return data


def status(media: str, http_status: int, text: str) -> bytes:
    """A ``google.rpc.Status``, without the packages of the extra too: its two fields are a number and a text."""
    code = _CODES.get(http_status, 2)
    if media != PROTOBUF:
        return msgspec.json.encode({"code": code, "message": text})
    said = text[:_TEXT_MAX].encode()
    return b"\x08" + _varint(code) + b"\x12" + _varint(len(said)) + said


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))
