"""`tallystick demo --serve`: a fleet to look at, within a minute, and one that obeys."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support.serving import Client

SECONDS = 60


class Demo(NamedTuple):
    process: "subprocess.Popen[str]"
    port: int


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    began = time.monotonic()
    command = [sys.executable, "-m", "tallystick", "demo", "--serve", "0", "--store", f"sqlite:///{tmp_path / 'd.db'}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    found = None
    while found is None:
        line = process.stdout.readline()
        assert line, "it says where the dashboard is"
        found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
    assert time.monotonic() - began < SECONDS
    yield Demo(process, int(found[1]))
    if process.poll() is None:
        process.kill()
        process.wait()
    process.stdout.close()


def test_a_fleet_is_seen_and_takes_orders(demo: Demo) -> None:
    client = Client(demo.port)
    while not (found := client.call("GET", "/v1/views/agents")).json.get("shown"):
        assert demo.process.poll() is None
    assert found.json["shown"][0]["agent"]
    refused = client.post("/v1/report-usage", {"no_such_field": 1})
    assert (refused.status, refused.json["code"]) == (422, "invalid_message")
    assert client.post("/v1/pause-all", {"reason": "to look around"}).status == 200
    assert client.call("GET", "/v1/views/status").json["paused"]
    both = client.post("/v1/messages", [{"type": "ResumeAll"}, {"type": "GetGlobalStatus"}])
    assert [next(iter(one)) for one in both.json] == ["ok", "ok"]
    client.close()
    demo.process.send_signal(signal.SIGINT)
    printed, _ = demo.process.communicate(timeout=SECONDS)
    assert demo.process.returncode == 0, printed
    assert "audit verify" in printed


def test_it_is_watched_in_a_browser(demo: Demo, open_anywhere: Callable[..., Any]) -> None:
    page = open_anywhere(f"http://127.0.0.1:{demo.port}")
    before = page.locator("[data-testid=position]").inner_text()
    page.wait_for_function(
        "before => document.querySelector('[data-testid=position]').innerText !== before", arg=before
    )
