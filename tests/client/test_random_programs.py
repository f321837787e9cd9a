"""Whatever programs do, wherever they are cancelled and also where answers are lost: nothing stays open on the server,
and what was spent is what they reported.
"""

import contextlib
import itertools
import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick import Client
from tests.support.examples import examples
from tests.support.programs import run
from tests.support.random_programs import AGENTS, CAUGHT, AgentOf, Mistake, Running, playing
from tests.support.relay import Relay, relay
from tests.support.serving import Served

names = itertools.count()


@pytest.fixture(scope="module")
def gateway(served: Served) -> Iterator[Relay]:
    with relay(served.port, lambda *_: "pass") as made:
        yield made


@contextlib.contextmanager
def losing(gateway: Relay, seed: int, share: float) -> Iterator[Client]:
    """A client behind a gateway that loses a share of all requests, and as large a share of answers."""
    chance = random.Random(seed)

    def outcome(*_: object) -> str:
        return chance.choices(["pass", "lose", "cut"], [1 - 2 * share, share, share])[0]

    gateway.outcome = outcome
    with Client(gateway.url) as client:
        client._runner.first_wait_seconds = 0.0
        yield client


def spent(fleet: Client) -> int:
    tokens: int = fleet.ask({"type": "GetGlobalStatus"})["ok"]["total_consumed"].get("tokens", 0)
    return tokens


def check(fleet: Client, running: Running, before: int) -> None:
    assert fleet.ask({"type": "GetGlobalStatus"})["ok"]["agent_statuses"] == []
    assert fleet.ask({"type": "GetHolds", "state": "open"})["ok"]["holds"] == []
    assert spent(fleet) - before == running.reported


SHARES = st.sampled_from([0.0, 0.1, 0.3])


@settings(max_examples=examples(30), deadline=None)
@given(program=AGENTS, cancel_at=st.integers(0, 20), later=st.integers(0, 30), seed=st.integers(0, 1_000), share=SHARES)
def test_coroutines_over_connections_that_break(
    served: Served, gateway: Relay, program: AgentOf, cancel_at: int, later: int, seed: int, share: float
) -> None:
    with Client(f"http://127.0.0.1:{served.port}") as fleet:
        before = spent(fleet)
        with losing(gateway, seed, share) as client:
            running = Running(client, cancel_at, later, prefix=f"c-{next(names)}")
            run(playing(running, program))
        check(fleet, running, before)


@settings(max_examples=examples(20), deadline=None)
@given(program=AGENTS, seed=st.integers(0, 1_000), share=SHARES)
def test_threads_over_connections_that_break(
    served: Served, gateway: Relay, program: AgentOf, seed: int, share: float
) -> None:
    with Client(f"http://127.0.0.1:{served.port}") as fleet:
        before = spent(fleet)
        with losing(gateway, seed, share) as client:
            running = Running(client, prefix=f"t-{next(names)}")
            with contextlib.suppress(Mistake, *CAUGHT):
                running.agent(program)
        check(fleet, running, before)
