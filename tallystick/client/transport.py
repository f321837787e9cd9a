"""Sends messages to a server, once each: what a `Transport` of the interface does. It is sent again elsewhere."""

import logging
import ssl
import time
from collections.abc import Callable
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
_NO_TLS: Final = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE")
log = structlog.wrap_logger(logging.getLogger("tallystick.client"))


class HttpTransport:
    """Messages to the server at a URL, from threads and event loops."""

    temporary: ClassVar[frozenset[str]] = TEMPORARY

    def __init__(self, target: Target, new_id: Callable[[], str]) -> None:
        self._url, self._new_id = target.url, new_id
        self.connections = Connections(target)
        self._warned_at = -_WARNED_SECONDS

    def ask(self, message: Any, by: str = "", timeout: float = ANSWER_SECONDS) -> Any:
        """Send a message, or a list, once; the server knows from the key who asks.

        Raises:
            Unanswered: no answer came within ``timeout`` seconds, beside those that the message itself asks to wait.
            WrongServer: what answered is no server of tallystick.
        """
        going = self._going(message)
        if not going.count:
            return going.in_order(())
        seconds = timeout + going.waits_seconds
        try:
            response = self.connections.post(going.body, seconds + _GRACE_SECONDS, going.waits_seconds > 0)
        except httpx2.TransportError as error:
            raise self._failed(error, seconds) from None
        return self._heard(going, response)

    async def ask_async(self, message: Any, by: str = "", timeout: float = ANSWER_SECONDS) -> Any:  # noqa: ASYNC109
        """`ask`, without blocking the event loop. Where it is cancelled, the server stops waiting, too.

        Raises:
            Unanswered: as for `ask`.
            WrongServer: as for `ask`.
        """
        going = self._going(message)
        if not going.count:
            return going.in_order(())
        seconds = timeout + going.waits_seconds
        post = self.connections.post_async
        try:
            response = await post(going.body, seconds + _GRACE_SECONDS, going.waits_seconds > 0)
        except httpx2.TransportError as error:
            raise self._failed(error, seconds) from None
        return self._heard(going, response)

    def retry_after(self, error: dict[str, Any]) -> float:
        """How many seconds to wait at least after a refusal that is temporary."""
        seconds = error.get("retry_after_seconds")
        return float(seconds) if isinstance(seconds, int | float) else _RETRY_SECONDS

    def _going(self, message: Any) -> Outgoing:
        return message if isinstance(message, Outgoing) else Outgoing(message, self._new_id)

    def _heard(self, going: Outgoing, response: httpx2.Response) -> Any:
        try:
            answers = answers_of(
                response.status_code, response.headers, response.content, going.count, going.many, self._url
            )
        except Unanswered as error:
            self._note_failure(error)
            raise
        return going.in_order(answers)

    def _failed(self, error: httpx2.TransportError, seconds: float) -> Exception:
        """What to say of a request that failed, and whether it is worth another try."""
        certificate = _certificate_error(error)
        if certificate is not None:
            return WrongServer(f"{self._url} cannot be trusted: {certificate}; correct its certificate or the URL")
        if self._url.startswith("https:") and _speaks_no_tls(error):
            plain = self._url.replace("https:", "http:", 1)
            return WrongServer(f"{self._url} does not answer as https: if the server is without, its URL is {plain}")
        why = str(error) or type(error).__name__
        if isinstance(error, httpx2.ConnectTimeout):
            why = f"no connection within {CONNECT_SECONDS:g} s"
        if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.ProxyError):
            failed = Unanswered(f"{self._url} cannot be reached ({why}): is `tallystick serve` running there?")
        elif isinstance(error, httpx2.TimeoutException):
            failed = Unanswered(f"{self._url} gave no answer within {seconds:g} s; {_AGAIN}")
        else:
            failed = Unanswered(f"{self._url} broke the connection before it answered ({why}); {_AGAIN}")
        self._note_failure(failed)
        return failed

    def _note_failure(self, error: Unanswered) -> None:
        """Log the first of a series: that a server is restarted is not said again for each message."""
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
