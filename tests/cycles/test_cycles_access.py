"""Who may do what over the Cycles protocol: keys of ours in its header, their roles, and their tenants."""

import asyncio
from typing import Any

import pytest
from starlette.types import ASGIApp

from tallystick.events.catalog import HoldPlaced, RequestRefused
from tallystick.events.decide.permissions import ROLES
from tallystick.http.app import inner_application
from tallystick.http.views.limit import ReaderLimit
from tests.support.access import World, bearer, count_of
from tests.support.cycles import ACTION, CENT, TOKENS, USD, Api, Said, fleet, limits, play
from tests.support.programs import until

FORBIDDEN, UNAUTHORIZED = (403, "FORBIDDEN"), (401, "UNAUTHORIZED")
PROD = "tenant:acme/workspace:prod"
IN_PROD = {"tenant": "acme", "workspace": "prod"}


def shop() -> World:
    """Two tenants, one with a workspace, and a key of each role."""
    world = fleet(
        *({"agent": f"tenant:{name}", **limits(cost_usd=1)} for name in ("acme", "zoo")),
        {"agent": PROD, "parent": "tenant:acme", **limits(cost_usd=1)},
    )
    for role in ROLES:
        if role != "agent":
            world.key(role, role)
    world.key("acme", "agent", agent="tenant:acme")
    world.key("prod", "agent", agent=PROD)
    world.key("plain", "agent", agent="researcher")
    return world


async def all_of(api: Api, id: str, **subject: Any) -> dict[str, Said]:
    """One answer of each operation; what would end the reservation comes last."""
    named = subject or {"tenant": "acme"}
    query = "&".join(f"{level}={name}" for level, name in named.items())
    return {
        "create": await api.reserve(subject=named),
        "dry run": await api.reserve(subject=named, dry_run=True),
        "decide": await api.decide(subject=named),
        "event": await api.event(subject=named),
        "balances": await api.call("GET", f"/v1/balances?{query}"),
        "list": await api.list(query),
        "get": await api.get(id),
        "extend": await api.extend(id),
        "commit": await api.commit(id),
        "release": await api.release(id),
    }


def statuses(answers: dict[str, Said]) -> dict[str, int]:
    return {name: answer.status for name, answer in answers.items()}


WORKS = {
    **dict.fromkeys(("create", "dry run", "decide", "balances", "list", "get", "extend", "commit"), 200),
    "event": 201,
}
WORKS = {**WORKS, "release": 409}
"""Where a key may do it: the last operation finds the reservation committed."""


def test_without_a_valid_key_every_operation_is_refused_alike() -> None:
    world = shop()
    world.key("lost", "operator")
    world.ask({"type": "RevokeKey", "key": "lost"})

    async def test(api: Api) -> None:
        for answer in (await all_of(api, "rsv-0")).values():
            assert answer.error() == UNAUTHORIZED
        for other in (api.of("lost"), api.of("nobody")):
            assert (await other.reserve()).error() == UNAUTHORIZED
        assert (await api.call("GET", "/v1/balances?tenant=acme", X_Admin_API_Key="a")).error() == UNAUTHORIZED

    play(test, world)


def test_our_own_header_for_keys_is_understood_too() -> None:
    async def test(api: Api) -> None:
        assert (await api.call("GET", "/v1/balances?tenant=acme", authorization=bearer("acme"))).status == 200

    play(test, shop())


@pytest.mark.parametrize("role", ["operator", "orchestrator"])
def test_who_runs_the_fleet_may_do_it_all_for_every_tenant(role: str) -> None:
    async def test(api: Api) -> None:
        for tenant in ("acme", "zoo"):
            id = (await api.reserve(subject={"tenant": tenant})).ok()["reservation_id"]
            answers = await all_of(api, id, tenant=tenant)
            assert statuses(answers) == WORKS
            assert answers["create"].headers["x-cycles-tenant"] == tenant

    play(test, shop(), role)


@pytest.mark.parametrize("role", sorted(set(ROLES) - {"operator", "orchestrator", "agent"}))
def test_who_only_reads_uses_no_budget(role: str) -> None:
    async def test(api: Api) -> None:
        id = (await api.of("operator").reserve()).ok()["reservation_id"]
        for name, answer in (await all_of(api, id)).items():
            if name not in ("balances", "list", "get") or role not in ("analyst", "auditor"):
                assert answer.error() == FORBIDDEN, name
            else:
                assert answer.status == 200, name

    play(test, shop(), role)


@pytest.mark.parametrize("role", sorted(set(ROLES) - {"operator", "orchestrator", "agent"}))
def test_who_only_reads_learns_neither_what_others_were_answered_nor_what_there_is(role: str) -> None:
    async def test(api: Api) -> None:
        said = {"subject": {"tenant": "acme"}, "action": ACTION, "idempotency_key": "k"}
        amount = {"unit": USD, "amount": CENT}
        asked = {
            "/v1/decide": {**said, "estimate": amount},
            "/v1/reservations": {**said, "estimate": amount},
            "/v1/events": {**said, "actual": amount},
        }
        operator = api.of("operator")
        for path, body in asked.items():
            (await operator.call("POST", path, body)).ok()
        (await operator.reserve(dry_run=True, idempotency_key="dry")).ok()
        for path, body in asked.items():
            assert (await api.call("POST", path, body)).error() == FORBIDDEN
        assert (await api.reserve(dry_run=True, idempotency_key="dry")).error() == FORBIDDEN
        for operation in (api.reserve, api.decide, api.event):
            for answer in (await operation(subject={"tenant": "nobody"}), await operation(unit=TOKENS)):
                assert answer.error() == FORBIDDEN

    play(test, shop(), role)


def test_what_is_refused_for_who_sent_it_is_counted_and_what_would_change_something_is_recorded() -> None:
    world = shop()

    async def test(api: Api) -> None:
        refused = (
            await api.of("analyst").reserve(),
            await api.of("analyst").event(),
            await api.of("telemetry").call("GET", "/v1/balances?tenant=acme"),
            await api.of("acme").reserve(subject={"tenant": "zoo"}),
            await api.of("acme").call("GET", "/v1/reservations?tenant=zoo"),
            await api.of("prod").decide(),
        )
        assert [answer.error() for answer in refused] == [FORBIDDEN] * 6
        until(lambda: [event.by for event in world.recorded(RequestRefused)] == ["analyst"] * 2)

    async def counted(app: ASGIApp) -> None:
        await test(Api(app, world))
        assert await count_of(app, "access_denied", "operator") == 6

    world.run(counted)


def test_without_tenants_each_widest_scope_has_keys_of_its_own() -> None:
    world = fleet(*({"agent": f"agent:{name}", **limits(cost_usd=1)} for name in ("a", "b")))
    for name in ("a", "b"):
        world.key(name, "agent", agent=f"agent:{name}")
    world.key("operator", "operator")

    async def test(api: Api) -> None:
        ids = set[str]()
        for name in ("a", "b"):
            own = api.of(name)
            (await own.decide(subject={"agent": name}, idempotency_key="1")).ok()
            (await own.event(subject={"agent": name}, idempotency_key="1")).ok()
            id = (await own.reserve(subject={"agent": name}, idempotency_key="1")).ok()["reservation_id"]
            for listed in (await own.list("idempotency_key=1"), await api.list(f"idempotency_key=1&agent={name}")):
                assert [row["reservation_id"] for row in listed.ok()["reservations"]] == [id]
            ids.add(id)
        assert len(ids) == 2

    play(test, world, "operator")


def test_the_key_of_a_tenant_acts_for_it_and_below_it_and_fills_in_its_name() -> None:
    async def test(api: Api) -> None:
        for subject in ({"tenant": "acme"}, {"workspace": "prod"}, {**IN_PROD, "agent": "bot"}):
            answer = await api.reserve(subject=subject)
            assert answer.ok()["affected_scopes"][0] == "tenant:acme"
            assert answer.headers["x-cycles-tenant"] == "acme"
            assert statuses(await all_of(api, answer.ok()["reservation_id"], **subject)) == WORKS

    play(test, shop(), "acme")


def test_the_key_of_a_tenant_sees_and_uses_nothing_of_another() -> None:
    async def test(api: Api) -> None:
        id = (await api.of("operator").reserve(subject={"tenant": "zoo"})).ok()["reservation_id"]
        for name, answer in (await all_of(api, id, tenant="zoo")).items():
            assert answer.error() == FORBIDDEN, name
        assert {scope for scope, _ in await api.balances("agent=&tenant=acme")} == {"tenant:acme", PROD}
        assert (await api.list("")).ok()["reservations"] == []

    play(test, shop(), "acme")


def test_the_key_of_a_workspace_neither_uses_nor_sees_the_tenant_above_it() -> None:
    async def test(api: Api) -> None:
        tenants = (await api.of("operator").reserve()).ok()["reservation_id"]
        own = (await api.reserve(subject=IN_PROD)).ok()["reservation_id"]
        for name in ("create", "dry run", "decide", "event"):
            assert (await all_of(api, tenants))[name].error() == FORBIDDEN, name
        for answer in (await api.get(tenants), await api.commit(tenants), await api.release(tenants)):
            assert answer.error() == FORBIDDEN
        assert {scope for scope, _ in await api.balances("tenant=acme")} == {PROD}
        assert [row["reservation_id"] for row in (await api.list()).ok()["reservations"]] == [own]
        assert statuses(await all_of(api, own, **IN_PROD)) == WORKS

    play(test, shop(), "prod")


def test_a_key_of_an_agent_that_is_no_scope_acts_for_no_subject() -> None:
    async def test(api: Api) -> None:
        for subject in ({"tenant": "acme"}, {"agent": "researcher"}):
            for name in ("create", "dry run", "decide", "event", "balances", "list"):
                assert (await all_of(api, "rsv-0", **subject))[name].error() == FORBIDDEN, name

    play(test, shop(), "plain")


def test_an_agents_key_sets_no_label_that_a_limit_counts_by() -> None:
    world = fleet(
        {"agent": "tenant:acme", **limits(cost_usd=1)},
        config={"limits": [{"name": "by-agent", "per": "label:agent", "window": "total", "max": {"cost_usd": 1}}]},
    )
    world.key("acme", "agent", agent="tenant:acme")
    world.key("ops", "orchestrator")

    async def test(api: Api) -> None:
        assert (await api.reserve(subject={"agent": "bot"})).error() == FORBIDDEN
        ops = api.of("ops")
        (await ops.reserve(60 * CENT, subject={"tenant": "acme", "agent": "bot"})).ok()
        assert (await ops.reserve(60 * CENT, subject={"tenant": "acme", "agent": "bot"})).error()[
            1
        ] == "BUDGET_EXCEEDED"
        (await ops.reserve(30 * CENT, subject={"tenant": "acme", "agent": "bee"})).ok()

    play(test, world, "acme")


def test_two_tenants_may_use_the_same_key_for_their_requests() -> None:
    async def test(api: Api) -> None:
        ids = {
            (await api.reserve(subject={"tenant": t}, idempotency_key="k")).ok()["reservation_id"]
            for t in ("acme", "zoo")
        }
        assert len(ids) == 2

    play(test, shop(), "operator")


def test_an_address_that_goes_on_with_wrong_keys_is_slowed_in_the_protocols_words() -> None:
    async def test(api: Api) -> None:
        wrong = api.of("nobody")
        codes = [(await wrong.decide()).error() for _ in range(30)]
        assert codes[0] == UNAUTHORIZED
        assert codes[-1] == (429, "LIMIT_EXCEEDED")

    play(test, shop())


def test_what_the_server_refuses_before_it_knows_who_asks_is_in_the_protocols_shape_too() -> None:
    async def test(api: Api) -> None:
        assert (await api.call("GET", "/v1/balances?tenant=acme", host="elsewhere.example")).error() == (
            421,
            "INVALID_REQUEST",
        )
        other = await api.call("GET", "/v1/balances?tenant=acme", origin="http://elsewhere.example")
        assert other.error() == FORBIDDEN

    play(test, shop(), "operator")


def test_a_fleet_of_a_cluster_speaks_the_protocol_and_asks_for_a_key() -> None:
    world = shop()

    async def test() -> None:
        app, _ = inner_application(world.fleet, keys_needed=True, reader_limit=ReaderLimit(1))
        assert (await Api(app, world).reserve()).error() == UNAUTHORIZED
        (await Api(app, world, "acme").reserve()).ok()

    asyncio.run(test())
    world.fleet.close()


def test_the_log_says_who_reserved() -> None:
    async def test(api: Api) -> None:
        (await api.reserve()).ok()
        until(lambda: bool(api.world.recorded(HoldPlaced)))
        (placed,) = api.world.recorded(HoldPlaced)
        assert (placed.by, placed.labels) == ("tenant:acme", {"tenant": "acme"})
        assert (await api.balances())["tenant:acme", USD]["reserved"]["amount"] == CENT

    play(test, shop(), "acme")
