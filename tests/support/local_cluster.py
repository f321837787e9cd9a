"""Shards and a front in one event loop, without Ray: what they say to each other are the same frames."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from click.testing import CliRunner
from starlette.types import Message

from tallystick.cli.main import main
from tallystick.cluster.fleets import Database
from tallystick.cluster.front import Front
from tallystick.cluster.link import Link, ShardGone
from tallystick.cluster.shard import IDLE_SECONDS, Shard

OPEN = {"type": "AllocateBudget", "agent": "a-1", "budget": {"tokens": 1_000}, "id": "open"}


class Calls:
    """A shard that can be cut off: before it takes what it is sent, or after."""

    def __init__(self, shard: Shard) -> None:
        self.shard = shard
        self.cut_before = self.cut_after = 0
        self.waited: list[bool] = []
        """Of each session, whether the shard was waited for."""

    async def begin(self, session: str, *, waits: bool) -> None:
        self.waited.append(waits)
        self.shard.begin(session)

    async def take(self, session: str, data: bytes) -> bool:
        if self.cut_before:
            self.cut_before -= 1
            raise ShardGone("cut off before")
        taken = self.shard.take(session, data)
        if self.cut_after:
            self.cut_after -= 1
            raise ShardGone("cut off after")
        return taken

    async def give(self, session: str) -> bytes | None:
        return await self.shard.give(session)

    async def restart(self) -> None:
        raise ShardGone("it is not restarted here")


class Answer:
    """What a client got. A stream is left after so many bytes."""

    def __init__(self) -> None:
        self.status, self.headers, self.body = 0, dict[str, str](), b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class LocalCluster:
    """``count`` shards on a database, and a front. Made in the event loop that runs it."""

    def __init__(
        self, url: str, count: int = 2, *, keys_needed: bool = False, idle_seconds: float = IDLE_SECONDS, **more: Any
    ) -> None:
        self._database, self._more = Database(url), {"keys_needed": keys_needed, "idle_seconds": idle_seconds, **more}
        self.calls: list[Calls] = []
        self._links: dict[int, Link] = {}
        for _ in range(count):
            self.add(count)
        self.front = Front(count, self._link, frozenset({"localhost"}))

    def add(self, count: int) -> None:
        """One shard more; there are ``count`` from now on."""
        shard = Shard(len(self.calls), count, self._database, **self._more)
        self.calls.append(Calls(shard))
        for calls in self.calls:
            calls.shard.resize(count)

    def _link(self, number: int) -> Link:
        return self._links.setdefault(number, Link(self.calls[number], f"shard-{number}"))

    async def close(self) -> None:
        for link in self._links.values():
            await link.close()
        for calls in self.calls:
            await calls.shard.close()

    async def ask(
        self,
        method: str,
        path: str,
        message: Any = None,
        key: str | None = None,
        until: Callable[[bytes], bool] | None = None,
    ) -> Answer:
        """One request; with ``until``, its client leaves when what it has got is enough."""
        answer, left = Answer(), asyncio.Event()
        body = b"" if message is None else json.dumps(message).encode()
        headers = [
            (b"host", b"localhost:8321"),
            (b"content-type", b"application/json"),
            (b"accept", b"application/json, text/event-stream"),
        ]
        if key is not None:
            headers.append((b"authorization", f"Bearer {key}".encode()))
        parts: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            if parts:
                return parts.pop()
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(part: Message) -> None:
            if part["type"] == "http.response.start":
                answer.status = part["status"]
                answer.headers = {name.decode(): value.decode() for name, value in part["headers"]}
            answer.body += part.get("body", b"")
            if until is not None and until(answer.body):
                left.set()

        path, _, query = path.partition("?")
        scope = {"type": "http", "method": method, "scheme": "http", "path": path, "query_string": query.encode()}
        await self.front.app({**scope, "headers": headers, "client": ("127.0.0.1", 5), "server": None}, receive, send)
        return answer


def create(url: str, name: str, *options: str) -> str:
    """Create a fleet; its key, where it has one."""
    done = CliRunner().invoke(main, ["fleet", "create", name, "--store", url, *options])
    assert done.exit_code == 0, done.output
    return done.output.splitlines()[-1]


Story = Callable[[LocalCluster], Awaitable[None]]


def play(url: str, story: Story, **settings: Any) -> None:
    """Run a story in a cluster that ends with it."""

    async def played() -> None:
        cluster = LocalCluster(url, **settings)
        try:
            await story(cluster)
        finally:
            await cluster.close()

    asyncio.run(played())


def beneath(name: str) -> str:
    """Where the endpoints of a fleet are."""
    return f"/v1/fleets/{name}/v1"
