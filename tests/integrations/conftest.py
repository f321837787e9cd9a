"""Frameworks are loaded once, quietly, and never look up anything in a network."""

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tallystick import Client, Fleet
from tests.support.programs import fleet_of, holds
from tests.support.serving import Served

# Their packages warn of each other while they are loaded, which is not for this project to mend.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
os.environ["OPENAI_AGENTS_DISABLE_TRACING"] = "1"
os.environ["LANGSMITH_TRACING"] = "false"


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is looked up, or an address of another machine, is an error."""
    connect, local = socket.socket.connect, ("127.0.0.1", "::1", "localhost")

    def connect_here(self: socket.socket, address: Any) -> None:
        assert self.family == socket.AF_UNIX or address[0] in local, f"a test asks {address}"
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect_here)


@pytest.fixture(scope="session")
def _served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    config = folder / "resource-limits.yml"
    config.write_text("{total_budget: {tokens: 100000000}, reallocation: {enabled: false}}")
    server = Served(folder, "--config", str(config))
    yield server
    assert server.stop() == 0


@pytest.fixture(params=["in process", "over HTTP"])
def any_fleet(request: pytest.FixtureRequest) -> Iterator[Fleet | Client]:
    """A fleet of this process, and then one that is served; at the end nothing is held."""
    if request.param == "in process":
        with fleet_of() as fleet:
            yield fleet
            assert holds(fleet) == []
    else:
        with Client(request.getfixturevalue("_served").url) as client:
            yield client
            assert holds(client) == []
