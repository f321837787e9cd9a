"""Links in alerts that were really sent, over HTTP."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tallystick import Fleet
from tallystick.actors.runtime import fleet as runtime
from tests.support.linked_alerts import KEY, links_of
from tests.support.programs import SECONDS, until
from tests.support.receiver import Receiver
from tests.support.served_links import STOP, Alerted
from tests.support.serving import Served


@pytest.fixture
def alerted(tmp_path: Path) -> Iterator[Alerted]:
    ceo = Receiver()
    made = Alerted(tmp_path, ceo)
    yield made
    made.server.kill()
    ceo.close()


def test_a_link_is_in_no_log_of_the_program_and_a_preview_changes_nothing(alerted: Alerted) -> None:
    path = alerted.links[STOP]
    for method in ("HEAD", "GET", "GET"):
        assert alerted.call(method, path).status == 200
    assert alerted.call("GET", path[:-1]).status == 404
    assert alerted.call("PUT", path).status == 405
    until(lambda: "link_invalid" in alerted.server.log.read_text(encoding="utf-8"))
    logged = alerted.server.log.read_text(encoding="utf-8")
    assert path.removeprefix("/links/")[:40] not in logged
    assert KEY not in logged
    assert b"agent-stopped" not in (alerted.folder / "fleet.db").read_bytes()


def test_the_server_may_be_called_by_the_name_in_its_links(tmp_path: Path) -> None:
    (tmp_path / "links.key").write_text(KEY)
    (tmp_path / "limits.yml").write_text(
        "approval_links: {public_url: 'https://budget.example.com/tally', key: 'file:links.key'}\n"
    )
    server = Served(tmp_path, "--config", str(tmp_path / "limits.yml"))
    client = server.client()
    for name, status in (("budget.example.com", 404), ("other.example.com", 421)):
        answer = client.call("GET", "/links/x.y", headers={"host": name})
        assert answer.status == status
    client.close()
    assert server.stop() == 0


def test_an_alert_that_has_waited_since_the_fleet_was_closed_has_its_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "CLOSING_SECONDS", SECONDS)
    ceo = Receiver()
    ceo.up = False
    (tmp_path / "links.key").write_text(KEY)
    config = {
        "notifications": {"ceo": [ceo.address]},
        "notification_networks": ["127.0.0.1"],
        "approval_links": {"public_url": "http://127.0.0.1:8321", "key": f"file:{tmp_path}/links.key"},
    }
    for _ in range(2):
        with Fleet.open(f"sqlite:///{tmp_path}/fleet.db", config) as fleet:
            fleet.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 10}})
            fleet.ask({"type": "ReportUsage", "agent": "a", "usage": {"tokens": 10}, "id": "once"})
        ceo.up = True
    links = [links_of(message["message"], "http://127.0.0.1:8321") for message in ceo.got]
    assert len(links) >= 2
    assert all(one == links[0] for one in links)
    assert list(links[0]) == [STOP]
    ceo.close()
