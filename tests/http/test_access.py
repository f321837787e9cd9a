"""Who may come in over HTTP, as what, and what becomes of it in the log, the counts and the lines that are written."""

import asyncio
import datetime as dt
import hashlib
import re
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp
from structlog.testing import capture_logs

from tallystick.events.catalog import KeyMisused, RequestRefused, UsageReported
from tallystick.events.decide.permissions import PATHS, ROLES
from tallystick.http.access import Access, Gate
from tallystick.http.measures import Measures
from tallystick.http.sessions import COOKIE
from tests.support.access import GLOBAL, OPERATOR_KEY, World, ask, bearer, count_of, secret
from tests.support.asgi import Answered, call
from tests.support.core import START


def test_a_server_without_keys_is_open_until_the_first_one_and_never_again() -> None:
    world = World()

    async def test(app: ASGIApp) -> None:
        assert (await ask(app)).status == 200
        assert (await ask(app, authorization="Bearer whatever")).status == 200
        world.key("ann", "operator")
        assert (await ask(app)).status == 401
        assert (await ask(app, authorization=bearer("ann"))).status == 200
        world.ask({"type": "RevokeKey", "key": "ann"})
        assert (await ask(app)).status == 401
        assert (await ask(app, authorization=bearer("ann"))).status == 401

    world.run(test)


def test_every_way_to_have_no_valid_key_is_answered_alike() -> None:
    world = World()
    world.key("ann", "operator")
    world.key("old", "operator", expires_at=(START + dt.timedelta(hours=1)).isoformat())
    world.key("lost", "operator")
    world.ask({"type": "RevokeKey", "key": "lost"})
    world.clock.move_to(START + dt.timedelta(hours=1))
    shown: list[dict[str, str]] = [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Bearer nobody's"},
        {"authorization": f"Basic {secret('ann')}"},
        {"authorization": secret("ann")},
        {"authorization": bearer("ann")[:-1]},
        {"authorization": bearer("ann") + "x"},
        {"authorization": bearer("old")},
        {"authorization": bearer("lost")},
        {"authorization": "Bearer " + "é" * 9_000},
        {"authorization": "Bearer a.b.c"},
        {"cookie": f"{COOKIE}=nobody's"},
        {"cookie": f"{COOKIE}={secret('ann')}"},
    ]

    async def test(app: ASGIApp) -> None:
        answers = [await ask(app, **headers) for headers in shown]
        assert {answer.status for answer in answers} == {401}
        assert len({answer.body for answer in answers}) == 1, "nothing says what was wrong"
        assert {answer.headers["www-authenticate"] for answer in answers} == {'Bearer realm="tallystick"'}
        assert answers[0].json["code"] == "unauthenticated"
        assert await count_of(app, "unauthenticated", "ann") == len(shown)
        # Twice within the hour is recorded once.
        await ask(app, authorization=bearer("old"))

    world.run(test)
    assert [(event.key, event.why) for event in world.recorded(KeyMisused)] == [("old", "expired"), ("lost", "revoked")]


def test_health_is_open_and_what_is_the_fleets_is_not() -> None:
    world = World()
    world.key("ann", "operator")

    async def test(app: ASGIApp) -> None:
        for path, status in {"/healthz": 200, "/readyz": 200, "/": 200, "/index.html": 404}.items():
            assert (await call(app, "GET", path)).status == status, path
        for closed in ("GET /metrics", "GET /v1/nope", "POST /nope", "DELETE /", "PUT /v1/x"):
            assert (await call(app, *closed.split())).status == 401, closed
        assert (await call(app, "POST", "/v1/report-usage", b"not even JSON")).status == 401, "it is not read"

    world.run(test)


@pytest.mark.parametrize("role", ROLES)
def test_what_is_read_is_for_the_roles_of_the_table(role: str) -> None:
    world = World()
    world.key("k", role, agent="a")

    async def test(app: ASGIApp) -> None:
        for path, roles in PATHS.items():
            if path == "/v1/stream":
                continue  # it has no end
            answer = await call(app, "GET", path, authorization=bearer("k"))
            assert (answer.status == 403) == (role not in roles), path
        other = await call(app, "GET", "/v1/no/such", authorization=bearer("k"))
        assert other.status == (403 if role in ("agent", "telemetry") else 404)

    world.run(test)


def test_a_message_that_a_role_may_not_send_is_refused_recorded_counted_and_logged() -> None:
    world = World()
    world.key("lead-1", "agent", agent="lead")
    world.key("ann", "operator")
    world.ask({"type": "AllocateBudget", "agent": "lead", "budget": {"tokens": 1_000}})
    world.ask({"type": "AllocateBudget", "agent": "other", "budget": {"tokens": 1_000}})
    usage = {"type": "ReportUsage", "usage": {"tokens": 1}}

    async def test(app: ASGIApp) -> None:
        mine = await ask(app, {**usage, "agent": "lead"}, authorization=bearer("lead-1"))
        assert (mine.status, mine.json["remaining"]) == (200, {"tokens": 999})
        with capture_logs() as lines:
            denied = await ask(app, {**usage, "agent": "other"}, authorization=bearer("lead-1"))
            paused = await ask(app, {"type": "PauseAll", "reason": "…"}, authorization=bearer("lead-1"))
            both = [{**usage, "agent": "lead"}, {**usage, "agent": "other"}, GLOBAL]
            array = await ask(app, both, authorization=bearer("lead-1"))
        assert (denied.status, denied.json["code"]) == (403, "access_denied")
        assert "x-ratelimit-limit-tokens" in mine.headers
        assert not [name for name in denied.headers if "ratelimit" in name], "how another's budget stands"
        assert denied.json["detail"] == "other is neither lead nor below it"
        assert (paused.status, paused.json["detail"]) == (403, "the role agent may not; operator may")
        assert [next(iter(one)) for one in array.json] == ["ok", "error", "error"]
        logged = [line for line in lines if line["event"] == "access_refused"]
        assert [(line["code"], line["key"], line["messages"]) for line in logged] == [
            ("access_denied", "lead-1", 1),
            ("access_denied", "lead-1", 1),
            ("access_denied", "lead-1", 2),
        ]
        assert await count_of(app, "access_denied", "ann") == 4

    world.run(test)
    refused = world.recorded(RequestRefused)
    assert [(event.request, event.by) for event in refused] == [
        ("ReportUsage", "lead"), ("PauseAll", "lead"), ("ReportUsage", "lead"),
    ]  # fmt: skip


def test_the_log_says_in_whose_name_and_with_which_key() -> None:
    world = World()
    world.key("lead-1", "agent", agent="lead")
    world.key("ann", "orchestrator")

    async def test(app: ASGIApp) -> None:
        opened = {"type": "AllocateBudget", "agent": "lead", "budget": {"tokens": 9}}
        await ask(app, opened, authorization=bearer("ann"), address="10.1.2.3")
        await ask(app, {"type": "ReportUsage", "agent": "lead", "usage": {"tokens": 1}}, authorization=bearer("lead-1"))
        records = [record.data for record in world.fleet._store.read()][-2:]
        assert [re.search(rb'"by":"(\w+)"', record)[1] for record in records] == [b"ann", b"lead"]  # type: ignore[index]
        assert b'"peer":{"address":"10.1.2.3","key":"ann"}' in records[0]
        assert b'"peer":{"address":"127.0.0.1","key":"lead-1"}' in records[1]

    world.run(test)


def test_a_report_of_an_agent_is_recorded_without_a_label_that_limits_count_by() -> None:
    limit = {"name": "by-user", "per": "label:user", "window": "day", "max": {"tokens": 100}}
    world = World({"limits": [limit]})
    world.key("lead-1", "agent", agent="lead")
    world.key("ann", "orchestrator")
    world.ask({"type": "AllocateBudget", "agent": "lead", "budget": {"tokens": 1_000}})
    usage = {"type": "ReportUsage", "agent": "lead", "usage": {"tokens": 5}, "labels": {"user": "bob", "x": "y"}}

    async def test(app: ASGIApp) -> None:
        first = await ask(app, {**usage, "id": "u-1"}, authorization=bearer("lead-1"))
        again = await ask(app, {**usage, "id": "u-1"}, authorization=bearer("lead-1"))
        assert first.status == 200
        assert first.body == again.body
        assert (await ask(app, usage, authorization=bearer("ann"))).status == 200

    world.run(test)
    assert [event.labels for event in world.recorded(UsageReported)] == [{"x": "y"}, {"user": "bob", "x": "y"}]


@pytest.mark.parametrize("way", ["report", "settle"])
def test_an_agent_that_says_more_of_anothers_source_is_charged_itself(way: str) -> None:
    world = World()
    for name in ("one", "two"):
        world.key(name, "agent", agent=name)
        world.ask({"type": "AllocateBudget", "agent": name, "budget": {"tokens": 1_000}})
    said = {"source_id": "msg-1", "usage": {"tokens": 700}}

    async def test(app: ASGIApp) -> None:
        async def used() -> list[int]:
            asked = [(name, {"type": "GetStatus", "agent": name}) for name in ("one", "two")]
            return [
                (await ask(app, message, authorization=bearer(name))).json["consumed"]["tokens"]
                for name, message in asked
            ]

        async def report(name: str, id: str, tokens: int) -> Answered:
            usage = {"usage": {"tokens": tokens}, "source_id": "msg-1", "agent": name}
            return await ask(app, {"type": "ReportUsage", "id": id, **usage}, authorization=bearer(name))

        await report("one", "r-1", 10)
        # What says no more is a repeat, whoever says it: it is recorded from elsewhere.
        assert (await report("two", "r-2", 10)).json["repeats"]
        assert await used() == [10, 0]
        message = {"type": "ReportUsage", "agent": "two", "id": "r-3", **said}
        if way == "settle":
            hold = {"type": "Reserve", "id": "h-1", "agent": "two", "estimate": {"tokens": 900}}
            assert (await ask(app, hold, authorization=bearer("two"))).status == 200
            message = {"type": "Settle", "hold": "h-1", "id": "r-3", **said}
        first = await ask(app, message, authorization=bearer("two"))
        assert first.status == 200
        assert (await ask(app, message, authorization=bearer("two"))).body == first.body, "it is answered once"
        assert await used() == [10, 700]
        # Its own source may grow.
        await report("one", "r-4", 30)
        assert await used() == [30, 700]

    world.run(test)


@pytest.mark.parametrize("room", ["none", "there is"])
def test_who_waits_with_a_key_that_is_revoked_gets_no_hold(room: str) -> None:
    world = World()
    for name in ("lost", "kept"):
        world.key(name, "agent", agent="lead")
    world.ask({"type": "AllocateBudget", "agent": "lead", "budget": {"tokens": 10}})
    world.ask({"type": "Reserve", "id": "first", "agent": "lead", "estimate": {"tokens": 10}})

    async def test(app: ASGIApp) -> None:
        async def waiting(id: str, key: str) -> "asyncio.Task[Answered]":
            message = {"type": "Reserve", "id": id, "agent": "lead", "estimate": {"tokens": 10}, "wait_seconds": 60}
            asked = asyncio.create_task(ask(app, message, authorization=bearer(key)))
            # What is asked after it is answered after it was taken.
            await asyncio.sleep(0)
            await ask(app, {"type": "GetStatus", "agent": "lead"}, authorization=bearer("kept"))
            assert not asked.done()
            return asked

        lost, kept = await waiting("second", "lost"), await waiting("third", "kept")
        batch: list[dict[str, Any]] = [{"type": "RevokeKey", "key": "lost"}]
        if room == "there is":
            batch.append({"type": "CancelHold", "hold": "first"})
        world.fleet.ask(batch)
        refused = await asyncio.wait_for(lost, 30)
        assert (refused.status, refused.json["detail"]) == (403, "the key was revoked")
        if room == "none":
            assert not kept.done()
            world.ask({"type": "CancelHold", "hold": "first"})
        assert (await asyncio.wait_for(kept, 30)).json["hold"] == "third"

    world.run(test)
    assert [event.detail for event in world.recorded(RequestRefused)] == ["the key was revoked"]


def test_an_operator_approves_up_to_the_ceiling() -> None:
    world = World({"daily_limits": {"max_cost_usd": 5}})
    world.key("ann", "operator", approve_up_to_usd="50")

    async def test(app: ASGIApp) -> None:
        for cost, status in (("50", 200), ("50.01", 403)):
            approval = {"type": "ApproveLimit", "max_cost_usd": cost}
            assert (await ask(app, approval, authorization=bearer("ann"))).status == status

    world.run(test)


def test_the_operators_key_is_a_key_of_the_server_and_the_others_loosen_nothing() -> None:
    digest = hashlib.sha256(OPERATOR_KEY.encode()).hexdigest()
    world = World({"control": {"operator_key": f"sha256:{digest}"}})
    resume = {"type": "ResumeAll"}
    own = {"authorization": f"Bearer {OPERATOR_KEY}"}

    async def test(app: ASGIApp) -> None:
        # Open: everything but what loosens.
        assert (await ask(app)).status == 200
        assert (await ask(app, resume)).json["code"] == "operator_key_needed"
        assert (await ask(app, resume, **own)).status == 200
        world.key("ann", "operator")
        world.key("lead", "orchestrator")
        assert (await ask(app, resume)).status == 401
        assert (await ask(app, resume, **own)).status == 200
        assert (await ask(app, resume, authorization=bearer("ann"))).status == 200
        again = {"type": "Resume", "agent": "a"}
        denied = await ask(app, again, authorization=bearer("lead"))
        assert (denied.status, denied.json["code"]) == (403, "operator_key_needed")

    world.run(test)


def test_a_stream_ends_with_its_key() -> None:
    world = World()
    world.key("ann", "operator")

    async def parts() -> Any:
        for n in range(100):
            yield f"{n}\n"
            await asyncio.sleep(0)

    async def test(_: ASGIApp) -> None:
        routes = [Route("/v1/stream", lambda _: StreamingResponse(parts()))]
        gate = Gate(Starlette(routes=routes), Access(world.fleet.access, Measures()))

        async def on_body(part: bytes) -> None:
            if part == b"3\n":
                await asyncio.to_thread(world.ask, {"type": "RevokeKey", "key": "ann"})

        answer = await call(gate, "GET", "/v1/stream", authorization=bearer("ann"), on_body=on_body)
        assert answer.body == b"0\n1\n2\n3\n"

    world.run(test)
