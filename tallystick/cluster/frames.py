"""What fronts and shards say to each other: HTTP requests and answers as frames, many of them in one call.

Frames travel as bytes: what Ray pickles depends on how a program was started, bytes do not.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

Headers = list[tuple[bytes, bytes]]


class Ask(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """A request to a fleet, whole. ``path`` begins behind the fleet's name; ``client`` is the address it came from."""

    id: int
    fleet: str
    method: str
    scheme: str
    path: str
    query: bytes
    headers: Headers
    client: tuple[str, int] | None
    body: bytes


class Gone(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """The client of a request does not wait any more."""

    id: int


class Sent(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """A part of an answer was sent to the client: there is room for the next."""

    id: int


class Begin(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """An answer and the first part of its body; ``more`` says whether others follow."""

    id: int
    status: int
    headers: Headers
    body: bytes
    more: bool


class Part(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """A further part of an answer's body."""

    id: int
    body: bytes
    more: bool


class Elsewhere(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """The fleet is another shard's: there are so many shards now. Nothing was done with the request."""

    id: int
    shards: int


ToShard = Ask | Gone | Sent
ToFront = Begin | Part | Elsewhere
_encode: Final = msgspec.msgpack.Encoder().encode
_asked: Final = msgspec.msgpack.Decoder(list[ToShard])
_answered: Final = msgspec.msgpack.Decoder(list[ToFront])


def encode(frames: Sequence[ToShard | ToFront]) -> bytes:
    """Frames as they travel."""
    return _encode(frames)


def to_shard(data: bytes) -> list[ToShard]:
    """What a front says."""
    return _asked.decode(data)


def to_front(data: bytes) -> list[ToFront]:
    """What a shard says."""
    return _answered.decode(data)
