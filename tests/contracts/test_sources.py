"""The index of sources of every store: kept with the log, whole or not there, and made from the log where it is not."""

import sqlite3
from pathlib import Path

import pytest

from tallystick.events.catalog import UsageReported
from tallystick.events.log.codec import GENESIS, seal
from tallystick.events.log.sources import Sources, bring_up_to_date
from tallystick.events.log.store import PAGE, Fenced, Record, Store, open_store
from tests.support.store_processes import records


def usages(first: int, last: int) -> list[Record]:
    """Reports, every second of which has a source, ``s-`` and its position."""
    made = []
    for position in range(first, last + 1):
        event = UsageReported(agent="a", position=position, source_id=f"s-{position}" if position % 2 == 0 else None)
        made.append(Record(position, "usage-reported.v1", seal(event, None, None, GENESIS)[0]))
    return made


def entries(first: int, last: int) -> list[tuple[str, int]]:
    return sorted((f"s-{position}", position) for position in range(first, last + 1) if position % 2 == 0)


def test_a_new_store_has_no_sources(store: Store) -> None:
    assert store.sources.find("s-2") is None
    assert list(store.sources.entries()) == []
    assert store.sources.upto() == 0


def test_what_is_appended_with_the_records_is_found_and_the_last_counts(store: Store) -> None:
    store.append(records(1, 2), [("a", 1), ("ä", 2)])
    store.append(records(3, 3), [("a", 3)])
    assert (store.sources.find("a"), store.sources.find("ä"), store.sources.upto()) == (3, 2, 3)
    assert list(store.sources.entries()) == [("a", 3), ("ä", 2)]


def test_an_append_without_sources_leaves_the_index_as_it_is(store: Store) -> None:
    store.append(records(1, 1), [("a", 1)])
    store.append(records(2, 9))
    assert store.sources.upto() == 1


def test_of_an_append_that_fails_nothing_is_in_the_index(store: Store) -> None:
    store.append(records(1, 2), [("a", 1)])
    with pytest.raises(Fenced):
        store.append(records(2, 3), [("a", 2), ("b", 3)])
    assert list(store.sources.entries()) == [("a", 1)]
    assert store.sources.upto() == 2


def test_thousands_of_sources_are_one_append_and_come_in_order(store: Store) -> None:
    many = [(f"s-{n:05}", n) for n in range(1, 2 * PAGE + 11)]
    store.append(records(1, 2 * PAGE + 10), many[::-1])
    assert list(store.sources.entries()) == many


def test_an_index_that_is_missing_is_made_from_the_log(store: Store) -> None:
    store.append(usages(1, 30))
    bring_up_to_date(store)
    assert list(store.sources.entries()) == entries(1, 30)
    assert store.sources.upto() == 30


def test_an_index_that_is_behind_reads_only_what_it_does_not_have(store: Store) -> None:
    store.append(usages(1, 10))
    store.sources.add([("kept", 1)], 10)
    store.append(usages(11, 20))
    bring_up_to_date(store)
    assert list(store.sources.entries()) == [("kept", 1), *entries(11, 20)]


def test_a_short_part_without_sources_is_read_again_rather_than_written_down(store: Store) -> None:
    store.append(records(1, 3), [("a", 1)])
    store.append(records(4, 9))
    bring_up_to_date(store)
    assert store.sources.upto() == 3
    store.append(records(10, 11 + PAGE))
    bring_up_to_date(store)
    assert store.sources.upto() == 11 + PAGE
    assert list(store.sources.entries()) == [("a", 1)]


def test_an_index_of_a_longer_log_is_not_believed(store: Store) -> None:
    store.append(usages(1, 10))
    store.sources.add([("of another log", 7)], 99)
    bring_up_to_date(store)
    assert list(store.sources.entries()) == entries(1, 10)


def test_a_table_that_was_deleted_is_made_anew_when_the_store_is_written_again(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/fleet.db"
    opened = open_store(url, writer=True)
    opened.append(usages(1, 6), entries(1, 6))
    opened.close()
    with sqlite3.connect(tmp_path / "fleet.db") as file:
        file.execute("DROP TABLE sources")
    file.close()
    reader = open_store(url)
    assert list(reader.sources.entries()) == []
    reader.close()
    again = open_store(url, writer=True)
    assert Sources(again).find("s-4") == 4
    again.close()
