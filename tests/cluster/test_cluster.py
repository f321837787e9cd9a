"""Many fleets on three nodes: a process and a machine fail, and nothing that was acknowledged is lost or counted twice."""

import asyncio
import csv
import gzip
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from tallystick.actors.runtime.control_place import places_of
from tallystick.cluster.places import shard_of
from tests.support.ray_cluster import AGENT, ANSWERS_AGAIN_SECONDS, SHARDS, Load, Nodes, three_nodes

TRACE = Path(__file__).resolve().parents[2].parent / "shared/data/requests-azure2023.csv.gz"
ROWS = 2_000
FLEETS = int(os.environ.get("TALLYSTICK_CLUSTER_FLEETS", "9"))
CONNECTIONS_OF_ONE = 5
ZOMBIE_SECONDS = 30.0


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with three_nodes(100 + CONNECTIONS_OF_ONE * FLEETS) as nodes:
        yield nodes


def tokens_per_request() -> list[int]:
    """Of real requests where the trace is there, else of none."""
    if not TRACE.exists():
        return [700, 40, 1_300]
    with gzip.open(TRACE, "rt", newline="") as file:
        return [int(row["input_tokens"]) % 100 + 1 for row in islice(csv.DictReader(file), ROWS)]


def test_every_fleet_answers_again_after_a_killed_worker_a_lost_machine_and_a_zombie(nodes: Nodes) -> None:
    names = nodes.create_fleets(FLEETS)
    load = Load(nodes.head_front(), names, tokens_per_request())
    asyncio.run(failures(nodes, load))
    for name in names:
        assert nodes.verified_usage(name) == load.used[name]


async def failures(nodes: Nodes, load: Load) -> None:
    """The same senders go on all the time."""
    sending = asyncio.create_task(load.run(FLEETS / 50))
    try:
        await settled(load, sending, time.monotonic())

        worker = nodes.shard_away_from_head()
        os.kill(worker.pid, signal.SIGKILL)
        assert await settled(load, sending, time.monotonic()) < ANSWERS_AGAIN_SECONDS

        await refused_zombie(nodes, load, sending)

        lost = await asyncio.to_thread(nodes.shard_away_from_head)
        await asyncio.to_thread(nodes.remove, lost.node)
        assert await settled(load, sending, time.monotonic()) < ANSWERS_AGAIN_SECONDS
    finally:
        load.end()
        await sending


async def settled(load: Load, sending: asyncio.Task[None], since: float) -> float:
    again = asyncio.create_task(load.all_answer_again(since))
    await asyncio.wait((again, sending), return_when=asyncio.FIRST_COMPLETED)
    if sending.done():
        sending.result()
    taken = await again
    print(f"all {len(load.used)} fleets have answered again after {taken:.1f} s")
    return taken


async def refused_zombie(nodes: Nodes, load: Load, sending: asyncio.Task[None]) -> None:
    """A machine stands still, another takes its fleets, and it goes on with what it was just asked: nothing is written."""
    zombie = await asyncio.to_thread(nodes.shard_away_from_head)
    name = next(name for name in load.used if shard_of(name, SHARDS) == int(zombie.name.partition("-")[2]))
    path = next(iter(places_of(nodes.url_of(name))))
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(str(path))
        asking.settimeout(ZOMBIE_SECONDS)
        nodes.stop(zombie.node, zombie.pid)
        message = {"type": "ReportUsage", "agent": AGENT, "usage": {"tokens": 1}, "id": "of-the-zombie"}
        asking.sendall(json.dumps({"message": message}).encode() + b"\n")
        await settled(load, sending, time.monotonic())
        os.kill(zombie.pid, signal.SIGCONT)
        answer = await asyncio.to_thread(asking.makefile("rb").readline)
    reply = json.loads(answer)["reply"]
    assert reply["error"]["code"] == "halted", reply
    assert "taken over by" in reply["error"]["detail"]
