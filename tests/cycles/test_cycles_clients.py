"""The published Python client, as it is, against a server of ours: only its base URL and its key are other ones."""

import asyncio
import contextlib
import hashlib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from runcycles import (
    Action,
    Amount,
    AsyncCyclesClient,
    BalanceResponse,
    BudgetExceededError,
    CommitRequest,
    CommitResponse,
    CyclesClient,
    CyclesConfig,
    CyclesMetrics,
    DecisionRequest,
    DecisionResponse,
    ErrorCode,
    EventCreateRequest,
    EventCreateResponse,
    OverdraftLimitExceededError,
    ReleaseRequest,
    ReservationCreateRequest,
    ReservationExtendRequest,
    Subject,
    Unit,
    cycles,
    get_cycles_context,
)
from runcycles.lifecycle import _schema_valid_create, _schema_valid_extend
from runcycles.response import CyclesResponse

from tests.support.access import secret
from tests.support.cycles import CENT
from tests.support.programs import until
from tests.support.serving import Served

ACTION = Action(kind="llm.completion", name="gpt-4o")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    server = Served(tmp_path_factory.mktemp("cycles"))
    yield server
    assert server.stop() == 0


@pytest.fixture
def config(served: Served) -> CyclesConfig:
    """The settings of a client of a tenant of its own, which has a dollar."""
    tenant = f"t-{uuid.uuid4().hex[:8]}"
    open_tenant(served, tenant)
    return settings(served, tenant)


def open_tenant(served: Served, tenant: str) -> None:
    with contextlib.closing(served.client()) as client:
        limits = [{"window": "total", "max": {"cost_usd": 1}}]
        opened = client.post("/v1/allocate-budget", {"agent": f"tenant:{tenant}", "limits": limits})
        assert opened.status == 200, opened.body


def settings(served: Served, tenant: str, key: str = "any") -> CyclesConfig:
    return CyclesConfig(f"{served.url}/cycles", key, tenant=tenant, journal_enabled=False, retry_flush_timeout=0)


def new_key() -> str:
    return str(uuid.uuid4())


def cents(amount: int) -> Amount:
    return Amount(unit=Unit.USD_MICROCENTS, amount=amount * CENT)


def create(config: CyclesConfig, amount: int = 10, **more: Any) -> ReservationCreateRequest:
    subject = Subject(tenant=config.tenant, dimensions={"run": "42"})
    return ReservationCreateRequest(
        idempotency_key=new_key(), subject=subject, action=ACTION, estimate=cents(amount), **more
    )


def left(config: CyclesConfig) -> int:
    """What the tenant has left, in cents."""
    with CyclesClient(config) as client:
        body = client.get_balances(tenant=str(config.tenant)).body
    (balance,) = BalanceResponse.model_validate(body).balances
    return balance.remaining.amount // CENT


class Calls:
    """The methods of the client of either kind, each awaited where it has to be."""

    def __init__(self, client: CyclesClient | AsyncCyclesClient) -> None:
        self._client = client

    async def close(self) -> None:
        if isinstance(self._client, AsyncCyclesClient):
            await self._client.aclose()
        else:
            self._client.close()

    async def __call__(self, name: str, *args: Any, **named: Any) -> CyclesResponse:
        found = getattr(self._client, name)(*args, **named)
        answer: CyclesResponse = await found if isinstance(self._client, AsyncCyclesClient) else found
        return answer


@pytest.mark.parametrize("kind", [CyclesClient, AsyncCyclesClient])
def test_every_method_of_both_clients_gets_what_it_expects(
    kind: type[CyclesClient | AsyncCyclesClient], config: CyclesConfig
) -> None:
    async def test() -> None:
        call = Calls(kind(config))
        created = _schema_valid_create(await call("create_reservation", create(config, ttl_ms=30_000)))
        assert created is not None
        assert created.is_allowed()
        id = created.reservation_id
        extend = ReservationExtendRequest(idempotency_key=new_key(), extend_by_ms=5_000)
        extended = _schema_valid_extend(await call("extend_reservation", id, extend))
        assert extended is not None
        assert extended.expires_at_ms == (created.expires_at_ms or 0) + 5_000
        metrics = CyclesMetrics(tokens_input=5, tokens_output=7, model_version="gpt-4o", latency_ms=3)
        commit = CommitRequest(idempotency_key=new_key(), actual=cents(4), metrics=metrics)
        committed = CommitResponse.model_validate((await call("commit_reservation", id, commit)).body)
        assert (committed.charged.amount, committed.released and committed.released.amount) == (4 * CENT, 6 * CENT)
        other = (await call("create_reservation", create(config))).body
        assert other is not None
        release = ReleaseRequest(idempotency_key=new_key(), reason="no need")
        assert (await call("release_reservation", other["reservation_id"], release)).is_success
        subject = Subject(tenant=config.tenant)
        decide = DecisionRequest(idempotency_key=new_key(), subject=subject, action=ACTION, estimate=cents(97))
        assert DecisionResponse.model_validate((await call("decide", decide)).body).is_denied()
        event = EventCreateRequest(idempotency_key=new_key(), subject=subject, action=ACTION, actual=cents(6))
        answer = await call("create_event", event)
        assert answer.status == 201
        EventCreateResponse.model_validate(answer.body)
        listed = await call("list_reservations", tenant=config.tenant, status="RELEASED")
        assert [row["reservation_id"] for row in (listed.body or {})["reservations"]] == [other["reservation_id"]]
        assert ((await call("get_reservation", id)).body or {})["status"] == "COMMITTED"
        refused = await call("create_reservation", create(config, 91))
        error = refused.get_error_response()
        assert error is not None
        assert (refused.status, error.error_code) == (409, ErrorCode.BUDGET_EXCEEDED)
        assert refused.request_id == error.request_id
        assert refused.cycles_tenant == config.tenant
        await call.close()

    asyncio.run(test())
    assert left(config) == 90


def test_the_decorator_reserves_runs_and_commits(config: CyclesConfig) -> None:
    with CyclesClient(config) as client:

        @cycles(10 * CENT, actual=lambda text: len(text) * CENT, action_kind="llm", action_name="m", client=client)
        def answer(prompt: str) -> str:
            context = get_cycles_context()
            assert context is not None
            assert left(config) == 90
            context.metrics = CyclesMetrics(tokens_input=len(prompt))
            return "four"

        assert answer("?") == "four"
    assert left(config) == 96


def test_the_decorator_does_not_run_what_there_is_no_budget_for(config: CyclesConfig) -> None:
    ran: list[int] = []
    with CyclesClient(config) as client:

        @cycles(lambda amount: amount * CENT, action_kind="llm", action_name="m", client=client)
        def spend(amount: int) -> None:
            ran.append(amount)

        spend(60)
        with pytest.raises(BudgetExceededError):
            spend(41)
        spend(40)
        subject = Subject(tenant=config.tenant)
        over = EventCreateRequest(idempotency_key=new_key(), subject=subject, action=ACTION, actual=cents(1))
        assert client.create_event(over).is_success
        with pytest.raises(OverdraftLimitExceededError):
            spend(1)
    assert ran == [60, 40]
    assert left(config) == -1


def test_the_decorator_gives_back_what_a_failed_call_had_reserved(config: CyclesConfig) -> None:
    async def test() -> None:
        async with AsyncCyclesClient(config) as client:

            @cycles(10 * CENT, action_kind="llm", action_name="m", client=client)
            async def fail() -> None:
                raise RuntimeError("the provider is away")

            with pytest.raises(RuntimeError, match="away"):
                await fail()

    asyncio.run(test())
    assert left(config) == 100


def test_async_calls_that_run_at_once_are_each_settled(config: CyclesConfig) -> None:
    async def test() -> None:
        async with AsyncCyclesClient(config) as client:

            @cycles(10 * CENT, actual=lambda n: n * CENT, action_kind="llm", action_name="m", client=client)
            async def spend(n: int) -> int:
                return n

            assert await asyncio.gather(*(spend(n) for n in range(10))) == list(range(10))

    asyncio.run(test())
    assert left(config) == 100 - sum(range(10))


def test_a_stream_is_settled_at_its_end_and_given_back_where_it_fails(config: CyclesConfig) -> None:
    subject, amounts = Subject(tenant=config.tenant), {"action": ACTION, "estimate": cents(10)}
    with CyclesClient(config) as client:
        with client.stream_reservation(subject=subject, **amounts) as stream:
            stream.usage.set_actual_cost(3 * CENT)
        with (
            contextlib.suppress(RuntimeError),
            client.stream_reservation(subject=subject, **amounts),
        ):
            raise RuntimeError("the provider is away")

    async def test() -> None:
        async with (
            AsyncCyclesClient(config) as client,
            client.stream_reservation(subject=subject, **amounts) as stream,
        ):
            stream.usage.set_actual_cost(4 * CENT)

    asyncio.run(test())
    assert left(config) == 93


def test_the_clients_heartbeat_keeps_a_reservation_while_its_call_runs(config: CyclesConfig) -> None:
    # The shorter its time-outs, the shorter a lease it dares to extend.
    config.connect_timeout, config.read_timeout = 0.2, 0.8
    with CyclesClient(config) as client:

        @cycles(10 * CENT, ttl_ms=7_000, grace_period_ms=0, action_kind="llm", action_name="m", client=client)
        def long() -> None:
            context = get_cycles_context()
            assert context is not None

            def expiry() -> int:
                found: int = (client.get_reservation(str(context.reservation_id)).body or {})["expires_at_ms"]
                return found

            first = expiry()
            until(lambda: expiry() > first)

        long()
    assert left(config) == 90


def test_a_client_that_comes_too_late_books_what_was_used_as_an_event(config: CyclesConfig) -> None:
    """So the client does it: it commits, is answered that the reservation has expired, and sends an event."""
    with CyclesClient(config) as client:
        made = client.create_reservation(create(config, ttl_ms=1_000, grace_period_ms=0)).body or {}
        until(lambda: client.get_reservation(made["reservation_id"]).status == 410)
        late = client.commit_reservation(made["reservation_id"], CommitRequest(idempotency_key="c", actual=cents(7)))
        assert (late.status, late.get_body_attribute("error")) == (410, "RESERVATION_EXPIRED")
        subject = Subject(tenant=config.tenant)
        event = EventCreateRequest(idempotency_key="c", subject=subject, action=ACTION, actual=cents(7))
        assert client.create_event(event).status == 201
    assert left(config) == 93


def test_a_reservation_outlives_a_server_that_is_killed_and_so_does_the_memory_of_keys(tmp_path: Path) -> None:
    first = Served(tmp_path)
    open_tenant(first, "acme")
    digest = hashlib.sha256(secret("acme").encode()).hexdigest()
    with contextlib.closing(first.client()) as operator:
        key = {"key": "acme", "role": "agent", "agent": "tenant:acme", "sha256": digest}
        assert operator.post("/v1/create-key", key).status == 200
    config = settings(first, "acme", secret("acme"))
    with CyclesClient(config) as client:
        asked = create(config)
        made = client.create_reservation(asked).body or {}
        first.kill()
        second = Served(tmp_path, port=first.port)
        again = client.create_reservation(asked).body or {}
        assert {**again, "remaining_ttl_ms": 0} == {**made, "remaining_ttl_ms": 0}
        extend = ReservationExtendRequest(idempotency_key="e", extend_by_ms=1_000)
        assert client.extend_reservation(made["reservation_id"], extend).is_success
        commit = CommitRequest(idempotency_key="c", actual=cents(7))
        for _ in range(2):
            assert client.commit_reservation(made["reservation_id"], commit).is_success
        assert client.get_balances(tenant="zoo").get_body_attribute("error") == "FORBIDDEN"
    with CyclesClient(settings(second, "acme", "wrong")) as stranger:
        assert stranger.get_balances(tenant="acme").get_body_attribute("error") == "UNAUTHORIZED"
    assert left(config) == 93
    assert second.stop() == 0
