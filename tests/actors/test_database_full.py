"""A database that has no room: the fleet stops as it does with a full disk of its own, and loses nothing.

A limit on the size of files stands for the full disk.
"""

from collections.abc import Iterator
from random import Random

import pytest

from tallystick import Fleet
from tallystick.events.log.audit import Verification
from tallystick.events.log.store import open_store
from tests.support.postgres import PostgresServer, running

LIMIT = 17_000_000
"""Bytes of a file: more than a segment of the write-ahead log has."""


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with running() as own:
        yield own


def test_a_fleet_stops_where_the_database_has_no_room_and_goes_on_when_it_has(server: PostgresServer) -> None:
    url, words, reported = server.url(), Random(1), 0
    server.stop()
    server.start(file_max=LIMIT)
    with Fleet.open(url, {"total_budget": {"tokens": 10**9}}, notify=False) as fleet:
        answers = [{"ok": {}}]
        while all("ok" in answer for answer in answers):
            reported += sum("ok" in answer and bool(answer["ok"]) for answer in answers)
            labels = [{f"l{n}": words.randbytes(60).hex() for n in range(8)} for _ in range(1_000)]
            answers = fleet.ask(
                [{"type": "ReportUsage", "agent": "a", "usage": {"tokens": 1}, "labels": one} for one in labels]
            )
        assert {answer["error"]["code"] for answer in answers} == {"halted"}
        assert "could not be written: could not extend file" in str(fleet.halted)
    server.stop()
    server.start()
    with Fleet.open(url, notify=False) as fleet:
        assert "ok" in fleet.ask({"type": "ReportUsage", "agent": "a", "usage": {"tokens": 1}})
    store = open_store(url)
    records = list(store.read())
    store.close()
    assert Verification().run(records).problems == []
    assert sum(record.name == "usage-reported.v1" for record in records) == reported + 1
