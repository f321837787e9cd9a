"""What tests of a served fleet share: a connection to the one that their file serves."""

from collections.abc import Iterator

import pytest

from tests.support.serving import Client, Served


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    made = served.client()
    yield made
    made.close()
