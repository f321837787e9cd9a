"""Many fleets on three nodes: a process and a machine fail; nothing acknowledged is lost or counted twice."""

import asyncio
import contextlib
import csv
import gzip
import json
import logging
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest

from tallystick.actors.runtime.control_place import places_of
from tallystick.cluster.places import shard_of
from tallystick.events.log.store import Fenced
from tests.support.ray_cluster import AGENT, ANSWERS_AGAIN_SECONDS, SHARDS, Load, Nodes, three_nodes

TRACE = Path(__file__).resolve().parents[2].parent / "shared/data/requests-azure2023.csv.gz"
ROWS = 2_000
FLEETS = int(os.environ.get("TALLYSTICK_CLUSTER_FLEETS", "6"))
CONNECTIONS_OF_ONE = 1
ZOMBIE_SECONDS = 30.0
ON_THE_WAY_SECONDS = 0.5
"""What is answered later than this was not on its way when a machine stopped."""
REPORT = {"type": "ReportUsage", "agent": AGENT, "usage": {"tokens": 1}, "id": "zombie"}
FROM_ZOMBIE = json.dumps({"message": REPORT}).encode() + b"\n"


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    with three_nodes(100 + CONNECTIONS_OF_ONE * FLEETS) as nodes:
        yield nodes


def tokens_per_request() -> list[int]:
    """Of real requests where the trace is there, else of none."""
    if not TRACE.exists():
        return [700, 40, 1_300]
    with gzip.open(TRACE, "rt", newline="") as file:
        return [int(row["input_tokens"]) % 100 + 1 for row in islice(csv.DictReader(file), ROWS)]


@pytest.fixture
def names(nodes: Nodes) -> list[str]:
    return nodes.create_fleets(FLEETS)


Failing = Callable[[Nodes, Load, asyncio.Task[None]], Awaitable[None]]


def under_load(nodes: Nodes, names: list[str], word: str, failing: Failing) -> None:
    """The same senders go on all the time, and in the end each log has what was acknowledged, and nothing else."""
    before = {name: nodes.verified_usage(name) for name in names}
    load = Load(nodes.head_front(), names, tokens_per_request(), word)
    asyncio.run(sent_while(nodes, load, failing))
    for name in names:
        assert nodes.verified_usage(name) - before[name] == load.used[name]


async def sent_while(nodes: Nodes, load: Load, failing: Failing) -> None:
    sending = asyncio.create_task(load.run(FLEETS / 50))
    try:
        await settled(load, sending, time.monotonic())
        await failing(nodes, load, sending)
    finally:
        load.end()
        await sending


def test_after_a_killed_worker_every_fleet_answers_again_and_nothing_is_lost(nodes: Nodes, names: list[str]) -> None:
    under_load(nodes, names, "worker", killed_worker)


@pytest.mark.cluster
def test_after_a_lost_machine_every_fleet_answers_again_and_nothing_is_lost(nodes: Nodes, names: list[str]) -> None:
    under_load(nodes, names, "machine", lost_machine)


@pytest.mark.cluster
def test_a_zombie_writes_nothing(nodes: Nodes, names: list[str]) -> None:
    under_load(nodes, names, "zombie", refused_zombie)


async def killed_worker(nodes: Nodes, load: Load, sending: asyncio.Task[None]) -> None:
    os.kill((await asyncio.to_thread(nodes.shard_away_from_head)).pid, signal.SIGKILL)
    assert await settled(load, sending, time.monotonic()) < ANSWERS_AGAIN_SECONDS


async def lost_machine(nodes: Nodes, load: Load, sending: asyncio.Task[None]) -> None:
    lost = await asyncio.to_thread(nodes.shard_away_from_head)
    began = time.monotonic()
    await asyncio.to_thread(nodes.remove, lost.node)
    removed = time.monotonic()
    assert removed - began + await settled(load, sending, removed) < ANSWERS_AGAIN_SECONDS


async def settled(load: Load, sending: asyncio.Task[None], since: float) -> float:
    again = asyncio.create_task(load.all_answer_again(since))
    await asyncio.wait((again, sending), return_when=asyncio.FIRST_COMPLETED)
    if sending.done():
        sending.result()
    taken = await again
    logging.getLogger("tests").info("all %d fleets have answered again after %.1f s", len(load.used), taken)
    return taken


async def refused_zombie(nodes: Nodes, load: Load, sending: asyncio.Task[None]) -> None:
    """A machine stands still, another takes its fleets, and it goes on with what it was just asked: nothing is written.

    It refuses by itself, because its lease has ended; and what it would append, with its epoch, is not taken either.
    """
    zombie = await asyncio.to_thread(nodes.shard_away_from_head)
    name = next(name for name in load.used if shard_of(name, SHARDS) == int(zombie.name.partition("-")[2]))
    processes = await asyncio.to_thread(nodes.processes_of, zombie.node)
    path, epoch = next(iter(places_of(nodes.url_of(name)))), await asyncio.to_thread(nodes.epoch_of, name)
    with socket.socket(socket.AF_UNIX) as asking, asking.makefile("rb") as answers:
        asking.connect(str(path))
        asking.settimeout(ZOMBIE_SECONDS)
        nodes.stop(processes)
        asking.sendall(FROM_ZOMBIE)
        await settled(load, sending, time.monotonic() + ON_THE_WAY_SECONDS)
        assert nodes.epoch_of(name) > epoch
        os.kill(zombie.pid, signal.SIGCONT)
        refused = []
        # Until it closes the fleet, because it has seen who took over.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while line := await asyncio.to_thread(answers.readline):
                refused.append(json.loads(line)["reply"]["error"]["code"])
                asking.sendall(FROM_ZOMBIE)
    assert set(refused) <= {"halted", "store_away"}
    assert refused
    with pytest.raises(Fenced, match="taken over by"):
        nodes.append_with(name, epoch)
    load.end()
    await sending
    nodes.append_with(name, nodes.epoch_of(name))  # with the epoch that counts, the same is taken
