"""What every store does. A new kind of store joins by one line in ``STORES`` (`store_processes`)."""

import threading
from collections.abc import Iterator

import pytest

from tallystick.events.log.store import PAGE, Fenced, Record, Store, open_store
from tests.support.store_processes import STORES, records

SECONDS = 120
"""How long a test waits for another thread before it gives up."""


# --- writing and reading ---------------------------------------------------------------------------------------------


def test_a_new_store_is_empty(store: Store) -> None:
    assert store.last() is None
    assert store.record(1) is None
    assert list(store.read()) == []
    assert list(store.read(5, 9)) == []
    assert store.snapshots() == []


def test_what_was_appended_is_read_back_in_its_order_and_byte_for_byte(store: Store) -> None:
    store.append(records(1, 3))
    store.append(records(4, 4))
    assert list(store.read()) == records(1, 4)
    assert [type(record) for record in store.read()] == [Record] * 4


def test_positions_are_gapless_from_one_whatever_the_size_of_the_batches(store: Store) -> None:
    first = 1
    for size in (1, 2, 4, 3, 31, 32, 33, 255, 256, 257, 289, 293):
        store.append(records(first, first + size - 1))
        first += size
    assert [record.position for record in store.read()] == list(range(1, first))
    assert list(store.read()) == records(1, first - 1)


def test_a_batch_of_five_thousand_is_one_append(store: Store) -> None:
    store.append(records(1, 5_000))
    assert list(store.read()) == records(1, 5_000)


def test_an_empty_batch_changes_nothing(store: Store) -> None:
    store.append([])
    assert store.last() is None
    store.append(records(1, 2))
    store.append([])
    assert list(store.read()) == records(1, 2)


@pytest.mark.parametrize("clash", [1, 2, 3], ids=["the oldest", "one in the middle", "the newest"])
def test_a_position_that_is_taken_fences_the_writer_and_nothing_of_its_batch_is_written(
    store: Store, clash: int
) -> None:
    store.append(records(1, 3))
    with pytest.raises(Fenced):
        store.append([*records(4, 300), Record(clash, "other.v1", b"{}")])
    assert list(store.read()) == records(1, 3)
    store.append(records(4, 4))
    assert list(store.read()) == records(1, 4)


def test_a_position_that_is_twice_in_one_batch_fences_the_writer_and_nothing_is_written(store: Store) -> None:
    with pytest.raises(Fenced):
        store.append([*records(1, 5), *records(5, 5)])
    assert list(store.read()) == []


def test_an_old_batch_that_is_sent_again_is_fenced(store: Store) -> None:
    store.append(records(1, 3))
    with pytest.raises(Fenced):
        store.append(records(1, 3))
    assert list(store.read()) == records(1, 3)


@pytest.mark.parametrize("after", [0, 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, 2 * PAGE + 10, 2 * PAGE + 11, 9_999])
@pytest.mark.parametrize("upto", [None, 0, 1, PAGE, PAGE + 1, 2 * PAGE, 9_999])
def test_reading_gives_what_lies_behind_after_up_to_upto_over_all_pages(
    full_store: Store, after: int, upto: int | None
) -> None:
    last = 2 * PAGE + 10
    assert list(full_store.read(after, upto)) == records(after + 1, last if upto is None else min(upto, last))


@pytest.fixture(scope="module", params=STORES)
def full_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Two pages and ten records, for tests that only read."""
    opened = open_store(STORES[request.param](tmp_path_factory.mktemp("full")), writer=True)
    opened.append(records(1, 2 * PAGE + 10))
    yield opened
    opened.close()


def test_a_reader_may_stop_in_the_middle_and_the_store_goes_on(store: Store) -> None:
    store.append(records(1, 10))
    reading = store.read()
    assert next(reading) == records(1, 1)[0]
    store.append(records(11, 11))
    assert store.last() == records(11, 11)[0]
    assert list(store.read(9)) == records(10, 11)


def test_one_record_is_found_by_its_position(full_store: Store) -> None:
    for position in (1, 2, PAGE, PAGE + 1, 2 * PAGE + 10):
        assert full_store.record(position) == records(position, position)[0]
    for position in (0, -1, 2 * PAGE + 11, 10**12):
        assert full_store.record(position) is None


def test_the_last_record_is_that_with_the_highest_position(store: Store) -> None:
    for last in (1, 2, 300):
        before = store.last()
        store.append(records(1 if before is None else before.position + 1, last))
        assert store.last() == records(last, last)[0]


def test_what_one_thread_appends_another_reads(store: Store) -> None:
    seen: list[Record] = []
    store.append(records(1, 3))
    reader = threading.Thread(target=lambda: seen.extend(store.read()))
    reader.start()
    reader.join(SECONDS)
    assert seen == records(1, 3)


def test_closing_twice_is_closing(store: Store) -> None:
    store.append(records(1, 1))
    store.close()
    store.close()


# --- snapshots -------------------------------------------------------------------------------------------------------


def test_the_newest_two_snapshots_are_kept(store: Store) -> None:
    for position in (10, 20, 30, 40):
        store.save_snapshot(position, b"state at %d" % position)
    assert store.snapshots() == [(40, b"state at 40"), (30, b"state at 30")]


def test_a_snapshot_of_the_same_position_replaces_the_one_before(store: Store) -> None:
    store.save_snapshot(10, b"first")
    store.save_snapshot(20, b"second")
    store.save_snapshot(20, b"third")
    assert store.snapshots() == [(20, b"third"), (10, b"first")]


def test_a_snapshot_replaces_those_of_later_positions_because_their_log_is_gone(store: Store) -> None:
    for position in (10, 20, 15):
        store.save_snapshot(position, b"state at %d" % position)
    assert store.snapshots() == [(15, b"state at 15"), (10, b"state at 10")]


def test_a_snapshot_that_comes_late_leaves_a_newer_one_of_the_log_where_it_is(store: Store) -> None:
    """It was made by another process, and meanwhile one was made at once."""
    store.append(records(1, 20))
    for position in (10, 20, 15):
        store.save_snapshot(position, b"state at %d" % position)
    assert store.snapshots() == [(20, b"state at 20"), (15, b"state at 15")]
    store.save_snapshot(18, b"state at 18")
    store.save_snapshot(15, b"late state at 15")
    assert store.snapshots() == [(20, b"state at 20"), (18, b"state at 18")], "only the newest are kept"
    store.save_snapshot(25, b"state at 25")
    store.save_snapshot(19, b"state at 19")
    assert store.snapshots() == [(20, b"state at 20"), (19, b"state at 19")], "the log does not go up to 25"


@pytest.mark.parametrize("data", [b"", b"\x00\xff not JSON", b"x" * 5_000_000], ids=["empty", "not JSON", "5 MB"])
def test_a_snapshot_is_kept_as_it_is_whatever_it_holds(store: Store, data: bytes) -> None:
    store.save_snapshot(10, data)
    assert store.snapshots() == [(10, data)]


@pytest.mark.parametrize("size", [0, 10, 600_000])
def test_a_snapshot_that_was_written_in_parts_is_kept_like_another(store: Store, size: int) -> None:
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    store.save_snapshot(5, b"before")
    for _ in store.stage_snapshot(10, data):
        assert store.snapshots() == [(5, b"before")], "it is none before it is saved"
    store.save_snapshot(10, data)
    assert store.snapshots() == [(10, data), (5, b"before")]


def test_a_snapshot_of_which_only_a_part_was_written_is_kept_whole(store: Store) -> None:
    data = b"y" * 600_000
    next(store.stage_snapshot(10, data), None)
    store.save_snapshot(10, data)
    assert store.snapshots() == [(10, data)]


def test_a_snapshot_is_no_record(store: Store) -> None:
    store.append(records(1, 3))
    store.save_snapshot(3, b"state")
    assert list(store.read()) == records(1, 3)
    store.append(records(4, 4))
    assert store.last() == records(4, 4)[0]


# --- following -------------------------------------------------------------------------------------------------------


class Follower(threading.Thread):
    """Collects what a subscription gives, until it ends."""

    def __init__(self, store: Store, after: int = 0) -> None:
        super().__init__(daemon=True)
        self.subscription = store.subscribe(after)
        self.seen: list[Record] = []
        self._grown = threading.Condition()
        self.start()

    def run(self) -> None:
        for record in self.subscription:
            with self._grown:
                self.seen.append(record)
                self._grown.notify()

    def wait_for(self, count: int) -> list[Record]:
        with self._grown:
            assert self._grown.wait_for(lambda: len(self.seen) >= count, SECONDS), f"only {len(self.seen)} came"
        return self.seen

    def stop(self) -> None:
        self.subscription.stop()
        self.join(SECONDS)
        assert not self.is_alive(), "the subscription did not end"


def test_a_subscription_gives_what_is_there_and_then_what_comes(store: Store) -> None:
    store.append(records(1, 3))
    follower = Follower(store)
    assert follower.wait_for(3) == records(1, 3)
    store.append(records(4, 4))
    assert follower.wait_for(4) == records(1, 4)
    store.append(records(5, 3_000))
    assert follower.wait_for(3_000) == records(1, 3_000)
    follower.stop()


def test_a_subscription_begins_behind_a_position(store: Store) -> None:
    store.append(records(1, 5))
    follower = Follower(store, after=3)
    assert follower.wait_for(2) == records(4, 5)
    store.append(records(6, 6))
    assert follower.wait_for(3) == records(4, 6)
    follower.stop()


def test_a_subscription_that_waits_for_news_is_ended_from_another_thread(store: Store) -> None:
    follower = Follower(store)
    follower.stop()
    assert follower.seen == []
    store.append(records(1, 1))
    assert store.last() == records(1, 1)[0]


def test_every_subscriber_gets_every_record_once_while_others_write(store: Store) -> None:
    followers = [Follower(store) for _ in range(3)]
    for first in range(1, 501, 5):
        store.append(records(first, first + 4))
    for follower in followers:
        assert follower.wait_for(500) == records(1, 500)
        follower.stop()


def test_a_batch_that_was_refused_is_not_seen_by_followers(store: Store) -> None:
    follower = Follower(store)
    store.append(records(1, 1))
    with pytest.raises(Fenced):
        store.append([*records(2, 9), *records(1, 1)])
    store.append(records(2, 2))
    assert follower.wait_for(2) == records(1, 2)
    follower.stop()
