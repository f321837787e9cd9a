"""Malformed requests to the Cycles protocol: each is refused in its shape, and nothing comes of it."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.events.log.codec import BODY_MAX
from tests.support.cycles import ACTION, CENT, USD, Api, fleet, play

INVALID = (400, "INVALID_REQUEST")
AMOUNT = {"unit": USD, "amount": CENT}
BODIES: dict[str, dict[str, Any]] = {
    "/v1/decide": {"idempotency_key": "k", "subject": {"tenant": "acme"}, "action": ACTION, "estimate": AMOUNT},
    "/v1/reservations": {
        "idempotency_key": "k",
        "subject": {"tenant": "acme", "dimensions": {"a": "b"}},
        "action": {**ACTION, "tags": ["t"]},
        "estimate": AMOUNT,
        "ttl_ms": 1_000,
        "grace_period_ms": 0,
        "overage_policy": "REJECT",
        "dry_run": False,
        "metadata": {"m": 1},
    },
    "/v1/events": {
        "idempotency_key": "k",
        "subject": {"tenant": "acme"},
        "action": ACTION,
        "actual": AMOUNT,
        "metrics": {"tokens_input": 1, "custom": {}},
        "client_time_ms": 1,
    },
    "/v1/reservations/rsv-0/commit": {"idempotency_key": "k", "actual": AMOUNT, "metrics": {"latency_ms": 1}},
    "/v1/reservations/rsv-0/release": {"idempotency_key": "k", "reason": "r"},
    "/v1/reservations/rsv-0/extend": {"idempotency_key": "k", "extend_by_ms": 1},
}
RESERVE = "/v1/reservations"


@pytest.mark.parametrize(
    ("place", "value", "word"),
    [
        (("idempotency_key",), "", "idempotency_key"),
        (("idempotency_key",), "x" * 257, "idempotency_key"),
        (("subject",), {}, "no level"),
        (("subject",), {"dimensions": {"a": "b"}}, "no level"),
        (("subject", "tenant"), "a/b", "tenant"),
        (("subject", "tenant"), "a:b", "tenant"),
        (("subject", "tenant"), "", "tenant"),
        (("subject", "tenant"), "acme\n", "tenant"),
        (("subject", "tenant"), "ä", "tenant"),
        (("subject", "tenant"), "x" * 129, "tenant"),
        (("subject", "team"), "a", "team"),
        (("subject", "dimensions"), {"tenant": "zoo"}, "dimensions"),
        (("subject", "dimensions"), {"a": "x" * 200}, "dimensions"),
        (("subject", "dimensions"), {"": "x"}, "dimensions"),
        (("subject", "dimensions"), {f"d{n}": "x" for n in range(16)}, "16"),
        (("subject", "dimensions"), {f"d{n}": "x" for n in range(17)}, "dimensions"),
        (("subject", "dimensions"), {"a ": "x"}, "labels"),
        (("action", "kind"), "", "kind"),
        (("action", "kind"), "a\u200bb", "operation"),
        (("action", "tags"), ["t"] * 11, "tags"),
        (("estimate", "amount"), -1, "amount"),
        (("estimate", "amount"), 0, "amount"),
        (("estimate", "amount"), 1.5, "amount"),
        (("estimate", "amount"), True, "amount"),
        (("estimate", "amount"), "5", "amount"),
        (("estimate", "amount"), 2**63, "amount"),
        (("estimate", "amount"), 2**63 - 1, "amount"),
        (("estimate", "unit"), "EUR", "unit"),
        (("ttl_ms",), 999, "ttl_ms"),
        (("ttl_ms",), 86_400_001, "ttl_ms"),
        (("grace_period_ms",), 60_001, "grace_period_ms"),
        (("overage_policy",), "MAYBE", "overage_policy"),
        (("dry_run",), 1, "dry_run"),
        (("surprise",), 1, "surprise"),
    ],
)
def test_a_field_that_is_not_allowed_is_named_and_nothing_is_reserved(
    place: tuple[str, ...], value: object, word: str
) -> None:
    body = copy.deepcopy(BODIES[RESERVE])
    inside = body
    for name in place[:-1]:
        inside = inside[name]
    inside[place[-1]] = value

    async def test(api: Api) -> None:
        answer = await api.call("POST", RESERVE, body)
        assert answer.error() == INVALID
        assert word in answer.body["message"]
        assert api.world.ask({"type": "GetHolds"})["holds"] == []

    play(test)


def test_the_longest_names_and_the_largest_amounts_are_taken() -> None:
    async def test(api: Api) -> None:
        subject = {"tenant": "acme", **dict.fromkeys(("workspace", "app", "workflow", "agent", "toolset"), "x" * 128)}
        (
            await api.reserve(subject=subject, idempotency_key="k" * 256, action={"kind": "k" * 64, "name": "n" * 256})
        ).ok()
        (await api.event(922_337_203_685_477_580)).ok()
        assert (await api.event(922_337_203_685_477_581)).error() == INVALID
        assert (await api.balances())["tenant:acme", USD]["is_over_limit"]

    play(test)


@pytest.mark.parametrize(
    ("body", "headers", "error"),
    [
        (b"", {}, INVALID),
        (b"{", {}, INVALID),
        (b"[]", {}, INVALID),
        (b"\xff", {}, INVALID),
        (b'{"idempotency_key":"\xff"}', {}, INVALID),
        (b"[" * 100_000, {}, INVALID),
        (b"{}", {"content_type": "text/plain"}, (415, "INVALID_REQUEST")),
        (b"{}", {"content_encoding": "gzip"}, (415, "INVALID_REQUEST")),
        (b" " * (BODY_MAX + 1), {}, (413, "INVALID_REQUEST")),
    ],
    ids=["empty", "cut off", "an array", "no text", "no text within", "deep", "no JSON", "compressed", "too large"],
)
def test_a_body_that_is_no_request_is_refused(body: bytes, headers: dict[str, str], error: tuple[int, str]) -> None:
    async def test(api: Api) -> None:
        for path in BODIES:
            assert (await api.call("POST", path, body, **headers)).error() == error

    play(test)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inside: st.lists(inside, max_size=2) | st.dictionaries(st.text(max_size=5), inside, max_size=2),
    max_leaves=4,
)


CHANGE = st.tuples(st.sampled_from(sorted(BODIES)), st.randoms(use_true_random=False), ANYTHING)


@settings(max_examples=12, deadline=None)
@given(st.lists(CHANGE, min_size=40, max_size=40))
def test_whatever_stands_in_a_field_the_answer_is_the_protocols_and_the_fleet_goes_on(changes: list[Any]) -> None:
    async def test(api: Api) -> None:
        for number, (path, dice, value) in enumerate(changes):
            body = copy.deepcopy(BODIES[path])
            body["idempotency_key"] = f"k{number}"
            inside: dict[str, Any] = body
            name = dice.choice(sorted(inside))
            while isinstance(inside[name], dict) and inside[name] and dice.random() < 0.7:
                inside, name = inside[name], dice.choice(sorted(inside[name]))
            inside[name] = value
            answer = await api.call("POST", path, json.dumps(body).encode())
            if answer.status >= 400:
                status, _ = answer.error()
                assert status in (400, 404, 409), answer
        api.world.ask({"type": "GetStatus", "agent": "tenant:acme"})
        assert api.world.fleet.halted is None

    play(test, fleet())
