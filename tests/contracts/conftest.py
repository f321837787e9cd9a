"""The stores that the contract is proved on."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from tallystick.events.log.store import Store, open_store
from tests.support.postgres import shared
from tests.support.store_processes import STORES


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A new store of each kind, opened by its writer."""
    opened = open_store(STORES[request.param](tmp_path), writer=True)
    yield opened
    opened.close()


@pytest.fixture
def url(request: pytest.FixtureRequest) -> str:
    """A fleet of its own in the PostgreSQL server of all tests."""
    return shared().url(fleet=f"f-{sha256(request.node.nodeid.encode()).hexdigest()[:16]}")
