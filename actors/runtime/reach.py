"""Keeps what is sent to people from leading into the networks of this machine.

The library that sends takes addresses by name, and the services behind them may name others. So each connection is
looked at where it is made, when names are resolved: Python says of each, by an audit hook, where it leads. The library
hands the context of its caller on to its threads; a thread that a service's plugin starts by itself is not looked at.
"""

import contextlib
import functools
import socket
import sys
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any, Final

from tallystick.config.networks import is_allowed

KEY: Final = "notification_networks"
_here: Final[ContextVar["Reach | None"]] = ContextVar("reach", default=None)


class Reach:
    """The networks that connections may lead to, and where others would have led."""

    def __init__(self, networks: Sequence[str]) -> None:
        self.networks, self.refused = tuple(networks), list[str]()

    @property
    def problem(self) -> str | None:
        """What was refused, in words; None where nothing was."""
        if not self.refused:
            return None
        return f"{self.refused[-1]} is of a private network, or this machine: {KEY} lists which may be sent to"

    def check(self, place: Any) -> None:
        """Raise where a connection would lead to where none may."""
        # What has no host, as a Unix socket, leads nowhere.
        if isinstance(place, tuple):
            for host in _addresses(place[0]):
                if not is_allowed(host, self.networks):
                    self.refused.append(host)
                    raise OSError(f"{host} is not allowed")


@contextlib.contextmanager
def reaching(networks: Sequence[str]) -> Iterator[Reach]:
    """Connections that are made for the body lead to public addresses and these networks only."""
    _watch()
    reach = Reach(networks)
    before = _here.set(reach)
    try:
        yield reach
    finally:
        _here.reset(before)


@functools.cache
def _watch() -> None:
    """Once for a process: a hook cannot be taken away. It costs others a comparison."""
    sys.addaudithook(_look)


def _look(event: str, args: tuple[Any, ...]) -> None:
    if event in ("socket.connect", "socket.sendto"):
        reach = _here.get()
        if reach is not None:
            reach.check(args[1])


def _addresses(host: Any) -> list[str]:
    """The addresses of a host; itself where it is one."""
    try:
        return [str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
    except OSError:
        return [str(host)]
