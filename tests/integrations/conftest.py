"""Frameworks are loaded once, quietly, and never look up anything in a network."""

import os
import socket
from typing import Any

import pytest

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
