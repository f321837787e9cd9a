"""A served fleet under a clock of its own, its keys, and what it has recorded."""

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.types import ASGIApp

from tallystick.actors.runtime.clock import ManualClock
from tallystick.events.catalog import Event
from tallystick.fleet import Fleet
from tallystick.http.app import application
from tallystick.http.guard import LOOPBACK
from tests.support.asgi import Answered, call
from tests.support.core import START

GLOBAL = {"type": "GetGlobalStatus", "limit": 0}
OPERATOR_KEY = "the operator's own"


def secret(name: str) -> str:
    return f"tsk_{name}"


def bearer(name: str) -> str:
    return f"Bearer {secret(name)}"


class World:
    """A fleet under a clock of its own, what it has recorded, and its API."""

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        self.clock, self.events = ManualClock(START), list[Event]()
        total = {"total_budget": {"tokens": 1_000_000, "cost_usd": 40}}
        self.fleet = Fleet.open(
            "memory:", {**total, **(config or {})}, clock=self.clock, followers=[self.events.extend]
        )

    def key(self, name: str, role: str, **more: Any) -> None:
        digest = hashlib.sha256(secret(name).encode()).hexdigest()
        self.ask({"type": "CreateKey", "key": name, "role": role, "sha256": digest, **more})

    def ask(self, message: dict[str, Any]) -> Any:
        answer = self.fleet.ask(message)
        assert "ok" in answer, answer
        return answer["ok"]

    def run(self, test: Callable[[ASGIApp], Awaitable[None]]) -> None:
        async def running() -> None:
            app, _ = application(self.fleet, LOOPBACK)
            await test(app)

        try:
            asyncio.run(running())
        finally:
            self.fleet.close()

    def recorded(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


async def ask(app: ASGIApp, message: Any = GLOBAL, **headers: str) -> Answered:
    return await call(app, "POST", "/v1/messages", message, **headers)


async def count_of(app: ASGIApp, code: str, key: str) -> int:
    text = (await call(app, "GET", "/metrics", authorization=bearer(key))).body.decode()
    found = re.search(rf'^tallystick_http_access_refusals_total{{code="{code}"}} (\d+)$', text, re.MULTILINE)
    return int(found[1]) if found else 0
