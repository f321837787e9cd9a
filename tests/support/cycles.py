"""The Cycles protocol as its clients speak it: to a fleet under a clock of its own, without a socket."""

import datetime as dt
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import httpx2
from starlette.types import ASGIApp

from tests.support.access import World, secret
from tests.support.core import START

USD, TOKENS = "USD_MICROCENTS", "TOKENS"
CENT = 1_000_000
"""USD_MICROCENTS of a cent."""
ACME = {"tenant": "acme"}
ACTION = {"kind": "llm.completion", "name": "gpt-4o"}


class Said(NamedTuple):
    """What was answered."""

    status: int
    body: dict[str, Any]
    headers: Mapping[str, str]

    def error(self) -> tuple[int, str]:
        """The status and the code of a refusal, which is in the protocol's shape."""
        assert set(self.body) <= {"error", "message", "request_id", "details"}, self.body
        assert self.body["message"]
        assert self.body["request_id"] == self.headers["x-request-id"]
        assert len(self.headers["x-cycles-trace-id"]) == 32
        return self.status, self.body["error"]

    def ok(self) -> dict[str, Any]:
        """The body of a success."""
        assert self.status in (200, 201), self.body
        assert None not in self.body.values()
        return self.body


class Api:
    """Calls the operations, each under a new key where none is named."""

    def __init__(self, app: ASGIApp, world: World, key: str | None = None) -> None:
        headers = {} if key is None else {"X-Cycles-API-Key": secret(key)}
        transport = httpx2.ASGITransport(app=app)
        self._http = httpx2.AsyncClient(transport=transport, base_url="http://localhost/cycles", headers=headers)
        self.world, self._app, self._keys = world, app, 0

    def of(self, key: str) -> "Api":
        """The same, with another key to the server."""
        return Api(self._app, self.world, key)

    def passes(self, seconds: float) -> None:
        """Time passes, and the fleet does what is due."""
        self.world.clock.move_to(self.world.clock.now() + dt.timedelta(seconds=seconds))
        self.world.ask({"type": "ReportUsage", "agent": "somebody", "usage": {"tokens": 0}})

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> Said:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        content = body if isinstance(body, bytes) else None
        if content is not None:
            named.setdefault("content-type", "application/json")
        sent = {} if body is None else {"content": content} if content is not None else {"json": body}
        answer = await self._http.request(method, path, headers=named, **sent)
        return Said(answer.status_code, answer.json(), answer.headers)

    async def _post(self, path: str, body: dict[str, Any]) -> Said:
        self._keys += 1
        return await self.call("POST", path, {"idempotency_key": f"key-{id(self)}-{self._keys}", **body})

    async def reserve(self, amount: int = CENT, unit: str = USD, subject: Any = None, **more: Any) -> Said:
        body = {"subject": subject or ACME, "action": ACTION, "estimate": {"unit": unit, "amount": amount}, **more}
        return await self._post("/v1/reservations", body)

    async def decide(self, amount: int = CENT, unit: str = USD, subject: Any = None, **more: Any) -> Said:
        body = {"subject": subject or ACME, "action": ACTION, "estimate": {"unit": unit, "amount": amount}, **more}
        return await self._post("/v1/decide", body)

    async def event(self, amount: int = CENT, unit: str = USD, subject: Any = None, **more: Any) -> Said:
        body = {"subject": subject or ACME, "action": ACTION, "actual": {"unit": unit, "amount": amount}, **more}
        return await self._post("/v1/events", body)

    async def commit(self, id: str, amount: int = CENT, unit: str = USD, **more: Any) -> Said:
        body = {"actual": {"unit": unit, "amount": amount}, **more}
        return await self._post(f"/v1/reservations/{id}/commit", body)

    async def release(self, id: str, **more: Any) -> Said:
        return await self._post(f"/v1/reservations/{id}/release", more)

    async def extend(self, id: str, extend_by_ms: int = 10_000, **more: Any) -> Said:
        return await self._post(f"/v1/reservations/{id}/extend", {"extend_by_ms": extend_by_ms, **more})

    async def get(self, id: str) -> Said:
        return await self.call("GET", f"/v1/reservations/{id}")

    async def list(self, query: str = "tenant=acme") -> Said:
        return await self.call("GET", f"/v1/reservations?{query}")

    async def balances(self, query: str = "tenant=acme") -> dict[tuple[str, str], dict[str, Any]]:
        """Balances by scope path and unit; each adds up."""
        found = (await self.call("GET", f"/v1/balances?{query}")).ok()["balances"]
        for one in found:
            parts = [one[name]["amount"] for name in ("allocated", "spent", "reserved", "debt")]
            assert one["remaining"]["amount"] == parts[0] - sum(parts[1:]), one
            assert len({value["unit"] for value in one.values() if isinstance(value, dict)}) == 1
        return {(one["scope_path"], one["remaining"]["unit"]): one for one in found}

    async def left(self, scope: str = "tenant:acme", unit: str = USD) -> int:
        """What a scope has left."""
        remaining: int = (await self.balances())[scope, unit]["remaining"]["amount"]
        return remaining


def limits(**most: Any) -> dict[str, Any]:
    """A limit without end of an account that carves nothing out."""
    return {"limits": [{"window": "total", "max": most}]}


def fleet(*accounts: Mapping[str, Any], config: dict[str, Any] | None = None) -> World:
    """A fleet with these accounts; one with a tenant of one dollar where there are none."""
    world = World(config)
    for account in accounts or ({"agent": "tenant:acme", **limits(cost_usd=1)},):
        world.ask({"type": "AllocateBudget", **account})
    return world


def play(test: Callable[[Api], Awaitable[None]], world: World | None = None, key: str | None = None) -> None:
    """Play a test against the API of a fleet."""
    there = world or fleet()

    async def with_app(app: ASGIApp) -> None:
        await test(Api(app, there, key))

    there.run(with_app)


def ms(seconds: float) -> int:
    """So many seconds after the start, in milliseconds since 1970."""
    return round((START.timestamp() + seconds) * 1_000)
