"""The log of a parent, wherever it is: in a store, or behind a server."""

from collections.abc import Iterator
from contextlib import closing

from tallystick.delegation.comparing import Compared, compared, handed_of, own_of
from tallystick.delegation.identity import identity
from tallystick.events.catalog import Event
from tallystick.events.log.reading import event_of
from tallystick.events.log.replaying import Chain
from tallystick.events.log.store import Record, Store, StoreError, open_store


def compared_with(store: Store, where: str, key: str | None) -> Compared:
    """The log of a child against its parent's, which is in a store or behind the server at a URL.

    ``key`` is one of that server, which may read its log.

    Raises:
        StoreError: the parent's log cannot be read, or the fleet is no child.
    """
    last = store.last()
    if last is None:
        raise StoreError("there is nothing to compare: the log is empty")
    fleet, own = identity(store), own_of(map(event_of, store.read(0, last.position)))
    if own.account is None:
        raise StoreError("there is nothing to compare: this fleet has had no parent (delegate: in its configuration)")
    chain = Chain()
    with closing(_opened(where, key)) as parent:
        found = handed_of(_events(chain, parent.read()), own.account, fleet)
    result = compared(own, found, fleet)
    if chain.broken is not None:
        result.problems.insert(0, f"the parent's log is not sound: {chain.broken}")
    return result


def _opened(where: str, key: str | None) -> Store:
    if not where.startswith(("http://", "https://")):
        return open_store(where)
    from tallystick.client.served_log import ServedLog  # noqa: PLC0415 - httpx is loaded only where it is used

    try:
        return ServedLog(where, key)
    except ValueError as error:
        raise StoreError(f"--parent: {error}") from None


def _events(chain: Chain, records: Iterator[Record]) -> Iterator[Event]:
    yield from map(event_of, chain.proved(records))
