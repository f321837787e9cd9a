"""Clients that come all at once are taken in together: each look at the sockets takes in several of them."""

import asyncio
import socket
from contextlib import ExitStack

import pytest
import uvicorn

from tallystick.http.protocol import Protocol
from tallystick.http.server import ACCEPTED, as_many, listen

uvloop = pytest.importorskip("uvloop")
CLIENTS = 96


async def looks_until_all_are_in() -> int:
    """How often the loop turns until all clients, who wait already, are connected."""

    async def app(scope: object, receive: object, send: object) -> None: ...

    listening = listen("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, http=Protocol, lifespan="off", log_config=None))
    with ExitStack() as waiting:
        for _ in range(CLIENTS):
            waiting.enter_context(socket.create_connection(listening.getsockname()))
        running, turns = asyncio.create_task(server.serve(as_many(listening))), 0
        while len(server.server_state.connections) < CLIENTS:
            await asyncio.sleep(0)
            turns += server.started
    server.should_exit = True
    await running
    assert listening.fileno() == -1
    return turns


def test_clients_that_come_together_do_not_wait_for_one_turn_of_the_loop_each() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(looks_until_all_are_in()) <= CLIENTS // ACCEPTED + 4
