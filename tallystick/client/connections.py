"""Connections to one server that are kept: for the threads of a program together, and for each of its event loops.

Messages that wait for something have connections of their own, so that those that bring it about find one.
"""

import asyncio
import contextlib
import functools
import ssl
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any, Final, Generic, TypeVar

import httpx2

from tallystick.client.errors import WrongServer

SENDING_MAX: Final = 100
"""So many connections are open at most; what is sent beside waits for one of them."""
WAITING_MAX: Final = 500
"""The same for messages that ask to wait."""
CONNECT_SECONDS: Final = 5.0
KEPT_SECONDS: Final = 4.0
"""So long a connection is kept that is not used: a little shorter than the server keeps it."""
CLOSING_SECONDS: Final = 5.0
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


class Target:
    """Where requests go, and what is said in each. Its key is in no text about it."""

    def __init__(self, url: str, key: str | None, ssl_context: ssl.SSLContext | None) -> None:
        self.url = url
        self.messages = httpx2.URL(f"{url}/v1/messages")
        self._key, self._ssl = key, ssl_context

    @functools.cached_property
    def settings(self) -> dict[str, Any]:
        """What a connection is made with. A proxy of the environment is not for servers of this machine."""
        headers = {"content-type": "application/json", "accept": "application/json", "user-agent": "tallystick"}
        if self._key is not None:
            headers["authorization"] = f"Bearer {self._key}"
        is_remote = self.messages.host not in _LOOPBACK
        if self.messages.scheme == "http":
            # Without the certificates of the machine, which take long to read and are not needed.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        else:
            context = self._ssl or httpx2.create_ssl_context(trust_env=is_remote)
        return {"headers": headers, "verify": context, "trust_env": is_remote, "limits": _ONE}


_ONE: Final = httpx2.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEPT_SECONDS)
One = TypeVar("One")


def _timeout(seconds: float) -> httpx2.Timeout:
    return httpx2.Timeout(seconds, connect=min(CONNECT_SECONDS, seconds), pool=None)


class _Idle(Generic[One]):
    """Connections that are not in use. The one that was used last is used next, so that what is too many grows old.

    The library has a pool of its own, which asks the system about each connection at every request.
    """

    def __init__(self, make: Callable[[], One]) -> None:
        self._make = make
        self._idle: deque[tuple[float, One]] = deque()

    def take(self) -> One:
        try:
            return self._idle.pop()[1]
        except IndexError:
            return self._make()

    def put_back(self, one: One) -> None:
        self._idle.append((time.monotonic(), one))

    def take_old(self) -> One | None:
        """One that was not used for so long that the server has closed it."""
        try:
            oldest = self._idle.popleft()
        except IndexError:
            return None
        if time.monotonic() - oldest[0] > KEPT_SECONDS:
            return oldest[1]
        self._idle.appendleft(oldest)
        return None

    def take_all(self) -> Iterator[One]:
        while self._idle:
            yield self.take()


def _made(kind: Callable[..., One], target: Target) -> One:
    """A connection, or what is wrong with the proxy of the environment.

    Raises:
        WrongServer: the proxy cannot be used.
    """
    settings = target.settings
    try:
        return kind(**settings)
    except (ImportError, ValueError, httpx2.InvalidURL) as error:
        if not settings["trust_env"]:
            raise
        raise WrongServer(
            f"{target.url} cannot be reached through the proxy of the environment: {error}; correct HTTP_PROXY,"
            " HTTPS_PROXY or ALL_PROXY, or name the server in NO_PROXY"
        ) from error


class _Channel:
    """Connections of threads, up to a number."""

    def __init__(self, target: Target, connections: int) -> None:
        self._url, self._room = target.messages, threading.Semaphore(connections)
        self._idle = _Idle(lambda: _made(httpx2.Client, target))
        self._closed = False

    def post(self, body: bytes, seconds: float) -> httpx2.Response:
        with self._room:
            client = self._idle.take()
            try:
                response = client.post(self._url, content=body, timeout=_timeout(seconds))
            finally:
                self._idle.put_back(client)
                if self._closed:
                    self.close()
        old = self._idle.take_old()
        if old is not None:
            old.close()
        return response

    def close(self) -> None:
        """Close what is not in use; what is, is closed when its answer has come."""
        self._closed = True
        for client in self._idle.take_all():
            client.close()


class _LoopChannel:
    """Connections of one event loop, up to a number."""

    def __init__(self, target: Target, connections: int) -> None:
        self._url, self._room = target.messages, asyncio.Semaphore(connections)
        self._idle = _Idle(lambda: _made(httpx2.AsyncClient, target))
        self._used: set[httpx2.AsyncClient] = set()

    async def post(self, body: bytes, seconds: float) -> httpx2.Response:
        async with self._room:
            client = self._idle.take()
            self._used.add(client)
            try:
                response = await client.post(self._url, content=body, timeout=_timeout(seconds))
            finally:
                self._used.discard(client)
                self._idle.put_back(client)
        old = self._idle.take_old()
        if old is not None:
            await old.aclose()
        return response

    async def aclose(self) -> None:
        """Close all; what is in use fails."""
        for client in (*self._idle.take_all(), *self._used):
            await client.aclose()


class _LoopChannels:
    """Both kinds of connections of one event loop, used in its thread only."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._channels: dict[bool, _LoopChannel] = {}
        self._until_the_end = self._close_at_the_end()

    def channel(self, waits: bool) -> _LoopChannel:
        channel = self._channels.get(waits)
        if channel is None:
            channel = self._channels[waits] = _LoopChannel(self._target, WAITING_MAX if waits else SENDING_MAX)
        return channel

    async def begin(self) -> None:
        """Close with the event loop, if not before: what ends a loop ends its asynchronous generators first."""
        await anext(self._until_the_end)

    async def _close_at_the_end(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            for channel in self._channels.values():
                await channel.aclose()

    async def aclose(self) -> None:
        await self._until_the_end.aclose()


class Connections:
    """All connections of a client; each is made when it is first needed."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._inherited: list[Any] = []
        self._begin()

    @property
    def url(self) -> str:
        """Where the server is."""
        return self._target.url

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._closed = False
        self._channels: dict[bool, _Channel] = {}
        self._of_loops: dict[asyncio.AbstractEventLoop, _LoopChannels] = {}

    def begin_in_fork(self) -> None:
        """Begin anew in a fork: the connections are the parent's, and neither used nor closed here."""
        self._inherited.append((self._channels, self._of_loops))
        closed = self._closed
        self._begin()
        self._closed = closed

    def post(self, body: bytes, seconds: float, waits: bool) -> httpx2.Response:
        """Send a body, from a thread. ``seconds``: how long the answer may take."""
        with self._lock:
            self._check_open()
            channel = self._channels.get(waits)
            if channel is None:
                channel = self._channels[waits] = _Channel(self._target, WAITING_MAX if waits else SENDING_MAX)
        return channel.post(body, seconds)

    async def post_async(self, body: bytes, seconds: float, waits: bool) -> httpx2.Response:
        """`post`, for a coroutine."""
        loop = asyncio.get_running_loop()
        with self._lock:
            self._check_open()
            channels = self._of_loops.get(loop)
            is_new = channels is None
            if channels is None:
                self._of_loops = {one: channels for one, channels in self._of_loops.items() if not one.is_closed()}
                channels = self._of_loops[loop] = _LoopChannels(self._target)
        if is_new:
            await channels.begin()
        return await channels.channel(waits).post(body, seconds)

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError(f"the client of {self._target.url} is closed")

    def close(self) -> None:
        """Close all connections; those of an event loop in its own thread. May be called twice, and from any thread."""
        with self._lock:
            self._closed = True
            channels, of_loops = self._channels, self._of_loops
            self._channels, self._of_loops = {}, {}
        for channel in channels.values():
            channel.close()
        for loop, loop_channels in of_loops.items():
            _close_in(loop, loop_channels)


def _close_in(loop: asyncio.AbstractEventLoop, channels: _LoopChannels) -> None:
    if loop.is_closed():
        return
    if not loop.is_running():
        loop.run_until_complete(channels.aclose())
    elif loop is _running_here():
        _closing.add(task := loop.create_task(channels.aclose()))
        task.add_done_callback(_closing.discard)
    else:
        with contextlib.suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(channels.aclose(), loop).result(CLOSING_SECONDS)


_closing: set[asyncio.Task[None]] = set()


def _running_here() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
