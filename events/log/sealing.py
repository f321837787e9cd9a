"""Records as the writer makes them: chained, in the rows that are stored, and one by one only where they are asked for.

The rows are those of `store_segments`. There, phrases are looked for in the bytes of records; here it is known where in
a record they stand, so that most are left out without looking.
"""

import hashlib
from collections.abc import Sequence
from typing import Final, overload

from tallystick.events.catalog import STORED_NAME, Event
from tallystick.events.log.codec import origin_body, record_body, with_digest
from tallystick.events.log.store_contract import Fenced, Record
from tallystick.events.log.store_segments import BYTES_MAX, PHRASES, RECORDS_MAX, SEGMENT, Row, packed, rows_of

Origin = tuple[bytes | None, str | None]
"""Which process asked, if another one did, and in which trace, if that is known."""
Line = tuple[Event, bytes | None, bytes | None, Origin | None]
"""An event, and on the first of a command what was asked and answered, and where it came from."""

_TYPE: Final = b'{"type":"'
_COMMAND: Final = b',"command":'
_REPLY: Final = b',"reply":'
_USUAL_CODE: Final = b"\x01"
_USUAL: Final = PHRASES[_USUAL_CODE]
_USUAL_KEY: Final = _USUAL[: _USUAL.index(b":")]
_USUAL_LENGTH: Final = len(_USUAL)
_WITHIN: Final = tuple(code for code, phrase in PHRASES.items() if not phrase.startswith((_TYPE, _COMMAND, _REPLY)))
"""The phrases that stand anywhere in a record."""
_TOLD_APART_BY: Final = 13
"""The first bytes of a command or of a reply: they differ between those that are looked for."""


_Codes = dict[bytes, tuple[bytes, bytes, int]]


def _codes_behind(key: bytes) -> _Codes:
    """The phrases that begin with a key: a code, what stands behind the key, and how many bytes that is.

    They are found by their first bytes. With none, it is the key itself.
    """
    found = {phrase[len(key) :]: code for code, phrase in PHRASES.items() if phrase.startswith(key)}
    long = {
        head[:_TOLD_APART_BY]: (code, head, len(head)) for head, code in found.items() if len(head) > _TOLD_APART_BY
    }
    return long | {b"": (key, b"", 0)}


_HEADS: Final = {
    phrase[len(_TYPE) :].partition(b'"')[0].decode(): (code, len(phrase))
    for code, phrase in PHRASES.items()
    if phrase.startswith(_TYPE)
}
_NO_HEAD: Final = (b"", 0)
_COMMANDS: Final = _codes_behind(_COMMAND)
_REPLIES: Final = _codes_behind(_REPLY)


class Sealed(Sequence[Record]):
    """The records of a commit, behind the record with the digest ``before``; ``digest`` is that of the last one."""

    __slots__ = ("_chained", "_digests", "_names", "_shorts", "digest", "first")

    def __init__(self, lines: Sequence[Line], before: bytes) -> None:
        self.first = lines[0][0].position
        self._names = [STORED_NAME[type(line[0])] for line in lines]
        self._chained: list[bytes] = []
        """What digests are made of: that of the record before, and then the record's bytes."""
        self._shorts: list[bytes] = []
        """The records in fewer bytes."""
        self._digests: list[bytes] = []
        sha256, join, digest = hashlib.sha256, b"".join, before
        # How the command and the reply before began: most begin as those.
        (ask, ask_head, asked_from), (reply, reply_head, answered_from) = _COMMANDS[b""], _REPLIES[b""]
        for (event, asked, answered, origin), name in zip(lines, self._names, strict=True):
            known = record_body(event, None, None)
            code, length = _HEADS.get(name, _NO_HEAD)
            if asked is None or answered is None:
                short, chained = code + known[length:], digest + known
            else:
                rest = origin_body(*origin) if origin else b""
                if not ask_head or not asked.startswith(ask_head):
                    ask, ask_head, asked_from = _begun(asked, _COMMANDS)
                if not reply_head or not answered.startswith(reply_head):
                    reply, reply_head, answered_from = _begun(answered, _REPLIES)
                begun = code, known[length:], ask, asked[asked_from:], reply
                # What most replies say in the middle is a code, too.
                usual = answered.find(_USUAL_KEY)
                if usual >= answered_from and answered.startswith(_USUAL, usual):
                    behind = answered[usual + _USUAL_LENGTH :]
                    short = join((*begun, answered[answered_from:usual], _USUAL_CODE, behind, rest))
                else:
                    short = join((*begun, answered[answered_from:], rest))
                chained = join((digest, known, _COMMAND, asked, _REPLY, answered, rest))
            digest = sha256(chained).digest()
            self._chained.append(chained)
            self._shorts.append(short)
            self._digests.append(digest)
        self.digest = digest

    def rows(self) -> list[Row]:
        """The rows in which they are stored."""
        size = RECORDS_MAX
        while size > 1 and (max(map(len, self._chained)) - len(self.digest)) * size > BYTES_MAX:
            size //= 2
        return [self._row(start, min(start + size, len(self))) for start in range(0, len(self), size)]

    def _row(self, start: int, end: int) -> Row:
        pieces = [short + b"}" for short in self._shorts[start:end]]
        for place in {start, end - 1}:
            pieces[place - start] = with_digest(self._shorts[place], self._digests[place])
        return Row(self.first + end - 1, SEGMENT, packed(pieces, _WITHIN, ()))

    def __len__(self) -> int:
        return len(self._chained)

    @overload
    def __getitem__(self, place: int) -> Record: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Record]: ...
    def __getitem__(self, place: int | slice) -> Record | Sequence[Record]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        place = range(len(self))[place]
        body = self._chained[place][len(self.digest) :]
        return Record(self.first + place, self._names[place], with_digest(body, self._digests[place]))


def rows_behind(records: Sequence[Record], end: int, named: str) -> list[Row]:
    """The rows of records that follow one another behind the position ``end`` of a store.

    Raises:
        Fenced: they do not.
    """
    positions = [records.first] if isinstance(records, Sealed) else [record.position for record in records]
    for expected, found in enumerate(positions, start=end + 1):
        if found != expected:
            raise Fenced(f"another writer has written to {named}: expected position {expected}, found {found}")
    return records.rows() if isinstance(records, Sealed) else rows_of(records)


def _begun(part: bytes, codes: _Codes) -> tuple[bytes, bytes, int]:
    """What stands for the key and the beginning of a command or a reply, that beginning, and how long it is."""
    found = codes.get(part[:_TOLD_APART_BY])
    return codes[b""] if found is None or not part.startswith(found[1]) else found
