"""The actors of a cluster: shards, fronts and the starter that sees to it that they are there. Ray places them.

What they are made with travels as bytes and plain values, and is used again where Ray starts them anew.
"""

import asyncio
import os
import resource
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import ray
import structlog
import uvicorn
from ray.actor import ActorHandle
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tallystick.cluster.fleets import Database
from tallystick.cluster.front import Front
from tallystick.cluster.link import Link, ShardGone
from tallystick.cluster.places import NAMESPACE, front_name, shard_name
from tallystick.cluster.shard import Shard
from tallystick.http.guard import LOOPBACK
from tallystick.http.server import as_many, listen, log_requests, settings_of

LOOK_SECONDS: Final = 2.0
_AGAIN_SECONDS: Final = 1.0
Answer = TypeVar("Answer")
log = structlog.get_logger("tallystick.cluster")


class Settings(msgspec.Struct, frozen=True):
    """What a cluster is made with. ``head`` is the process that runs Ray where we have started it, and its host."""

    store: str
    shards: int
    host: str
    port: int
    names: tuple[str, ...] = ()
    idle_seconds: float = 300.0
    head: tuple[int, str] | None = None

    @property
    def keys_needed(self) -> bool:
        """Whether fronts can be reached from other machines."""
        return self.host not in LOOPBACK


class Place(msgspec.Struct, frozen=True):
    """Where an actor is."""

    name: str
    node: str
    pid: int
    memory_bytes: int
    address: str | None = None
    """Of a front: its URL, or None while it cannot listen."""
    problem: str | None = None
    fleets: list[str] = []
    """Of a shard: the fleets that are open."""


_settings = msgspec.json.Decoder(Settings).decode
_place = msgspec.json.Decoder(Place).decode
encode = msgspec.json.encode


def options(name: str, **more: Any) -> dict[str, Any]:
    """How Ray is to run an actor of ours: under a name, as long as the cluster, and again where it fails."""
    return {
        "name": name,
        "namespace": NAMESPACE,
        "lifetime": "detached",
        "max_restarts": -1,
        "num_cpus": 0,
        "get_if_exists": True,
        **more,
    }


class ShardActor:
    """A shard as an actor; its methods are those of `Shard`."""

    def __init__(self, settings: bytes, number: int) -> None:
        log_requests()
        made = _settings(settings)
        self._name = shard_name(number)
        self._shard = Shard(
            number,
            made.shards,
            Database(made.store),
            keys_needed=made.keys_needed,
            idle_seconds=made.idle_seconds,
        )

    async def begin(self, session: str) -> None:
        self._shard.begin(session)

    async def take(self, session: str, data: bytes) -> bool:
        return self._shard.take(session, data)

    async def give(self, session: str) -> bytes | None:
        return await self._shard.give(session)

    async def place(self) -> bytes:
        return encode(_place_of(self._name, fleets=self._shard.open_fleets()))

    async def resize(self, shards: int) -> None:
        self._shard.resize(shards)

    async def close(self) -> None:
        await self._shard.close()


class FrontActor:
    """The front of one node: serves HTTP in the actor's event loop."""

    def __init__(self, settings: bytes, node: str) -> None:
        log_requests()
        self._settings, self._name = _settings(settings), front_name(node)
        self._links: dict[int, Link] = {}
        self._address: str | None = None
        self._problem: str | None = None
        made = self._settings
        names = LOOPBACK | {made.host, _own_address(), *map(str.lower, made.names)}
        self._front = Front(made.shards, self._link, frozenset(names))
        self._server: uvicorn.Server | None = None
        self._serving = asyncio.get_running_loop().create_task(self._serve())

    async def place(self) -> bytes:
        return encode(_place_of(self._name, address=self._address, problem=self._problem))

    async def resize(self, shards: int) -> None:
        self._front.shards = shards

    async def close(self) -> None:
        """Take no more, and finish what was taken."""
        self._front.is_stopping = True
        if self._server is not None:
            self._server.should_exit = True
        else:
            self._serving.cancel()
        await asyncio.wait([self._serving])

    def _link(self, number: int) -> Link:
        if number not in self._links:
            self._links[number] = Link(RemoteShard(number), shard_name(number))
        return self._links[number]

    async def _serve(self) -> None:
        made, listening = self._settings, None
        while listening is None:
            try:
                listening = listen(made.host, made.port)
            except OSError as error:
                self._problem = f"cannot listen on port {made.port} of {made.host}: {error.strerror or error}"
                await asyncio.sleep(_AGAIN_SECONDS)
        self._problem = None
        host = _own_address() if made.keys_needed else made.host
        self._address = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
        self._server = uvicorn.Server(settings_of(self._front.app))
        await self._server.serve(as_many(listening))
        self._address = None


class RemoteShard:
    """A shard's actor, from a front."""

    def __init__(self, number: int) -> None:
        self._name = shard_name(number)
        self._handle: ActorHandle[Any] | None = None

    async def begin(self, session: str, *, waits: bool) -> None:
        self._handle = await self._in_ray(asyncio.to_thread(ray.get_actor, self._name, NAMESPACE))
        # That a shard is away, Ray says after two seconds. Where it may ask again, it asks once the shard is there.
        await self._in_ray(self._handle.begin.options(max_task_retries=-1 if waits else 0).remote(session))

    async def take(self, session: str, data: bytes) -> bool:
        assert self._handle is not None, "a session begins first"
        return await self._in_ray(self._handle.take.remote(session, data))

    async def give(self, session: str) -> bytes | None:
        assert self._handle is not None, "a session begins first"
        return await self._in_ray(self._handle.give.remote(session))

    async def restart(self) -> None:
        handle: ActorHandle[Any] = await self._in_ray(asyncio.to_thread(ray.get_actor, self._name, NAMESPACE))
        await self._in_ray(asyncio.to_thread(ray.kill, handle, no_restart=False))

    async def _in_ray(self, call: Awaitable[Answer]) -> Answer:
        try:
            return await call
        except (RayError, ValueError) as error:
            raise ShardGone(next(iter(str(error).splitlines()), type(error).__name__)) from error


class Starter:
    """Makes the shards, and a front on every node that is there or comes."""

    def __init__(self, settings: bytes) -> None:
        log_requests()
        self._settings, self._given = _settings(settings), settings
        self._looking = asyncio.get_running_loop().create_task(self._look_again_and_again())

    async def settings(self) -> bytes:
        return self._given

    async def look(self) -> list[str]:
        """Make what is missing; the names of all shards and fronts."""
        return await asyncio.to_thread(self._look)

    async def close(self) -> None:
        """Make nothing more."""
        self._looking.cancel()

    def _look(self) -> list[str]:
        names = []
        for number in range(self._settings.shards):
            names.append(shard_name(number))
            shard = ray.remote(ShardActor).options(**options(names[-1], scheduling_strategy="SPREAD"))
            shard.remote(self._given, number)
        for node in _nodes():
            name = front_name(node["NodeID"])
            if node["Alive"]:
                names.append(name)
                here = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                front = ray.remote(FrontActor).options(**options(name, scheduling_strategy=here))
                front.remote(self._given, node["NodeID"])
        return names

    async def _look_again_and_again(self) -> None:
        while True:
            try:
                await self.look()
            except RayError as error:
                log.warning("starter_failed", error=str(error))
            await asyncio.sleep(LOOK_SECONDS)


def _nodes() -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return nodes


def _own_address() -> str:
    address: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    return address


def _place_of(name: str, **more: Any) -> Place:
    return Place(name, ray.get_runtime_context().get_node_id(), os.getpid(), memory_of_this_process(), **more)


def memory_of_this_process() -> int:
    """Bytes of memory that this process has in use; where the system does not say, the most that it had."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
