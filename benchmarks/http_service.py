"""The served fleet beside the same server answering a constant, beside arrays in one process, and with listeners."""

import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.http_client import call, request
from benchmarks.load import AGENTS, RICH, SECONDS, Stored, ceiling_seconds, running_load
from benchmarks.result import Result, alternating, percentile
from tallystick.events.log.store import open_store

ROUNDS = 5
CLIENTS, MANY, LISTENERS = 64, 200, 200
_numbers = itertools.count()


def report() -> dict[str, object]:
    """A report as the other benchmarks have it, under an id that was never used."""
    i = next(_numbers)
    usage = {"tokens": 450 + i % 97, "time_seconds": 2.3, "cost_usd": "0.011"}
    return {"id": f"c-{i:010d}", "agent": f"agent-{i % AGENTS:06d}", "usage": usage, "model": "claude-sonnet-5-5"}


def one() -> bytes:
    return request("/v1/report-usage", json.dumps({"type": "ReportUsage", **report()}).encode())


def hundred() -> bytes:
    return request("/v1/messages", json.dumps([{"type": "ReportUsage", **report()} for _ in range(100)]).encode())


@contextmanager
def started(*command: str) -> Iterator[int]:
    """A server in a process of its own: its port."""
    with subprocess.Popen(
        [sys.executable, "-m", *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline().strip().rpartition(":")[2])
        finally:
            process.terminate()


@contextmanager
def served(folder: Path) -> Iterator[int]:
    """A served fleet with agents that have enough."""
    config = folder / "limits.json"
    config.write_text(json.dumps(RICH), encoding="utf-8")
    options = ("--store", f"sqlite:///{folder / 'fleet.db'}", "--config", str(config), "--port", "0")
    with started("tallystick", "serve", *options) as port:
        budget = {"tokens": 10**9, "cost_usd": 10_000}
        opening = [
            {"type": "AllocateBudget", "agent": f"agent-{i:06d}", "budget": budget, "id": f"open-{i}"}
            for i in range(AGENTS)
        ]
        call(port, 1, lambda: request("/v1/messages", json.dumps(opening).encode()), 0)
        yield port


@contextmanager
def listeners(port: int, count: int) -> Iterator[None]:
    """Streams that are read by another process."""
    command = [sys.executable, "-m", "benchmarks.http_client", str(port), str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield
        process.stdin.close()
        assert int(process.stdout.read()) > 0


def rate(port: int, clients: int = CLIENTS) -> float:
    """Reports per second."""
    return call(port, clients, one, SECONDS)[0]


def batches(port: int) -> float:
    """Reports per second in arrays of 100, by eight clients."""
    return call(port, 8, hundred, SECONDS)[0] * 100


def seconds(port: int, clients: int, share: float) -> float:
    """Seconds within which so many of the reports are answered."""
    return percentile(call(port, clients, one, SECONDS)[1], share)


def with_listeners(port: int) -> float:
    """Reports per second, while streams are read."""
    with listeners(port, LISTENERS):
        return rate(port)


def results() -> Iterator[Result]:
    """Each figure beside what it is held against, in alternating rounds."""
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as port:
        with started("benchmarks.http_constant") as constant:
            value, _, ratio = alternating(partial(rate, port), partial(rate, constant), ROUNDS)
            yield Result("http.report", value, "reports/s", "the same server answering a constant", ratio, (">=", 0.4))
        stored = Stored(open_store(f"sqlite:///{Path(folder) / 'fleet.db'}").last())
        commit = partial(ceiling_seconds, "one_caller", stored, 0.99)
        value, _, ratio = alternating(partial(seconds, port, MANY, 0.99), commit, ROUNDS)
        yield Result("http.200_clients.p99", value * 1e3, "ms", "a raw commit of the same bytes", ratio, ("<=", 20.0))
        value, _, ratio = alternating(partial(with_listeners, port), partial(rate, port), ROUNDS)
        yield Result("sse.fanout", value, "reports/s", f"the same without {LISTENERS} listeners", ratio, (">=", 0.8))
        with running_load() as (load, _):
            value, _, ratio = alternating(partial(batches, port), load.batches, ROUNDS)
            yield Result("http.batch_100", value, "reports/s", "batches of 100 in process", ratio, (">=", 0.4))


if __name__ == "__main__":
    for result in results():
        print(f"{result.name}: {result.value:,.3f} {result.unit}, {result.ratio:.3f} of {result.against}", flush=True)
