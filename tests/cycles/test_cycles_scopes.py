"""Scopes of the Cycles protocol as accounts: where there is a budget, in which unit, and what stands in the way."""

from typing import Any

import pytest

from tests.support.access import World
from tests.support.cycles import CENT, TOKENS, USD, Api, fleet, limits, play

TENANT = {"agent": "tenant:acme", **limits(cost_usd=1)}
BOT = {"tenant": "acme", "workspace": "prod", "agent": "bot"}


def below(scope: str, parent: str | None = "tenant:acme", **more: Any) -> dict[str, Any]:
    return {"agent": scope, "parent": parent, **(more or limits(cost_usd=1))}


def test_every_level_limits_and_nothing_is_carved_out() -> None:
    prod = below("tenant:acme/workspace:prod", **limits(cost_usd="0.60"))
    bots = [
        below(f"tenant:acme/workspace:prod/agent:{name}", "tenant:acme/workspace:prod", **limits(cost_usd="0.50"))
        for name in ("bot", "bee")
    ]

    async def test(api: Api) -> None:
        api_ok = await api.reserve(50 * CENT, subject=BOT)
        assert api_ok.ok()["scope_path"] == "tenant:acme/workspace:prod/agent:bot"
        other = {**BOT, "agent": "bee"}
        assert (await api.reserve(11 * CENT, subject=other)).error() == (409, "BUDGET_EXCEEDED")
        (await api.reserve(10 * CENT, subject=other)).ok()
        assert {scope: one["remaining"]["amount"] // CENT for (scope, _), one in (await api.balances()).items()} == {
            "tenant:acme": 40,
            "tenant:acme/workspace:prod": 0,
            "tenant:acme/workspace:prod/agent:bee": 40,
            "tenant:acme/workspace:prod/agent:bot": 0,
        }

    play(test, fleet(TENANT, prod, *bots))


def test_where_no_scope_has_a_budget_nothing_is_found() -> None:
    async def test(api: Api) -> None:
        subject = {"tenant": "nobody", "agent": "bot"}
        for refused in (await api.reserve(subject=subject), await api.event(subject=subject)):
            assert refused.error() == (404, "NOT_FOUND")
        for asked in (await api.decide(subject=subject), await api.reserve(subject=subject, dry_run=True)):
            assert (asked.ok()["decision"], asked.ok()["reason_code"]) == ("DENY", "BUDGET_NOT_FOUND")

    play(test)


def test_a_limit_of_requests_alone_is_no_budget_in_a_unit_of_the_protocol() -> None:
    async def test(api: Api) -> None:
        assert (await api.reserve()).error() == (404, "NOT_FOUND")

    play(test, fleet({"agent": "tenant:acme", **limits(requests=5)}))


@pytest.mark.parametrize("unit", [TOKENS, "CREDITS", "RISK_POINTS"])
def test_another_unit_than_that_of_the_budgets_is_a_mismatch_for_every_operation(unit: str) -> None:
    async def test(api: Api) -> None:
        for refused in (
            await api.reserve(unit=unit),
            await api.reserve(unit=unit, dry_run=True),
            await api.decide(unit=unit),
            await api.event(unit=unit),
            await api.event(unit=unit, overage_policy="REJECT"),
        ):
            assert refused.error() == (400, "UNIT_MISMATCH")
            assert refused.body["details"]["requested_unit"] == unit
            assert USD in refused.body["details"]["expected_units"]

    play(test)


def test_an_account_that_is_not_below_the_wider_scope_is_refused_until_it_is() -> None:
    async def test(api: Api) -> None:
        subject = {"tenant": "acme", "agent": "bot"}
        refused = await api.reserve(subject=subject)
        assert refused.error() == (409, "BUDGET_FROZEN")
        assert "allocate it with parent tenant:acme" in refused.body["message"]
        api.world.ask({"type": "ReleaseBudget", "agent": "tenant:acme/agent:bot"})
        api.world.ask({"type": "AllocateBudget", "agent": "team", "parent": "tenant:acme", **limits(cost_usd=1)})
        api.world.ask({"type": "AllocateBudget", **below("tenant:acme/agent:bot", "team")})
        (await api.reserve(subject=subject)).ok()

    play(test, fleet(TENANT, {"agent": "tenant:acme/agent:bot", **limits(cost_usd=1)}))


async def denied(api: Api, code: str, **subject: str) -> None:
    """Everything that would use budget is refused for the same reason, and nothing is reserved."""
    named = {"tenant": "acme", **subject}
    assert (await api.reserve(subject=named)).error() == (409, code)
    assert (await api.event(subject=named, overage_policy="REJECT")).error() == (409, code)
    for asked in (await api.decide(subject=named), await api.reserve(subject=named, dry_run=True)):
        assert (asked.ok()["decision"], asked.ok()["reason_code"]) == ("DENY", code)


def test_a_released_tenant_is_closed_and_so_is_what_it_had_reserved() -> None:
    async def test(api: Api) -> None:
        id = (await api.reserve()).ok()["reservation_id"]
        api.world.ask({"type": "ReleaseBudget", "agent": "tenant:acme", "force": True})
        await denied(api, "TENANT_CLOSED")
        assert (await api.event()).error() == (409, "TENANT_CLOSED")
        for refused in (await api.commit(id), await api.release(id), await api.extend(id)):
            assert refused.error() == (409, "TENANT_CLOSED")
        assert (await api.get(id)).ok()["status"] == "RELEASED"
        assert len((await api.list()).ok()["reservations"]) == 1

    play(test)


def test_a_released_scope_is_closed_until_it_is_allocated_again() -> None:
    bot = below("tenant:acme/agent:bot")

    async def test(api: Api) -> None:
        api.world.ask({"type": "ReleaseBudget", "agent": bot["agent"]})
        await denied(api, "BUDGET_CLOSED", agent="bot")
        (await api.reserve()).ok()
        api.world.ask({"type": "AllocateBudget", **bot})
        (await api.reserve(subject={"tenant": "acme", "agent": "bot"})).ok()

    play(test, fleet(TENANT, bot))


@pytest.mark.parametrize(
    ("order", "undo"),
    [
        ({"type": "PauseAll", "reason": "lunch"}, {"type": "ResumeAll"}),
        ({"type": "Stop", "agent": "tenant:acme", "reason": "lunch"}, {"type": "Resume", "agent": "tenant:acme"}),
        ({"type": "Stop", "agent": "team", "reason": "lunch"}, {"type": "Resume", "agent": "team"}),
    ],
    ids=["the fleet is paused", "the tenant is stopped", "what the tenant is below is stopped"],
)
def test_what_an_operator_has_stopped_is_frozen_and_what_was_used_is_booked_all_the_same(
    order: dict[str, str], undo: dict[str, str]
) -> None:
    world = fleet({"agent": "team", **limits(cost_usd=5)}, {**TENANT, "parent": "team"})

    async def test(api: Api) -> None:
        id = (await api.reserve()).ok()["reservation_id"]
        api.world.ask(order)
        await denied(api, "BUDGET_FROZEN")
        (await api.commit(id)).ok()
        (await api.event()).ok()
        api.world.ask(undo)
        (await api.reserve()).ok()
        assert await api.left() == 97 * CENT

    play(test, world)


def test_a_limit_of_the_day_is_a_budget_too_and_an_open_breaker_alone_refuses_no_reservation() -> None:
    config = {"daily_limits": {"max_cost_usd": 10}, "circuit_breaker": {"trip_conditions": ["cost_daily_usd > 5"]}}
    world = fleet({"agent": "tenant:acme", **limits(cost_usd=30)}, config=config)

    async def test(api: Api) -> None:
        (await api.event(600 * CENT)).ok()
        opened = api.world.fleet.ask({"type": "AllocateBudget", "agent": "late", "budget": {"tokens": 1}})
        assert opened["error"]["code"] == "breaker_open"
        (await api.reserve()).ok()
        (await api.event(390 * CENT)).ok()
        assert (await api.reserve(10 * CENT)).error() == (409, "BUDGET_EXCEEDED")

    play(test, world)


def test_a_throttled_tenant_learns_when_to_come_again() -> None:
    async def test(api: Api) -> None:
        api.world.ask({"type": "Throttle", "agent": "tenant:acme", "rate": 0.5})
        api.world.ask({"type": "ReportUsage", "agent": "tenant:acme", "usage": {"cost_usd": "0.01", "time_seconds": 9}})
        refused = await api.reserve()
        assert refused.error() == (429, "LIMIT_EXCEEDED")
        assert int(refused.headers["retry-after"]) > 0
        asked = (await api.decide()).ok()
        assert (asked["decision"], asked["reason_code"]) == ("DENY", "LIMIT_EXCEEDED")
        assert asked["retry_after_ms"] > 0

    play(test)


def test_a_throttled_tenant_that_has_no_room_either_has_exceeded_its_budget() -> None:
    async def test(api: Api) -> None:
        api.world.ask({"type": "ReportUsage", "agent": "tenant:acme", "usage": {"cost_usd": "0.80", "time_seconds": 9}})
        assert (await api.reserve(CENT)).error() == (429, "LIMIT_EXCEEDED")
        refused = await api.reserve(30 * CENT)
        assert refused.body["details"]["code"] == "throttled"
        assert refused.error() == (409, "BUDGET_EXCEEDED")

    play(test)


def test_a_window_says_when_there_is_room_again() -> None:
    world = fleet({"agent": "tenant:acme", "limits": [{"window": "day", "max": {"cost_usd": 1}}]})

    async def test(api: Api) -> None:
        (await api.event(100 * CENT)).ok()
        refused = await api.reserve()
        assert refused.error() == (409, "BUDGET_EXCEEDED")
        assert 0 < int(refused.headers["retry-after"]) <= 86_400
        api.passes(int(refused.headers["retry-after"]))
        (await api.reserve()).ok()

    play(test, world)


def carved(**more: Any) -> World:
    return fleet({"agent": "tenant:acme", "budget": {"cost_usd": 1}, **more})


def test_what_others_cover_for_a_carved_budget_is_debt_and_no_new_work_is_let_in() -> None:
    async def test(api: Api) -> None:
        id = (await api.reserve(100 * CENT)).ok()["reservation_id"]
        (await api.commit(id, 130 * CENT)).ok()
        balance = (await api.balances())["tenant:acme", USD]
        assert {name: balance[name]["amount"] // CENT for name in ("allocated", "spent", "debt", "remaining")} == {
            "allocated": 100,
            "spent": 100,
            "debt": 30,
            "remaining": -30,
        }
        await denied(api, "DEBT_OUTSTANDING")

    play(test, carved())


def test_more_debt_than_the_overdraft_limit_is_over_the_limit_and_within_it_is_debt() -> None:
    async def test(api: Api) -> None:
        (await api.event(130 * CENT)).ok()
        balance = (await api.balances())["tenant:acme", USD]
        assert (balance["overdraft_limit"]["amount"], balance["is_over_limit"]) == (40 * CENT, False)
        await denied(api, "DEBT_OUTSTANDING")
        (await api.event(20 * CENT)).ok()
        assert (await api.balances())["tenant:acme", USD]["is_over_limit"] is True
        await denied(api, "OVERDRAFT_LIMIT_EXCEEDED")

    play(test, carved(overdraft_max={"cost_usd": "0.40"}))


def test_what_is_granted_to_an_account_below_is_reserved_in_the_one_above() -> None:
    bot = {"agent": "tenant:acme/agent:bot", "parent": "tenant:acme", "budget": {"cost_usd": "0.30"}}

    async def test(api: Api) -> None:
        balance = (await api.balances())["tenant:acme", USD]
        assert (balance["reserved"]["amount"], balance["remaining"]["amount"]) == (30 * CENT, 70 * CENT)

    play(test, fleet({"agent": "tenant:acme", "budget": {"cost_usd": 1}}, bot))
