"""Sends messages to a server, once each: what a `Transport` of the interface does. It is sent again elsewhere."""

import logging
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

import httpx2
import structlog

from tallystick.actors.errors import Unanswered
from tallystick.client.answers import TEMPORARY, answers_of
from tallystick.client.connections import CONNECT_SECONDS, Connections, Target
from tallystick.client.errors import WrongServer
from tallystick.client.outgoing import Outgoing

ANSWER_SECONDS: Final = 30.0
"""So long a server may take for an answer, beside what the message itself asks to wait."""
_GRACE_SECONDS: Final = 5.0
"""So much longer the connection waits: a server that is late says so itself."""
_RETRY_SECONDS: Final = 1.0
"""After which a server that refused for now is asked again, where it does not say when."""
_WARNED_SECONDS: Final = 10.0
_ELSEWHERE: Final = ("halted", "store_away")
"""Refusals with which a server says that another one may have its place."""
_NO_TLS: Final = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE")
log = structlog.wrap_logger(logging.getLogger("tallystick.client"))


class HttpTransport:
    """Messages to a server, from threads and event loops. Of several that share a fleet, the one that has answered last
    is asked, and then the next.
    """

    temporary: ClassVar[frozenset[str]] = TEMPORARY

    def __init__(self, targets: Sequence[Target], new_id: Callable[[], str]) -> None:
        self._new_id = new_id
        self._servers = [Connections(target) for target in targets]
        self._at = 0
        self._warned_at = -_WARNED_SECONDS

    @property
    def url(self) -> str:
        """Where the server is that is asked next."""
        return self._servers[self._at].url

    def close(self) -> None:
        """Close all connections."""
        for server in self._servers:
            server.close()

    def begin_in_fork(self) -> None:
        """Begin anew in a fork."""
        for server in self._servers:
            server.begin_in_fork()

    def ask(self, message: Any, by: str = "", timeout: float = ANSWER_SECONDS) -> Any:
        """Send a message, or a list, once; the server knows from the key who asks.

        Raises:
            Unanswered: no answer came within ``timeout`` seconds, beside those that the message itself asks to wait.
            WrongServer: what answered is no server of tallystick.
        """
        going = self._going(message)
        if not going.count:
            return going.in_order(())
        seconds, server = timeout + going.waits_seconds, self._servers[self._at]
        try:
            response = server.post(going.body, seconds + _GRACE_SECONDS, going.waits_seconds > 0)
        except httpx2.TransportError as error:
            raise self._failed(server, error, seconds) from None
        return self._heard(server, going, response)

    async def ask_async(self, message: Any, by: str = "", timeout: float = ANSWER_SECONDS) -> Any:  # noqa: ASYNC109
        """`ask`, without blocking the event loop. Where it is cancelled, the server stops waiting, too.

        Raises:
            Unanswered: as for `ask`.
            WrongServer: as for `ask`.
        """
        going = self._going(message)
        if not going.count:
            return going.in_order(())
        seconds, server = timeout + going.waits_seconds, self._servers[self._at]
        try:
            response = await server.post_async(going.body, seconds + _GRACE_SECONDS, going.waits_seconds > 0)
        except httpx2.TransportError as error:
            raise self._failed(server, error, seconds) from None
        return self._heard(server, going, response)

    def retry_after(self, error: dict[str, Any]) -> float:
        """How many seconds to wait at least after a refusal that is temporary."""
        seconds = error.get("retry_after_seconds")
        return float(seconds) if isinstance(seconds, int | float) else _RETRY_SECONDS

    def _going(self, message: Any) -> Outgoing:
        return message if isinstance(message, Outgoing) else Outgoing(message, self._new_id)

    def _heard(self, server: Connections, going: Outgoing, response: httpx2.Response) -> Any:
        status, headers = response.status_code, response.headers
        try:
            answers = answers_of(status, headers, response.content, going.count, going.many, server.url)
        except Unanswered as error:
            self._note_failure(server, error)
            raise
        if any(answer.get("error", {}).get("code") in _ELSEWHERE for answer in answers):
            self._move_on(server)
        return going.in_order(answers)

    def _failed(self, server: Connections, error: httpx2.TransportError, seconds: float) -> Exception:
        """What to say of a request that failed, and whether it is worth another try."""
        url = server.url
        certificate = _certificate_error(error)
        if certificate is not None:
            return WrongServer(f"{url} cannot be trusted: {certificate}; correct its certificate or the URL")
        if url.startswith("https:") and _speaks_no_tls(error):
            plain = url.replace("https:", "http:", 1)
            return WrongServer(f"{url} does not answer as https: if the server is without, its URL is {plain}")
        why = str(error) or type(error).__name__
        if isinstance(error, httpx2.ConnectTimeout):
            why = f"no connection within {CONNECT_SECONDS:g} s"
        if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.ProxyError):
            failed = Unanswered(f"{url} cannot be reached ({why}): is `tallystick serve` running there?")
        elif isinstance(error, httpx2.TimeoutException):
            failed = Unanswered(f"{url} gave no answer within {seconds:g} s; {_AGAIN}")
        else:
            failed = Unanswered(f"{url} broke the connection before it answered ({why}); {_AGAIN}")
        self._note_failure(server, failed)
        return failed

    def _move_on(self, server: Connections) -> None:
        """Ask the next server from now on, unless that is done already."""
        if self._servers[self._at] is server:
            self._at = (self._at + 1) % len(self._servers)

    def _note_failure(self, server: Connections, error: Unanswered) -> None:
        """Move on, and log the first of a series: that a server is restarted is not said again for each message."""
        self._move_on(server)
        now = time.monotonic()
        if now - self._warned_at >= _WARNED_SECONDS:
            self._warned_at = now
            log.warning("does_not_answer", error=str(error), instead="messages are sent again with the same ids")


_AGAIN: Final = "it may have been carried out: send it again with the same id to learn its outcome"


def _speaks_no_tls(error: BaseException | None) -> bool:
    """Whether what answered was no TLS at all."""
    while error is not None:
        if isinstance(error, ssl.SSLError) and error.reason in _NO_TLS:
            return True
        error = error.__cause__ or error.__context__
    return False


def _certificate_error(error: BaseException | None) -> str | None:
    """Why a certificate was not accepted, where that is behind an error."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error.verify_message
        error = error.__cause__ or error.__context__
    return None
