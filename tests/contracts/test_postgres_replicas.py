"""A replica of the database, which can only be read."""

import pytest

from tallystick.events.log.postgres_place import place_of
from tallystick.events.log.store import StoreError, open_store
from tests.support.postgres import running, shared
from tests.support.store_processes import records


def test_a_replica_is_read_and_followed_and_a_writer_is_refused_there(url: str) -> None:
    store = open_store(url, writer=True)
    store.append(records(1, 3))
    with running(shared()) as replica:
        there = replica.url(fleet=place_of(url).fleet)
        reader = open_store(there)
        assert list(reader.read()) == records(1, 3)
        following = reader.subscribe(3)
        store.append(records(4, 4))
        assert next(iter(following)) == records(4, 4)[0]
        following.stop()
        with pytest.raises(StoreError, match=r"cannot be written: cannot execute .* in a read-only transaction$"):
            open_store(there, writer=True)
        reader.close()
    store.close()
