"""What is said of a link where the fleet gives no answer, and what is left in the log of requests."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from starlette.types import Message
from structlog.testing import LogCapture, capture_logs

from tallystick.actors.errors import Unanswered
from tallystick.http import requests_log
from tests.support.linked_alerts import Linked, linked, seen_on


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Linked]:
    with linked(tmp_path) as made:
        made.ask("AllocateBudget", agent="used-up", budget={"tokens": 10})
        yield made


def stopping(world: Linked) -> str:
    """The path of a link that stops an agent."""
    world.ask("ReportUsage", agent="used-up", usage={"tokens": 10})
    return world.alert("budget_exhausted")["stop used-up and its sub-agents"]


def test_a_fleet_that_has_stopped_is_no_reason_to_say_that_there_is_nothing_to_do(world: Linked) -> None:
    path = stopping(world)

    async def test(world: Linked) -> None:
        seen = seen_on(await world.get(path))
        world.fleet._manager.halt("the disk is full")
        for answer in (await world.get(path), await world.post(path, seen)):
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert "Not now" in answer.body.decode()
            assert "nothing was changed" in answer.body.decode()

    world.run(test)


def test_an_order_without_an_answer_is_not_said_to_have_changed_nothing(
    world: Linked, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, ask = stopping(world), world.fleet.ask_async

    async def late(message: Any, *more: Any, **named: Any) -> Any:
        answer = await ask(message, *more, **named)
        if message["type"] == "Stop":
            raise Unanswered("no answer in time")
        return answer

    monkeypatch.setattr(world.fleet, "ask_async", late)

    async def test(world: Linked) -> None:
        answer = await world.use(path)
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert "nothing was changed" not in answer.body.decode()
        assert "it says whether it was done" in answer.body.decode()
        assert "This link was used" in (await world.get(path)).body.decode()

    world.run(test)


def test_who_leaves_before_the_form_was_sent_leaves_no_error(world: Linked) -> None:
    async def gone() -> Message:
        return {"type": "http.disconnect"}

    async def test(world: Linked) -> None:
        statuses = []

        async def send(message: Message) -> None:
            statuses.append(message.get("status"))

        headers = [(b"host", b"localhost")]
        scope = {"type": "http", "method": "POST", "path": "/links/x", "headers": headers, "query_string": b""}
        with capture_logs() as lines:
            await world.app(scope, gone, send)
        assert statuses[0] == 499
        assert [line["event"] for line in lines if line["log_level"] != "info"] == []

    world.run(test)


@pytest.mark.parametrize("before", ["", "/", "/budget"])
def test_no_log_of_requests_has_a_link_that_works(world: Linked, before: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path, lines = stopping(world), LogCapture()
    monkeypatch.setattr(requests_log, "log", structlog.wrap_logger(None, [lines], structlog.stdlib.BoundLogger))

    async def test(world: Linked) -> None:
        await world.get(before + path)
        assert [line["path"] for line in lines.entries] == [f"{before}/links/…"]

    world.run(test)
