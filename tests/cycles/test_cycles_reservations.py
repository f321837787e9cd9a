"""Reservations of the Cycles protocol: each operation, its states, and what a repeated key is answered."""

import asyncio
from typing import Any

import pytest

from tallystick.http.app import application
from tallystick.http.guard import LOOPBACK
from tests.support.cycles import ACTION, CENT, TOKENS, USD, Api, Said, fleet, limits, ms, play

OVER = {"committed": (409, "RESERVATION_FINALIZED"), "released": (409, "RESERVATION_FINALIZED")}
EXPIRED = (410, "RESERVATION_EXPIRED")


async def reserved(api: Api, **more: Any) -> str:
    id: str = (await api.reserve(**more)).ok()["reservation_id"]
    return id


def test_a_reservation_sets_its_estimate_aside_in_every_scope() -> None:
    bot = {"agent": "tenant:acme/agent:bot", "parent": "tenant:acme", **limits(cost_usd="0.50")}
    world = fleet({"agent": "tenant:acme", **limits(cost_usd=1)}, bot)

    async def test(api: Api) -> None:
        answer = (await api.reserve(10 * CENT, subject={"tenant": "acme", "agent": "bot"}, ttl_ms=30_000)).ok()
        assert answer == {
            "decision": "ALLOW",
            "reservation_id": answer["reservation_id"],
            "reserved": {"unit": USD, "amount": 10 * CENT},
            "expires_at_ms": ms(30),
            "remaining_ttl_ms": 30_000,
            "scope_path": "tenant:acme/agent:bot",
            "affected_scopes": ["tenant:acme", "tenant:acme/agent:bot"],
        }
        assert await api.left() == 90 * CENT
        assert await api.left("tenant:acme/agent:bot") == 40 * CENT

    play(test, world)


def test_a_scope_without_an_account_is_passed_over_and_its_name_is_a_label() -> None:
    async def test(api: Api) -> None:
        subject = {"tenant": "acme", "workspace": "prod", "agent": "bot", "dimensions": {"cost_center": "r-d"}}
        answer = (await api.reserve(subject=subject)).ok()
        assert answer["affected_scopes"][-1] == "tenant:acme/workspace:prod/agent:bot"
        (hold,) = api.world.ask({"type": "GetHolds"})["holds"]
        assert hold["agent"] == "tenant:acme"
        assert hold["labels"] == {"tenant": "acme", "workspace": "prod", "agent": "bot", "cost_center": "r-d"}
        assert (await api.get(answer["reservation_id"])).ok()["subject"] == subject

    play(test)


def test_a_commit_charges_what_was_used_and_gives_back_the_rest() -> None:
    async def test(api: Api) -> None:
        id = await reserved(api, amount=10 * CENT)
        answer = (await api.commit(id, 4 * CENT)).ok()
        assert answer == {
            "status": "COMMITTED",
            "charged": {"unit": USD, "amount": 4 * CENT},
            "released": {"unit": USD, "amount": 6 * CENT},
        }
        assert await api.left() == 96 * CENT

    play(test)


def test_a_commit_of_nothing_is_a_commit() -> None:
    async def test(api: Api) -> None:
        id = await reserved(api)
        assert (await api.commit(id, 0)).ok()["charged"]["amount"] == 0
        assert (await api.get(id)).ok()["committed"] == {"unit": USD, "amount": 0}

    play(test)


def test_a_release_gives_everything_back() -> None:
    async def test(api: Api) -> None:
        id = await reserved(api, amount=10 * CENT)
        assert (await api.release(id, reason="no need")).ok() == {
            "status": "RELEASED",
            "released": {"unit": USD, "amount": 10 * CENT},
        }
        assert await api.left() == 100 * CENT

    play(test)


def test_extensions_add_up_from_when_it_would_expire_and_hold_no_more() -> None:
    async def test(api: Api) -> None:
        id = await reserved(api, ttl_ms=30_000, amount=10 * CENT)
        api.passes(20)
        answers = [(await api.extend(id, 10_000)).ok(), (await api.extend(id, 5_000)).ok()]
        assert [answer["expires_at_ms"] for answer in answers] == [ms(40), ms(45)]
        assert [answer["remaining_ttl_ms"] for answer in answers] == [20_000, 25_000]
        assert await api.left() == 90 * CENT
        assert (await api.get(id)).ok()["expires_at_ms"] == ms(45)

    play(test)


def test_a_reservation_can_be_committed_until_its_grace_period_ends_and_extended_until_it_expires() -> None:
    async def test(api: Api) -> None:
        first, second = [await reserved(api, ttl_ms=10_000, grace_period_ms=5_000, amount=CENT) for _ in range(2)]
        api.passes(11)
        assert (await api.extend(first)).error() == EXPIRED
        assert (await api.commit(first)).ok()["status"] == "COMMITTED"
        assert await api.left() == 98 * CENT, "the other one is still set aside"
        api.passes(5)
        assert await api.left() == 99 * CENT
        for refused in (await api.commit(second), await api.release(second), await api.extend(second)):
            assert refused.error() == EXPIRED
        assert (await api.get(second)).error() == EXPIRED
        assert await api.left() == 99 * CENT, "what came too late is not booked: the client sends an event"

    play(test)


@pytest.mark.parametrize("end", ["committed", "released"])
def test_a_reservation_that_is_over_stays_so(end: str) -> None:
    async def test(api: Api) -> None:
        id = await reserved(api)
        (await (api.commit(id) if end == "committed" else api.release(id))).ok()
        for refused in (await api.commit(id), await api.release(id), await api.extend(id)):
            assert refused.error() == OVER[end]
        assert (await api.get(id)).ok()["status"] == end.upper()
        assert await api.left() == (99 if end == "committed" else 100) * CENT

    play(test)


def test_of_a_commit_and_a_release_at_once_one_wins_and_the_other_finds_it_finalized() -> None:
    async def test(api: Api) -> None:
        for turn in range(10):
            id = await reserved(api)
            before = await api.left()
            calls = [api.release(id), api.commit(id)][:: 1 if turn % 2 else -1]
            answers = await asyncio.gather(*calls)
            assert sorted(answer.status for answer in answers) == [200, 409]
            (lost,) = [answer for answer in answers if answer.status != 200]
            assert lost.error() == (409, "RESERVATION_FINALIZED")
            committed = (await api.get(id)).ok()["status"] == "COMMITTED"
            assert await api.left() == before + (0 if committed else CENT)

    play(test)


def test_requests_with_one_key_that_come_at_once_make_one_reservation() -> None:
    async def test(api: Api) -> None:
        answers = await asyncio.gather(*(api.reserve(idempotency_key="k") for _ in range(8)))
        assert len({answer.ok()["reservation_id"] for answer in answers}) == 1
        assert await api.left() == 99 * CENT

    play(test)


def test_what_never_was_is_not_found() -> None:
    async def test(api: Api) -> None:
        api.world.ask(
            {"type": "Reserve", "id": "rsv-of-another-kind", "agent": "tenant:acme", "estimate": {"tokens": 1}}
        )
        for id in ("rsv-0", "some-hold", "rsv-of-another-kind"):
            for refused in (await api.commit(id), await api.release(id), await api.extend(id), await api.get(id)):
                assert refused.error() == (404, "NOT_FOUND")

    play(test)


def test_the_same_key_gets_the_same_answer_and_books_nothing_again() -> None:
    async def test(api: Api) -> None:
        async def twice(call: Any) -> dict[str, Any]:
            first: Said = await call()
            again: Said = await call()
            volatile = {"remaining_ttl_ms"}
            assert {k: v for k, v in first.ok().items() if k not in volatile} == {
                k: v for k, v in again.ok().items() if k not in volatile
            }
            return again.body

        id = (await twice(lambda: api.reserve(10 * CENT, idempotency_key="k", ttl_ms=30_000)))["reservation_id"]
        await twice(lambda: api.extend(id, idempotency_key="k"))
        api.passes(3)
        assert (await api.reserve(10 * CENT, idempotency_key="k", ttl_ms=30_000)).ok()["remaining_ttl_ms"] == 27_000
        assert (await api.extend(id, idempotency_key="k")).ok()["remaining_ttl_ms"] == 37_000
        await twice(lambda: api.commit(id, 4 * CENT, idempotency_key="k"))
        assert (await api.reserve(10 * CENT, idempotency_key="k", ttl_ms=30_000)).ok()["remaining_ttl_ms"] == 0
        other = await reserved(api)
        await twice(lambda: api.release(other, idempotency_key="k"))
        await twice(lambda: api.event(CENT, idempotency_key="k"))
        await twice(lambda: api.event(CENT, idempotency_key="j", overage_policy="REJECT"))
        assert await api.left() == 94 * CENT

    play(test)


def test_another_server_gives_the_same_answers_also_when_there_is_a_narrower_account_by_then() -> None:
    async def test(api: Api) -> None:
        subject = {"tenant": "acme", "workspace": "prod", "agent": "bot"}
        calls = [
            (api.reserve, {"ttl_ms": 9_000}),
            (api.event, {}),
            (api.event, {"overage_policy": "REJECT"}),
        ]
        first = [await call(subject=subject, idempotency_key=f"k{n}", **more) for n, (call, more) in enumerate(calls)]
        bot = {"agent": "tenant:acme/workspace:prod/agent:bot", "parent": "tenant:acme"}
        api.world.ask({"type": "AllocateBudget", **bot, **limits(cost_usd=1)})
        other = Api(application(api.world.fleet, LOOPBACK)[0], api.world)
        calls = [(getattr(other, call.__name__), more) for call, more in calls]
        again = [await call(subject=subject, idempotency_key=f"k{n}", **more) for n, (call, more) in enumerate(calls)]
        assert [answer.ok() for answer in again] == [answer.ok() for answer in first]
        assert await api.left() == 97 * CENT
        changed = await other.event(2, subject=subject, idempotency_key="k1")
        assert changed.error() == (409, "IDEMPOTENCY_MISMATCH")

    play(test)


def test_the_same_key_with_another_request_is_a_mismatch() -> None:
    changes: list[dict[str, Any]] = [
        {"amount": 2 * CENT},
        {"subject": {"tenant": "acme", "agent": "bot"}},
        {"action": {**ACTION, "name": "gpt-5"}},
        {"ttl_ms": 1_000},
        {"grace_period_ms": 1},
        {"overage_policy": "REJECT"},
        {"metadata": {"run": 2}},
    ]

    async def test(api: Api) -> None:
        id = await reserved(api, idempotency_key="k", metadata={"run": 1})
        same: dict[str, Any] = {"idempotency_key": "k", "metadata": {"run": 1}}
        for change in changes:
            assert (await api.reserve(**{**same, **change})).error() == (409, "IDEMPOTENCY_MISMATCH"), change
        (await api.commit(id, CENT, idempotency_key="c")).ok()
        assert (await api.commit(id, 2 * CENT, idempotency_key="c")).error() == (409, "IDEMPOTENCY_MISMATCH")
        (await api.decide(idempotency_key="d")).ok()
        assert (await api.decide(2 * CENT, idempotency_key="d")).error() == (409, "IDEMPOTENCY_MISMATCH")
        (await api.event(idempotency_key="e")).ok()
        assert (await api.event(2 * CENT, idempotency_key="e")).error() == (409, "IDEMPOTENCY_MISMATCH")
        header = await api.call(
            "POST", f"/v1/reservations/{id}/release", {"idempotency_key": "a"}, X_Idempotency_Key="b"
        )
        assert header.error() == (400, "INVALID_REQUEST")

    play(test)


def test_a_key_that_was_refused_may_come_again_when_there_is_room_and_is_carried_out_once() -> None:
    async def test(api: Api) -> None:
        first = await reserved(api, amount=100 * CENT)
        for _ in range(3):
            assert (await api.reserve(50 * CENT, idempotency_key="step")).error() == (409, "BUDGET_EXCEEDED")
        (await api.release(first)).ok()
        granted = [await reserved(api, amount=50 * CENT, idempotency_key="step") for _ in range(2)]
        assert granted[0] == granted[1]
        assert await api.left() == 50 * CENT
        (row,) = (await api.list("tenant=acme&idempotency_key=step")).ok()["reservations"]
        assert row["reservation_id"] == granted[0]
        event: dict[str, Any] = {"amount": 80 * CENT, "overage_policy": "REJECT", "idempotency_key": "e"}
        assert (await api.event(**event)).error() == (409, "BUDGET_EXCEEDED")
        (await api.commit(granted[0], 0)).ok()
        for _ in range(2):
            (await api.event(**event)).ok()
        assert await api.left() == 20 * CENT

    play(test)


def test_what_was_said_with_a_reservation_and_its_commit_is_read_back() -> None:
    async def test(api: Api) -> None:
        action = {**ACTION, "tags": ["prod", "é"]}
        id = await reserved(api, action=action, metadata={"run": {"n": 1}}, ttl_ms=5_000)
        api.passes(2)
        metrics = {"tokens_input": 5, "model_version": "gpt-4o-2024", "custom": {"x": 1}}
        (await api.commit(id, 7, metrics=metrics, metadata={"trace": "t"})).ok()
        assert (await api.get(id)).ok() == {
            "reservation_id": id,
            "status": "COMMITTED",
            "subject": {"tenant": "acme"},
            "action": action,
            "reserved": {"unit": USD, "amount": CENT},
            "committed": {"unit": USD, "amount": 7},
            "created_at_ms": ms(0),
            "expires_at_ms": ms(5),
            "finalized_at_ms": ms(2),
            "scope_path": "tenant:acme",
            "affected_scopes": ["tenant:acme"],
            "metadata": {"run": {"n": 1}},
            "committed_metadata": {"trace": "t"},
        }

    play(test)


def test_more_than_can_be_kept_beside_a_reservation_is_refused_and_nothing_is_reserved() -> None:
    async def test(api: Api) -> None:
        long = {"note": "x" * 1_000}
        assert (await api.reserve(metadata=long)).error() == (400, "INVALID_REQUEST")
        assert await api.left() == 100 * CENT
        id = await reserved(api)
        assert (await api.commit(id, metadata=long)).error() == (400, "INVALID_REQUEST")
        assert (await api.get(id)).ok()["status"] == "ACTIVE"

    play(test)


@pytest.mark.parametrize("policy", ["REJECT", "ALLOW_IF_AVAILABLE", "ALLOW_WITH_OVERDRAFT"])
def test_more_than_was_reserved_is_refused_where_the_reservation_says_so_and_otherwise_booked_whole(
    policy: str,
) -> None:
    async def test(api: Api) -> None:
        id = await reserved(api, amount=90 * CENT, overage_policy=policy)
        answer = await api.commit(id, 120 * CENT)
        if policy == "REJECT":
            assert answer.error() == (409, "BUDGET_EXCEEDED")
            assert (await api.get(id)).ok()["status"] == "ACTIVE"
            assert (await api.commit(id, 90 * CENT)).ok()["status"] == "COMMITTED"
            return
        assert answer.ok() == {"status": "COMMITTED", "charged": {"unit": USD, "amount": 120 * CENT}}
        balance = (await api.balances())["tenant:acme", USD]
        assert (balance["remaining"]["amount"], balance["is_over_limit"]) == (-20 * CENT, True)
        assert (await api.reserve(1)).error() == (409, "OVERDRAFT_LIMIT_EXCEEDED")

    play(test)


def test_tokens_are_reserved_and_charged_as_tokens_alone() -> None:
    world = fleet({"agent": "tenant:acme", **limits(tokens=1_000, cost_usd=1)})

    async def test(api: Api) -> None:
        id = await reserved(api, amount=600, unit=TOKENS)
        assert (await api.reserve(500, TOKENS)).error() == (409, "BUDGET_EXCEEDED")
        assert (await api.commit(id, 1, USD)).error() == (400, "UNIT_MISMATCH")
        metrics = {"tokens_input": 900, "model_version": "gpt-4o"}
        (await api.commit(id, 100, TOKENS, metrics=metrics)).ok()
        assert (await api.left(unit=TOKENS), await api.left()) == (900, 100 * CENT)

    play(test, world)
