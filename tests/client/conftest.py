"""A served fleet for all tests of a file, and a client of it."""

from collections.abc import Iterator

import pytest

from tallystick.client import Client
from tests.support.serving import Served


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    server = Served(tmp_path_factory.mktemp("served"))
    yield server
    assert server.stop() == 0


@pytest.fixture
def fleet(served: Served) -> Iterator[Client]:
    with Client(f"http://127.0.0.1:{served.port}") as client:
        yield client
