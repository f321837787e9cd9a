"""The typed interface is the same over HTTP: agents, calls, tasks and functions with a budget, plain and awaited."""

import asyncio
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import httpx2
import pytest

from tallystick import Client, Refused, Stopped, Throttled
from tallystick.events import messages as c
from tallystick.events.messages.replies import BudgetStatus
from tallystick.interface.agents import Agent, AsyncAgent
from tests.support.programs import SECONDS, in_thread, run, until
from tests.support.serving import Served

REPLY: Any = {"usage": {"input_tokens": 300, "output_tokens": 150}}


def status(fleet: Client, agent: str) -> Any:
    return fleet.ask({"type": "GetStatus", "agent": agent})


def test_an_agent_is_opened_holds_settles_and_is_released(fleet: Client) -> None:
    with fleet.agent("ann", tokens=1_000, usd=1) as agent:
        with agent.call(model="sonnet", max_output_tokens=200) as call:
            assert status(fleet, "ann")["ok"]["held"]["tokens"] == 200
            call.done(REPLY)
        assert call.reply is not None
        assert agent.report(tokens=50).remaining.tokens == 500
        assert fleet.request(c.GetStatus(agent="ann"), BudgetStatus).consumed.tokens == 500
    assert status(fleet, "ann")["error"]["code"] == "already_released"


def test_coroutines_share_one_client_with_threads(fleet: Client) -> None:
    async def program() -> None:
        async with fleet.agent("bob", tokens=10_000) as lead:

            async def work(number: int) -> None:
                async with lead.agent(f"bob-{number}", tokens=100) as agent, agent.call(tokens=10) as call:
                    call.done(tokens=6)

            def work_in_thread() -> None:
                with fleet.agent("bob-t", parent="bob", tokens=100) as agent, agent.call(tokens=10) as call:
                    call.done(tokens=5)

            await asyncio.gather(*(work(number) for number in range(30)), asyncio.to_thread(work_in_thread))
            answer = await fleet.ask_async({"type": "GetStatus", "agent": "bob"})
            assert answer["ok"]["remaining"]["tokens"] == 10_000 - 30 * 6 - 5

    run(program())
    run(program())  # in an event loop of its own


def test_a_task_waits_for_its_slot_and_is_completed(fleet: Client) -> None:
    with fleet.task("page-1", agent_type="writer", product="docs") as task:
        assert task.attempt == 1
        with task.call(tokens=500) as call:
            call.done(tokens=400)
    assert fleet.ask({"type": "GetTask", "task": "page-1"})["ok"]["state"] == "completed"


def test_functions_have_a_budget_of_their_own(fleet: Client) -> None:
    @fleet.budgeted(tokens=1_000)
    def plain(agent: Agent, used: int) -> int | None:
        return agent.report(tokens=used).remaining.tokens

    @fleet.budgeted(tokens=1_000)
    async def awaited(agent: AsyncAgent, used: int) -> int | None:
        return (await agent.report(tokens=used)).remaining.tokens

    assert plain(400) == 600
    assert run(awaited(300)) == 700


def test_refusals_are_the_same_exceptions_with_their_numbers(fleet: Client) -> None:
    with fleet.agent("cas", tokens=1_000) as agent:
        with pytest.raises(Refused) as refused, agent.call(tokens=2_000):
            pass
        assert type(refused.value) is Refused
        assert (refused.value.code, refused.value.details["available"]) == ("budget_exhausted", {"tokens": 1_000})
        with agent.call(tokens=900) as held:
            with pytest.raises(Throttled) as throttled, agent.call(tokens=900, wait_seconds="0.05"):
                pass
            assert throttled.value.details["available"] == {"tokens": 100}
            with pytest.raises(Throttled) as throttled, agent.call(tokens=900, wait_seconds=0):
                pass
            assert throttled.value.retry_after_seconds is not None
            held.unused()
        fleet.ask({"type": "Stop", "agent": "cas", "reason": "enough"})
        with pytest.raises(Stopped, match="agent_stopped"), agent.call(tokens=1):
            pass
        fleet.ask({"type": "Resume", "agent": "cas"})
    with pytest.raises(Refused, match="invalid_message") as refused, fleet.agent("x" * 200, tokens=1):
        pass


def test_a_call_waits_on_the_server_until_there_is_room(fleet: Client) -> None:
    with fleet.agent("dan", tokens=1_000) as agent:
        with agent.call(tokens=900) as first:
            later = in_thread(lambda: _settled(agent))
            until(lambda: _waiting(fleet) == 1)
            assert not later.done()
            first.unused()
        assert later.result(SECONDS) == 3


def test_a_throttled_agent_waits_as_long_as_the_fleet_says(fleet: Client) -> None:
    with fleet.agent("gil", tokens=1_000) as agent:
        reported_at = time.monotonic()
        said = agent.report(tokens=750, seconds="0.6")
        assert (said.action, said.wait_seconds) == ("throttle", 0.6)
        with agent.call(tokens=10) as call:
            assert time.monotonic() - reported_at > 0.5
            call.done(tokens=1)


def _settled(agent: Agent) -> int:
    with agent.call(tokens=900, wait_seconds=60) as call:
        call.done(tokens=3)
    assert call.reply is not None
    return 1_000 - (call.reply.remaining.tokens or 0)


def _waiting(fleet: Client) -> int:
    """How many requests the server has not answered, beside this one."""
    text = httpx2.get(f"{fleet.url}/metrics").text
    return int(text.split("\ntallystick_http_requests_in_progress ")[1].split()[0]) - 1


def test_a_wait_that_is_cancelled_is_given_up_and_not_granted_later(fleet: Client) -> None:
    async def program() -> None:
        async with fleet.agent("eve", tokens=1_000) as agent:
            async with agent.call(tokens=900) as first:
                entered = asyncio.Event()

                async def work() -> None:
                    entered.set()
                    async with agent.call(tokens=900, wait_seconds=600):
                        pytest.fail("it was granted")

                waiting = asyncio.create_task(work())
                await entered.wait()
                while await asyncio.to_thread(_waiting, fleet) != 1:
                    pass
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                first.unused()
            answer = await fleet.ask_async({"type": "GetStatus", "agent": "eve"})
            assert "held" not in answer["ok"] or answer["ok"]["held"]["tokens"] == 0
            assert _waiting(fleet) == 0

    run(program())


WAITING_PROGRAM = """
import sys
from tallystick import Client

with Client(sys.argv[1]) as fleet, fleet.agent("hal") as agent:
    print("begins", flush=True)
    with agent.call(tokens=900, wait_seconds=600):
        print("was granted", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT of another process is of POSIX")
def test_a_thread_that_is_interrupted_while_it_waits_is_given_up(fleet: Client) -> None:
    with fleet.agent("hal", tokens=1_000) as agent, agent.call(tokens=900) as first:
        command = [sys.executable, "-c", WAITING_PROGRAM, fleet.url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
            assert program.stdout is not None
            assert program.stdout.readline() == "begins\n"
            until(lambda: _waiting(fleet) == 1)
            program.send_signal(signal.SIGINT)
            said, failed = program.communicate(timeout=30)
        assert (said, "KeyboardInterrupt" in failed) == ("", True)
        assert _waiting(fleet) == 0
        first.unused()
        assert status(fleet, "hal")["ok"]["held"]["tokens"] == 900
    placed = fleet.ask({"type": "GetHolds", "agent": "hal"})["ok"]["holds"]
    assert [(hold["hold"], hold["state"]) for hold in placed] == [(first.id, "cancelled")]


def test_many_that_wait_do_not_keep_those_from_sending_who_make_room(served: Served) -> None:
    async def program() -> None:
        url = f"http://127.0.0.1:{served.port}"
        async with Client(url) as fleet, fleet.agent("fay", tokens=1_000) as agent:
            async with agent.call(tokens=1_000) as first:

                async def work() -> None:
                    async with agent.call(tokens=6, wait_seconds=600) as call:
                        call.done(tokens=6)

                waiting = [asyncio.create_task(work()) for _ in range(150)]
                while await asyncio.to_thread(_waiting, fleet) < 150:
                    pass
                first.unused()
            await asyncio.gather(*waiting)
            assert (await agent.report(tokens=0)).remaining.tokens == 100

    run(program())


def test_a_closed_client_sends_nothing(served: Served) -> None:
    client = Client(f"http://127.0.0.1:{served.port}/")
    assert client.url == f"http://127.0.0.1:{served.port}"
    client.ask({"type": "GetGlobalStatus"})
    client.close()
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.ask({"type": "GetGlobalStatus"})


def test_connections_are_kept_and_closed_with_the_client(served: Served) -> None:
    async def program(client: Client) -> None:
        await client.ask_async({"type": "GetGlobalStatus"})
        client.close()  # within the event loop, too

    client = Client(f"http://127.0.0.1:{served.port}")
    threads = [threading.Thread(target=client.ask, args=({"type": "GetGlobalStatus"},)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run(program(client))
