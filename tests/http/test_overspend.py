"""Clients ask at once for more than there is: what is granted is exactly what was free, also over a kill."""

import http.client
import threading
from pathlib import Path

import pytest

from tests.support.serving import Client, Served

SECONDS = 120


class Crowd:
    """Clients that ask for one token each time, and send again what was not answered."""

    def __init__(self, server: Served, clients: int, asks: int) -> None:
        self.port, self._clients, self._asks = server.port, clients, asks
        self.up = threading.Event()
        self.up.set()
        self._changed = threading.Condition()
        self.granted: set[str] = set()
        self.denied: set[str] = set()
        self.failed: list[object] = []

    def run(self, number: int) -> None:
        client = Client(self.port)
        for turn in range(self._asks):
            id = f"h-{number}-{turn}"
            while (answer := self._ask(client, id)) is None:
                client.close()
                if not self.up.wait(SECONDS):
                    self.failed.append("the server did not come back")
                    return
            with self._changed:
                if answer[0] == 200:
                    self.granted.add(id)
                elif answer[1] == "budget_exhausted":
                    self.denied.add(id)
                else:
                    self.failed.append(answer)
                self._changed.notify_all()
        client.close()

    @staticmethod
    def _ask(client: Client, id: str) -> tuple[int, str | None] | None:
        try:
            answer = client.post("/v1/reserve", {"agent": "a", "estimate": {"tokens": 1}, "id": id})
        except (OSError, http.client.HTTPException):
            return None
        return answer.status, answer.json.get("code")

    def begin(self) -> list[threading.Thread]:
        threads = [threading.Thread(target=self.run, args=(number,), daemon=True) for number in range(self._clients)]
        for thread in threads:
            thread.start()
        return threads

    def until_granted(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.granted) >= count or self.failed, SECONDS)


def overspend(folder: Path, clients: int, asks: int, free: int, kills: int) -> None:
    server = Served(folder)
    opener = server.client()
    assert opener.post("/v1/allocate-budget", {"agent": "a", "budget": {"tokens": free}}).status == 200
    opener.close()
    crowd = Crowd(server, clients, asks)
    threads = crowd.begin()
    for kill in range(kills):
        crowd.until_granted(free * (kill + 1) // (kills + 2))
        crowd.up.clear()
        server.kill()
        server = Served(folder, port=server.port)
        crowd.up.set()
    for thread in threads:
        thread.join(SECONDS)
    assert not crowd.failed
    assert len(crowd.granted) + len(crowd.denied) == clients * asks
    client = server.client()
    status = client.post("/v1/get-status", {"agent": "a"}).json
    client.close()
    assert server.stop() == 0
    assert len(crowd.granted) == status["held"]["tokens"] == free
    assert status["remaining"] == {"tokens": 0}


def test_what_is_granted_is_exactly_what_was_free_also_when_the_server_is_killed(tmp_path: Path) -> None:
    overspend(tmp_path, clients=16, asks=20, free=150, kills=1)


@pytest.mark.http_load
def test_64_clients_ask_10000_times_while_the_server_is_killed_five_times(tmp_path: Path) -> None:
    overspend(tmp_path, clients=64, asks=157, free=6_000, kills=5)
