"""What is written into a SQLite file at once stays small: a large snapshot comes in parts, the WAL is emptied often.

With the parts of a snapshot go those of others that are there no more.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tallystick.events.log import store_snapshots
from tallystick.events.log.store import Store, StoreError, open_store
from tallystick.events.log.store_connections import CHECKPOINT_PAGES, PAGE_BYTES

PART = 10


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fleet.db"


@pytest.fixture
def store(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr(store_snapshots, "PART_BYTES", PART)
    with closing(open_store(f"sqlite:///{path}", writer=True)) as opened:
        yield opened


def state(position: int, parts: int = 5) -> bytes:
    return b"%010d" % position * parts


def keep(store: Store, position: int, parts: int = 5) -> int:
    """Keep a snapshot in parts; in how many."""
    data = state(position, parts)
    staged = sum(1 for _ in store.stage_snapshot(position, data))
    store.save_snapshot(position, data)
    return staged


def lengths(path: Path) -> dict[int, int]:
    """By position, how many bytes of parts there are."""
    with closing(sqlite3.connect(path)) as connection:
        return dict(connection.execute("SELECT position, sum(length(data)) FROM snapshot_parts GROUP BY position"))


def test_each_part_is_a_transaction_and_what_keeps_it_writes_it_not_again(store: Store, path: Path) -> None:
    assert keep(store, 20) == 5
    assert lengths(path) == {20: 50}
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT length(state) FROM snapshots").fetchall() == [(0,)]
    assert store.snapshots() == [(20, state(20))]


def test_parts_of_snapshots_that_are_there_no_more_go_with_those_that_come(store: Store, path: Path) -> None:
    for position in range(10, 100, 10):
        keep(store, position)
        assert len(lengths(path)) <= 4, "two that are kept, one that goes, and one that has just been replaced"
    assert [position for position, _ in store.snapshots()] == [90, 80]
    assert {90, 80} <= lengths(path).keys()


def test_what_a_crash_left_of_one_goes_too(store: Store, path: Path) -> None:
    left = store.stage_snapshot(10, state(10))
    next(left), next(left)
    keep(store, 20)
    assert lengths(path) == {20: 50}
    next(store.stage_snapshot(30, state(30)))
    keep(store, 30)
    assert store.snapshots() == [(30, state(30)), (20, state(20))]
    assert lengths(path)[30] == len(state(30))


def test_a_snapshot_of_which_a_part_is_lost_is_as_a_damaged_one(store: Store, path: Path) -> None:
    keep(store, 20)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM snapshot_parts WHERE part=2")
    ((position, data),) = store.snapshots()
    assert position == 20
    assert data != state(20)


def test_a_part_that_cannot_be_written_is_said(store: Store) -> None:
    parts = store.stage_snapshot(20, state(20))
    next(parts)
    store.close()
    with pytest.raises(StoreError, match="the snapshot could not be written"):
        next(parts)


def test_no_commit_brings_more_into_the_file_than_takes_as_long_as_a_sync(store: Store, path: Path) -> None:
    room, most = CHECKPOINT_PAGES * PAGE_BYTES, 0
    for number in range(1, 30):
        store.save_snapshot(number, b"x" * (room // 4))
        most = max(most, path.with_name("fleet.db-wal").stat().st_size)
    assert most < 2 * room
