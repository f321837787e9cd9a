"""The process that serves: a socket, an event loop, and a stop that finishes what was accepted."""

import asyncio
import contextlib
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from types import FrameType
from typing import Final

import structlog
import uvicorn
from starlette.types import ASGIApp

from tallystick.http.access import Tokens
from tallystick.http.app import application
from tallystick.http.elsewhere import Elsewhere
from tallystick.http.guard import LOOPBACK
from tallystick.http.protocol import Protocol
from tallystick.http.requests_log import as_json, write_lines
from tallystick.http.served import Served

STOP_SECONDS: Final = 35
"""How long a stop waits for requests that were accepted: longer than the fleet may take for an answer."""
UNREAD_SECONDS: Final = 20
"""How long a client may leave unread what was sent to it; then the system ends its connection."""
BACKLOG: Final = 2048
ACCEPTED: Final = 16
"""Connections that are taken in at most each time the event loop looks at its sockets."""


class Server(uvicorn.Server):
    """uvicorn, which ends with exit code 0 after SIGTERM, says at once that it is stopping, and ends with its fleet."""

    def __init__(self, config: uvicorn.Config, fleet: Served, stopping: asyncio.Event) -> None:
        super().__init__(config)
        self._fleet, self._stopping, self._loop = fleet, stopping, asyncio.get_running_loop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop. uvicorn would send itself the signal again at the end, and die of it."""
        super().handle_exit(sig, frame)
        self._captured_signals.clear()
        self._loop.call_soon_threadsafe(self._stopping.set)

    async def on_tick(self, counter: int) -> bool:
        """Whether to end, asked ten times a second. A fleet that has stopped must be started again by a new process."""
        if self._fleet.halted is not None:
            self._stopping.set()
            return True
        return await super().on_tick(counter)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes one that is free.

    Raises:
        OSError: the address is not this machine's, or the port is taken.
    """
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listening = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # For each connection: a client that does not read holds its place no longer than this.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_SECONDS * 1_000)
    return listening


def as_many(listening: socket.socket) -> list[socket.socket]:
    """A socket as several that share its queue of new connections.

    uvloop takes in one connection of each socket, and then turns to the requests at hand. With one socket, the last of
    200 clients that come together would wait until the requests of all others were taken 200 times.
    """
    if sys.platform == "win32":
        return [listening]  # without uvloop, all that wait are taken in
    return [listening, *(listening.dup() for _ in range(ACCEPTED - 1))]


def settings_of(app: ASGIApp, proxies: Sequence[str] = ()) -> uvicorn.Config:
    """How every server of ours runs its program; ``proxies`` as for `serve`."""
    return uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        # By itself, uvicorn believes every program of this machine that names another address as its own.
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(proxies),
        timeout_graceful_shutdown=STOP_SECONDS,
    )


def serve(
    fleet: Served,
    listening: socket.socket,
    names: Iterable[str],
    tokens: Tokens | None = None,
    proxies: Sequence[str] = (),
    elsewhere: Callable[[], Elsewhere] | None = None,
) -> None:
    """Serve a fleet under these names until SIGTERM or SIGINT, and finish what was accepted; or until it has halted.

    ``proxies`` are the addresses and networks whose ``X-Forwarded-For`` and ``X-Forwarded-Proto`` are believed.
    ``elsewhere`` makes, in the event loop, the way to the other servers of a fleet that is shared.
    """
    _serve_until_stopped(fleet, listening, names, tokens, lambda _: None, proxies, elsewhere)


def _serve_until_stopped(
    fleet: Served,
    listening: socket.socket,
    names: Iterable[str],
    tokens: Tokens | None,
    tell: Callable[[Callable[[], object]], None],
    proxies: Sequence[str] = (),
    elsewhere: Callable[[], Elsewhere] | None = None,
) -> None:
    """Serve; ``tell`` hears how to stop it from another thread."""

    async def until_stopped() -> None:
        others = None if elsewhere is None else elsewhere()
        app, service = application(fleet, LOOPBACK | {name.lower() for name in names}, tokens, others)
        server, loop = Server(settings_of(app, proxies), fleet, service.stopping), asyncio.get_running_loop()
        tell(lambda: loop.call_soon_threadsafe(server.handle_exit, signal.SIGTERM, None))
        try:
            await server.serve(as_many(listening))
        finally:
            await service.close()

    # uvloop, where there is one.
    with asyncio.Runner(loop_factory=uvicorn.Config(until_stopped, log_config=None).get_loop_factory()) as runner:
        runner.run(until_stopped())


@contextlib.contextmanager
def served_beside(fleet: Served, listening: socket.socket, host: str) -> Iterator[None]:
    """Serve a fleet on a thread of its own while the body runs; what was accepted is finished at its end."""
    made: Future[Callable[[], object]] = Future()

    def in_thread() -> None:
        try:
            _serve_until_stopped(fleet, listening, (host,), None, made.set_result)
        except BaseException as error:
            if not made.done():
                made.set_exception(error)
            raise

    thread = threading.Thread(target=in_thread, name="server", daemon=True)
    thread.start()
    stop = made.result()
    try:
        yield
    finally:
        with contextlib.suppress(RuntimeError):  # its loop is closed already
            stop()
        thread.join(STOP_SECONDS)


def log_requests() -> None:
    """Log to stderr from now on: JSON lines where it is not a terminal, aligned text where it is."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: list[structlog.typing.Processor] = (
        # By itself, it shows the variables of every function that a failure went through: keys are among them.
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if sys.stderr.isatty()
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(_text)]
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # Of the libraries only warnings: one notes every change of the folder of the settings, in which this log may be.
    root.setLevel(logging.WARNING)
    logging.getLogger("tallystick").setLevel(logging.INFO)
    if not sys.stderr.isatty():
        write_lines(sys.stderr.buffer)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def _text(value: object, **_: object) -> str:
    return as_json(value).decode()
