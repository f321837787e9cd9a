"""The log is read over HTTP in pages, each record as it is stored."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tallystick.actors.runtime.log_feed import LogFeed
from tallystick.cli.main import main
from tallystick.events.log.codec import GENESIS, unseal
from tallystick.events.log.store import Record, open_store
from tallystick.fleet import Fleet
from tests.support.serving import Client, Served


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    server = Served(tmp_path_factory.mktemp("served"))
    client = server.client()
    client.post("/v1/allocate-budget", {"agent": "a", "budget": {"tokens": 100_000}})
    used = [{"type": "ReportUsage", "agent": "a", "usage": {"tokens": 1}} for _ in range(150)]
    client.post("/v1/messages", used)
    client.close()
    yield server
    assert server.stop() == 0


def stored(served: Served) -> list[bytes]:
    store = open_store(f"sqlite:///{served.log.parent / 'fleet.db'}")
    records = [record.data for record in store.read()]
    store.close()
    return records


def test_pages_from_the_beginning_are_the_whole_log_byte_for_byte(client: Client, served: Served) -> None:
    after, digest, bodies = 0, GENESIS, b""
    while True:
        page = client.call("GET", f"/v1/events?after={after}&limit=47")
        assert page.status == 200
        for number, event in enumerate(page.json["events"], after + 1):
            assert event["position"] == number
        bodies += page.body
        if page.json["next"] == page.json["position"]:
            break
        assert len(page.json["events"]) == 47
        after = page.json["next"]
    records = stored(served)
    assert page.json["next"] == len(records)
    for position, record in enumerate(records, 1):
        assert record in bodies
        digest = unseal(record, digest, position)


def test_a_page_without_parameters_is_the_first_hundred(client: Client) -> None:
    page = client.call("GET", "/v1/events")
    assert [event["position"] for event in page.json["events"]] == list(range(1, 101))
    assert page.json["next"] == 100
    assert page.json["position"] > 100
    assert page.headers["cache-control"] == "no-store"


def test_behind_the_newest_record_a_page_is_empty_and_farther_there_is_none(client: Client) -> None:
    newest = client.call("GET", "/v1/events?limit=1").json["position"]
    assert client.call("GET", f"/v1/events?after={newest}").json == {"events": [], "next": newest, "position": newest}
    beyond = client.call("GET", f"/v1/events?after={newest + 1}")
    assert (beyond.status, beyond.json["code"], beyond.json["position"]) == (404, "unknown_position", newest)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("after=-1", "after: found '-1'"),
        ("after=", "after: found ''"),
        ("after=1.5", "after: found '1.5'"),
        ("after=%D9%A3", "after"),  # a digit of another script
        ("after=99999999999999999999", "after"),
        ("limit=0", "limit: found '0', allowed are whole numbers from 1 to 1000"),
        ("limit=1001", "limit"),
        ("limit=1&limit=2", "limit: found 2 of them"),
        ("afer=1", "found 'afer', allowed are after, limit"),
    ],
)
def test_a_parameter_that_is_not_allowed_is_named(client: Client, query: str, named: str) -> None:
    answer = client.call("GET", f"/v1/events?{query}")
    assert (answer.status, answer.json["code"]) == (422, "invalid_parameter")
    assert named in answer.json["detail"]


def test_other_methods_are_not_allowed_and_other_paths_are_not_there(client: Client) -> None:
    answer = client.post("/v1/events", {})
    assert (answer.status, set(answer.headers["allow"].split(", "))) == (405, {"GET", "HEAD"})
    assert client.call("GET", "/v1/event").status == 404
    assert client.call("HEAD", "/v1/events").body == b""


def test_a_page_ends_where_its_bytes_are_many_but_is_never_empty() -> None:
    store = open_store("memory:", writer=True)
    data = [json.dumps({"text": "x" * size}).encode() for size in (10, 10, 5_000, 10, 10)]
    store.append([Record(position, "one.v1", one) for position, one in enumerate(data, 1)])
    feed = LogFeed(store)
    assert [one.position for one in feed.page(0, 10, bytes_max=1_000)] == [1, 2, 3]
    assert [one.position for one in feed.page(2, 10, bytes_max=1)] == [3]
    assert [one.position for one in feed.page(3, 10, bytes_max=1_000)] == [4, 5]
    assert [one.position for one in feed.page(0, 4, bytes_max=10**6)] == [1, 2, 3, 4]
    assert feed.page(5, 10, bytes_max=1_000) == []


def test_a_page_of_more_records_than_are_read_at_once_has_no_gap(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'log.db'}", writer=True)
    store.append([Record(position, "one.v1", b"{}") for position in range(1, 331)])
    assert [one.position for one in LogFeed(store).page(3, 300, 10**6)] == list(range(4, 304))
    store.close()


def test_archived_records_are_served_as_the_others(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'fleet.db'}"
    with Fleet.open(url) as fleet:
        fleet.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 100_000}})
        fleet.ask([{"type": "ReportUsage", "agent": "a", "usage": {"tokens": 1}} for _ in range(150)])
    done = CliRunner().invoke(main, ["store", "archive", "--before", "120", "--store", url])
    assert done.exit_code == 0, done.output
    server = Served(tmp_path)
    client = server.client()
    try:
        page = client.call("GET", "/v1/events?after=90&limit=60")
        assert [event["position"] for event in page.json["events"]] == list(range(91, 151))
        assert all(record in page.body for record in stored(server)[90:150])
        used = {"agent": "a", "usage": {"tokens": 5}}
        assert client.post("/v1/report-usage", used).status == 200
        behind = client.call("GET", "/v1/events?after=150").json["events"]
        assert [event["position"] for event in behind] == list(range(151, 151 + len(behind)))
        assert "usage-reported.v1" in {event["type"] for event in behind}
    finally:
        client.close()
    assert server.stop() == 0
