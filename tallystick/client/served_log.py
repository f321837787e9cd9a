"""The log of a fleet behind a server, as a store that is only read: what reads a store reads a server as well."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final, NoReturn

import httpx2
import msgspec

from tallystick.client.client import target_of
from tallystick.events.log.store import SNAPSHOTS_KEPT, Record, Row, SourceIndex, StoreError

_PAGE: Final = 1_000
"""Records that a server gives at once."""
_SECONDS: Final = 30.0
_SILENT_SECONDS: Final = 40.0
"""A stream says something at least every 15 s."""
_AGAIN_SECONDS: Final = 1.0
PATIENCE_SECONDS: Final = 60.0
"""So long a stream that was cut off is begun again: a server that is restarted is back by then."""


class _Page(msgspec.Struct):
    events: list[msgspec.Raw]
    next: int
    position: int


class _Head(msgspec.Struct):
    position: int
    type: str


class _Problem(msgspec.Struct):
    code: str
    detail: str


_decode_page = msgspec.json.Decoder(_Page).decode
_decode_head = msgspec.json.Decoder(_Head).decode


class ServedLog:
    """The log behind a server's URL; ``key`` or that of ``$TALLYSTICK_KEY`` is one whose role may read.

    Raises:
        ValueError: the URL or the key is none.
        StoreError: of all that reads: the server cannot be reached, or does not let in.
    """

    def __init__(self, url: str, key: str | None = None) -> None:
        self._target = target_of(url, key)
        self.url = self.named = self._target.url
        self._http = httpx2.Client(**self._target.settings, timeout=_SECONDS)

    # --- what is read -------------------------------------------------------------------------------------------------

    def read(self, after: int = 0, upto: int | None = None) -> Iterator[Record]:
        """Records with ``after < position <= upto``, in order; see `store_contract.Store`."""
        while upto is None or after < upto:
            left = _PAGE if upto is None else min(_PAGE, upto - after)
            page = self._page(after, left)
            if page is None or not page.events:
                return
            yield from map(_record, page.events)
            after = page.next

    def rows(self, after: int = 0, upto: int | None = None) -> Iterator[Row]:
        """A row for each record."""
        return (Row(*record) for record in self.read(after, upto))

    def record(self, position: int) -> Record | None:
        """The record at a position."""
        return next(self.read(position - 1, position), None) if position > 0 else None

    def last(self) -> Record | None:
        """The newest record."""
        page = self._page(0, 1)
        return None if page is None or not page.position else self.record(page.position)

    def snapshots(self, limit: int = SNAPSHOTS_KEPT) -> list[tuple[int, bytes]]:
        """The newest snapshot, at most; what takes it proves it by the log."""
        response = self._get("/v1/snapshot")
        if response.status_code == 404:
            return []
        return [(int(response.headers["x-tallystick-position"]), response.content)][:limit]

    def subscribe(self, after: int = 0) -> "ServedEvents":
        """Follow the log from a position on."""
        return ServedEvents(self._target.settings, self.url, after)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    # --- what only a writer does --------------------------------------------------------------------------------------

    @property
    def sources(self) -> SourceIndex:
        """It belongs to the writer."""
        self._only_reads()

    def append(self, records: Sequence[Record], sources: Sequence[tuple[str, int]] = ()) -> None:
        """The server writes."""
        self._only_reads()

    def stage_snapshot(self, position: int, data: bytes) -> Iterator[None]:
        """The server keeps them."""
        self._only_reads()

    def save_snapshot(self, position: int, data: bytes) -> None:
        """The server keeps them."""
        self._only_reads()

    def lost(self) -> str | None:
        """Only a writer can lose its file."""
        return None

    def away(self) -> str | None:
        """Only a writer has a place to lose."""
        return None

    def stray(self) -> str | None:
        """What else lies in the store is not seen from here."""
        return None

    def _only_reads(self) -> NoReturn:
        raise StoreError(f"{self.url} is only read from here")

    # --- requests -----------------------------------------------------------------------------------------------------

    def _page(self, after: int, limit: int) -> _Page | None:
        """A page; None where the log does not reach there."""
        response = self._get(f"/v1/events?after={after}&limit={limit}")
        if response.status_code == 404:
            return None
        try:
            return _decode_page(response.content)
        except msgspec.DecodeError:
            raise StoreError(f"{self.url} answers otherwise than a server of tallystick: correct the URL") from None

    def _get(self, path: str) -> httpx2.Response:
        try:
            response = self._http.get(f"{self.url}{path}")
        except httpx2.TransportError as error:
            raise _unreachable(self.url, error) from None
        _check(self.url, response.status_code, response.content)
        return response


class ServedEvents:
    """Records as a server's stream has them, from a position on, until it is stopped; what is cut off goes on."""

    def __init__(self, settings: dict[str, Any], url: str, after: int) -> None:
        self._settings, self._url, self._after = settings, url, after
        self._stopped = False

    def __iter__(self) -> Iterator[Record]:
        heard_at = time.monotonic()
        while not self._stopped:
            try:
                for record in self._stream():
                    heard_at, self._after = time.monotonic(), record.position
                    yield record
            except httpx2.TransportError as error:
                if time.monotonic() - heard_at > PATIENCE_SECONDS:
                    raise _unreachable(self._url, error) from None
                time.sleep(_AGAIN_SECONDS)

    def stop(self) -> None:
        """End with the next record."""
        self._stopped = True

    def _stream(self) -> Iterator[Record]:
        timeout = httpx2.Timeout(_SECONDS, read=_SILENT_SECONDS)
        with httpx2.Client(**self._settings, timeout=timeout) as client:
            address = f"{self._url}/v1/stream?after={self._after}"
            with client.stream("GET", address, headers={"accept": "text/event-stream"}) as response:
                if response.status_code != 200:
                    _check(self._url, response.status_code, response.read(), found=False)
                for line in response.iter_lines():
                    if line.startswith("data: ") and not self._stopped:
                        yield _record(line[len("data: ") :].encode())


def _record(data: "msgspec.Raw | bytes") -> Record:
    head = _decode_head(data)
    return Record(head.position, head.type, bytes(data))


def _check(url: str, status: int, body: bytes, *, found: bool = True) -> None:
    """Whether a server has given what was asked for; with ``found``, also that it does not have it.

    Raises:
        StoreError: it has not.
    """
    if status == 200 or (found and status == 404):
        return
    if status == 401:
        raise StoreError(f"{url} asks for a valid key: put one whose role may read into $TALLYSTICK_KEY")
    detail = f"it answered {status}"
    with contextlib.suppress(msgspec.DecodeError):
        detail = msgspec.json.decode(body, type=_Problem).detail
    raise StoreError(f"{url}: {detail}")


def _unreachable(url: str, error: httpx2.TransportError) -> StoreError:
    why = str(error) or type(error).__name__
    return StoreError(f"{url} cannot be reached ({why}): is `tallystick serve` running there?")
