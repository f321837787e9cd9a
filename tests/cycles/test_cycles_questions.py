"""What the Cycles protocol is asked without using anything: decisions, dry runs, balances, lists, health."""

import datetime as dt
from typing import Any

import pytest

from tallystick.cycles import listing
from tests.support.core import START
from tests.support.cycles import CENT, TOKENS, USD, Api, fleet, limits, play


def test_a_decision_is_what_a_reservation_would_be_answered_and_reserves_nothing() -> None:
    async def test(api: Api) -> None:
        before = api.world.fleet.ask({"type": "GetGlobalStatus"})["ok"]["position"]
        assert (await api.decide(100 * CENT)).ok() == {"decision": "ALLOW", "affected_scopes": ["tenant:acme"]}
        assert (await api.decide(0)).ok()["decision"] == "ALLOW"
        denied = (await api.decide(101 * CENT)).ok()
        assert (denied["decision"], denied["reason_code"]) == ("DENY", "BUDGET_EXCEEDED")
        assert api.world.fleet.ask({"type": "GetGlobalStatus"})["ok"]["position"] == before

    play(test)


def test_a_dry_run_says_what_would_be_reserved_and_has_neither_an_id_nor_an_expiry() -> None:
    async def test(api: Api) -> None:
        assert (await api.reserve(dry_run=True)).ok() == {
            "decision": "ALLOW",
            "affected_scopes": ["tenant:acme"],
            "scope_path": "tenant:acme",
            "reserved": {"unit": USD, "amount": CENT},
        }
        assert (await api.reserve(101 * CENT, dry_run=True)).ok() == {
            "decision": "DENY",
            "affected_scopes": ["tenant:acme"],
            "scope_path": "tenant:acme",
            "reason_code": "BUDGET_EXCEEDED",
        }
        assert await api.left() == 100 * CENT

    play(test)


def test_the_same_key_gets_the_same_decision_though_the_budget_has_changed() -> None:
    async def test(api: Api) -> None:
        first = (await api.decide(50 * CENT, idempotency_key="k")).ok()
        (await api.reserve(100 * CENT)).ok()
        assert (await api.decide(50 * CENT, idempotency_key="k")).ok() == first
        assert (await api.decide(50 * CENT)).ok()["decision"] == "DENY"

    play(test)


def test_a_dry_run_and_a_reservation_may_have_the_same_key() -> None:
    async def test(api: Api) -> None:
        for dry in (True, False):
            (await api.reserve(idempotency_key="k", dry_run=dry)).ok()

    play(test)


def test_an_event_is_booked_whether_there_is_room_or_not_unless_it_says_otherwise() -> None:
    async def test(api: Api) -> None:
        answer = await api.event(60 * CENT, overage_policy="REJECT")
        assert answer.status == 201
        assert answer.ok() == {
            "status": "APPLIED",
            "event_id": answer.ok()["event_id"],
            "charged": {"unit": USD, "amount": 60 * CENT},
        }
        assert (await api.event(41 * CENT, overage_policy="REJECT")).error() == (409, "BUDGET_EXCEEDED")
        assert await api.left() == 40 * CENT
        assert (await api.event(41 * CENT)).ok()["charged"]["amount"] == 41 * CENT
        assert await api.left() == -CENT
        assert (await api.event(0, overage_policy="REJECT")).ok()["status"] == "APPLIED"

    play(test)


PROD = "tenant:acme/workspace:prod"
ALL = ["ACTIVE", "COMMITTED", "EXPIRED", "RELEASED"]


def tenants() -> Any:
    """Two tenants, of which one's name begins like the other's, and a workspace with five agents."""
    return fleet(
        *({"agent": f"tenant:{name}", **limits(cost_usd=1, tokens=9)} for name in ("acme", "acme-2", "zoo")),
        {"agent": "other", **limits(cost_usd=1)},
        {"agent": PROD, "parent": "tenant:acme", **limits(cost_usd=1)},
        *({"agent": f"{PROD}/agent:{n}", "parent": PROD, **limits(cost_usd=1)} for n in range(5)),
    )


@pytest.mark.parametrize(
    ("query", "scopes"),
    [
        ("tenant=acme&agent=3", ["tenant:acme/workspace:prod/agent:3"]),
        ("tenant=acme-2", ["tenant:acme-2"]),
        ("tenant=nobody", []),
        ("agent=3", ["tenant:acme/workspace:prod/agent:3"]),
        (
            "tenant=acme&agent=",
            ["tenant:acme", PROD, *(f"{PROD}/agent:{n}" for n in range(5))],
        ),
    ],
)
def test_balances_are_those_of_all_scopes_with_the_levels_asked_for(query: str, scopes: list[str]) -> None:
    async def test(api: Api) -> None:
        assert sorted({scope for scope, _ in await api.balances(query)}) == scopes

    play(test, tenants())


def test_balances_come_in_pages_that_together_are_all() -> None:
    async def test(api: Api) -> None:
        found, cursor, pages = list[str](), "", 0
        while True:
            page = (await api.call("GET", f"/v1/balances?tenant=acme&limit=2&cursor={cursor}")).ok()
            found += [one["scope_path"] for one in page["balances"] if one["remaining"]["unit"] == USD]
            pages += 1
            if not page["has_more"]:
                break
            cursor = page["next_cursor"]
        assert len(found) == len(set(found)) == 7
        assert pages == 4

    play(test, tenants())


@pytest.mark.parametrize("name", ["a%0d%0aset-cookie:%20a=b", "a%0a", "%C3%A4", "a/b", "a:b", "x" * 129])
def test_a_level_that_is_no_name_is_refused_and_stands_in_no_header(name: str) -> None:
    async def test(api: Api) -> None:
        for path in (f"/v1/balances?tenant={name}", f"/v1/reservations?tenant={name}", f"/v1/balances?agent={name}"):
            answer = await api.call("GET", path)
            assert answer.error() == (400, "INVALID_REQUEST")
            assert "set-cookie" not in answer.headers
            assert len(answer.headers.get("x-cycles-tenant", "")) in (0, 129)

    play(test)


@pytest.mark.parametrize("query", ["", "limit=5", "tenant=&agent="])
def test_balances_are_asked_for_by_at_least_one_level(query: str) -> None:
    async def test(api: Api) -> None:
        assert (await api.call("GET", f"/v1/balances?{query}")).error() == (400, "INVALID_REQUEST")

    play(test)


async def some(api: Api) -> dict[str, str]:
    """One reservation of each state, of two tenants, one second after the other."""
    ids = {}
    for state in ("ACTIVE", "COMMITTED", "RELEASED", "EXPIRED"):
        more = {"ttl_ms": 1_000, "grace_period_ms": 0} if state == "EXPIRED" else {}
        agent = {"tenant": "acme", "agent": state.lower()}
        ids[state] = (await api.reserve(subject=agent, idempotency_key=state, metadata={"of": state}, **more)).ok()[
            "reservation_id"
        ]
        api.passes(1)
    (await api.commit(ids["COMMITTED"], 5, metadata={"c": 1})).ok()
    (await api.release(ids["RELEASED"])).ok()
    api.passes(1)
    ids["other"] = (await api.reserve(subject={"tenant": "zoo"})).ok()["reservation_id"]
    return ids


def at(seconds: float) -> str:
    return (START + dt.timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize(
    ("query", "states"),
    [
        ("tenant=acme", ALL),
        *((f"tenant=acme&status={state}", [state]) for state in ("ACTIVE", "COMMITTED", "RELEASED", "EXPIRED")),
        ("tenant=acme&agent=active", ["ACTIVE"]),
        ("agent=released", ["RELEASED"]),
        ("tenant=acme&idempotency_key=COMMITTED", ["COMMITTED"]),
        ("tenant=zoo&idempotency_key=COMMITTED", []),
        (f"tenant=acme&from={at(1)}&to={at(2)}", ["COMMITTED", "RELEASED"]),
        (f"tenant=acme&finalized_from={at(0)}", ["COMMITTED", "RELEASED"]),
        (f"tenant=acme&expires_to={at(30)}&from=", ["EXPIRED"]),
        (
            "tenant=acme&sort_by=reserved&sort_dir=asc&include=,unheard_of,",
            ["ACTIVE", "COMMITTED", "EXPIRED", "RELEASED"],
        ),
    ],
)
def test_reservations_are_listed_by_state_scope_key_and_time(query: str, states: list[str]) -> None:
    async def test(api: Api) -> None:
        await some(api)
        rows = (await api.list(query)).ok()["reservations"]
        assert sorted(row["status"] for row in rows) == states
        assert not any("metadata" in row for row in rows)

    play(test, tenants())


def test_what_was_said_with_reservations_is_listed_where_it_is_asked_for() -> None:
    async def test(api: Api) -> None:
        await some(api)
        (bare,) = (await api.list("tenant=acme&status=COMMITTED")).ok()["reservations"]
        (full,) = (await api.list("tenant=acme&status=COMMITTED&include=metadata,committed_metadata")).ok()[
            "reservations"
        ]
        assert "metadata" not in bare
        assert bare["committed"] == {"unit": USD, "amount": 5}
        assert (full["metadata"], full["committed_metadata"]) == ({"of": "COMMITTED"}, {"c": 1})

    play(test, tenants())


def test_reservations_come_in_pages_that_together_are_all() -> None:
    async def test(api: Api) -> None:
        ids = {(await api.reserve(1)).ok()["reservation_id"] for _ in range(5)}
        (await api.reserve(1, subject={"tenant": "zoo"})).ok()
        found, cursor, pages = list[str](), "", 0
        while True:
            page = (await api.list(f"tenant=acme&limit=2&cursor={cursor}")).ok()
            found += [row["reservation_id"] for row in page["reservations"]]
            pages += 1
            if not page["has_more"]:
                break
            cursor = page["next_cursor"]
        assert (sorted(found), pages) == (sorted(ids), 3)

    play(test, tenants())


def test_pages_that_end_early_because_little_matches_are_together_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_PAGE", 2)
    monkeypatch.setattr(listing, "_LOOKED_AT", 2)

    async def test(api: Api) -> None:
        for n in range(6):
            (await api.reserve(1, subject={"tenant": "acme", "agent": str(n % 3)})).ok()
        for path, count in (("/v1/reservations?tenant=acme&agent=2", 2), ("/v1/balances?agent=2", 1)):
            found, cursor, pages = list[Any](), "", 0
            while True:
                page = (await api.call("GET", f"{path}&cursor={cursor}")).ok()
                found += page.get("reservations", page.get("balances"))
                pages += 1
                if not page["has_more"]:
                    break
                cursor = page["next_cursor"]
            assert (len(found), pages > 2) == (count, True)

    play(test, tenants())


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=many",
        "status=OPEN",
        "from=yesterday",
        "from=2026-03-04T12:00:00",
        f"from={at(2)}&to={at(1)}",
        f"expires_from={at(2)}&expires_to={at(1)}",
        f"finalized_from={at(2)}&finalized_to={at(1)}",
    ],
)
def test_a_parameter_that_is_not_allowed_is_an_invalid_request(query: str) -> None:
    async def test(api: Api) -> None:
        assert (await api.list(f"tenant=acme&{query}")).error() == (400, "INVALID_REQUEST")

    play(test)


def test_health_needs_no_key() -> None:
    world = fleet()
    world.key("ann", "operator")

    async def test(api: Api) -> None:
        for path in ("/actuator/health", "/actuator/health/readiness", "/actuator/health/liveness"):
            assert (await api.call("GET", path)).ok() == {"status": "UP"}
        api.world.fleet.close()
        assert (await api.call("GET", "/actuator/health")).status == 503

    play(test, world)


def test_each_answer_says_how_it_is_found_again_and_whose_it_is() -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"

    async def test(api: Api) -> None:
        parent = f"00-{trace}-00f067aa0ba902b7-01"
        own = {"X_Cycles_Trace_Id": trace}
        for headers in ({"traceparent": parent}, own, {"traceparent": "x", **own}):
            answer = await api.call("GET", "/v1/balances?tenant=acme", **headers)
            assert answer.headers["x-cycles-trace-id"] == trace
            assert answer.headers["x-cycles-tenant"] == "acme"
        for wrong in ("0" * 32, "short"):
            fresh = (await api.call("GET", "/v1/balances?tenant=acme", X_Cycles_Trace_Id=wrong)).headers
            assert fresh["x-cycles-trace-id"] != wrong
            assert len(fresh["x-cycles-trace-id"]) == 32

    play(test)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/v1/evidence/{'0' * 64}"),
        ("GET", "/v1/.well-known/cycles-jwks.json"),
        ("POST", "/v1/admin/budgets"),
        ("DELETE", "/v1/reservations"),
        ("GET", "/v1/decide"),
        ("GET", "/anything"),
    ],
)
def test_what_is_not_served_is_not_found(method: str, path: str) -> None:
    async def test(api: Api) -> None:
        assert (await api.call(method, path)).error() == (404, "NOT_FOUND")

    play(test)


def test_tokens_are_a_unit_of_balances_beside_dollars() -> None:
    async def test(api: Api) -> None:
        (await api.event(4, TOKENS)).ok()
        assert await api.left(unit=TOKENS) == 5
        assert await api.left() == 100 * CENT

    play(test, tenants())
