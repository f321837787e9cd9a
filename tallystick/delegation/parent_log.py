"""The log of a parent, wherever it is: in a store, or behind a server."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final

import httpx2
import msgspec

from tallystick.client.connections import Target
from tallystick.delegation.comparing import Compared, compared, handed_of, own_of
from tallystick.delegation.identity import identity
from tallystick.events.catalog import Event
from tallystick.events.log.audit import Chain
from tallystick.events.log.codec import decode_event
from tallystick.events.log.store import Record, Store, StoreError, open_store

_PAGE: Final = 1_000
_SECONDS: Final = 30.0


class _Page(msgspec.Struct):
    events: list[msgspec.Raw]
    next: int
    position: int


class _Head(msgspec.Struct):
    type: str
    position: int


_page = msgspec.json.Decoder(_Page).decode
_head = msgspec.json.Decoder(_Head).decode


def compared_with(store: Store, where: str, key: str | None) -> Compared:
    """The log of a child against its parent's, which is in a store or behind the server at a URL.

    ``key`` is one of that server, which may read its log.

    Raises:
        StoreError: the parent's log cannot be read, or the fleet is no child.
    """
    last = store.last()
    if last is None:
        raise StoreError("there is nothing to compare: the log is empty")
    fleet, own = identity(store), own_of(decode_event(one.data, one.name) for one in store.read(0, last.position))
    if own.account is None:
        raise StoreError("there is nothing to compare: this fleet has had no parent (delegate: in its configuration)")
    chain = Chain()
    if where.startswith(("http://", "https://")):
        found = handed_of(_events(chain, _served(where.rstrip("/"), key)), own.account, fleet)
    else:
        with closing(open_store(where)) as parent:
            found = handed_of(_events(chain, parent.read()), own.account, fleet)
    result = compared(own, found, fleet)
    if chain.broken is not None:
        result.problems.insert(0, f"the parent's log is not sound: {chain.broken}")
    return result


def _events(chain: Chain, records: Iterator[Record]) -> Iterator[Event]:
    for record in chain.proved(records):
        yield decode_event(record.data, record.name)


def _served(url: str, key: str | None) -> Iterator[Record]:
    settings: dict[str, Any] = Target(url, key, None).settings
    after = 0
    with httpx2.Client(**settings, timeout=_SECONDS) as client:
        while True:
            try:
                response = client.get(f"{url}/v1/events", params={"after": after, "limit": _PAGE})
            except httpx2.TransportError as error:
                raise StoreError(f"the log at {url} cannot be read: {error}") from error
            if response.status_code != httpx2.codes.OK:
                text = f"the log at {url} cannot be read: the server answers {response.status_code}"
                raise StoreError(f"{text}; a key of an auditor or an operator may (--parent-key)")
            page = _page(response.content)
            for raw in page.events:
                head = _head(raw)
                yield Record(head.position, head.type, bytes(raw))
            if page.next == after or page.next >= page.position:
                return
            after = page.next
