"""Rows that are proved and decoded as a whole say what their records say one by one, and what is wrong with them."""

from collections.abc import Iterable, Sequence
from hashlib import sha256
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.events import catalog as e
from tallystick.events.log import replaying, snapshot
from tallystick.events.log.broken_chain import BrokenChain
from tallystick.events.log.codec import GENESIS, decode_event, digest_of
from tallystick.events.log.replaying import Replay
from tallystick.events.log.sealing import Sealed
from tallystick.events.log.store import Record, Row, Store
from tallystick.events.log.store_segments import OpenedRow, packed, pieces_of, rows_of, unpacked
from tallystick.events.log.whole_rows import whole
from tests.support import decision_logs
from tests.support.core import START
from tests.support.examples import examples

LOG = decision_logs.records_of("corrections")
DEEDS = ["byte", "position", "topic", "gone", "twice", "text", "line gone", "lines changed"]
SIZES = st.lists(st.integers(1, 70), min_size=1, max_size=12)


def cut(sizes: Sequence[int], log: Sequence[Record] = LOG) -> list[Row]:
    """The rows of a log whose commits have these sizes, and then one of all that is left."""
    ends = [0]
    for size in sizes:
        ends.append(min(ends[-1] + size, len(log)))
    return [row for first, end in pairwise([*ends, len(log)]) if first < end for row in rows_of(log[first:end])]


def in_rows(rows: Iterable[Row], upto: int | None = None) -> object:
    """The digest and the state that rows lead to, or what is wrong with them."""
    replay = Replay()
    try:
        replay.follow(rows, upto)
    except BrokenChain as error:
        return str(error)
    return replay.digest, snapshot.dump(replay.ledger)


def one_by_one(rows: Sequence[Row], upto: int | None = None) -> object:
    """The same, record by record."""
    replay = Replay()
    try:
        records, broken = OpenedRow().records_of(rows, 0, upto)
        for record in records:
            replay.apply(replay.prove(record))
        if broken is not None:
            raise broken
    except BrokenChain as error:
        return str(error)
    return replay.digest, snapshot.dump(replay.ledger)


@given(sizes=SIZES, upto=st.none() | st.integers(0, len(LOG) + 5))
@settings(max_examples=examples(25), deadline=None)
def test_rows_lead_to_what_their_records_lead_to(sizes: list[int], upto: int | None) -> None:
    rows = cut(sizes)
    kept = [row for row in rows if upto is None or row.position - 70 <= upto]
    assert in_rows(kept, upto) == one_by_one(kept, upto)


@given(sizes=SIZES, data=st.data())
@settings(max_examples=examples(80), deadline=None)
def test_whatever_is_done_to_a_row_is_named_as_record_by_record(sizes: list[int], data: st.DataObject) -> None:
    rows = cut(sizes)
    place = data.draw(st.integers(0, len(rows) - 1))
    row = rows[place]
    match data.draw(
        st.sampled_from(["byte", "position", "topic", "gone", "twice", "text", "line gone", "lines changed"])
    ):
        case "byte":
            at = data.draw(st.integers(0, len(row.state) - 1))
            state = row.state[:at] + bytes([data.draw(st.integers(0, 255))]) + row.state[at + 1 :]
            rows[place] = row._replace(state=state)
        case "position":
            rows[place] = row._replace(position=row.position + data.draw(st.integers(-3, 3)))
        case "topic":
            rows[place] = row._replace(topic=data.draw(st.sampled_from(["segment.v2", "usage-reported.v1"])))
        case "gone":
            del rows[place]
        case "twice":
            rows.insert(place, row)
        case "text":
            rows[place] = row._replace(state=row.state.decode())  # type: ignore[arg-type]
        case what:
            lines = unpacked(row.state)[1:-1].split(b",\n")
            at = data.draw(st.integers(0, len(lines) - 1))
            if what == "line gone":
                del lines[at]
            else:
                lines[at], lines[0] = lines[0], lines[at]
            rows[place] = row._replace(state=b"[" + b",\n".join(lines) + b"]")
    assert in_rows(rows) == one_by_one(rows)


# --- logs that say what no log says, with digests that are right ------------------------------------------------------


def sealed(*events: e.Event) -> list[Row]:
    for position, event in enumerate(events, start=1):
        event.position = event.position or position
    return Sealed([(event, None, None, None) for event in events], GENESIS).rows()


@pytest.mark.parametrize(
    "events",
    [
        [e.FleetResumed(), e.FleetResumed(position=7), e.FleetResumed()],
        [e.FleetResumed(at=START), e.FleetResumed(), e.FleetResumed()],
        [e.FleetResumed(), e.FleetResumed(at=START), e.FleetResumed()],
        [e.FleetResumed(), e.HoldSettled(hold="h", agent="a"), e.FleetResumed()],
        [e.FleetResumed(), e.FleetResumed()],
        [e.FleetResumed()],
    ],
    ids=["another position", "earlier", "earlier within", "impossible", "two", "one"],
)
def test_what_is_wrong_in_a_sound_chain_is_named_as_record_by_record(events: list[e.Event]) -> None:
    rows = sealed(*events)
    assert in_rows(rows) == one_by_one(rows)
    assert not isinstance(in_rows(rows), str) or len(events) == 3


def test_of_what_is_wrong_with_several_rows_the_first_is_named() -> None:
    impossible = e.HoldSettled(hold="h", agent="a")
    first = Sealed([(e.FleetResumed(position=n), None, None, None) for n in (1, 2, 3)], GENESIS)
    second = Sealed([(one, None, None, None) for one in positioned(4, impossible)], first.digest)
    third = Sealed([(one, None, None, None) for one in positioned(7, e.FleetResumed())], GENESIS)
    rows = [*first.rows(), *second.rows(), *third.rows()]
    assert "position 5: the event cannot have happened" in str(in_rows(rows))
    assert in_rows(rows) == one_by_one(rows)

    def interrupted() -> Iterable[Row]:
        yield from rows[:2]
        raise RuntimeError

    replay = Replay()
    with pytest.raises(BrokenChain, match="position 5"):
        replay.follow(interrupted())


def test_a_row_whose_time_is_before_that_of_the_row_before_it_is_named() -> None:
    later = Sealed([(e.FleetResumed(position=n, at=START), None, None, None) for n in (1, 2, 3)], GENESIS)
    earlier = Sealed([(e.FleetResumed(position=n), None, None, None) for n in (4, 5, 6)], later.digest)
    assert "position 4: its time" in str(in_rows([*later.rows(), *earlier.rows()]))


@pytest.mark.parametrize("place", range(10))
@pytest.mark.parametrize("what", ["tokens", "digest"])
def test_a_changed_number_or_digest_is_no_whole_row(place: int, what: str) -> None:
    row = sealed(*(e.UsageReported(agent="x", tokens=5) for _ in range(10)))[0]
    assert whole(row, 0, GENESIS, e.event.EPOCH) is not None
    lines = unpacked(row.state).split(b"\n")
    if what == "tokens":
        lines[place] = lines[place].replace(b'"tokens":5', b'"tokens":6')
    elif b'"digest":"' in lines[place]:
        head, digest = lines[place].split(b'"digest":"')
        lines[place] = head + b'"digest":"' + bytes([digest[0] ^ 1]) + digest[1:]
    else:
        lines[place] = lines[place][:-2] + b',"digest":"' + b"0" * 64 + b'"},'
    changed = row._replace(state=b"\n".join(lines))
    assert whole(changed, 0, GENESIS, e.event.EPOCH) is None
    assert in_rows([changed]) == one_by_one([changed])


def test_a_record_that_ends_otherwise_is_looked_at_record_by_record() -> None:
    texts = [b'{"type":"fleet-resumed.v1","position":%d,"at":"2026-01-01T00:00:00Z"}' % n for n in (1, 2, 3)]
    first, digest = sealed_text(texts[0], GENESIS)
    last, _ = sealed_text(texts[2], sha256(digest + texts[1]).digest())
    row = Row(3, "segment.v1", b"[" + first + b",\n" + texts[1] + b"\t,\n" + last + b"]")
    assert whole(row, 0, GENESIS, e.event.EPOCH) is None
    assert in_rows([row]) == one_by_one([row])


@pytest.mark.parametrize("change", [(b"fleet-", b"\\u0066leet-"), (b"{", b'{"by":"x",'), (b"}", b",\n}")])
def test_what_is_written_in_another_way_is_looked_at_record_by_record(change: tuple[bytes, bytes]) -> None:
    texts = [b'{"type":"fleet-resumed.v1","position":%d,"at":"2026-01-01T00:00:00Z"}' % n for n in (1, 2, 3)]
    texts[1] = texts[1].replace(*change)
    records, digest = [], GENESIS
    for position, text in enumerate(texts, start=1):
        data, digest = sealed_text(text, digest)
        records.append(Record(position, "fleet-resumed.v1", data))
    row = Row(3, "segment.v1", packed(pieces_of(records)))
    assert whole(row, 0, GENESIS, e.event.EPOCH) is None
    assert in_rows([row]) == one_by_one([row])


def positioned(first: int, among: e.Event) -> list[e.Event]:
    """Three events from a position on, of which the second is this one."""
    events = [e.FleetResumed(), among, e.FleetResumed()]
    for position, event in enumerate(events, start=first):
        event.position = position
    return events


def sealed_text(text: bytes, before: bytes) -> tuple[bytes, bytes]:
    body = text[:-1]
    digest = sha256(before + body).digest()
    return body + b',"digest":"' + digest.hex().encode() + b'"}', digest


# --- that it is used --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_row_of_few_records_is_a_whole_one(count: int) -> None:
    row = cut([count])[0]
    found = whole(row, 0, GENESIS, e.event.EPOCH)
    assert found is not None
    assert found.digests == [digest_of(record.data) for record in LOG[:count]]


def test_a_row_of_several_records_is_never_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = cut([64, 64])
    taken: list[Row] = []
    monkeypatch.setattr(
        replaying, "records_behind", lambda row, position: taken.append(row) or OpenedRow().records_in(row)
    )
    Replay().follow(rows)
    assert all(row.topic != "segment.v1" for row in taken)
    assert len(taken) < len(rows)


def test_the_digests_of_a_row_are_those_of_its_records() -> None:
    row = cut([64])[0]
    found = whole(row, 0, GENESIS, e.event.EPOCH)
    assert found is not None
    assert found.digests == [digest_of(record.data) for record in LOG[: len(found.digests)]]
    assert found.events == [decode_event(record.data, record.name) for record in LOG[: len(found.digests)]]


@pytest.mark.parametrize("sizes", [(1, 1, 1), (7, 1, 90, 3), (200,)], ids=str)
def test_the_rows_of_a_store_have_what_is_read_from_it(store: Store, sizes: tuple[int, ...]) -> None:
    end = 0
    for size in sizes:
        store.append(LOG[end : end + size])
        end += size
    for after in range(0, end + 1, 1 if end < 10 else 13):
        for upto in (None, after, after + 1, after + 5, end + 1):
            rows = list(store.rows(after, upto))
            records, broken = OpenedRow().records_of(rows, after, upto)
            assert (records, broken) == (list(store.read(after, upto)), None)
            assert [row.position for row in rows] == sorted({row.position for row in rows})
