"""`tallystick mcp`: a real client starts it, and reaches a fleet of this machine, or one behind a server."""

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from mcp.shared.exceptions import MCPError

from tallystick import Fleet
from tallystick.cli import mcp_store
from tallystick.cli.main import main
from tallystick.cli.send import Sending, opened_for
from tallystick.config.amounts import Budget
from tallystick.events.decide.permissions import Caller
from tallystick.events.log.store import open_store
from tallystick.events.messages import AllocateBudget
from tallystick.mcp.of_server import OfServer
from tests.support.mcp_client import call, over_stdio, read, run
from tests.support.serving import Served

STORE = "sqlite:///fleet.db"
SECONDS = 30


def store_in(folder: Path) -> str:
    return f"sqlite:///{folder / 'fleet.db'}"


def is_there(folder: Path) -> bool:
    """Whether the folder has a store."""
    return any(folder.glob("fleet.db*"))


def records(folder: Path) -> list[dict[str, Any]]:
    """What the log has, once no process writes it any more."""
    store = open_store(store_in(folder))
    found = [json.loads(record.data) for record in store.read()]
    store.close()
    return found


def test_a_fleet_is_opened_with_the_first_message_that_may_begin_one(tmp_path: Path) -> None:
    async def test() -> None:
        async with over_stdio(tmp_path, "--store", STORE, "--by", "claude") as mcp:
            nothing = await call(mcp, "CheckEnforcement", agent="a")
            assert (nothing.is_refused, nothing.value["code"]) == (True, "unknown_fleet")
            with pytest.raises(MCPError, match="unknown_fleet"):
                await mcp.read_resource("tallystick://status")
            assert not is_there(tmp_path), "a question creates no fleet"
            assert not (await call(mcp, "AllocateBudget", agent="a", budget={"tokens": 100})).is_refused
            assert (await call(mcp, "ReportUsage", agent="a", usage={"tokens": 60})).value["status"] == "yellow"
            wrong = await call(mcp, "ReportUsage", agent="a", usage={"tokens": "x"})
            assert (wrong.is_refused, wrong.value["code"]) == (True, "invalid_message")
            held = await call(mcp, "Reserve", agent="a", estimate={"tokens": 41})
            assert (held.value["code"], held.value["available"]) == ("budget_exhausted", {"tokens": 40})
            assert json.loads(await read(mcp, "tallystick://status"))["agent_count"] == 1
            assert json.loads(await read(mcp, "tallystick://agents/a/status"))["consumed"]["tokens"] == 60

    run(test)
    used = next(one for one in records(tmp_path) if one["type"] == "usage-reported.v1")
    assert (used["by"], used["peer"]["uid"]) == ("claude", os.geteuid())


def test_a_fleet_in_memory_is_read_like_any_other() -> None:
    opening = AllocateBudget(agent="a", budget=Budget(tokens=5), id="m-1")

    async def test() -> None:
        asked = mcp_store.OfStore("memory:", "claude", None)
        assert (await asked.view(None, "status", {})).code == "unknown_fleet"
        assert not (await asked.ask(None, opening, b"")).is_refused
        assert (await asked.view(None, "status", {})).value["agent_count"] == 1
        await asked.close()

    run(test)


def test_two_clients_share_the_fleet_that_one_of_them_has_opened(tmp_path: Path) -> None:
    async def test() -> None:
        async with over_stdio(tmp_path, "--store", STORE, "--by", "two", mode="legacy") as two:
            async with over_stdio(tmp_path, "--store", STORE, "--by", "one") as one:
                await call(one, "AllocateBudget", agent="a", budget={"tokens": 100})
                assert (await call(two, "ReportUsage", agent="a", usage={"tokens": 1})).value["status"] == "green"
            # The other one opens it, when the first has closed it.
            assert (await call(two, "GetStatus", agent="a")).value["consumed"]["tokens"] == 1
            assert not (await call(two, "ReportUsage", agent="a", usage={"tokens": 1}, id="alone")).is_refused

    run(test)
    assert {one["by"] for one in records(tmp_path) if one["type"] == "usage-reported.v1"} == {"two"}


def test_a_live_fleet_is_asked_over_its_control_socket(tmp_path: Path) -> None:
    async def test() -> None:
        async with over_stdio(tmp_path, "--store", STORE, "--by", "claude") as mcp:
            assert (await call(mcp, "ReportUsage", agent="a", usage={"tokens": 1}, id="m-1")).value["status"] == "green"
            again = await call(mcp, "ReportUsage", agent="a", usage={"tokens": 1}, id="m-1")
            assert again.value["remaining"] == {"tokens": 99}
            loose = await call(mcp, "SetTotalBudget", budget={"tokens": 10_000})
            assert (loose.is_refused, loose.value["code"]) == (True, "operator_key_needed")
        async with over_stdio(tmp_path, "--store", STORE, TALLYSTICK_OPERATOR_KEY="mine") as mcp:
            assert not (await call(mcp, "SetTotalBudget", budget={"tokens": 10_000})).is_refused

    digest = f"sha256:{hashlib.sha256(b'mine').hexdigest()}"
    config = {"control": {"operator_key": digest}, "total_budget": {"tokens": 5_000}}
    with Fleet.open(store_in(tmp_path), config) as fleet:
        fleet.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 100}})
        run(test)
    reported = [one for one in records(tmp_path) if one["type"] == "usage-reported.v1"]
    assert [(one["by"], one["id"]) for one in reported] == [("claude", "m-1")]


def test_a_server_is_asked_with_the_key_that_it_knows(tmp_path: Path) -> None:
    server = Served(tmp_path)
    client = server.client()
    client.post("/v1/allocate-budget", {"agent": "ann", "budget": {"tokens": 100}})
    client.post("/v1/create-key", {"key": "op", "role": "operator", "sha256": hashlib.sha256(b"tsk_op").hexdigest()})
    agents = {"key": "ann's", "role": "agent", "agent": "ann", "sha256": hashlib.sha256(b"tsk_ann").hexdigest()}
    client.post("/v1/create-key", agents, authorization="Bearer tsk_op")
    client.close()

    async def test() -> None:
        async with over_stdio(tmp_path, "--url", server.url, TALLYSTICK_KEY="tsk_ann") as mcp:
            tools = {tool.name: tool for tool in (await mcp.list_tools()).tools}
            assert ("ReportUsage" in tools, "PauseAll" in tools) == (True, False)
            assert tools["GetStatus"].input_schema["properties"]["agent"]["description"].startswith("ann is yours")
            assert not (await call(mcp, "ReportUsage", agent="ann", usage={"tokens": 1})).is_refused
            denied = await call(mcp, "PauseAll", reason="?")
            assert (denied.is_refused, denied.value["code"]) == (True, "access_denied")
            with pytest.raises(MCPError, match="access_denied"):
                await mcp.read_resource("tallystick://status")
            assert json.loads(await read(mcp, "tallystick://agents/ann/status"))["consumed"]["tokens"] == 1
            assert server.stop() == 0
            with pytest.raises(MCPError, match="is `tallystick serve` running there"):
                await mcp.list_tools()

    run(test)
    used = next(one for one in records(tmp_path) if one["type"] == "usage-reported.v1")
    assert (used["by"], used["peer"]["key"]) == ("ann", "ann's")


def test_what_a_server_answers_to_another_key_is_said(tmp_path: Path) -> None:
    server = Served(tmp_path)
    client = server.client()
    client.post("/v1/create-key", {"key": "op", "role": "operator", "sha256": hashlib.sha256(b"tsk_op").hexdigest()})
    client.close()

    async def test() -> None:
        operator, other = OfServer(server.url, "tsk_op"), OfServer(server.url, "tsk_none")
        assert await operator.caller(None) == Caller("operator")
        assert (await operator.view(None, "status", {})).value["agent_count"] == 0
        assert (await operator.view(None, "nope", {})).code == "not_found"
        with pytest.raises(MCPError, match="unauthenticated: show a key that is valid"):
            await other.caller(None)
        assert (await other.view(None, "status", {})).code == "unauthenticated"
        for one in (operator, other):
            await one.close()

    run(test)
    assert server.stop() == 0


def test_a_first_call_that_is_cancelled_leaves_no_fleet_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opening = AllocateBudget(agent="a", budget=Budget(tokens=5), id="m-1")
    begun = threading.Event()

    def opened(sending: Sending) -> Fleet:
        begun.set()
        return opened_for(sending)

    monkeypatch.setattr(mcp_store, "opened_for", opened)

    async def test() -> None:
        asked = mcp_store.OfStore(store_in(tmp_path), "claude", None)
        first = asyncio.create_task(asked.ask(None, opening, b""))
        assert await asyncio.to_thread(begun.wait, SECONDS)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        await asked.close()

    run(test)
    with Fleet.open(store_in(tmp_path)) as fleet:
        assert fleet.ask(opening)["ok"]["allocated"] == {"tokens": 5}


@pytest.mark.skipif(sys.platform == "win32", reason="signals are others there")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_client_that_ends_it_by_a_signal_leaves_the_fleet_closed(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "tallystick", "mcp", "--store", STORE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def say(**message: Any) -> None:
            process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
            process.stdin.flush()

        client = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        say(id=1, method="initialize", params=client)
        assert json.loads(process.stdout.readline())["result"]["serverInfo"]["name"] == "tallystick"
        say(method="notifications/initialized")
        allocation = {"agent": "a", "budget": {"tokens": 5}, "id": "first"}
        say(id=2, method="tools/call", params={"name": "AllocateBudget", "arguments": allocation})
        assert json.loads(process.stdout.readline())["result"]["isError"] is False
        process.send_signal(number)
        assert process.wait(SECONDS) == 0
    assert "first" in {one["id"] for one in records(tmp_path)}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--url", "ftp://x"], "--url: found 'ftp://x', allowed is one like http://127.0.0.1:8321"),
        (["--url", "http://127.0.0.1:1", "--key", "two words"], "--key: found spaces"),
        (["--url", "http://127.0.0.1:1", "--store", STORE], "--store and --url: found both, allowed is one"),
        (["--url", "http://127.0.0.1:1", "--by", "ann"], "--by and --url: found both, allowed is one"),
        (["--by", ""], "allowed is a name of 1 to 128 characters"),
    ],
)
def test_what_cannot_be_reached_so_is_said_at_once(options: list[str], said: str) -> None:
    result = CliRunner().invoke(main, ["mcp", *options])
    assert (result.exit_code, said in result.output) == (2, True), result.output
