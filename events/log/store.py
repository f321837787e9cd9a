"""Opening a store by its URL. What a store must do is in `store_contract`."""

from tallystick.events.log.store_contract import PAGE as PAGE
from tallystick.events.log.store_contract import SNAPSHOTS_KEPT as SNAPSHOTS_KEPT
from tallystick.events.log.store_contract import Fenced as Fenced
from tallystick.events.log.store_contract import NoFleet as NoFleet
from tallystick.events.log.store_contract import Record as Record
from tallystick.events.log.store_contract import Row as Row
from tallystick.events.log.store_contract import SourceIndex as SourceIndex
from tallystick.events.log.store_contract import Store as Store
from tallystick.events.log.store_contract import StoreAway as StoreAway
from tallystick.events.log.store_contract import StoreError as StoreError
from tallystick.events.log.store_contract import WriterPresent as WriterPresent
from tallystick.events.log.store_place import file_of, is_postgres


def open_store(url: str, writer: bool = False) -> Store:
    """The store that a URL names: ``sqlite:///fleet.db``, ``postgresql://host/db?fleet=NAME`` or ``memory:``.

    Raises:
        WriterPresent: another process writes this fleet.
        NoFleet: there is nothing to read.
        StoreError: the URL is not understood, or the store cannot be read or written, or the file holds something
            else.
    """
    if is_postgres(url):
        from tallystick.events.log.store_postgres import PostgresStore

        return PostgresStore(url, writer)
    from tallystick.events.log.store_memory import MemoryStore
    from tallystick.events.log.store_sqlite import SqliteStore

    file = file_of(url)
    return MemoryStore() if file is None else SqliteStore(url, file, writer)
