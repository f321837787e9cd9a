"""A link of an alert is shown by each server of a fleet, and what is done by it is done by the writer, once."""

from pathlib import Path
from urllib.parse import urlencode

from tests.support.asgi import Answered
from tests.support.linked_alerts import KEY, links_of, seen_on
from tests.support.postgres import shared
from tests.support.programs import until
from tests.support.receiver import Receiver
from tests.support.served_links import STOP
from tests.support.serving import Served
from tests.support.shared_fleets import servers

PUBLIC = "http://127.0.0.1:8321"


def opened(server: Served, method: str, path: str, body: bytes | None = None) -> Answered:
    client = server.client()
    try:
        found = client.call(method, path, body, {"content-type": "application/x-www-form-urlencoded"})
        return Answered(found.status, found.headers, found.body)
    finally:
        client.close()


def test_a_standby_shows_a_link_and_the_writer_does_it_once(tmp_path: Path) -> None:
    ceo = Receiver()
    (tmp_path / "links.key").write_text(KEY)
    (tmp_path / "limits.yml").write_text(
        f"notifications: {{ceo: ['{ceo.address}']}}\nnotification_networks: [127.0.0.1]\n"
        f"approval_links: {{public_url: '{PUBLIC}', key: 'file:{tmp_path}/links.key'}}\n"
    )
    with servers(tmp_path, shared().url(fleet="links")) as running:
        writer = running.start("--config", str(tmp_path / "limits.yml"))
        standby = running.start("--standby", "--config", str(tmp_path / "limits.yml"))
        client = writer.client()
        client.post("/v1/allocate-budget", {"agent": "a", "budget": {"tokens": 10}})
        client.post("/v1/report-usage", {"agent": "a", "usage": {"tokens": 10}})
        client.close()
        ceo.wait_for(1)
        path = links_of(ceo.got[0]["message"], PUBLIC)[STOP]
        until(lambda: opened(standby, "GET", path).status == 200)
        form = urlencode({"seen": seen_on(opened(standby, "GET", path))}).encode()
        done = opened(standby, "POST", path, form)
        assert (done.status, b"Done" in done.body) == (200, True)
        until(lambda: opened(standby, "GET", path).status == 410)
        for server in (writer, standby):
            assert opened(server, "POST", path, form).status == 410
    ceo.close()
