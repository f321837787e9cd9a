"""The process that serves: a socket, an event loop, and a stop that finishes what was accepted."""

import asyncio
import logging
import socket
import sys
from types import FrameType
from typing import Final

import structlog
import uvicorn

from tallystick.actors.runtime.fleet import Fleet
from tallystick.http.app import application
from tallystick.http.guard import LOOPBACK
from tallystick.http.requests_log import as_json, write_lines

STOP_SECONDS: Final = 35
"""How long a stop waits for requests that were accepted: longer than the fleet may take for an answer."""
UNREAD_SECONDS: Final = 20
"""How long a client may leave unread what was sent to it; then the system ends its connection."""
BACKLOG: Final = 2048


class Server(uvicorn.Server):
    """uvicorn, which ends with exit code 0 after SIGTERM, and says at once that it is stopping."""

    def __init__(self, config: uvicorn.Config, stopping: asyncio.Event) -> None:
        super().__init__(config)
        self._stopping, self._loop = stopping, asyncio.get_running_loop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop. uvicorn would send itself the signal again at the end, and die of it."""
        super().handle_exit(sig, frame)
        self._captured_signals.clear()
        self._loop.call_soon_threadsafe(self._stopping.set)


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


def serve(fleet: Fleet, listening: socket.socket, host: str) -> None:
    """Serve a fleet until SIGTERM or SIGINT, and finish what was accepted."""

    async def run() -> None:
        app, service = application(fleet, LOOPBACK | {host.lower()})
        config = uvicorn.Config(
            app,
            http="httptools",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=STOP_SECONDS,
        )
        await Server(config, service.stopping).serve([listening])

    # uvloop, where there is one.
    with asyncio.Runner(loop_factory=uvicorn.Config(run, log_config=None).get_loop_factory()) as runner:
        runner.run(run())


def log_requests() -> None:
    """Log to stderr from now on: JSON lines where it is not a terminal, aligned text where it is."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer()]
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
    root.setLevel(logging.INFO)
    if not sys.stderr.isatty():
        write_lines(sys.stderr.buffer)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
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
