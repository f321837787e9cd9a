"""`Client`: the interface of `tallystick.Fleet` for a server elsewhere."""

import os
import ssl
import weakref
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import SplitResult, urlsplit

import httpx2

from tallystick.client.connections import Target
from tallystick.client.outgoing import Outgoing
from tallystick.client.transport import ANSWER_SECONDS, HttpTransport
from tallystick.events.log.codec import Message
from tallystick.interface.interface import Interface
from tallystick.interface.steps import RETRY_SECONDS, Asked, Runner

KEY_VARIABLE: Final = "TALLYSTICK_KEY"
_SHOWN_MAX: Final = 100
_clients: "weakref.WeakSet[Client]" = weakref.WeakSet()


class Client(Interface):
    """A fleet behind a server (`tallystick serve`): agents, calls and tasks; and messages in, replies out.

    For threads and event loops, which share it; connections are kept. Each message has an id before it is sent, and is
    sent again with it, so it counts once, also while the server is restarted, or another one takes its place.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        key: str | None = None,
        *,
        retry_seconds: float = RETRY_SECONDS,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """Nothing is sent yet.

        ``url`` is that of the server, or those of several that share a fleet: where one does not answer, the next is
        asked.
        ``key`` is an API key of the server; where it is left out, the one in $TALLYSTICK_KEY, if there is one. So long
        as ``retry_seconds`` what was not answered is sent again. ``ssl_context`` is for an authority of one's own.

        Raises:
            ValueError: the URL or the key is none.
        """
        urls = [url] if isinstance(url, str) else list(url)
        if not urls:
            raise ValueError("url: found none, allowed is one, or several")
        self._transport = HttpTransport([target_of(one, key, ssl_context) for one in urls], self._new_id)
        self._runner = Runner(self._transport)
        self._runner.retry_seconds = retry_seconds
        _clients.add(self)

    @property
    def url(self) -> str:
        """Where the server is that is asked next."""
        return self._transport.url

    def __repr__(self) -> str:
        return f"Client({self.url!r})"

    def ask(self, message: Message | Sequence[Message], by: str = "local", timeout: float = ANSWER_SECONDS) -> Any:
        """Send a message and wait: ``{"ok": …}`` or ``{"error": …}``; a list of them for a list.

        The server knows from the key who asks; ``by`` is what it is in process, and not sent.

        Raises:
            Unanswered: however often it was sent, no answer came within ``timeout`` seconds, beside those that the
                message itself asks to wait; it may still have been carried out.
            WrongServer: what answers there is no server of tallystick.
        """
        return self._runner.ask(self._asked(message, by, timeout))

    async def ask_async(
        self,
        message: Message | Sequence[Message],
        by: str = "local",
        timeout: float = ANSWER_SECONDS,  # noqa: ASYNC109 - the same as ask(), which has one
    ) -> Any:
        """`ask`, without blocking the event loop.

        Raises:
            Unanswered: as for `ask`.
            WrongServer: as for `ask`.
        """
        return await self._runner.ask_async(self._asked(message, by, timeout))

    def _asked(self, message: Message | Sequence[Message], by: str, timeout: float) -> Asked:
        going = Outgoing(message, self._runner.new_id)
        return Asked(going, by, None, going.waits_seconds, timeout)

    def _new_id(self) -> str:
        return self._runner.new_id()

    def close(self) -> None:
        """Close all connections. What agents still have open ends with their leases."""
        self._runner.close()
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _begin_in_fork(self) -> None:
        self._transport.begin_in_fork()
        self._runner.begin()


def target_of(url: str, key: str | None = None, ssl_context: ssl.SSLContext | None = None) -> Target:
    """Where a server is, and what it is shown: the key, or else that of ``$TALLYSTICK_KEY``.

    Raises:
        ValueError: the URL or the key is none.
    """
    return Target(_checked_url(url), _checked_key(key or os.environ.get(KEY_VARIABLE)), ssl_context)


def _checked_url(url: str) -> str:
    """A URL without its last slash.

    Raises:
        ValueError: it is none of a server.
    """
    try:
        parts = urlsplit(url)
        has_key = parts.username is not None or parts.password is not None
        is_one = has_key or _is_of_a_server(url, parts)
    except (ValueError, httpx2.InvalidURL):
        has_key = is_one = False
    if has_key:
        raise ValueError("url: found one with a key, allowed is one without: name it as key=, or in $TALLYSTICK_KEY")
    if not is_one:
        shown = url.rpartition("@")[2][:_SHOWN_MAX]
        raise ValueError(f"url: found {shown!r}, allowed is one like http://127.0.0.1:8321")
    return url.rstrip("/")


def _is_of_a_server(url: str, parts: SplitResult) -> bool:
    """Whether a URL names a server and nothing behind it.

    Raises:
        ValueError: it is no URL, or its host or port is none.
        httpx2.InvalidURL: the same.
    """
    if parts.scheme not in ("http", "https") or not parts.hostname or " " in url:
        return False
    parts.hostname.encode("idna")
    httpx2.URL(url)
    return parts.port != 0 and not parts.query and not parts.fragment


def _checked_key(key: str | None) -> str | None:
    """A key as a header can say it; None where there is none.

    Raises:
        ValueError: it is none.
    """
    if not key:
        return None
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError("key: found spaces, line ends or letters that no key has; is it the whole key, and only it?")
    return key


def _begin_in_fork() -> None:
    for client in list(_clients):
        client._begin_in_fork()  # noqa: SLF001 - this module's own class


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_fork)
