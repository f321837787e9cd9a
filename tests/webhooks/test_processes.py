"""Server and receiver are processes that are killed: each event arrives at least once, in order, and none is missed."""

from pathlib import Path
from typing import Any

import pytest

from tallystick.events.log.store import open_store
from tallystick.webhooks.cloudevents import id_of
from tests.support.postgres import shared
from tests.support.programs import until
from tests.support.serving import Served
from tests.support.shared_fleets import ask_until_done, servers
from tests.support.webhook_receiver import SECRET, ReceiverProcess


@pytest.fixture
def receiver(tmp_path: Path) -> Any:
    made = ReceiverProcess(tmp_path / "receiver")
    yield made
    made.kill()


@pytest.fixture
def settings(tmp_path: Path, receiver: ReceiverProcess) -> Path:
    """A configuration whose events go to the receiver; the secret is in a file."""
    (tmp_path / "secret").write_text(SECRET + "\n")
    file = tmp_path / "limits.yml"
    secret = f"file:{tmp_path}/secret"
    file.write_text(
        f'webhooks: {{audit: {{url: "{receiver.url}", secret: "{secret}", batch_max: 10}}}}\n'
        "notification_networks: [127.0.0.1]\n"
    )
    return file


def report(server: Served, count: int, agent: str = "thread-0") -> None:
    client = server.client()
    message = {"type": "ReportUsage", "agent": agent, "usage": {"tokens": 1}}
    for _ in range(count):
        assert client.post("/v1/messages", message).status == 200
    client.close()


def ids_of(url: str) -> list[str]:
    store = open_store(url)
    try:
        return [id_of(record) for record in store.read()]
    finally:
        store.close()


def check_whole(receiver: ReceiverProcess, url: str) -> None:
    """All that is in the log by now arrives; the first arrivals are in the log's order."""
    ids = ids_of(url)
    until(lambda: {event["id"] for event in receiver.accepted} >= set(ids))
    first = list(dict.fromkeys(event["id"] for event in receiver.accepted))
    assert first[: len(ids)] == ids


def figure(server: Served, name: str) -> int:
    client = server.client()
    text = client.call("GET", "/metrics").body.decode()
    client.close()
    line = next(line for line in text.splitlines() if line.startswith(f'tallystick_webhook_{name}{{webhook="audit"}}'))
    return int(line.split()[-1])


def test_when_server_and_receiver_are_killed_each_event_arrives_in_order(
    tmp_path: Path, receiver: ReceiverProcess, settings: Path
) -> None:
    store = f"sqlite:///{tmp_path}/fleet.db"
    server = Served(tmp_path, "--config", str(settings))
    opened = server.client()
    assert opened.post("/v1/allocate-budget", {"agent": "thread-0", "budget": {"tokens": 10_000}}).status == 200
    opened.close()
    for _ in range(2):
        report(server, 30)
        server.kill()
        server = Served(tmp_path, "--config", str(settings))
        report(server, 30)
        receiver.kill()
        report(server, 30)
        receiver.start()
    server.kill()
    server = Served(tmp_path, "--config", str(settings))
    check_whole(receiver, store)
    until(lambda: figure(server, "behind_events") == 0)
    assert (figure(server, "accepts"), figure(server, "passed_over_total")) == (1, 0)
    assert SECRET not in server.log.read_text(encoding="utf-8")
    assert server.stop() == 0


def test_a_server_that_takes_over_goes_on_where_the_other_was_killed(
    tmp_path: Path, receiver: ReceiverProcess, settings: Path
) -> None:
    store = shared().url(fleet="webhooks")
    with servers(tmp_path, store) as running:
        first = running.start("--config", str(settings))
        second = running.start("--standby", "--config", str(settings))
        client = first.client()
        client.post("/v1/allocate-budget", {"agent": "thread-0", "budget": {"tokens": 10_000}})
        client.close()
        report(first, 40)
        running.kill(first)
        ask_until_done(second)
        report(second, 40)
        check_whole(receiver, store)
        ids = [event["id"] for event in receiver.accepted]
        assert len(ids) - len(set(ids)) <= 10, "at most the request that was under way came again"
