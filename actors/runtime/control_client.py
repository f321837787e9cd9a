"""Asks a live fleet of this machine over its control socket."""

import os
import socket
import time
from pathlib import Path

import msgspec

from tallystick.actors.errors import Unanswered
from tallystick.actors.runtime.control_connection import FRAME_MAX
from tallystick.actors.runtime.pending import ANSWER_SECONDS

_CONNECT_SECONDS = 5.0
_READ_BYTES = 65_536


class _Reply(msgspec.Struct):
    reply: msgspec.Raw


_decode = msgspec.json.Decoder(_Reply).decode


def ask(path: Path, message: bytes, by: str, key: str | None = None, waits_seconds: float = 0.0) -> bytes | None:
    """The reply to one message, as it came; None where no fleet listens at the path.

    ``waits_seconds`` is how long the message itself asks to wait for its answer.

    Raises:
        ValueError: the message is longer than the socket takes.
        Unanswered: no answer came; the message may still be carried out.
    """
    fields = {"message": msgspec.Raw(message), "by": by} | ({} if key is None else {"key": key})
    frame = msgspec.json.encode(fields) + b"\n"
    if len(frame) > FRAME_MAX:
        raise ValueError(f"the message has {len(frame)} bytes with its sender: a live fleet takes {FRAME_MAX}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_CONNECT_SECONDS)
        try:
            connection.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return None
        try:
            connection.sendall(frame)
            line = _line_of(connection, ANSWER_SECONDS + waits_seconds)
        except OSError as error:
            raise Unanswered(f"no answer over {path}: {error.strerror or error}") from error
    return bytes(_decode(line).reply)


def _line_of(connection: socket.socket, seconds: float) -> bytes:
    """What comes up to the first line end.

    Raises:
        Unanswered: the fleet closed the connection before.
        OSError: the connection broke, or it took too long.
    """
    until, read = time.monotonic() + seconds, bytearray()
    while not read.endswith(b"\n"):
        connection.settimeout(max(0.001, until - time.monotonic()))
        part = connection.recv(_READ_BYTES)
        if not part:
            raise Unanswered("the fleet has gone away before it answered")
        read += part
    return bytes(read)
