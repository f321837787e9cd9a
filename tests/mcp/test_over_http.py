"""`/mcp` of a served fleet: a client's session, the same answers as every other path gives, and the same rules."""

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from tallystick.events.messages import WIRE
from tests.support.mcp_client import ERAS, VERSIONS, call, over_http, read, request_of, run
from tests.support.serving import Client, Served

OF_THE_PROBLEM = ("type", "title", "status")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    server = Served(tmp_path_factory.mktemp("mcp"))
    yield server
    assert server.stop() == 0


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    made = served.client()
    yield made
    made.close()


@pytest.mark.parametrize("mode", ERAS)
def test_an_account_is_opened_used_and_exhausted(served: Served, mode: str) -> None:
    async def test() -> None:
        async with over_http(served.url, mode=mode) as mcp:
            assert {tool.name for tool in (await mcp.list_tools()).tools} == {one.__name__ for one in WIRE}
            agent = f"opened-{mode}"
            opened = await call(mcp, "AllocateBudget", agent=agent, budget={"tokens": 1_000})
            assert (opened.is_refused, opened.value["remaining"]) == (False, {"tokens": 1_000})
            used = await call(mcp, "ReportUsage", agent=agent, usage={"tokens": 600})
            assert used.value["status"] == "yellow"
            held = await call(mcp, "Reserve", agent=agent, estimate={"tokens": 500})
            assert held.is_refused
            assert held.value["code"] == "budget_exhausted"
            assert held.value["detail"] == "tokens: 500 was asked for, 400 is free"
            assert (held.value["requested"], held.value["available"]) == ({"tokens": 500}, {"tokens": 400})

    run(test)


def test_a_call_that_is_repeated_with_its_id_counts_once(served: Served, client: Client) -> None:
    async def test() -> None:
        async with over_http(served.url) as mcp:
            await call(mcp, "AllocateBudget", agent="once", budget={"tokens": 1_000})
            report = {"agent": "once", "usage": {"tokens": 100}}
            first = await call(mcp, "ReportUsage", **report, id="once-1")
            assert await call(mcp, "ReportUsage", **report, id="once-1") == first
            # By another path, too.
            assert client.post("/v1/report-usage", report, idempotency_key='"once-1"').json == first.value
            other = await call(mcp, "ReportUsage", agent="once", usage={"tokens": 7}, id="once-1")
            assert (other.is_refused, other.value["code"]) == (True, "idempotency_conflict")
            await call(mcp, "ReportUsage", **report)
            await call(mcp, "ReportUsage", **report)
            assert (await call(mcp, "GetStatus", agent="once")).value["consumed"]["tokens"] == 300

    run(test)


ASKED: list[tuple[str, dict[str, Any]]] = [
    ("AllocateBudget", {"agent": "same", "budget": {"tokens": 5}}),
    ("GetStatus", {"agent": "nobody"}),
    ("GetStatus", {}),
    ("GetStatus", {"agent": "same", "agnet": "same"}),
    ("GetStatus", {"agent": ""}),
    ("GetStatus", {"agent": 7}),
    ("GetStatus", {"agent": None}),
    ("GetStatus", {"agent": "x" * 129}),
    ("ReportUsage", {"agent": "same", "usage": {"tokens": "x"}}),
    ("ReportUsage", {"agent": "same", "usage": {"tokens": -1}}),
    ("ReportUsage", {"agent": "same", "usage": {"cost_usd": "1e"}}),
    ("ReportUsage", {"agent": "same", "usage": {"tokens": 10**30}}),
    ("ReportUsage", {"usage": {"tokens": 1}}),
    ("ReportUsage", {"agent": "same", "usage": [1]}),
    ("Reserve", {"agent": "same", "estimate": {"tokens": 500}}),
    ("Settle", {"hold": "none", "usage": {"tokens": 1}}),
    ("SubmitTask", {"task": "t", "priority": "urgent"}),
    ("PauseAll", {}),
    ("ApproveLimit", {"reason": "?"}),
]


@pytest.mark.parametrize(("tool", "arguments"), ASKED)
def test_a_refusal_is_a_tool_error_with_the_code_sentence_and_numbers_of_the_api(
    served: Served, client: Client, tool: str, arguments: dict[str, Any]
) -> None:
    client.post("/v1/allocate-budget", {"agent": "same", "budget": {"tokens": 100}})
    answer = client.post("/v1/messages", {"type": tool, **arguments})
    assert answer.status >= 400

    async def test() -> None:
        async with over_http(served.url) as mcp:
            called = await call(mcp, tool, **arguments)
            assert called.is_refused
            assert called.value == {name: said for name, said in answer.json.items() if name not in OF_THE_PROBLEM}

    run(test)


def test_an_argument_that_is_wrong_is_named(served: Served) -> None:
    async def test() -> None:
        async with over_http(served.url) as mcp:
            said = {
                "`$.usage.tokens`": {"agent": "a", "usage": {"tokens": "x"}},
                "`$.agent`": {"agent": ["a"], "usage": {"tokens": 1}},
                "`agnet`": {"agnet": "a", "usage": {"tokens": 1}},
                "`type`": {"agent": "a", "usage": {"tokens": 1}, "type": "PauseAll"},
            }
            for name, arguments in said.items():
                called = await mcp.call_tool("ReportUsage", arguments)
                assert (called.is_error, called.structured_content["code"]) == (True, "invalid_message")
                assert name in called.structured_content["detail"]

    run(test)


def test_what_waiting_cures_says_for_how_long(served: Served, client: Client) -> None:
    client.post("/v1/allocate-budget", {"agent": "held", "budget": {"tokens": 100}})
    client.post("/v1/reserve", {"agent": "held", "estimate": {"tokens": 60}, "ttl_seconds": 50})

    async def test() -> None:
        async with over_http(served.url) as mcp:
            denied = await call(mcp, "Reserve", agent="held", estimate={"tokens": 60})
            assert (denied.is_refused, denied.value["code"]) == (True, "budget_exhausted")
            assert 0 < denied.value["retry_after_seconds"] <= 50

    run(test)


def test_a_tool_or_resource_that_is_not_there_is_an_error_of_the_protocol(served: Served) -> None:
    async def test() -> None:
        async with over_http(served.url) as mcp:
            with pytest.raises(MCPError, match="there is no tool 'Nope'"):
                await mcp.call_tool("Nope", {})
            for uri in ("tallystick://nope", "file:///etc/passwd", "tallystick://agents//status"):
                with pytest.raises(MCPError, match="there is no resource"):
                    await mcp.read_resource(uri)
            with pytest.raises(MCPError, match="unknown_agent: no account is open for nobody") as refused:
                await mcp.read_resource("tallystick://agents/nobody/status")
            assert refused.value.data["code"] == "unknown_agent"

    run(test)


def test_every_resource_is_what_the_view_of_its_name_shows(served: Served, client: Client) -> None:
    client.post("/v1/allocate-budget", {"agent": "seen/one %", "budget": {"tokens": 10}, "workflow": "w"})

    async def test() -> None:
        async with over_http(served.url) as mcp:
            listed = (await mcp.list_resources()).resources
            assert [one.name for one in listed][:2] == ["status", "limits"]
            for one in listed:
                shown = json.loads(await read(mcp, one.uri))
                viewed = client.call("GET", f"/v1/views/{one.name}").json
                if isinstance(shown, dict):
                    assert shown.keys() == viewed.keys()
                else:
                    assert shown == viewed
            templates = {one.name: one.uri_template for one in (await mcp.list_resource_templates()).resource_templates}
            id = "seen%2Fone%20%25"
            status = json.loads(await read(mcp, templates["agent-status"].replace("{agent}", id)))
            assert (status["agent"], status["allocated"]) == ("seen/one %", {"tokens": 10})
            limits = json.loads(await read(mcp, templates["agent-limits"].replace("{agent}", id)))
            assert "limits" in limits
            report = await read(mcp, templates["report"].replace("{workflow}", "w"))
            assert report.startswith("# Workflow w\n")

    run(test)


def test_a_call_that_waits_is_answered_when_there_is_room(served: Served, client: Client) -> None:
    client.post("/v1/allocate-budget", {"agent": "room", "budget": {"tokens": 100}})
    client.post("/v1/reserve", {"agent": "room", "estimate": {"tokens": 100}, "id": "room-1"})

    async def test() -> None:
        async with over_http(served.url) as mcp:
            waiting = asyncio.create_task(call(mcp, "Reserve", agent="room", estimate={"tokens": 50}, wait_seconds=60))
            while not (await call(mcp, "GetLimits", agent="room")).value:
                pass
            await call(mcp, "CancelHold", hold="room-1")
            assert not (await waiting).is_refused

    run(test)


@pytest.mark.parametrize("version", VERSIONS.values(), ids=VERSIONS)
def test_what_a_client_does_not_wait_for_any_more_is_not_granted_later(
    served: Served, client: Client, version: str
) -> None:
    agent = f"left-{version}"
    client.post("/v1/allocate-budget", {"agent": agent, "budget": {"tokens": 100}})
    client.post("/v1/reserve", {"agent": agent, "estimate": {"tokens": 100}, "id": agent})
    asking = {"agent": agent, "estimate": {"tokens": 50}, "wait_seconds": 600}
    body, headers = request_of("tools/call", {"name": "Reserve", "arguments": asking}, version)
    leaving = served.client()
    leaving._connection.request("POST", "/mcp", body, headers)
    while _in_progress(served) < 2:
        pass
    leaving.close()
    while _in_progress(served) > 1:
        pass
    client.post("/v1/cancel-hold", {"hold": agent})
    holds = client.post("/v1/get-holds", {"agent": agent}).json["holds"]
    assert [hold["state"] for hold in holds] == ["cancelled"]


def test_a_stop_answers_the_calls_that_wait_and_does_not_wait_for_sessions(tmp_path: Path) -> None:
    server = Served(tmp_path)

    async def test() -> None:
        async with contextlib.AsyncExitStack() as stack:
            sessions = [await stack.enter_async_context(over_http(server.url, mode=mode)) for mode in ERAS]
            await call(sessions[0], "AllocateBudget", agent="a", budget={"tokens": 100})
            await call(sessions[0], "Reserve", agent="a", estimate={"tokens": 100})
            asking = {"agent": "a", "estimate": {"tokens": 100}, "wait_seconds": 600}
            waiting = [asyncio.create_task(call(one, "Reserve", **asking)) for one in sessions]
            while await asyncio.to_thread(_in_progress, server) <= len(waiting):
                pass
            assert await asyncio.to_thread(server.stop) == 0
            for answer in await asyncio.gather(*waiting):
                assert (answer.is_refused, answer.value["code"]) == (True, "shutting_down")
                assert answer.value["retry_after_seconds"] == 1
                assert answer.value["id"].startswith("mcp-"), "under this id it may be asked again"

    run(test)
    assert "Traceback" not in server.log.read_text(encoding="utf-8")


def _in_progress(server: Served) -> int:
    """How many requests are not answered yet; this one is among them."""
    client = server.client()
    text = client.call("GET", "/metrics").body.decode()
    client.close()
    return int(text.split("\ntallystick_http_requests_in_progress ")[1].split("\n")[0])


def test_what_is_recorded_says_who_has_asked(tmp_path: Path) -> None:
    server = Served(tmp_path)
    key, agents = "tsk_operator", "tsk_ann"

    async def test() -> None:
        async with over_http(server.url) as mcp:
            await call(mcp, "AllocateBudget", agent="ann", budget={"tokens": 100})
            await call(mcp, "CreateKey", key="op", role="operator", sha256=hashlib.sha256(key.encode()).hexdigest())
        async with over_http(server.url, key) as mcp:
            digest = hashlib.sha256(agents.encode()).hexdigest()
            await call(mcp, "CreateKey", key="ann's", role="agent", agent="ann", sha256=digest)
        async with over_http(server.url, agents) as mcp:
            assert "PauseAll" not in {tool.name for tool in (await mcp.list_tools()).tools}
            assert not (await call(mcp, "ReportUsage", agent="ann", usage={"tokens": 1}, id="mine")).is_refused
            denied = await call(mcp, "PauseAll", reason="?")
            assert (denied.is_refused, denied.value["code"]) == (True, "access_denied")
            other = await call(mcp, "GetStatus", agent="bob")
            assert (other.is_refused, other.value["code"]) == (True, "access_denied")
            assert [one.uri for one in (await mcp.list_resources()).resources] == [
                f"tallystick://agents/ann/{what}" for what in ("status", "limits", "forecast")
            ]
            assert json.loads(await read(mcp, "tallystick://agents/ann/status"))["consumed"]["tokens"] == 1
            for uri in ("tallystick://status", "tallystick://agents/bob/status", "tallystick://reports/w"):
                with pytest.raises(MCPError, match="access_denied"):
                    await mcp.read_resource(uri)

    run(test)
    client = server.client()
    shown = {"authorization": f"Bearer {key}"}
    events = client.call("GET", "/v1/events?limit=1000", headers=shown).json["events"]
    mine = next(one for one in events if one["id"] == "mine")
    assert (mine["by"], mine["peer"]["key"], mine["peer"]["address"]) == ("ann", "ann's", "127.0.0.1")
    assert [(one["by"], one["request"]) for one in events if one["type"] == "request-refused.v1"] == [
        ("ann", "PauseAll")
    ]
    metrics = client.call("GET", "/metrics", headers=shown).body.decode()
    assert 'tallystick_http_access_refusals_total{code="access_denied"} 5' in metrics
    assert 'tallystick_http_requests_total{endpoint="mcp",status="200"}' in metrics
    assert client.post("/mcp", {}).status == 401
    assert client.post("/mcp", {}, authorization="Bearer tsk_none").status == 401
    client.close()
    assert server.stop() == 0
    assert "tsk_" not in server.log.read_text(encoding="utf-8")
