"""One connection of the control socket: requests in, replies out, within bounds."""

import asyncio
import contextlib
import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec

from tallystick.actors.runtime.command_queue import check_principal
from tallystick.actors.runtime.control_peer import peer_of
from tallystick.actors.runtime.intake import Asker, Intake
from tallystick.actors.runtime.pending import LoopPending, refused

FRAME_MAX: Final = 1024 * 1024
"""Bytes of one request, with its line end."""
CONNECTIONS_MAX: Final = 64
REQUESTS_MAX: Final = 64
"""Requests of one connection that wait for their answers; one more is answered ``busy``."""
_LEFT_SECONDS = 5.0
"""How long the answers are waited for that a client does not wait for any more."""


class Request(msgspec.Struct, forbid_unknown_fields=True):
    """One line of a client."""

    message: msgspec.Raw
    by: str | None = None
    key: str | None = None
    request: int | str | None = None


_decode = msgspec.json.Decoder(Request).decode
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Connection:
    """Serves one client until it goes away, is idle for too long, says what cannot be read on, or the fleet ends."""

    def __init__(
        self, intake: Intake, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, idle_seconds: float
    ) -> None:
        self._intake, self._reader, self._writer = intake, reader, writer
        self._idle_seconds = idle_seconds
        self._peer = peer_of(writer.get_extra_info("socket"))
        self._open: dict[asyncio.Task[None], LoopPending] = {}

    async def serve(self) -> None:
        """Take requests, as long as there are any; then write what is still to be answered, and close."""
        with contextlib.suppress(OSError):
            while (line := await self._next()) is not None:
                self._take(line)
                await self._drained()
        for pending in self._open.values():
            self._intake.leave(pending)
        if self._open:
            await asyncio.wait(list(self._open), timeout=_LEFT_SECONDS)
        for task in list(self._open):
            task.cancel()
        await _closed(self._writer, self._idle_seconds)

    def end(self) -> None:
        """Take no more requests."""
        with contextlib.suppress(RuntimeError):
            self._writer.transport.pause_reading()  # type: ignore[attr-defined]
        self._reader.feed_eof()

    async def _next(self) -> bytes | None:
        """The next line; None where the connection ends."""
        while True:
            try:
                async with asyncio.timeout(self._idle_seconds):
                    return await self._reader.readuntil(b"\n")
            except TimeoutError:
                if not self._open:
                    text = f"no whole request came within {self._idle_seconds:g} s: the connection is closed"
                    self._say(None, refused("idle", text))
                    return None
            except asyncio.IncompleteReadError as error:
                if error.partial:
                    text = f"a request ends with a line end: found {len(error.partial)} bytes without one"
                    self._say(None, refused("invalid_message", text))
                return None
            except asyncio.LimitOverrunError:
                text = f"found a request of more than {FRAME_MAX} bytes, allowed are {FRAME_MAX}"
                self._say(None, refused("invalid_message", text))
                return None

    def _take(self, line: bytes) -> None:
        """Hand in one request; what is wrong with it is answered at once."""
        try:
            request = _decode(line)
            by = request.by or self._peer.user or "local"
            check_principal(by)
            message = bytes(request.message)
            many = message.startswith(b"[")
            asked: bytes | Sequence[bytes] = [bytes(one) for one in _decode_array(message)] if many else message
        except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError) as error:
            self._say(None, refused("invalid_message", f"not a request: {error}"))
            return
        if len(self._open) >= REQUESTS_MAX:
            text = f"{REQUESTS_MAX} requests of this connection wait for their answers: wait for one"
            self._say(request.request, refused("busy", text, retry_after_seconds=1))
            return
        if many and not asked:
            self._say(request.request, b"[]")
            return
        pending = LoopPending(many)
        self._intake.hand_in(asked, by, pending, Asker(self._peer.encoded(), digest_of(request.key)))
        task = asyncio.get_running_loop().create_task(self._answer(request.request, pending))
        self._open[task] = pending
        task.add_done_callback(self._open.pop)

    async def _answer(self, request: int | str | None, pending: LoopPending) -> None:
        answers = await pending.answers()
        self._say(request, b"[" + b",".join(answers) + b"]" if pending.many else answers[0])

    def _say(self, request: int | str | None, reply: bytes) -> None:
        head = b"" if request is None else b'"request":%b,' % msgspec.json.encode(request)
        self._writer.write(b'{%b"reply":%b}\n' % (head, reply))

    async def _drained(self) -> None:
        """Read on only when the client reads, too.

        Raises:
            ConnectionError: it has not read for too long, or is gone.
        """
        try:
            async with asyncio.timeout(self._idle_seconds):
                await self._writer.drain()
        except TimeoutError:
            self._writer.transport.abort()
            raise ConnectionError("the client does not read") from None


async def too_many(writer: asyncio.StreamWriter) -> None:
    """Answer a connection that is one too many, and close it."""
    answer = refused("busy", f"{CONNECTIONS_MAX} connections are open: try again", retry_after_seconds=1)
    writer.write(b'{"reply":%b}\n' % answer)
    await _closed(writer, 1.0)


async def _closed(writer: asyncio.StreamWriter, seconds: float) -> None:
    """Write out what is left, and close."""
    try:
        async with asyncio.timeout(seconds):
            writer.close()
            await writer.wait_closed()
    except (TimeoutError, OSError):
        writer.transport.abort()


def digest_of(key: str | None) -> str | None:
    """A key as it is compared: what was given goes no farther than this."""
    return None if key is None else hashlib.sha256(key.encode()).hexdigest()
