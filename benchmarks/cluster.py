"""Many fleets in a process: what one costs in memory, how long it takes to open, and what the way through Ray costs.

``python -m benchmarks.cluster`` prints the figures that benchmarks/scale.py is given.
"""

import asyncio
import contextlib
import gc
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from benchmarks.result import Result, quiet
from tallystick.cluster.actors import Settings, ShardActor, encode, memory_of_this_process
from tallystick.cluster.due import DueTimes
from tallystick.cluster.fleets import Database
from tallystick.cluster.hosted import host, open_fleet
from tallystick.cluster.shard import READERS
from tallystick.config.loader import from_mapping
from tallystick.events.log.store import open_store
from tallystick.fleet import Fleet
from tallystick.http.requests_log import write_lines
from tallystick.http.views.limit import ReaderLimit
from tests.support.postgres import running
from tests.support.running import QUIET

AGENTS = 100
FLEETS = 40
CALLERS = 256
REQUESTS = 6_000
ROUNDS = 3
CONNECTIONS = 500
OPEN_BYTES = 2_000_000 + 2_000 * AGENTS
IDLE_BYTES = 64_000
OPENING_SECONDS = 0.050
_AGENT = "a-0"


@contextlib.contextmanager
def database() -> Iterator[str]:
    with running() as server:
        url = server.url().partition("&fleet")[0]
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"ALTER SYSTEM SET max_connections = {CONNECTIONS}")
        server.stop()
        server.start()
        yield url


def made_fleets(url: str, count: int) -> None:
    """Fleets of 100 agents that have a snapshot each."""
    for number in range(count):
        with Fleet.open(open_store(url_of(url, number), writer=True), from_mapping(QUIET)) as fleet:
            fleet.ask(
                [
                    {"type": "AllocateBudget", "agent": f"a-{agent}", "budget": {"tokens": 5_000}}
                    for agent in range(AGENTS)
                ]
            )
            fleet.keep_snapshot()
            fleet.quiesce()


def url_of(url: str, number: int) -> str:
    return f"{url}&fleet=f-{number}"


class Measured(msgspec.Struct):
    """In a process of its own: bytes per open fleet, bytes that a closed one leaves, and seconds to open one."""

    open_bytes: float
    idle_bytes: float
    opening_seconds: float
    opening_cpu_seconds: float
    process_bytes: int


def measure(url: str) -> Measured:
    """Open all, close all, and open and close them again: what grows then is what idle fleets cost."""
    quiet()
    place = Database(url)
    due = DueTimes(place.place)
    open_fleet(place, due, "f-0").fleet.close()
    gc.collect()
    began = memory_of_this_process()
    fleets, walls, cpus = [], [], []
    for number in range(FLEETS):
        wall, cpu = time.perf_counter(), time.process_time()
        fleets.append(open_fleet(place, due, f"f-{number}").fleet)
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    used = memory_of_this_process() - began
    for fleet in fleets:
        fleet.close()
    fleets.clear()
    gc.collect()
    after_one = memory_of_this_process()
    for number in range(FLEETS):
        open_fleet(place, due, f"f-{number}").fleet.close()
    gc.collect()
    left = max(0, memory_of_this_process() - after_one)
    return Measured(used / FLEETS, left / FLEETS, sorted(walls)[FLEETS // 2], sorted(cpus)[FLEETS // 2], began)


def measured(url: str) -> Measured:
    program = (
        f"import msgspec; from benchmarks import cluster; print(msgspec.json.encode(cluster.measure({url!r})).decode())"
    )
    out = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    return msgspec.json.decode(out.splitlines()[-1], type=Measured)


# --- the way through Ray ----------------------------------------------------------------------------------------------


async def post(app: Any, path: str, number: str) -> None:
    body = b'{"type":"ReportUsage","agent":"%b","usage":{"tokens":1},"id":"%b"}' % (_AGENT.encode(), number.encode())
    status = 0
    parts = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        return parts.pop() if parts else await asyncio.Event().wait()

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)

    headers = [(b"host", b"localhost"), (b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    scope = {"type": "http", "method": "POST", "scheme": "http", "path": path, "query_string": b"", "headers": headers}
    await app({**scope, "client": ("127.0.0.1", 1), "root_path": "", "server": None}, receive, send)
    assert status == 200, status


async def seconds_of(app: Any, path: str, word: str) -> float:
    """Seconds per request, of so many callers that each wait for their answer."""
    numbers = iter(range(REQUESTS))

    async def caller() -> None:
        for number in numbers:
            await post(app, path, f"{word}-{number}")

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return (time.perf_counter() - began) / REQUESTS


async def both(url: str) -> tuple[float, float]:
    """Seconds per request: direct, to the fleet's application in this process; and through Ray, to a shard's."""
    import ray

    from tallystick.cluster.actors import RemoteShard, options
    from tallystick.cluster.front import Front
    from tallystick.cluster.link import Link
    from tallystick.cluster.places import shard_name

    settings = encode(Settings(url, 1, "127.0.0.1", 0))
    ray.remote(ShardActor).options(**options(shard_name(0))).remote(settings, 0)
    link = Link(RemoteShard(0), shard_name(0))
    front = Front(1, lambda _: link, frozenset({"localhost"}))
    place = Database(url)
    due = DueTimes(place.place)
    opened = await asyncio.to_thread(open_fleet, place, due, "f-1")
    hosted = host("f-1", opened, due, ReaderLimit(READERS), keys_needed=False)
    routed_path, direct, routed = "/v1/fleets/f-0/v1/messages", [], []
    await seconds_of(front.app, routed_path, "warm")
    for number in range(ROUNDS):
        direct.append(await seconds_of(hosted.app, "/v1/messages", f"d{number}"))
        routed.append(await seconds_of(front.app, routed_path, f"r{number}"))
    await link.close()
    await hosted.stop()
    await asyncio.to_thread(hosted.close)
    return sorted(direct)[ROUNDS // 2], sorted(routed)[ROUNDS // 2]


def routing(url: str) -> tuple[float, float]:
    from tallystick.cluster import running as clusters

    quiet()
    write_lines(Path(os.devnull).open("wb"))  # noqa: SIM115 - as a shard does, and to no terminal
    with tempfile.TemporaryDirectory(prefix="r") as folder:
        os.environ.update(RAY_TMPDIR=folder, PYTHONPATH=str(Path(__file__).resolve().parents[1]))
        head = clusters.start_ray()
        try:
            with clusters.connected("auto"):
                return asyncio.run(both(url))
        finally:
            clusters.stop_ray(head)


def results() -> Iterator[Result]:
    with database() as url:
        made_fleets(url, FLEETS)
        found = measured(url)
        yield Result(
            "cluster.open_fleet",
            found.open_bytes / 1e6,
            "MB",
            "2 MB + 2 kB per agent",
            found.open_bytes / OPEN_BYTES,
            ("<=", 1.0),
        )
        yield Result(
            "cluster.idle_fleet", found.idle_bytes / 1e3, "kB", "64 kB", found.idle_bytes / IDLE_BYTES, ("<=", 1.0)
        )
        yield Result(
            "cluster.opening",
            found.opening_seconds * 1e3,
            "ms",
            "50 ms",
            found.opening_seconds / OPENING_SECONDS,
            ("<=", 1.0),
        )
        yield Result(
            "cluster.opening_cpu",
            found.opening_cpu_seconds * 1e3,
            "ms",
            "50 ms",
            found.opening_cpu_seconds / OPENING_SECONDS,
        )
        yield Result("cluster.process", found.process_bytes / 1e6, "MB", "100 MB", found.process_bytes / 1e8)
        direct, routed = routing(url)
        yield Result(
            "cluster.routing",
            routed * 1e6,
            "us/request",
            f"direct, {direct * 1e6:.0f} us",
            routed / direct,
            ("<=", 2.0),
        )


if __name__ == "__main__":
    for one in results():
        print(
            one.name,
            f"{one.value:.3g}",
            one.unit,
            f"ratio {one.ratio:.2f} against",
            one.against,
            one.shown_goal,
            flush=True,
        )
