"""``POST /v1/traces``, ``/v1/metrics`` and ``/v1/logs``: exports of OpenTelemetry (OTLP) as reports of usage.

An export is answered when all that it says of usage is in the log. A client that gets no answer sends it again, and
each use counts once all the same: by its source.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from tallystick.actors.errors import Unanswered
from tallystick.events import messages as c
from tallystick.events.decide.permissions import MESSAGES
from tallystick.events.log.codec import BODY_MAX
from tallystick.http.access import Access
from tallystick.http.answers import NO_STORE, problem, refused
from tallystick.http.elsewhere import Elsewhere
from tallystick.http.identity import asker_of, identity_of
from tallystick.http.otlp_statuses import SIGNALS, media_of
from tallystick.http.reading import Unreadable, bytes_of
from tallystick.http.served import Served
from tallystick.telemetry.answers import (
    JSON,
    PROTOBUF,
    MissingPackages,
    TooLarge,
    decode,
    is_more_than,
    protobuf,
    taken,
    unpacked,
)
from tallystick.telemetry.items import Export, Malformed, Signal
from tallystick.telemetry.reports import Read, Reader, Report
from tallystick.telemetry.series import SeriesOfFleet

_NONE_TAKEN: Final = ("busy", "halted", "no_writer", "store_away")
_SHOWN: Final = 3
"""So many reasons for what was rejected are shown."""
_AT_ONCE: Final = 64 * 1024
"""Bytes that are decoded in the event loop: more of them would keep others waiting, and are decoded on a thread."""
_LARGE_MAX: Final = 2
"""So many exports of more than that are unpacked and reported at a time: a few kilobytes that were sent may be hundreds
of megabytes then.
"""
_REPORTING: Final = MESSAGES[c.ReportUsage].roles | {"agent", "telemetry"}
_AS_MESSAGE: Final = b'{"type":"ReportUsage"}'
"""What an export is to a standby."""


class NoneTaken(Exception):
    """The fleet takes no messages now; ``error`` is its answer."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["code"])
        self.error = error


class Exports:
    """Takes exports for one fleet. Must be made in the event loop that serves."""

    paths = tuple(SIGNALS)

    def __init__(self, fleet: Served, access: Access, elsewhere: Elsewhere | None, stopping: asyncio.Event) -> None:
        self._fleet, self._access, self._elsewhere, self._stopping = fleet, access, elsewhere, stopping
        self._reader = Reader(fleet.access)
        self._series, self._metrics = SeriesOfFleet(fleet), asyncio.Lock()
        self._large = asyncio.Semaphore(_LARGE_MAX)

    async def take(self, request: Request) -> Response:
        """One export of a signal."""
        caller = identity_of(request).caller
        if caller is not None and caller.role not in _REPORTING:
            self._access.note("access_denied", request.scope, identity_of(request).name)
            text = f"the role {caller.role} may not report; {', '.join(sorted(_REPORTING))} may"
            return refused("access_denied", text, role=caller.role)
        try:
            signal, media = SIGNALS[request.url.path], _media(request)
            packed = await bytes_of(request, BODY_MAX)
            if self._elsewhere is not None:
                sent = await self._elsewhere.answer(request, packed, _AS_MESSAGE, self._stopping)
                if sent is not None:
                    return sent
            async with self._large if _is_large(request, packed) else contextlib.nullcontext():
                body = _unpacked(request, packed)
                export = await _quickly(len(body), decode, media, signal, body)
                read = await self._report(request, signal, export, len(body))
        except Unreadable as wrong:
            return problem({"code": wrong.code, "detail": str(wrong)}, wrong.status)
        except Malformed as wrong:
            return refused("malformed_export", str(wrong))
        except NoneTaken as wrong:
            return problem(wrong.error)
        except Unanswered as late:
            return refused("unanswered", str(late))
        except ClientDisconnect:
            return Response(status_code=499)
        return Response(taken(media, signal, len(read.wrong), _said(read)), 200, NO_STORE, media)

    async def _report(self, request: Request, signal: Signal, export: Export, size: int) -> Read:
        """Report what an export says; it comes back with what the fleet refused.

        Raises:
            NoneTaken: the fleet takes no messages now.
            StoreError: the log cannot be read.
            Unanswered: nothing was answered in time.
        """
        if signal != "metrics":
            read: Read = await _quickly(size, self._reader.calls, export)
            await self._ask(request, read.reports, read.wrong)
            return read
        # One after the other: how far a series is depends on the one before.
        async with self._metrics:
            try:
                read = await asyncio.to_thread(self._reader.figures, export, self._series)
                await self._ask(request, read.reports, read.wrong)
            except BaseException:
                self._series.forget_all()
                raise
            return read

    async def _ask(self, request: Request, reports: Sequence[Report], wrong: list[str]) -> None:
        """Hand reports to the fleet, in its own portions; why it refused some is added to ``wrong``."""
        by, asker = identity_of(request).by, asker_of(request)
        denied = 0
        for start in range(0, len(reports), c.MESSAGES_MAX):
            part = reports[start : start + c.MESSAGES_MAX]
            answers = await self._fleet.ask_async([report.message for report in part], by, asker=asker)
            errors = [answer.get("error") for answer in answers]
            for report, error in zip(part, errors, strict=True):
                if error is None:
                    continue
                if error["code"] in _NONE_TAKEN:
                    raise NoneTaken(error)
                if report.series is not None:
                    self._series.forget(report.series)
                denied += error["code"] == "access_denied"
                wrong.append(error["detail"])
        if denied:
            self._access.note("access_denied", request.scope, identity_of(request).name, denied)


def _media(request: Request) -> str:
    """The encoding of a request.

    Raises:
        Unreadable: it is none of OTLP's, or one for which a package is missing.
    """
    media = media_of(request.scope)
    if media not in (JSON, PROTOBUF):
        raise Unreadable(
            "unsupported_media_type", f"content-type: found {media[:100]!r}, allowed are {PROTOBUF} and {JSON}", 415
        )
    packing = request.headers.get("content-encoding", "identity").lower()
    if packing not in ("identity", "gzip"):
        raise Unreadable(
            "unsupported_media_type", f"content-encoding: found {packing[:100]!r}, allowed are gzip and identity", 415
        )
    if media == PROTOBUF:
        try:
            protobuf()
        except MissingPackages as error:
            raise Unreadable("unsupported_media_type", str(error), 415) from error
    return media


def _is_packed(request: Request) -> bool:
    return request.headers.get("content-encoding", "identity").lower() == "gzip"


def _is_large(request: Request, body: bytes) -> bool:
    """Whether an export is of more than `_AT_ONCE` bytes, unpacked."""
    return is_more_than(body, _AT_ONCE) if _is_packed(request) else len(body) > _AT_ONCE


def _unpacked(request: Request, body: bytes) -> bytes:
    if not _is_packed(request):
        return body
    try:
        return unpacked(body)
    except TooLarge as error:
        raise Unreadable("body_too_large", str(error), 413) from error


async def _quickly(size: int, work: Any, *arguments: Any) -> Any:
    """What some work comes to; on a thread where it is of many bytes."""
    return work(*arguments) if size <= _AT_ONCE else await asyncio.to_thread(work, *arguments)


def _said(read: Read) -> str:
    """Why some parts were rejected, each reason once; or what else there is to know."""
    reasons = list(dict.fromkeys(read.wrong))
    more = f" (and {len(reasons) - _SHOWN} other reasons)" if len(reasons) > _SHOWN else ""
    return "; ".join(reasons[:_SHOWN]) + more if reasons else read.hint
