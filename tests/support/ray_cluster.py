"""Several Ray nodes on this machine, with a PostgreSQL of their own, and shards and fronts on them."""

import asyncio
import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tallystick.client import Client
from tallystick.config.amounts import TOKENS
from tallystick.config.loader import from_mapping
from tallystick.events.log.codec import GENESIS
from tallystick.events.log.postgres_appending import Batch, write
from tallystick.events.log.postgres_lease import Lease
from tallystick.events.log.postgres_place import place_of
from tallystick.events.log.replaying import Replay
from tallystick.events.log.store import open_store
from tallystick.events.log.store_segments import Row
from tallystick.events.state.conservation import check_conserved
from tallystick.events.state.ledger import Ledger
from tallystick.fleet import Fleet
from tests.support.postgres import PostgresServer, programs, running
from tests.support.running import QUIET

SHARDS = 3
ANSWERS_AGAIN_SECONDS = 10.0
AGENT = "a-1"
_OBJECT_STORE = 80_000_000


def needed() -> None:
    """Skip, in plain words, where a cluster cannot be had; under CI it must be there."""
    missing = []
    if find_spec("ray") is None:
        missing.append("Ray is not installed: pip install 'tallystick[ray]'")
    if programs() is None:
        missing.append("PostgreSQL is not installed (Debian: postgresql)")
    if missing:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("; ".join(missing))


class Nodes:
    """A head and two more nodes, each with processes of its own, and shards and fronts on them."""

    def __init__(self, server: PostgresServer) -> None:
        from ray.cluster_utils import Cluster

        from tallystick.cluster import running as clusters
        from tallystick.cluster.actors import Settings

        self._clusters, self.server = clusters, server
        self.store = server.url().partition("&fleet")[0]
        node = {"num_cpus": 1, "object_store_memory": _OBJECT_STORE, "include_dashboard": False}
        self.ray = Cluster(initialize_head=True, head_node_args=node)
        self.nodes = [self.ray.add_node(**node) for _ in range(SHARDS - 1)]
        self._stack = contextlib.ExitStack()
        self._stack.enter_context(clusters.connected(self.ray.address))
        self._stopped: list[int] = []
        clusters.up(Settings(self.store, SHARDS, "127.0.0.1", 0))

    def close(self) -> None:
        for pid in self._stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._stack.close()
        self.ray.shutdown()

    def places(self) -> dict[str, Any]:
        return {place.name: place for place in self._clusters.places()}

    def head_front(self) -> str:
        """The URL of the front on the head, which no test ends."""
        node = self.ray.head_node.node_id
        return str(self.places()[f"front-{node}"].address)

    def shard_away_from_head(self) -> Any:
        """A shard on a node that a test may end."""
        others = {node.node_id for node in self.nodes}
        found = [place for name, place in self.places().items() if name.startswith("shard-")]
        away = [place for place in found if place.node in others]
        assert away, f"all shards are on the head, or do not answer: {found}"
        return away[0]

    def remove(self, node_id: str) -> None:
        """End a node with all its processes, as a machine that loses its power."""
        node = next(node for node in self.nodes if node.node_id == node_id)
        self.nodes.remove(node)
        self.ray.remove_node(node, allow_graceful=False)

    def processes_of(self, node_id: str) -> list[int]:
        """What runs on a node: Ray's process, and those of the shards and the front that are there."""
        node = next(node for node in self.nodes if node.node_id == node_id)
        ours = [place.pid for place in self.places().values() if place.node == node_id]
        return [node.all_processes["raylet"][0].process.pid, *ours]

    def stop(self, processes: list[int]) -> None:
        """Let a node stand still: what it is connected to notices that it does not answer."""
        self._stopped += processes
        for pid in processes:
            os.kill(pid, signal.SIGSTOP)

    def create_fleets(self, count: int) -> list[str]:
        """Fleets with one agent that has enough."""
        names = [f"fleet-{number}" for number in range(count)]
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(self._create, names))
        return names

    def url_of(self, name: str) -> str:
        return f"{self.store}&fleet={name}"

    def _create(self, name: str) -> None:
        with Fleet.open(open_store(self.url_of(name), writer=True), from_mapping(QUIET)) as fleet:
            assert "ok" in fleet.ask({"type": "AllocateBudget", "agent": AGENT, "budget": {"tokens": 900_000}})

    def epoch_of(self, name: str) -> int:
        """How often the writer's place of a fleet was taken."""
        with psycopg.connect(self.store) as connection:
            query = "SELECT epoch FROM tallystick_writers WHERE fleet = %s"
            return int(connection.execute(query, (name,)).fetchone()[0])  # type: ignore[index]

    def append_with(self, name: str, epoch: int) -> None:
        """Append behind the newest record by the store's own statement, as a writer with this epoch; it is taken back.

        Raises:
            Fenced: it is not taken.
        """
        place = place_of(self.url_of(name))
        lease = Lease(place, epoch, 0.0, 0.0)
        with contextlib.closing(open_store(self.url_of(name))) as store, psycopg.connect(self.store) as connection:
            last = store.last()
            assert last is not None
            batch = Batch(last.position, [Row(last.position + 1, last.name, last.data)])
            with connection.transaction(force_rollback=True):
                write(connection, lease, place.named, batch, ())

    def verified_usage(self, name: str) -> int:
        """The tokens that a fleet's log says were used, once each record is proved and the state adds up."""
        store = open_store(self.url_of(name))
        try:
            replay = Replay(Ledger(), GENESIS)
            for record in store.read():
                replay.apply(replay.prove(record))
        finally:
            store.close()
        check_conserved(replay.ledger)
        return int(replay.ledger.accounts[AGENT].consumed(TOKENS))


@contextlib.contextmanager
def three_nodes(connections: int = 200) -> Iterator[Nodes]:
    """Three nodes for a block. Workers find the package where the tests do."""
    needed()
    root = str(Path(__file__).resolve().parents[2])
    from tallystick.cluster.running import HEALTH

    with running() as server, tempfile.TemporaryDirectory(prefix="r") as folder, pytest.MonkeyPatch.context() as patch:
        with psycopg.connect(server.url().partition("&fleet")[0], autocommit=True) as connection:
            connection.execute(f"ALTER SYSTEM SET max_connections = {connections}")  # type: ignore[arg-type]
        server.stop()
        server.start()
        for name, value in {**HEALTH, "PYTHONPATH": root, "RAY_TMPDIR": folder, "RAY_USAGE_STATS_ENABLED": "0"}.items():
            patch.setenv(name, value)
        nodes = Nodes(server)
        try:
            yield nodes
        finally:
            nodes.close()


class Load:
    """One sender per fleet that reports tokens again and again, and what it was answered."""

    def __init__(self, front: str, names: list[str], tokens: list[int], word: str) -> None:
        self._clients = {name: Client(f"{front}/v1/fleets/{name}", retry_seconds=60.0) for name in names}
        self._tokens, self._word = tokens, word
        self.used = dict.fromkeys(names, 0)
        self.last_answer = dict.fromkeys(names, 0.0)
        self._ends, self._acknowledged = False, asyncio.Event()

    async def run(self, pause_seconds: float) -> None:
        await asyncio.gather(*(self._report(name, place, pause_seconds) for place, name in enumerate(self._clients)))

    def end(self) -> None:
        self._ends = True

    async def _report(self, name: str, place: int, pause_seconds: float) -> None:
        number = place
        while not self._ends:
            tokens = self._tokens[number % len(self._tokens)]
            message = {
                "type": "ReportUsage",
                "agent": AGENT,
                "usage": {"tokens": tokens},
                "id": f"{self._word}-{number}",
            }
            answer = await self._clients[name].ask_async(message, timeout=60.0)
            assert "ok" in answer, answer
            self.used[name] += tokens
            self.last_answer[name] = time.monotonic()
            self._acknowledged.set()
            number += 1
            await asyncio.sleep(pause_seconds)

    async def all_answer_again(self, since: float) -> float:
        """Wait until every fleet has acknowledged something that was sent after a moment; how long after it."""
        while min(self.last_answer.values()) <= since:
            self._acknowledged.clear()
            await self._acknowledged.wait()
        return max(self.last_answer.values()) - since
