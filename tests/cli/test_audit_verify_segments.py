"""``audit verify`` where records share a row: what is done to one is named, or between which positions it lies."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tallystick.actors.runtime.fleet import Fleet
from tallystick.events.log.store import open_store
from tallystick.events.log.store_segments import SEGMENT, Row, packed, unpacked
from tests.support.cli import Run


@pytest.fixture(scope="session")
def _committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("committed") / "tallystick.db"
    with Fleet.open(f"sqlite:///{file}") as live:
        for first in range(0, 40, 10):
            live.ask(
                [
                    {"type": "AllocateBudget", "agent": f"a{n}", "budget": {"tokens": 9}}
                    for n in range(first, first + 10)
                ]
            )
    return file


@pytest.fixture
def rows(_committed: Path, tmp_path: Path) -> dict[int, Row]:
    """The rows of the fleet in this test's folder, by the number of the commit; each of these has ten records."""
    shutil.copy(_committed, tmp_path / "tallystick.db")
    with closing(sqlite3.connect("tallystick.db")) as connection:
        found = map(
            Row._make, connection.execute("SELECT originator_version, topic, state FROM stored_events ORDER BY 1")
        )
        return dict(enumerate(row for row in found if unpacked(row.state).count(b"\n") == 9))


def put(number: int, row: Row) -> None:
    """Put a row where one is, or where there is none."""
    with closing(sqlite3.connect("tallystick.db")) as connection, connection:
        connection.execute("DELETE FROM stored_events WHERE rowid = ?", (number,))
        connection.execute(
            "INSERT INTO stored_events (rowid, originator_id, originator_version, topic, state)"
            " VALUES (?, 'fleet', ?, ?, ?)",
            (number, *row),
        )


Edit = Callable[[list[bytes]], list[bytes]]
EDITS: dict[str, tuple[Edit, int, str]] = {
    "a number is changed": (
        lambda at: [*at[:4], at[4].replace(b'"tokens":9', b'"tokens":8'), *at[5:]],
        1,
        "positions {1} to {10}: the digest at the end does not match",
    ),
    "the last record is changed": (
        lambda at: [*at[:9], at[9].replace(b'"tokens":9', b'"tokens":8')],
        1,
        "positions {1} to {10}: the digest at the end does not match",
    ),
    "the first record is changed": (
        lambda at: [at[0].replace(b'"tokens":9', b'"tokens":8'), *at[1:]],
        1,
        "the digest does not match the record and the one before it",
    ),
    "a record is removed": (lambda at: [*at[:4], *at[5:]], 5, "says that it is at position {6}"),
    "the first record is removed": (lambda at: at[1:], 1, "does not end in a digest"),
    "the last record is removed": (lambda at: at[:9], 10, "the record is missing"),
    "the end is cut off": (lambda at: at[:3], 4, "the record is missing"),
    "a record is there twice": (lambda at: [*at[:5], *at[4:]], 6, "says that it is at position {5}"),
    "two records are swapped": (lambda at: [*at[:3], at[4], at[3], *at[5:]], 4, "says that it is at position {5}"),
    "a foreign record is put in": (
        lambda at: [*at[:5], b'{"type":"fleet-resumed.v1"}', *at[6:]],
        6,
        "says that it is at no position",
    ),
    "the digest at the end is changed": (
        lambda at: [*at[:9], at[9][:-4] + b'00"}'],
        1,
        "positions {1} to {10}: the digest at the end does not match",
    ),
    "the digest at the end is removed": (
        lambda at: [*at[:9], at[9].rpartition(b',"digest"')[0] + b"}"],
        10,
        "does not end in a digest",
    ),
    "the digest of the first record is removed": (
        lambda at: [at[0].rpartition(b',"digest"')[0] + b"}", *at[1:]],
        1,
        "does not end in a digest",
    ),
    "the digest of the first record is none": (
        lambda at: [at[0][:-4] + b'zz"}', *at[1:]],
        1,
        "the digest of the record is none",
    ),
}


def names_it(run: Run, position: int, reason: str) -> None:
    result = run("audit", "verify")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"tallystick audit verify: position {position}: ")
    assert reason in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("what", EDITS)
def test_what_is_done_to_a_record_of_a_row_is_named(run: Run, rows: dict[int, Row], what: str) -> None:
    edit, nth, reason = EDITS[what]
    row = rows[1]
    before = row.position - 10
    for place in range(1, 11):
        reason = reason.replace(f"{{{place}}}", str(before + place))
    put(row.position, row._replace(state=packed(edit(unpacked(row.state)[1:-1].split(b",\n")))))
    names_it(run, before + nth, reason)


def test_a_row_that_is_removed_is_named_by_the_first_position_that_it_had(run: Run, rows: dict[int, Row]) -> None:
    with closing(sqlite3.connect("tallystick.db")) as connection, connection:
        connection.execute("DELETE FROM stored_events WHERE rowid = ?", (rows[1].position,))
    names_it(
        run,
        rows[0].position + 1,
        f"the record is missing: the next one in the store is at position {rows[1].position + 1}",
    )


def test_two_rows_that_are_swapped_are_named(run: Run, rows: dict[int, Row]) -> None:
    put(rows[1].position, rows[1]._replace(state=rows[2].state))
    put(rows[2].position, rows[2]._replace(state=rows[1].state))
    names_it(run, rows[0].position + 1, "the digest does not match the record and the one before it")


def test_a_copy_of_a_row_at_the_end_is_named(run: Run, rows: dict[int, Row]) -> None:
    end = max(rows.values()).position
    with closing(open_store("sqlite:///tallystick.db")) as store:
        last = store.last()
    assert last is not None
    put(last.position + 10, rows[1]._replace(position=last.position + 10))
    assert end <= last.position
    names_it(run, last.position + 1, "the digest does not match the record and the one before it")


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (b"", "the row is no list of records"),
        (b"[]", "the row is no list of records"),
        (b"[{}", "the row is no list of records"),
        ("text", "the row is stored as text"),
        (None, "the row is stored as text"),
    ],
    ids=repr,
)
def test_what_is_no_row_is_named(run: Run, rows: dict[int, Row], state: bytes, reason: str) -> None:
    put(rows[1].position, rows[1]._replace(state=state))
    result = run("audit", "verify")
    assert result.exit_code == 1
    assert f"position {rows[0].position + 1}: {reason}" in result.stderr


def test_a_row_that_is_said_to_be_one_record_is_named(run: Run, rows: dict[int, Row]) -> None:
    assert rows[1].topic == SEGMENT
    put(rows[1].position, rows[1]._replace(topic="budget-allocated.v1"))
    names_it(
        run, rows[0].position + 1, f"the record is missing: the next one in the store is at position {rows[1].position}"
    )


def test_no_record_of_a_broken_row_is_shown_and_those_before_it_are(run: Run, rows: dict[int, Row]) -> None:
    put(rows[1].position, rows[1]._replace(state=rows[1].state.replace(b'a15",', b'x15",')))
    shown = run("events", "--since", "1")
    assert shown.exit_code == 1
    assert f"positions {rows[0].position + 1} to {rows[1].position}" in shown.stderr
    assert run("audit", "explain", str(rows[0].position - 5)).exit_code == 0
