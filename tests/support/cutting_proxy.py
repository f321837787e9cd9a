"""A socket between a program and its PostgreSQL server that cuts the connection at a chosen moment."""

import contextlib
import socket
import threading
from pathlib import Path
from typing import Literal

Moment = Literal["before the server has it", "after the server has it"]
_BYTES = 65_536
_SECONDS = 0.3
"""How long the server has for an answer: not every message gets one."""


class CuttingProxy:
    """Passes everything on, until the n-th message of a client: there it cuts, once.

    Cut after the server has it, the server's answer is what gets lost: it has carried the message out, or does.
    """

    def __init__(self, folder: Path, server: Path) -> None:
        self.folder = folder
        self._server = server / ".s.PGSQL.5432"
        self._at = 0
        self._moment: Moment = "before the server has it"
        self.sent = 0
        self.was_cut = threading.Event()
        self._lock = threading.Lock()
        self._clients: set[socket.socket] = set()
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(folder / ".s.PGSQL.5432"))
        self._listening.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, at: int, moment: Moment) -> None:
        """Cut at a message from now on, counted over all connections; at 0, never."""
        with self._lock:
            self._at, self._moment, self.sent = at, moment, 0
            self.was_cut.clear()

    def cut_all(self) -> None:
        """Cut all connections of clients that there are, now. What the server was sent, it goes on with."""
        with self._lock:
            clients, self._clients = self._clients, set()
        for client in clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        with self._lock:
            self._clients.add(client)
        cut, lost = threading.Event(), threading.Event()
        try:
            server.connect(str(self._server))
            threading.Thread(target=self._answers, args=(server, client, cut, lost), daemon=True).start()
            while data := client.recv(_BYTES):
                moment = self._moment_of_message()
                if moment == "before the server has it":
                    break
                if moment is not None:
                    cut.set()
                server.sendall(data)
                if moment is not None:
                    # The server has answered, so it has done what it was asked.
                    lost.wait(_SECONDS)
                    break
        except OSError:
            pass  # one of the two has gone
        finally:
            for one in (client, server):
                # The other thread may be reading from it: only this ends that.
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
                one.close()

    def _moment_of_message(self) -> Moment | None:
        with self._lock:
            self.sent += 1
            if self.sent != self._at:
                return None
            self.was_cut.set()
            return self._moment

    @staticmethod
    def _answers(server: socket.socket, client: socket.socket, cut: threading.Event, lost: threading.Event) -> None:
        try:
            while data := server.recv(_BYTES):
                if cut.is_set():
                    return
                client.sendall(data)
        except OSError:
            pass  # one of the two has gone
        finally:
            lost.set()
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
