"""A client with the addresses of several servers asks the next one where one does not answer, or has lost its place."""

import asyncio
import socket

import pytest

from tallystick import Client
from tests.support.relay import Own, relay
from tests.support.serving import Served

GLOBAL = {"type": "GetGlobalStatus", "limit": 0}
USED = {"type": "ReportUsage", "agent": "several", "usage": {"tokens": 1}}


def nothing_there() -> str:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        return f"http://127.0.0.1:{closed.getsockname()[1]}"


def test_where_nothing_answers_the_next_is_asked_and_stays_the_one_that_is_asked(served: Served) -> None:
    with Client([nothing_there(), served.url], retry_seconds=20) as client:
        assert "ok" in client.ask(GLOBAL)
        assert client.url == served.url
        assert "ok" in asyncio.run(client.ask_async(GLOBAL))


@pytest.mark.parametrize("code", ["no_writer", "shutting_down", "halted", "store_away"])
def test_a_server_that_has_lost_its_place_is_left_and_the_message_counts_once(served: Served, code: str) -> None:
    body = b'{"status":503,"code":"%b","detail":"gone","retry_after_seconds":0}' % code.encode()
    own = Own(503, "application/problem+json", body)
    with relay(served.port, lambda number, body: own) as first, Client([first.url, served.url]) as client:
        answer = client.ask({**USED, "id": f"several-{code}"})
        assert (client.url, len(first.requests)) == (served.url, 1)
        assert client.ask({**USED, "id": f"several-{code}"}) == answer


def test_an_answer_that_was_lost_is_asked_for_at_the_next_and_counts_once(served: Served) -> None:
    with Client(served.url) as plain, relay(served.port, lambda number, body: "lose") as first:
        plain.ask({"type": "AllocateBudget", "agent": "lost", "budget": {"tokens": 10}})
        with Client([first.url, served.url]) as client:
            assert client.ask({**USED, "agent": "lost"})["ok"]["remaining"] == {"tokens": 9}
        assert plain.ask({"type": "GetStatus", "agent": "lost"})["ok"]["remaining"] == {"tokens": 9}


def test_addresses_are_checked_before_anything_is_sent() -> None:
    with pytest.raises(ValueError, match="url: found none"):
        Client([])
    with pytest.raises(ValueError, match="allowed is one like http"):
        Client(["http://127.0.0.1:1", "nonsense"])
