"""Requests to `/mcp` as their bytes: what no client of the protocol sends is refused, and brings nothing down."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
import structlog.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import ASGIApp

from tallystick.actors.runtime import intake
from tallystick.events.catalog import RequestRefused
from tallystick.events.log.codec import BODY_MAX
from tallystick.events.messages import WIRE
from tallystick.http import requests_log
from tallystick.http.app import Service, application
from tallystick.http.guard import LOOPBACK
from tests.support.access import World, bearer
from tests.support.asgi import Answered, call
from tests.support.examples import examples
from tests.support.mcp_client import ACCEPT, MODERN, VERSIONS, request_of

INTERNAL_ERROR = -32603


class Served:
    """A fleet and its application, in an event loop that goes on from one request to the next."""

    def __init__(self) -> None:
        self.world = World()
        self._runner = asyncio.Runner()
        self.app, self._service = self._runner.run(self._made())

    async def _made(self) -> tuple[ASGIApp, Service]:
        return application(self.world.fleet, LOOPBACK)

    def post(self, body: bytes, headers: dict[str, str], path: str = "/mcp") -> Answered:
        return self._runner.run(call(self.app, "POST", path, body, **headers))

    def tool(self, name: str, arguments: Any, version: str = MODERN, **headers: str) -> Answered:
        body, more = request_of("tools/call", {"name": name, "arguments": arguments}, version)
        return self.post(body, {**more, **headers})

    def get(self, method: str = "GET") -> Answered:
        return self._runner.run(call(self.app, method, "/mcp"))

    def close(self) -> None:
        self._runner.run(self._service.close())
        self._runner.close()
        self.world.fleet.close()


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    made = Served()
    yield made
    made.close()


def test_a_call_needs_no_session_before_it(served: Served) -> None:
    for version in VERSIONS.values():
        answer = served.tool("GetGlobalStatus", {"limit": 0}, version)
        assert (answer.status, answer.json["result"]["isError"]) == (200, False)
        assert "mcp-session-id" not in answer.headers


def test_a_request_is_one_line_of_the_log(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = structlog.testing.LogCapture()
    monkeypatch.setattr(requests_log, "log", structlog.wrap_logger(None, [lines], structlog.stdlib.BoundLogger))
    for version in VERSIONS.values():
        served.tool("GetGlobalStatus", {"limit": 0}, version)
    assert [(line["path"], repr(line["status"])) for line in lines.entries] == [("/mcp", "200")] * len(VERSIONS)


@pytest.mark.parametrize("version", VERSIONS.values(), ids=VERSIONS)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"{}",
        b'"x"',
        b"\xff",
        b"[" * 100_000,
        b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": ' + b'{"a":' * 20_000 + b"1" + b"}" * 20_001,
        b'{"jsonrpc": "2.0", "id": 1}',
        b'{"jsonrpc": "1.0", "id": 1, "method": "ping"}',
        b'{"jsonrpc": "2.0", "id": {}, "method": "ping"}',
        b'{"jsonrpc": "2.0", "id": 1, "method": 7}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "nope/nope"}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call"}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": []}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": 7}}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "Stop", "arguments": [1]}}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": {"uri": 7}}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": {"uri": "\xed\xa0\x80"}}',
        b'[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]',
        b'{"jsonrpc": "2.0", "id": ' + b"9" * 5_000 + b', "method": "ping"}',
    ],
)
def test_what_is_no_request_is_refused_and_the_server_goes_on(served: Served, body: bytes, version: str) -> None:
    answer = served.post(body, {**ACCEPT, "mcp-protocol-version": version})
    assert answer.status < 500, answer.body[:500]
    # 202: it was taken for a notification, of which nothing is answered, and nothing came of it.
    assert answer.status in range(400, 500) or answer.status == 202 or "error" in answer.json
    if b'"error"' in answer.body:
        assert answer.json["error"]["code"] != INTERNAL_ERROR, answer.json
    assert served.tool("GetGlobalStatus", {"limit": 0}).status == 200


@pytest.mark.parametrize("version", VERSIONS.values(), ids=VERSIONS)
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (b'{"agent": "\\ud800"}', "not JSON"),
        (b'{"agent": "a", "usage": {"tokens": NaN}}', "not JSON"),
        (b'{"agent": "a", "usage": {"cost_usd": 1e999}}', "not JSON"),
        (b'{"agent": "a", "usage": {"tokens": ' + b"9" * 4_000 + b"}}", "tokens"),
        (b'{"agent": "a", "labels": ' + b'{"a":' * 150 + b"1" + b"}" * 151, "labels"),
    ],
)
def test_what_no_json_text_says_is_refused_by_its_name(
    served: Served, arguments: bytes, named: str, version: str
) -> None:
    body, headers = request_of("tools/call", {"name": "ReportUsage", "arguments": "HERE"}, version)
    answer = served.post(body.replace(b'"HERE"', arguments), headers)
    assert answer.status < 500
    if "result" in answer.json:
        assert answer.json["result"]["isError"]
        assert named in answer.json["result"]["structuredContent"]["detail"]
    else:
        assert answer.json["error"]["code"] != INTERNAL_ERROR, answer.json


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda some: st.lists(some, max_size=3) | st.dictionaries(st.text(max_size=8), some, max_size=3),
    max_leaves=8,
)
FIELDS = sorted({name for message in WIRE for name in message.__struct_fields__})


@given(
    tool=st.sampled_from([message.__name__ for message in WIRE if message.__name__ != "CreateKey"]),
    arguments=st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=5),
    version=st.sampled_from(list(VERSIONS.values())),
)
@settings(max_examples=examples(150))
def test_whatever_the_arguments_are_the_call_is_answered(
    served: Served, tool: str, arguments: dict[str, Any], version: str
) -> None:
    answer = served.tool(tool, arguments, version)
    assert answer.status == 200, answer.body
    result = answer.json["result"]
    assert result["isError"] == ("code" in result["structuredContent"])
    assert json.loads(result["content"][0]["text"]) == result["structuredContent"]


def test_the_bounds_and_names_of_every_other_path_hold(served: Served) -> None:
    body, headers = request_of("ping", {}, "2025-11-25")
    cases: list[tuple[bytes, dict[str, str], int]] = [
        (b" " * (BODY_MAX + 1), {}, 413),
        (body, {"content-type": "text/plain"}, 415),
        (body, {"content-encoding": "gzip"}, 415),
        (body, {"host": "evil.example"}, 421),
        (body, {"host": "localhost", "origin": "http://evil.example"}, 403),
        (body, {"host": "localhost", "origin": "null"}, 403),
        (body, {"host": "localhost:8321", "origin": "http://localhost:8321"}, 200),
    ]
    for sent, more, status in cases:
        answer = served.post(sent, {**headers, **more})
        assert answer.status == status, more
        assert not [name for name in answer.headers if name.startswith("access-control")]
    # There is no stream to open and no session to end.
    for method in ("GET", "DELETE"):
        assert (served.get(method).status, served.get(method).headers["allow"]) == (405, "POST")


def test_a_name_that_is_allowed_for_the_server_is_allowed_here() -> None:
    world = World()

    async def test() -> None:
        app, service = application(world.fleet, LOOPBACK | {"budgets.example"})
        body, headers = request_of("ping", {}, "2025-11-25")
        for host, status in (("budgets.example", 200), ("budgets.example:8321", 200), ("evil.example", 421)):
            answer = await call(app, "POST", "/mcp", body, **headers, host=host)
            assert answer.status == status
        await service.close()

    asyncio.run(test())
    world.fleet.close()


def test_a_fleet_that_is_busy_says_so_and_when_to_ask_again(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "INBOX_MAX", 0)
    answer = served.tool("GetGlobalStatus", {"limit": 0})
    said = answer.json["result"]["structuredContent"]
    assert (answer.status, said["code"], said["retry_after_seconds"]) == (200, "busy", 1)


def test_a_header_of_other_paths_names_no_call(served: Served) -> None:
    report = {"agent": "headed", "usage": {"tokens": 1}}
    served.tool("AllocateBudget", {"agent": "headed", "budget": {"tokens": 10}})
    for _ in range(2):
        served.tool("ReportUsage", report, idempotency_key='"k-1"')
    status = served.tool("GetStatus", {"agent": "headed"}).json["result"]["structuredContent"]
    assert status["consumed"]["tokens"] == 2


def test_a_revoked_key_ends_what_it_could_do_with_the_next_call() -> None:
    made = Served()
    world = made.world
    for name in ("ann", "bob"):
        world.key(name, "operator")
    pause = {"reason": "the provider is down"}
    assert not made.tool("PauseAll", pause, authorization=bearer("ann")).json["result"]["isError"]
    world.ask({"type": "RevokeKey", "key": "ann"})
    assert made.tool("ResumeAll", {}, authorization=bearer("ann")).status == 401
    assert made.tool("ResumeAll", {}).status == 401
    assert not made.tool("ResumeAll", {}, authorization=bearer("bob")).json["result"]["isError"]
    world.key("looks", "analyst")
    denied = made.tool("PauseAll", pause, authorization=bearer("looks")).json["result"]["structuredContent"]
    assert (denied["code"], denied["role"]) == ("access_denied", "analyst")
    made.close()
    assert [one.request for one in world.recorded(RequestRefused)] == ["PauseAll"]


@pytest.mark.parametrize("version", VERSIONS.values(), ids=VERSIONS)
def test_what_was_accepted_is_answered_before_the_end_and_what_comes_then_is_sent_again(version: str) -> None:
    world = World()
    world.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 5}})
    waits = {"agent": "a", "estimate": {"tokens": 50}, "wait_seconds": 30}

    async def test() -> None:
        app, service = application(world.fleet, LOOPBACK)
        body, headers = request_of("tools/call", {"name": "Reserve", "arguments": waits}, version)
        asked, more = request_of("tools/call", {"name": "GetStatus", "arguments": {"agent": "a"}}, version)
        assert (await call(app, "POST", "/mcp", asked, **more)).status == 200
        accepted = [asyncio.create_task(call(app, "POST", "/mcp", body, **headers)) for _ in range(3)]
        await asyncio.sleep(0)  # each of them goes as far as it may
        service.stopping.set()
        await service.close()
        for answer in await asyncio.gather(*accepted):
            assert answer.status == 200
            assert answer.json["result"]["structuredContent"]["code"] == "shutting_down"
        late = await call(app, "POST", "/mcp", asked, **more)
        assert (late.status, late.headers["retry-after"]) == (503, "1")

    asyncio.run(test())
    world.fleet.close()
