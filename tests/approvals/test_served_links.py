"""Links in alerts that were really sent: opened in a browser without scripts, also after the server was killed."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import chromium  # noqa: F401 - a fixture
from tests.support.linked_alerts import KEY, links_of
from tests.support.programs import until
from tests.support.receiver import Receiver
from tests.support.serving import Served

STOP = "stop a and its sub-agents"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


class Alerted:
    """A server whose fleet has sent an alert with links."""

    def __init__(self, folder: Path, ceo: Receiver) -> None:
        self.folder, self.port = folder, free_port()
        (folder / "links.key").write_text(KEY)
        (folder / "limits.yml").write_text(
            f"notifications: {{ceo: ['{ceo.address}']}}\n"
            "notification_networks: [127.0.0.1]\n"
            f"approval_links: {{public_url: 'http://127.0.0.1:{self.port}', key: 'file:{folder}/links.key',"
            " may_loosen: [ceo]}\n"
        )
        self.server = self.start()
        client = self.server.client()
        assert client.post("/v1/allocate-budget", {"agent": "a", "budget": {"tokens": 10}}).status == 200
        assert client.post("/v1/report-usage", {"agent": "a", "usage": {"tokens": 10}}).status == 200
        client.close()
        ceo.wait_for(1)
        self.links = links_of(ceo.got[0]["message"], f"http://127.0.0.1:{self.port}")

    def start(self) -> Served:
        return Served(self.folder, "--config", str(self.folder / "limits.yml"), port=self.port)

    def call(self, method: str, path: str) -> Any:
        client = self.server.client()
        try:
            return client.call(method, path)
        finally:
            client.close()


@pytest.fixture
def alerted(tmp_path: Path) -> Iterator[Alerted]:
    ceo = Receiver()
    made = Alerted(tmp_path, ceo)
    yield made
    made.server.kill()
    ceo.close()


def test_a_link_works_in_a_narrow_browser_without_scripts_after_the_server_was_killed(
    alerted: Alerted,
    chromium: Any,  # noqa: F811 - the fixture
) -> None:
    alerted.server.kill()
    alerted.server = alerted.start()
    context = chromium.new_context(viewport={"width": 360, "height": 740}, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{alerted.port}{alerted.links[STOP]}")
    assert page.title() == "Stop a and its sub-agents – tallystick"
    assert page.locator("dl").first.inner_text().startswith("what a and its sub-agents may do")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.get_by_role("button").click()
    assert page.locator("h1").inner_text() == "Done"
    page.goto(f"http://127.0.0.1:{alerted.port}{alerted.links[STOP]}")
    assert page.locator("h1").inner_text() == "This link was used"
    context.close()


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
