"""A server whose fleet has sent an alert with links."""

import socket
from pathlib import Path
from typing import Any

from tests.support.linked_alerts import KEY, links_of
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
