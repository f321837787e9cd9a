"""Who may export: a key for telemetry, for accounts that open by themselves and no other."""

import hashlib
from typing import Any

import pytest
from starlette.types import ASGIApp

from tallystick.events.catalog import RequestRefused, UsageReported
from tests.support.access import bearer, secret
from tests.support.asgi import call
from tests.support.otlp import JSON, PROTOBUF, Taking, chat, post, spans

SAID = {"type": "ReportUsage", "source_id": "msg_1", "usage": {"tokens": 1_000, "cost_usd": 1}}


def with_keys(config: dict[str, Any] | None = None) -> Taking:
    """A fleet with a key of each kind, and an account that was opened by a message."""
    taking = Taking(config)
    for role, more in (("telemetry", {}), ("analyst", {}), ("orchestrator", {}), ("agent", {"agent": "lead"})):
        digest = hashlib.sha256(secret(role).encode()).hexdigest()
        assert "ok" in taking.fleet.ask({"type": "CreateKey", "key": role, "role": role, "sha256": digest, **more})
    assert "ok" in taking.fleet.ask({"type": "AllocateBudget", "agent": "lead", "budget": {"tokens": 50_000}})
    return taking


@pytest.mark.parametrize("media", [JSON, PROTOBUF])
def test_a_key_for_telemetry_exports_for_accounts_that_open_by_themselves_only(media: str) -> None:
    taking = with_keys()
    export = spans(chat(session__id="s"), chat(session__id="lead"), chat(session__id="t"))

    async def test(app: ASGIApp) -> None:
        answer = await post(app, "traces", export, media, authorization=bearer("telemetry"))
        assert answer.status == 200
        assert b"lead was opened by a message" in answer.body
        if media == JSON:
            assert answer.json["partialSuccess"]["rejectedSpans"] == "1"
        assert (await post(app, "traces", export, media)).status == 401
        assert (await post(app, "traces", export, media, authorization=bearer("analyst"))).status == 403
        for path in ("/v1/events", "/metrics", "/v1/session", "/v1/views/status"):
            assert (await call(app, "GET", path, authorization=bearer("telemetry"))).status == 403, path
        asked = {"type": "GetGlobalStatus"}
        assert (await call(app, "POST", "/v1/messages", asked, authorization=bearer("telemetry"))).status == 403

    taking.run(test)
    assert taking.used() == {"s": 110, "t": 110}
    assert {event.by for event in taking.reported()} == {"telemetry"}
    refused = [event for event in taking.events() if isinstance(event, RequestRefused)]
    assert [event.code for event in refused] == ["access_denied"]
    taking.fleet.close()


def test_without_accounts_that_open_by_themselves_it_reports_nothing() -> None:
    taking = with_keys({"accounts": {"auto": None}})

    async def test(app: ASGIApp) -> None:
        answer = await post(app, "traces", spans(chat()), authorization=bearer("telemetry"))
        assert "accounts.auto is null" in answer.json["partialSuccess"]["errorMessage"]

    taking.run(test)
    assert taking.reported() == []
    taking.fleet.close()


def test_another_key_exports_for_what_it_may_report() -> None:
    taking = with_keys()
    export = spans(chat(session__id="lead"), chat(session__id="s"))

    async def test(app: ASGIApp) -> None:
        answer = await post(app, "traces", export, authorization=bearer("agent"))
        assert "s is neither lead nor below it" in answer.json["partialSuccess"]["errorMessage"]
        assert (await post(app, "traces", export, authorization=bearer("orchestrator"))).json == {}

    taking.run(test)
    assert taking.used() == {"lead": 110, "s": 110}
    taking.fleet.close()


@pytest.mark.parametrize(("agent", "counts"), [("lead", 1_000), ("session", 1_500)])
def test_telemetry_says_more_of_what_accounts_of_its_own_have_reported_and_of_no_other(agent: str, counts: int) -> None:
    taking = with_keys()
    assert "ok" in taking.fleet.ask({**SAID, "agent": agent})

    async def test(app: ASGIApp) -> None:
        # No more than was reported is a repeat for all.
        for sent, rejected in ((400, None), (1_490, "1" if agent == "lead" else None)):
            export = spans(chat(sent=sent, gen_ai__response__id="msg_1", session__id="s"))
            answer = await post(app, "traces", export, authorization=bearer("telemetry"))
            assert answer.json.get("partialSuccess", {}).get("rejectedSpans") == rejected

    taking.run(test)
    assert taking.used() == {agent: counts}
    assert len([event for event in taking.events() if isinstance(event, UsageReported)]) == 1
    taking.fleet.close()
