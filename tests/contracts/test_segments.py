"""Records share rows of a store: they come back byte for byte, however they were committed and wherever one begins."""

import json
import sqlite3
import subprocess
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.config.amounts import Amounts
from tallystick.events import catalog as e
from tallystick.events.catalog import STORED_NAME
from tallystick.events.log.broken_chain import BrokenChain
from tallystick.events.log.codec import GENESIS, seal
from tallystick.events.log.sealing import Line, Sealed
from tallystick.events.log.store import Record, Store, open_store
from tallystick.events.log.store_segments import PHRASES, RECORDS_MAX, SEGMENT, Row, records_in, rows_of, unpacked
from tests.support.core import START
from tests.support.examples import examples
from tests.support.layouts import put_each_in_a_row
from tests.support.store_processes import no_records, records

LAST = 3 * RECORDS_MAX


def rows_in(file: Path) -> list[tuple[int, int, str, bytes]]:
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(
            "SELECT rowid, originator_version, topic, state FROM stored_events ORDER BY 1"
        ).fetchall()


# --- rows ------------------------------------------------------------------------------------------------------------


@given(st.sets(st.integers(1, LAST - 1)))
def test_whatever_the_commits_the_same_records_come_back(ends: set[int]) -> None:
    rows = [row for after, upto in pairwise([0, *sorted(ends), LAST]) for row in rows_of(records(after + 1, upto))]
    assert [record for row in rows for record in records_in(row)] == records(1, LAST)
    assert {row.topic for row in rows} == {SEGMENT}


def test_a_row_lies_at_the_position_of_its_last_record_and_has_a_bounded_number_of_them() -> None:
    rows = rows_of(records(1, 2 * RECORDS_MAX + 5))
    assert [row.position for row in rows] == [RECORDS_MAX, 2 * RECORDS_MAX, 2 * RECORDS_MAX + 5]


def test_a_row_has_the_digests_of_its_first_and_last_record_only() -> None:
    (row,) = rows_of(records(1, 10))
    found = json.loads(unpacked(row.state))
    assert [one["position"] for one in found if "digest" in one] == [1, 10]


def test_records_of_megabytes_lie_in_rows_that_can_be_read_one_by_one() -> None:
    found = records_of_size(600_000, 5)
    assert [row.position for row in rows_of(found)] == [1, 2, 3, 4, 5]
    assert [record for row in rows_of(found) for record in records_in(row)] == found


def test_what_is_no_record_lies_in_a_row_of_its_own_as_it_is() -> None:
    assert rows_of(no_records(1, 3)) == no_records(1, 3)


@pytest.mark.parametrize("code", PHRASES)
def test_a_record_that_has_the_character_of_a_phrase_is_not_shortened(code: bytes) -> None:
    odd = [one._replace(data=one.data.replace(b"event", b"event" + code)) for one in records(1, 2)]
    assert rows_of(odd) == odd


def test_a_log_whose_digests_do_not_follow_is_kept_as_it_is() -> None:
    wrong = [*records(1, 2), records(4, 4)[0]._replace(position=3), records(4, 4)[0]]
    assert rows_of(wrong) == wrong


def test_a_row_of_a_newer_version_is_named() -> None:
    with pytest.raises(BrokenChain, match=r"position 3: segment\.v2 is no form of rows that this tallystick knows"):
        records_in(Row(3, "segment.v2", b"?"))


@st.composite
def lines(draw: st.DrawFn) -> list[Line]:
    """Events of a commit, some with what was asked and answered."""
    texts = st.sampled_from(["a", "\x01\x02", 'é",\n{"type":"', "agent-7"])
    found: list[Line] = []
    for position in range(5, 5 + draw(st.integers(1, 2 * RECORDS_MAX + 3))):
        about = {"position": position, "at": START, "id": f"c-{position}", "by": draw(texts)}
        agent = draw(texts)
        event: e.Event = draw(
            st.sampled_from(
                [
                    e.UsageReported(agent=agent, tokens=5, **about),
                    e.HoldPlaced(hold="h", agent=agent, amount=Amounts(tokens=5), ttl_ms=5, expires_at=START, **about),
                    e.FleetResumed(**about),
                ]
            )
        )
        asked = msgspec.json.encode(
            {"type": draw(st.sampled_from(["ReportUsage", "Reserve", "ReportUsagf", "X"])), "agent": draw(texts)}
        )
        answered = draw(st.sampled_from(ANSWERS))
        origin = draw(st.sampled_from([None, (b'{"pid":1}', None), (None, "ab"), (b'{"pid":1}', "ab")]))
        found.append((event, asked, answered, origin) if draw(st.booleans()) else (event, None, None, None))
    return found


ANSWERS = [
    b'{"ok":{"agent":"a",' + PHRASES[b"\x01"][1:] + b"5}}}",
    b'{"ok":{"agent":"a","status":"green","action":"warn"}}',
    b'{"ok":{"hold":"h"}}',
    b'{"error":{"code":"c","detail":"x"}}',
    b'{"ok":{}}',
]


@settings(max_examples=examples(100))
@given(lines())
def test_what_the_writer_seals_is_what_its_rows_give_back(made: list[Line]) -> None:
    sealed, digest = Sealed(made, GENESIS), GENESIS
    expected = []
    for event, asked, answered, origin in made:
        data, digest = seal(event, asked, answered, digest, *(origin or (None, None)))
        expected.append(Record(event.position, STORED_NAME[type(event)], data))
    assert list(sealed) == expected == [record for row in sealed.rows() for record in records_in(row)]
    assert sealed.digest == digest
    assert sealed[1:] == expected[1:]
    assert sealed[-1] == expected[-1]
    assert [row.position for row in sealed.rows()] == [row.position for row in rows_of(expected)]


def test_what_is_left_out_of_a_record_does_not_depend_on_the_one_before_it() -> None:
    report, hold, other = (b'{"type":"%b","agent":"a"}' % kind for kind in (b"ReportUsage", b"Reserve", b"Pause"))
    asked = [report, report, other, report, hold, other, other, hold, report]
    answers = [ANSWERS[n % len(ANSWERS)] for n in (0, 0, 4, 0, 2, 3, 0, 2, 0)]
    made: list[Line] = [
        (e.FleetResumed(position=place), one, answer, None)
        for place, (one, answer) in enumerate(zip(asked, answers, strict=True), start=1)
    ]
    (row,) = Sealed(made, GENESIS).rows()
    for code, times in ((b"\x02", 4), (b"\x05", 2), (b"\x0e", 0), (b"\x04", 5), (b"\x09", 2), (b"\x0c", 1)):
        assert row.state.count(code) == times, PHRASES[code]


# --- stores ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [(1, 1, 1), (7, 1, 90, 3), (200,)], ids=str)
def test_a_reader_may_begin_and_end_within_a_commit(store: Store, sizes: tuple[int, ...]) -> None:
    first = 1
    for size in sizes:
        store.append(records(first, first + size - 1))
        first += size
    for after in range(0, first, 1 if first < 10 else 13):
        for upto in (None, after, after + 1, after + 5, first + 1):
            assert list(store.read(after, upto)) == records(
                after + 1, first - 1 if upto is None else min(upto, first - 1)
            )
        assert store.record(after + 1) == next(iter(records(after + 1, after + 1) if after + 1 < first else []), None)
    assert store.last() == records(first - 1, first - 1)[0]


def test_a_commit_of_megabytes_is_one_append(store: Store) -> None:
    large = records_of_size(100_000, 50)
    store.append(large)
    assert list(store.read()) == large


def test_what_is_no_record_is_kept_beside_what_is(store: Store) -> None:
    store.append(records(1, 5))
    store.append([*no_records(6, 7), *records(8, 9)])
    assert list(store.read()) == [*records(1, 5), *no_records(6, 7), *records(8, 9)]


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_log_of_an_older_version_goes_on_in_the_new_layout(tmp_path: Path) -> None:
    file = tmp_path / "fleet.db"
    with closing(open_store(f"sqlite:///{file}", writer=True)) as store:
        store.append(records(1, 20))
    put_each_in_a_row(file)
    assert len(rows_in(file)) == 20
    with closing(open_store(f"sqlite:///{file}", writer=True)) as store:
        store.append(records(21, 40))
        assert len(rows_in(file)) == 21
        assert list(store.read()) == records(1, 40)
        for after in range(41):
            assert list(store.read(after)) == records(after + 1, 40)
        assert store.stray() is None


def test_a_rows_number_is_its_position(tmp_path: Path) -> None:
    file = tmp_path / "fleet.db"
    with closing(open_store(f"sqlite:///{file}", writer=True)) as store:
        store.append(records(1, 20))
        store.append(records(21, 100))
    assert [(number, position) for number, position, _, _ in rows_in(file)] == [(20, 20), (84, 84), (100, 100)]


def test_the_sqlite3_shell_shows_every_record_of_both_layouts(tmp_path: Path) -> None:
    file = tmp_path / "fleet.db"
    with closing(open_store(f"sqlite:///{file}", writer=True)) as store:
        store.append(records(1, 20))
    put_each_in_a_row(file)
    with closing(open_store(f"sqlite:///{file}", writer=True)) as store:
        store.append(records(21, 100))
    lines = subprocess.run(
        ["sqlite3", "-readonly", str(file), "SELECT position || '|' || type || '|' || record FROM log"],
        capture_output=True,
        check=True,
    ).stdout.splitlines()
    shown = [line.split(b"|", 2) for line in lines]
    assert [(int(position), name.decode()) for position, name, _ in shown] == [
        (record.position, record.name) for record in records(1, 100)
    ]
    for (_, _, text), record in zip(shown, records(1, 100), strict=True):
        assert text in (record.data, record.data.rpartition(b',"digest":"')[0] + b"}")


def records_of_size(size: int, count: int) -> list[Record]:
    """As `records`, each of about so many bytes."""
    return records(1, count, b"x" * size)
