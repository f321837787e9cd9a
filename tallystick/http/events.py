"""``GET /v1/events``: the log in pages, each record as it is stored."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from tallystick.actors.runtime.log_feed import LogFeed
from tallystick.events.log.store import Record
from tallystick.http.answers import JSON, NO_STORE, refused
from tallystick.http.parameters import POSITION_MAX, BadParameter, check_names, number

BYTES: Final = "application/octet-stream"
LIMIT: Final = 100
"""Records of a page where none are asked for."""
LIMIT_MAX: Final = 1_000
PAGE_BYTES: Final = 4 * 1024 * 1024
"""With how many bytes of records a page ends, whatever was asked for. One record is always given."""
_THREADS: Final = 2
"""Few: readers and the writer share one interpreter."""


class LogReader:
    """Reads the log on threads of its own, so that the event loop does not wait for the disk."""

    def __init__(self, records: LogFeed) -> None:
        self.records = records
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="log-reader")

    async def newest(self) -> int:
        """The newest position that is durable."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self.records.newest)

    async def page(self, after: int, limit: int, bytes_max: int) -> list[Record]:
        """Records behind ``after``; see `LogFeed.page`."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self.records.page, after, limit, bytes_max)

    async def snapshot(self) -> tuple[int, bytes] | None:
        """The newest snapshot; see `LogFeed.snapshot`."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self.records.snapshot)

    async def page_and_newest(self, after: int, limit: int, bytes_max: int) -> tuple[list[Record], int]:
        """Both, by one hop; the newest position is at least that of the page's last record."""

        def read() -> tuple[list[Record], int]:
            return self.records.page(after, limit, bytes_max), self.records.newest()

        return await asyncio.get_running_loop().run_in_executor(self._threads, read)


class Events:
    """The pages of one fleet's log."""

    def __init__(self, reader: LogReader) -> None:
        self._reader = reader

    async def page(self, request: Request) -> Response:
        """``GET /v1/events?after=POSITION&limit=N``: the records behind a position, and where to go on."""
        try:
            check_names(request.query_params, ("after", "limit"))
            after = number("after", request.query_params.get("after", "0"), 0, POSITION_MAX)
            limit = number("limit", request.query_params.get("limit", str(LIMIT)), 1, LIMIT_MAX)
        except BadParameter as wrong:
            return refused("invalid_parameter", str(wrong))
        records, newest = await self._reader.page_and_newest(after, limit, PAGE_BYTES)
        if after > newest:
            return behind_the_end(after, newest)
        return Response(page_of(records, after, newest), 200, NO_STORE, JSON)

    async def snapshot(self, request: Request) -> Response:
        """``GET /v1/snapshot``: the newest snapshot of the state, which its reader proves by the log."""
        try:
            check_names(request.query_params, ())
        except BadParameter as wrong:
            return refused("invalid_parameter", str(wrong))
        found = await self._reader.snapshot()
        if found is None:
            return refused("not_found", "no snapshot is kept yet: read the log from its beginning")
        position, data = found
        return Response(data, 200, {**NO_STORE, "x-tallystick-position": str(position)}, BYTES)


def page_of(records: Sequence[Record], after: int, newest: int) -> bytes:
    """A page: ``{"events": [the records as stored], "next": …, "position": …}``.

    ``next`` is the ``after`` of the next page, ``position`` the newest of the log: where they are the same, that is all
    there is for now.
    """
    following = records[-1].position if records else after
    return b'{"events":[%b],"next":%d,"position":%d}' % (b",".join(one.data for one in records), following, newest)


def behind_the_end(after: int, newest: int) -> Response:
    """The log is not as long as its reader thinks: it is another log, or an older copy of it."""
    detail = f"after: found {after}, but the log ends at {newest}: it is not the log that was read before"
    return refused("unknown_position", detail, position=newest)
