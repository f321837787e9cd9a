"""The control socket of a live fleet: other processes of its user ask it, a line of JSON a request.

A request is ``{"message": …}``: a message of the wire contract, or an array of them that are committed together; with
``by``, who asks; ``key``, the operator's; ``request``, a number or text that the reply repeats. The reply is
``{"request": …, "reply": …}``, once per request, in the order in which the answers come.

One thread waits for all connections in the system's own selector, so an idle socket costs nothing.
"""

import asyncio
import contextlib
import logging
import os
import socket
import stat
import threading
from pathlib import Path
from typing import Final

import structlog

from tallystick.actors.runtime.control_connection import CONNECTIONS_MAX, FRAME_MAX, Connection, too_many
from tallystick.actors.runtime.control_place import NoPlace, place_for, socket_of
from tallystick.actors.runtime.intake import Intake
from tallystick.events.log.store import StoreError
from tallystick.events.log.store_place import is_in_memory, shown

IDLE_SECONDS = 60.0
"""How long a connection may be open without a whole request, and how long it may take a client to read a reply."""
_FLUSH_SECONDS = 2.0
_PROBE_SECONDS = 1.0
_PROBE: Final = b'{"message":{"type":"GetGlobalStatus"}}\n'
log = structlog.wrap_logger(logging.getLogger("tallystick.control"))


class ControlSocket:
    """Listens on ``path`` from `start` on. `stop_listening` comes first, `finish` when all is answered."""

    def __init__(self, path: Path, intake: Intake, idle_seconds: float) -> None:
        self.path = path
        self._intake, self._idle_seconds = intake, idle_seconds
        self._process = os.getpid()
        self._listener = _bound(path)
        self._inode = path.lstat().st_ino
        self._connections: dict[asyncio.Task[None], Connection] = {}
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)
        self._ready = threading.Event()

    @classmethod
    def open(cls, url: str, intake: Intake) -> "ControlSocket | None":
        """Listen for a fleet that writes its store; None, and a line in the program's log, where that is impossible.

        A socket that a dead process left is replaced, a live one is not. A store in memory has none.
        """
        if is_in_memory(url):
            return None
        if not hasattr(socket, "AF_UNIX") or not hasattr(os, "geteuid"):
            log.info("no_control_socket", store=shown(url), why="this system has no Unix sockets")
            return None
        why = "a fleet that runs has it already"
        try:
            found = socket_of(url)
            path = None if found is None else place_for(found.name)
            if path is not None and not is_live(path):
                return cls(path, intake, IDLE_SECONDS).started()
            why = why if path else "the store is gone, or another process writes it"
        except (NoPlace, OSError, StoreError) as error:
            why = str(error)
        log.warning("no_control_socket", store=shown(url), why=why)
        return None

    def started(self) -> "ControlSocket":
        """Serve from now on.

        Raises:
            OSError: the system gives no thread its selector.
        """
        self._thread.start()
        self._ready.wait()
        if self._server is None:
            self._listener.close()
            raise OSError("the socket could not be served")
        _LIVE.add(self)
        return self

    def stop_listening(self) -> None:
        """Take no more connections, and remove the socket, unless another fleet has put its own there."""
        if self._process != os.getpid():
            return
        _LIVE.discard(self)
        with contextlib.suppress(OSError):
            if self.path.lstat().st_ino == self._inode:
                self.path.unlink()
        assert self._server is not None, "it was started"
        self._loop.call_soon_threadsafe(self._server.close)

    def finish(self) -> None:
        """Write the answers that are there, and close all connections."""
        if self._process != os.getpid():
            return
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        # A reader holds twice as much as it is limited to.
        self._server = await asyncio.start_unix_server(self._connected, sock=self._listener, limit=FRAME_MAX)
        self._ready.set()
        await self._ending.wait()
        for connection in self._connections.values():
            connection.end()
        if self._connections:
            await asyncio.wait(list(self._connections), timeout=_FLUSH_SECONDS)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._connections) >= CONNECTIONS_MAX:
            await too_many(writer)
            return
        connection = self._connections[task] = Connection(self._intake, reader, writer, self._idle_seconds)
        try:
            await connection.serve()
        finally:
            del self._connections[task]

    def close_in_child(self) -> None:
        """In a fork: let go of the listening socket, which would look alive after the fleet's process has died."""
        self._listener.close()


def is_live(path: Path) -> bool:
    """Whether a fleet answers at a path: a process that has died left its socket, and none listens there."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(_PROBE_SECONDS)
            probe.connect(os.fspath(path))
            probe.sendall(_PROBE)
            return bool(probe.recv(1))
    except OSError:
        return False


def _bound(path: Path) -> socket.socket:
    """A socket that listens at a path; what was there, and is a socket, is replaced.

    Raises:
        OSError: it cannot be bound.
    """
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode):
            path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(os.fspath(path))
        path.chmod(0o600)
        listener.listen(CONNECTIONS_MAX)
        listener.setblocking(False)  # noqa: FBT003 - the socket's own way
    except BaseException:
        listener.close()
        raise
    return listener


_LIVE: set[ControlSocket] = set()
"""The sockets of this process; a fork of it closes them."""


def _forget_in_child() -> None:
    for control in _LIVE:
        control.close_in_child()
    _LIVE.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
