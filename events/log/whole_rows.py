"""Rows of the log proved and decoded as a whole: each record is hashed once, and none is taken out by itself.

Here only the plain case is looked at, a row that is sound. Of any other nothing is said: who reads it
record by record (`store_segments.records_in`, `replaying.link`) finds out what it has, or what is wrong with it.
"""

import datetime as dt
import hashlib
import operator
from collections.abc import Sequence
from functools import reduce
from io import BytesIO
from typing import Any, Final, NamedTuple

import msgspec

from tallystick.events.catalog import CATALOG, STORED_NAME, Event
from tallystick.events.log.codec import DIGEST_KEY, TAIL
from tallystick.events.log.store_contract import Row
from tallystick.events.log.store_segments import SEGMENT, unpacked

_decode = msgspec.json.Decoder[Any](list[reduce(operator.or_, CATALOG)]).decode  # type: ignore[misc]
_HEADS: Final = {cls: f'{{"type":"{name}"'.encode() for cls, name in STORED_NAME.items()}
_ENDS: Final = {b"},\n"}
_END: Final = 3
_TAIL: Final = TAIL + 2
"""With the comma and the newline behind a record."""


class Whole(NamedTuple):
    """The events of a row, and the digests of their records."""

    events: Sequence[Event]
    digests: Sequence[bytes]


def whole(row: Row, position: int, digest: bytes, now: dt.datetime) -> Whole | None:
    """A row whose records all follow the one with this position, digest and time; None where that is not plain."""
    if row.topic != SEGMENT or type(row.state) is not bytes:
        return None
    text = unpacked(row.state)
    pieces = BytesIO(text).readlines()  # three times as fast as to split it
    if row.position != position + len(pieces) or not (text[:1] == b"[" and text[-2:] == b"}]"):
        return None
    # A record ends where its line does, before a comma.
    pieces[0] = pieces[0][1:]
    pieces[-1] = pieces[-1][:-1] + b",\n"
    digests = _digests(pieces, digest)
    if digests is None:
        return None
    try:
        events: list[Event] = _decode(text)
    except (msgspec.MsgspecError, ValueError):
        return None
    times = [event.at for event in events]
    if (
        [event.position for event in events] != list(range(position + 1, row.position + 1))
        or times[0] < now
        or not all(map(operator.le, times, times[1:]))
        or not all(map(bytes.startswith, pieces, map(_HEADS.__getitem__, map(type, events))))
    ):
        return None
    return Whole(events, digests)


def _digests(pieces: Sequence[bytes], digest: bytes) -> list[bytes] | None:
    """The digests of records, each with a comma and a newline behind it, of which the first and the last have their
    own; None where these are not what is computed, or a record ends otherwise.
    """
    sha256 = hashlib.sha256
    first = digest = sha256(digest + pieces[0][:-_TAIL]).digest()
    digests = [digest := sha256(digest + piece[:-_END]).digest() for piece in pieces[1:-1]]
    last = first if len(pieces) == 1 else sha256(digest + pieces[-1][:-_TAIL]).digest()
    for piece, stated in ((pieces[0], first), (pieces[-1], last)):
        if piece[-_TAIL:] != b'%b%b"},\n' % (DIGEST_KEY, stated.hex().encode()):
            return None
    return [first, *digests, last][: len(pieces)] if {piece[-_END:] for piece in pieces} == _ENDS else None
