"""One durable report over HTTP at a time, beside a raw commit of the same bytes; and what a Python client adds."""

import contextlib
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks import ceiling
from benchmarks.load import RICH, SECONDS, Stored, default_switching
from benchmarks.result import Result, percentile
from tallystick import Client
from tallystick.events.log.store import open_store

ROUNDS = 5
BUDGET = {"tokens": 10**12, "cost_usd": "1000000"}
REPORT = {
    "type": "ReportUsage",
    "agent": "a",
    "usage": {"tokens": 450, "time_seconds": "2.3", "cost_usd": "0.011"},
    "model": "claude-sonnet-5-5",
}


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The URL of a server in a process of its own, whose store is in a folder."""
    config = folder / "limits.yml"
    config.write_text(json.dumps(RICH))
    command = [sys.executable, "-m", "tallystick", "serve", "--store", store_of(folder), "--config", str(config)]
    process = subprocess.Popen(
        [*command, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=folder
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split(" at ")[1].strip()
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def store_of(folder: Path) -> str:
    return f"sqlite:///{folder / 'fleet.db'}"


def timed(ask: Callable[[], bool]) -> list[float]:
    """Seconds from question to answer, for each of the questions of a moment."""
    seen, deadline = [], time.perf_counter() + SECONDS
    while (start := time.perf_counter()) < deadline:
        answered = ask()
        seen.append(time.perf_counter() - start)
        assert answered
    return seen


def over_a_socket(url: str) -> list[float]:
    """Reports over a connection that costs its program little: it sends the same bytes each time, and counts bytes."""
    body = json.dumps(REPORT).encode()
    head = ("POST /v1/messages HTTP/1.1", "host: localhost", "content-type: application/json")
    request = "\r\n".join((*head, f"content-length: {len(body)}", "", "")).encode() + body
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def ask() -> bool:
            connection.sendall(request)
            answer = connection.recv(65_536)
            while _is_cut(answer):
                answer += connection.recv(65_536)
            return answer.startswith(b"HTTP/1.1 200")

        return timed(ask)


def _is_cut(answer: bytes) -> bool:
    head, between, body = answer.partition(b"\r\n\r\n")
    length = int(head.partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0] or 0)
    return not between or len(body) < length


def over_the_client(client: Client) -> list[float]:
    """Reports of a Python program through `tallystick.Client`."""
    return timed(lambda: "ok" in client.ask(REPORT))


def results() -> Iterator[Result]:
    """The median and the slowest of a hundred, round by round: of commits, of the server, of the Python client."""
    raw, over_http, of_client = [], [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with served(folder) as url, Client(url) as client:
            client.ask({"type": "AllocateBudget", "agent": "a", "budget": BUDGET})
            over_the_client(client)
            with contextlib.closing(open_store(store_of(folder))) as store:
                stored = Stored(store.last())
            for _ in range(ROUNDS):
                with default_switching():
                    raw.append(ceiling.measure("one_caller", stored.make, stored.encode, SECONDS)[1])
                over_http.append(over_a_socket(url))
                of_client.append(over_the_client(client))
    for share, goal in ((0.5, 3.0), (0.99, 5.0)):
        at = f"p{share * 100:.0f}"
        value, ratio = _compared(over_http, raw, share)
        yield Result(f"http.one_client.{at}", value * 1e3, f"ms {at}", f"ceiling one_caller {at}", ratio, ("<=", goal))
        value, ratio = _compared(of_client, over_http, share)
        yield Result(f"http.python_client.{at}", value * 1e3, f"ms {at}", f"http.one_client {at}", ratio)


def _compared(mine: list[list[float]], theirs: list[list[float]], share: float) -> tuple[float, float]:
    """The median of the percentiles of all rounds, and of their ratios round by round."""
    ours, other = ([percentile(seen, share) for seen in rounds] for rounds in (mine, theirs))
    return statistics.median(ours), statistics.median(one / two for one, two in zip(ours, other, strict=True))
