"""A copy of a server under load is restored elsewhere: nothing that was answered before is missing or counts twice."""

import http.client
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.serving import Client, Served

CLIENTS = 4
SECONDS = 60


class Load:
    """Clients that report one token after the other, each under an id of its own, until their server is gone."""

    def __init__(self, server: Served) -> None:
        self.answered: dict[str, bytes] = {}
        """The ids that were answered, with the answer."""
        self._threads = [threading.Thread(target=self._report, args=(server.client(), n)) for n in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _report(self, client: Client, number: int) -> None:
        count = 0
        try:
            while True:
                id = f"{number}-{count}"
                answer = client.post("/v1/report-usage", report(id))
                assert answer.status == 200
                self.answered[id] = answer.body
                count += 1
        except (OSError, http.client.HTTPException):  # the server was killed, perhaps within an answer
            client.close()

    def wait_for(self, more: int) -> None:
        """Until so many more are answered."""
        until, wanted = time.monotonic() + SECONDS, len(self.answered) + more
        while len(self.answered) < wanted:
            assert time.monotonic() < until, "the server answers nothing"
            time.sleep(0.005)

    def end(self) -> None:
        for thread in self._threads:
            thread.join(SECONDS)
            assert not thread.is_alive()


def report(id: str) -> dict[str, Any]:
    return {"agent": "a", "usage": {"tokens": 1}, "id": id}


def tallystick(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tallystick", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    names = ("live", "elsewhere", "new")
    for name in names:
        (tmp_path / name).mkdir()
    live, elsewhere, new = (tmp_path / name for name in names)
    return live, elsewhere, new


def test_a_copy_of_a_server_under_load_is_restored_in_another_place(folders: tuple[Path, Path, Path]) -> None:
    live, elsewhere, new = folders
    server = Served(live)
    opening = server.client()
    opening.post("/v1/allocate-budget", {"agent": "a", "budget": {"tokens": 1_000_000}})
    opening.close()
    load = Load(server)
    load.wait_for(200)
    anchors = elsewhere / "anchors.txt"
    store = ("--store", "sqlite:///fleet.db")
    assert tallystick(live, "audit", "anchor", "--out", str(anchors), *store).returncode == 0
    before = dict(load.answered)
    copied = tallystick(live, "store", "backup", str(elsewhere / "monday.db"), "--json", *store)
    assert copied.returncode == 0, copied.stderr
    head = json.loads(copied.stdout)["head"]
    load.wait_for(200)
    server.kill()
    load.end()

    (elsewhere / "monday.db").rename(new / "fleet.db")
    proved = tallystick(new, "audit", "verify", "--anchor-file", str(anchors), "--anchor", head, *store)
    assert (proved.returncode, "2 of 2 agree" in proved.stdout) == (0, True), proved.stdout
    # The log that went on is the same up to there.
    assert tallystick(live, "audit", "verify", "--quick", "--anchor", head, *store).returncode == 0

    restored = Served(new)
    client = restored.client()
    for id, answer in list(before.items())[-200:]:
        assert client.post("/v1/report-usage", report(id)).body == answer, id
    ids = list(load.answered)
    for first in range(0, len(ids), 1_000):
        again = [{"type": "ReportUsage", **report(id)} for id in ids[first : first + 1_000]]
        assert all("ok" in one for one in client.post("/v1/messages", again).json)
    consumed = client.post("/v1/get-status", {"agent": "a"}).json["consumed"]["tokens"]
    client.close()
    assert restored.stop() == 0
    # What was sent and not answered before the copy may be in it too: one of each client at most.
    assert len(load.answered) <= consumed <= len(load.answered) + CLIENTS
