"""A front and shards, whose fleets are in PostgreSQL: what a client of a fleet beneath its name sees."""

import secrets
from typing import Any

import pytest
from click.testing import CliRunner

from tallystick.cli.main import main
from tallystick.cluster.places import shard_of
from tests.support import postgres
from tests.support.local_cluster import OPEN, LocalCluster, beneath, create, play

REPORT = {"type": "ReportUsage", "agent": "a-1", "usage": {"tokens": 5}}


@pytest.fixture(scope="module")
def url() -> str:
    server, name = postgres.shared(), f"fleets-{secrets.token_hex(4)}"
    server.new_database(name)
    return server.url(name).partition("&fleet")[0]


def test_a_fleet_beneath_its_name_answers_as_a_server_of_its_own(url: str) -> None:
    create(url, "whole", "--without-key")

    async def story(cluster: LocalCluster) -> None:
        assert (await cluster.ask("POST", f"{beneath('whole')}/messages", OPEN)).status == 200
        reported = await cluster.ask(
            "POST", f"{beneath('whole')}/report-usage", {"agent": "a-1", "usage": {"tokens": 5}}
        )
        assert reported.json["remaining"] == {"tokens": 995}
        assert reported.headers["x-ratelimit-remaining-tokens"] == "995"
        page = await cluster.ask("GET", f"{beneath('whole')}/events?after=0&limit=2")
        assert len(page.json["events"]) == 2
        stream = await cluster.ask("GET", f"{beneath('whole')}/stream?after=0", until=lambda body: b"usage" in body)
        assert stream.body.startswith(b"retry: ")
        assert (await cluster.ask("GET", "/v1/fleets/whole/")).headers["content-type"].startswith("text/html")
        assert (await cluster.ask("GET", "/v1/fleets/whole")).headers["location"] == "whole/"
        assert (await cluster.ask("GET", f"{beneath('whole')}/nothing")).json["code"] == "not_found"

    play(url, story)


def test_a_name_that_is_no_fleet_is_not_found_and_no_message_creates_one(url: str) -> None:
    async def story(cluster: LocalCluster) -> None:
        for name in ("never", "-bad"):
            answer = await cluster.ask("POST", f"{beneath(name)}/messages", OPEN)
            assert (answer.status, answer.json["code"]) == (404, "unknown_fleet")

    play(url, story)
    listed = CliRunner().invoke(main, ["fleet", "list", "--store", url])
    assert "never" not in listed.output


def test_keys_belong_to_fleets_and_without_one_nothing_is_let_in_from_elsewhere(url: str) -> None:
    ours, others = create(url, "ours"), create(url, "others")
    create(url, "keyless", "--without-key")

    async def story(cluster: LocalCluster) -> None:
        path = f"{beneath('ours')}/messages"
        assert (await cluster.ask("POST", path, OPEN, ours)).status == 200
        assert (await cluster.ask("POST", path, OPEN, others)).status == 401
        assert (await cluster.ask("POST", path, OPEN)).status == 401
        assert (await cluster.ask("POST", f"{beneath('keyless')}/messages", OPEN)).status == 401
        session = await cluster.ask("POST", f"{beneath('ours')}/session", {"key": ours})
        assert "Path=/v1/fleets/ours/;" in session.headers["set-cookie"]

    play(url, story, keys_needed=True)


def test_each_fleet_has_its_own_tools_beneath_its_name(url: str) -> None:
    one, two = create(url, "tools-one"), create(url, "tools-two")

    async def story(cluster: LocalCluster) -> None:
        async def tool(fleet: str, key: str, name: str, **arguments: Any) -> Any:
            asked = {"name": name, "arguments": arguments}
            message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": asked}
            answer = await cluster.ask("POST", f"/v1/fleets/{fleet}/mcp", message, key)
            return answer.json["result"]["structuredContent"] if answer.status == 200 else answer.status

        opened = await tool("tools-one", one, "AllocateBudget", agent="a", budget={"tokens": 7})
        assert opened["remaining"] == {"tokens": 7}
        assert (await tool("tools-two", two, "GetStatus", agent="a"))["code"] == "unknown_agent"
        assert await tool("tools-two", one, "GetStatus", agent="a") == 401

    play(url, story, keys_needed=True)


@pytest.mark.parametrize("cut", ["cut_before", "cut_after"])
def test_what_a_lost_shard_may_have_done_is_done_once(url: str, cut: str) -> None:
    name = f"lost-{cut.replace('_', '-')}"
    create(url, name, "--without-key")

    async def story(cluster: LocalCluster) -> None:
        path = f"{beneath(name)}/messages"
        await cluster.ask("POST", path, OPEN)
        calls = cluster.calls[shard_of(name, 2)]
        setattr(calls, cut, 1)
        again = await cluster.ask("POST", path, {**REPORT, "id": "once"})
        assert again.json["remaining"] == {"tokens": 995}
        setattr(calls, cut, 1)
        unsure = await cluster.ask("POST", path, REPORT)
        assert (unsure.status, unsure.json["code"]) == (504, "unanswered")

    play(url, story)


def test_a_shard_that_has_gone_is_waited_for_and_one_that_has_answered_is_not(url: str) -> None:
    create(url, "waited", "--without-key")

    async def story(cluster: LocalCluster) -> None:
        path, calls = f"{beneath('waited')}/messages", cluster.calls[0]
        await cluster.ask("POST", path, OPEN)
        assert calls.waited == [True]
        calls.shard._sessions.clear()
        await cluster.ask("POST", path, {**REPORT, "id": "forgotten"})
        assert calls.waited == [True, False]
        calls.cut_before = 1
        await cluster.ask("POST", path, {**REPORT, "id": "gone"})
        assert calls.waited == [True, False, True]

    play(url, story, count=1)


def test_an_idle_fleet_is_closed_and_opened_when_it_is_asked(url: str) -> None:
    create(url, "idle", "--without-key")

    async def story(cluster: LocalCluster) -> None:
        path, shard = f"{beneath('idle')}/messages", cluster.calls[0].shard
        await cluster.ask("POST", path, OPEN)
        assert shard.open_fleets() == ["idle"]
        shard._look()
        assert shard.open_fleets() == []
        assert (await cluster.ask("POST", path, REPORT)).json["remaining"] == {"tokens": 995}

    play(url, story, count=1, idle_seconds=-1.0)


def test_with_one_shard_more_fleets_move_and_nothing_is_lost(url: str) -> None:
    names = [f"moved-{number}" for number in range(4)]
    for name in names:
        create(url, name, "--without-key")

    async def story(cluster: LocalCluster) -> None:
        for name in names:
            await cluster.ask("POST", f"{beneath(name)}/messages", OPEN)
        cluster.add(2)
        for name in names:
            assert (await cluster.ask("POST", f"{beneath(name)}/messages", REPORT)).json["remaining"] == {"tokens": 995}
        assert cluster.calls[1].shard.open_fleets() == sorted(name for name in names if shard_of(name, 2) == 1)

    assert {shard_of(name, 2) for name in names} == {0, 1}, "some move, and some stay"
    play(url, story, count=1)


def test_a_number_of_shards_more_moves_few_fleets_and_only_to_the_new_one() -> None:
    names = [f"fleet-{number}" for number in range(2_000)]
    moved = [name for name in names if shard_of(name, 9) != shard_of(name, 8)]
    assert all(shard_of(name, 9) == 8 for name in moved)
    assert 2_000 / 9 * 0.8 < len(moved) < 2_000 / 9 * 1.2
