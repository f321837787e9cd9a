"""How records lie in a store: several in one row, in a form that leaves out what follows from the rest.

A row with the topic ``segment.v1`` has records that follow one another, as one JSON array, one record a line. It lies
at the position of its last record. Two things are left out, and both are put back byte for byte when it is read:

- the digests of the records between the first and the last: each is computed from the one before it (see ``codec``).
  That the last one comes out proves all of them;
- phrases that nearly every record has: each is one control character, which stands in no JSON text (`PHRASES`).

So one who has only the ``sqlite3`` shell reads a row once each of these characters is replaced by its phrase, as the
view ``log`` does. A row with any other topic is one record, as it is: so older versions wrote all of them.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from typing import Final

from tallystick.events.catalog.rules_version import OnlyNewerKnows
from tallystick.events.log.broken_chain import BrokenChain, NewerLog
from tallystick.events.log.codec import DIGEST_KEY, TAIL, digest_of, with_digest
from tallystick.events.log.store_contract import Record
from tallystick.events.log.store_contract import Row as Row

SEGMENT: Final = "segment.v1"
RECORDS_MAX: Final = 64
"""Of a row: to find one record, its whole row is read."""
BYTES_MAX: Final = 1024 * 1024
"""Of a row with several records."""
_SEGMENTS: Final = "segment."
BETWEEN: Final = b",\n"
_HEAD: Final = b'{"type":"'
_FEW: Final = 8
"""Records of a row in which every phrase is looked for: in larger ones, that would take longer than it is worth."""

PHRASES: Final[dict[bytes, bytes]] = {
    b"\x01": b',"status":"green","action":"continue","throttle_rate":1.0,"wait_seconds":0,"decided_by":"level"'
    b',"remaining":{"tokens":',
    b"\x02": b',"command":{"type":"ReportUsage","agent":"',
    b"\x03": b'{"type":"usage-reported.v1","position":',
    b"\x04": b',"reply":{"ok":{"agent":"',
    b"\x05": b',"command":{"type":"Reserve","agent":"',
    b"\x06": b',"command":{"type":"Settle","hold":"',
    b"\x07": b'{"type":"hold-settled.v1","position":',
    b"\x08": b'{"type":"hold-placed.v1","position":',
    b"\x09": b',"reply":{"ok":{"hold":"',
    b"\x0b": b'{"type":"request-refused.v1","position":',
    b"\x0c": b',"reply":{"error":{"code":"',
    b"\x0e": b',"command":{"type":"',
    b"\x0f": b',"expires_at":"',
    b"\x10": b',"time_seconds":"',
    b"\x11": b',"usage":{"tokens":',
    b"\x12": b',"percentage":',
    b"\x13": b',"cost_nanos":',
    b"\x14": b',"digest":"',
    b"\x15": b',"cost_usd":"',
    b"\x16": b',"model":"',
    b"\x17": b',"tokens":',
    b"\x18": b',"time_ms":',
}
"""What each control character stands for. No entry may ever change: rows are stored with it."""
_OFTEN: Final = (b"\x01", b"\x02", b"\x03", b"\x04", b"\x05", b"\x06", b"\x07", b"\x08", b"\x09")
"""Those that save the most, looked for in every row."""
_SHORTEST_FIRST: Final = tuple(sorted(PHRASES.items(), key=lambda one: len(one[1])))
_CONTROLS: Final = bytes(range(0x20))
_KEPT: Final = 4


_UNPACKED: Final = reduce(
    lambda text, one: f"replace({text}, char({one[0][0]}), '{one[1].decode()}')", PHRASES.items(), "CAST(state AS TEXT)"
)
VIEW: Final = (
    "CREATE VIEW log AS SELECT CASE topic WHEN 'segment.v1' THEN json_extract(one.value, '$.position')"
    " ELSE originator_version END AS position,"
    " CASE topic WHEN 'segment.v1' THEN json_extract(one.value, '$.type') ELSE topic END AS type,"
    " one.value AS record FROM stored_events, json_each(CASE topic WHEN 'segment.v1'"
    f" THEN {_UNPACKED} ELSE json_array(CAST(state AS TEXT)) END) AS one WHERE originator_id = 'fleet'"
)
"""In a SQLite file, for a reader with nothing but the shell: the log as text, a row for each record."""
VIEW_BEFORE: Final = (
    "CREATE VIEW log AS SELECT originator_version AS position, topic AS type, CAST(state AS TEXT) AS record"
    " FROM stored_events WHERE originator_id='fleet'"
)
"""The view in a file in which each row is one record."""


# --- writing ---------------------------------------------------------------------------------------------------------


def rows_of(records: Sequence[Record]) -> list[Row]:
    """The rows in which records are stored. What would not be read back byte for byte lies in a row of its own."""
    rows: list[Row] = []
    for start in range(0, len(records), RECORDS_MAX):
        rows += _rows(records[start : start + RECORDS_MAX])
    return rows


def _rows(records: Sequence[Record]) -> Iterator[Row]:
    left = [records]
    while left:
        part = left.pop()
        if len(part) > 1 and sum(len(record.data) for record in part) > BYTES_MAX:
            half = len(part) // 2
            left += (part[half:], part[:half])
            continue
        row = _segment(part)
        if row is None:
            yield from (Row(*record) for record in part)
        else:
            yield row


def _segment(records: Sequence[Record]) -> Row | None:
    """The row of some records; None where it would not give them back."""
    if not all(_is_plain(record.data) for record in records):
        return None
    row = Row(records[-1].position, SEGMENT, packed(pieces_of(records)))
    try:
        return row if records_in(row) == list(records) else None
    except BrokenChain:
        return None


def pieces_of(records: Sequence[Record]) -> list[bytes]:
    """The bytes of records that follow one another: only the first and the last have their digests."""
    between = [b"".join((record.data[:-TAIL], b"}")) for record in records[1:-1]]
    return [records[0].data, *between, *(record.data for record in records[1:][-1:])]


def has_digest(data: bytes) -> bool:
    """Whether the bytes of a record end as those with a digest."""
    return data[-TAIL:-66] == DIGEST_KEY


def _is_plain(data: bytes) -> bool:
    """Whether bytes look like a record with a digest, and have no control characters."""
    return data.startswith(_HEAD) and has_digest(data) and len(data.translate(None, _CONTROLS)) == len(data)


def packed(pieces: Sequence[bytes], in_few: Iterable[bytes] = PHRASES, in_many: Iterable[bytes] = _OFTEN) -> bytes:
    """The bytes of a row: its records, of which only the first and the last have a digest.

    ``in_few`` and ``in_many`` are the codes of the phrases that are replaced: in a row of few records, or of more.
    """
    text = b"".join((b"[", BETWEEN.join(pieces), b"]"))
    for code in in_few if len(pieces) <= _FEW else in_many:
        text = text.replace(PHRASES[code], code)
    return text


# --- reading ---------------------------------------------------------------------------------------------------------


def records_in(row: Row) -> list[Record]:
    """The records of a row, byte for byte as they were written.

    Raises:
        BrokenChain: the row is not what was written, as far as it can be proved by itself.
    """
    position, topic, state = row
    if topic != SEGMENT:
        if str(topic).startswith(_SEGMENTS):
            raise NewerLog(position, str(OnlyNewerKnows(f"{topic} is no form of rows that this tallystick knows")))
        return [Record(position, topic, state)]
    pieces = _pieces(row)
    first = position - len(pieces) + 1
    if len(pieces) == 2 or (len(pieces) > 2 and not has_digest(pieces[1])):
        pieces = _proved(pieces, first)
    else:
        first = _position_in(pieces[0]) or first  # older archives have all digests: what is missing shows behind it
    names: dict[bytes, str] = {}
    records = []
    for place, data in enumerate(pieces, start=first):
        head = data[9 : data.find(b'"', 9)]
        name = names.get(head)
        if name is None:
            name = names[head] = name_in(data)
        records.append(Record(place, name, data))
    return records


def records_behind(row: Row, position: int) -> list[Record]:
    """`records_in` a row that is read behind the record at a position.

    Raises:
        BrokenChain: the row is not what was written; the next position, where it does not say where it begins.
    """
    try:
        return records_in(row)
    except _NoBeginning as error:
        raise BrokenChain(position + 1, error.reason) from error


class _NoBeginning(BrokenChain):
    """A row that does not say where it begins: only the row before it does."""


class OpenedRow:
    """Reads rows, and remembers those that were read last: who asks for one record may ask for its neighbour next."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[Row, list[Record]]] = {}

    def records_in(self, row: Row) -> list[Record]:
        """As the function of that name."""
        found = self._last.get(row.position)
        if found is not None and found[0] == row:
            return found[1]
        records = records_in(row)
        if row.topic == SEGMENT:
            self._last = {**dict(list(self._last.items())[1 - _KEPT :]), row.position: (row, records)}
        return records

    def records_of(self, rows: Sequence[Row], after: int, upto: int | None) -> tuple[list[Record], BrokenChain | None]:
        """The records of rows with ``after < position <= upto``, up to a row that is not what was written; and why."""
        found: list[Record] = []
        for row in rows:
            try:
                records = self.records_in(row)
            except _NoBeginning as error:
                return found, BrokenChain((found[-1].position if found else after) + 1, error.reason)
            except BrokenChain as error:
                return found, error
            # A row may begin before. Where another one than the first does, the log is broken, and is shown so.
            found += [one for one in records if after < one.position] if row is rows[0] else records
        while upto is not None and found and found[-1].position > upto:
            found.pop()
        return found, None


def first_in(row: Row) -> int:
    """The position of the first record of a row, as far as can be seen without reading it."""
    position, topic, state = row
    return position - state.count(BETWEEN) if topic == SEGMENT and type(state) is bytes else position


def texts_in(topic: str, state: bytes) -> list[bytes]:
    """The records of a row without their digests, as they lie there: nothing is proved."""
    return [state] if topic != SEGMENT else unpacked(state)[1:-1].split(BETWEEN)


def unpacked(state: bytes) -> bytes:
    """The bytes of a row with all phrases in it."""
    # The longest are put back last: so there is less to look through for the others.
    for code, phrase in _SHORTEST_FIRST:
        state = state.replace(code, phrase)
    return state


def name_in(data: bytes) -> str:
    """The stored name in a record, which begins with it; empty where it does not."""
    return data[len(_HEAD) : data.find(b'"', len(_HEAD))].decode("utf-8", "replace") if data.startswith(_HEAD) else ""


def _pieces(row: Row) -> list[bytes]:
    position, _, state = row
    if type(state) is not bytes:
        raise _NoBeginning(position, "the row is stored as text: it is not the bytes that were written")
    text = unpacked(state)
    if not (text.startswith(b"[{") and text.endswith(b"}]")):
        raise _NoBeginning(position, "the row is no list of records")
    return text[1:-1].split(BETWEEN)


def _proved(pieces: list[bytes], first: int) -> list[bytes]:
    """Records of a row with all their digests, once the last one is what they lead to.

    Raises:
        BrokenChain: it is not.
    """
    last, end, sha256 = pieces[-1], first + len(pieces) - 1, hashlib.sha256
    if not has_digest(pieces[0]):
        raise _NoBeginning(first, "the record does not end in a digest")
    whole, digest = [pieces[0]], _stated(pieces[0], first)
    for piece in pieces[1:-1]:
        body = piece[:-1]
        digest = sha256(digest + body).digest()
        whole.append(with_digest(body, digest))
    if with_digest(last[:-TAIL], sha256(digest + last[:-TAIL]).digest()) != last:
        raise _broken(pieces, first, end)
    whole.append(last)
    return whole


def _stated(data: bytes, position: int) -> bytes:
    try:
        return digest_of(data)
    except ValueError:
        raise _NoBeginning(position, "the digest of the record is none") from None


def _broken(pieces: list[bytes], first: int, end: int) -> BrokenChain:
    """What is wrong with a row: the exact position where its records say it, else from which to which it may be."""
    stated = [_position_in(piece) for piece in pieces]
    first = stated[0] or first  # where records are missing, there are fewer than from the first to the end
    for expected, found in enumerate(stated, start=first):
        if found != expected:
            says = "that it is at no position" if found is None else f"that it is at position {found}"
            return BrokenChain(expected, f"the record that lies here says {says}")
    if first + len(pieces) - 1 != end:
        return BrokenChain(first + len(pieces), f"the record is missing: the row goes up to position {end}")
    if not has_digest(pieces[-1]):
        return BrokenChain(end, "the record does not end in a digest")
    return BrokenChain(
        first, f"positions {first} to {end}: the digest at the end does not match the records and the one before them"
    )


def _position_in(piece: bytes) -> int | None:
    _, found, rest = piece.partition(b',"position":')
    number = rest[: rest.find(b",")]
    return int(number) if found and number.isdigit() else None
