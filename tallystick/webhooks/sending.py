"""One request to a receiver, and what its answer means."""

import logging
import os
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Final

import httpx2

from tallystick.actors.runtime.reach import reaching
from tallystick.config.addresses import resolved
from tallystick.config.outgoing import NoSecret, Webhook, secret_at
from tallystick.webhooks.signing import keys_of, signed

TIMEOUT: Final = httpx2.Timeout(15.0, connect=5.0)
"""Standard Webhooks asks a sender to wait at least 15 seconds."""
RETRY_AFTER_MAX: Final = 3_600.0
"""The longest wait that a receiver may ask for, in seconds."""
OF_THE_RECEIVER: Final = frozenset({401, 403, 404, 405, 407, 408, 410, 421, 423, 425, 429})
"""Statuses below 500 that say nothing against what was sent: the address, the secret or the receiver is at fault."""


_here: Final[ContextVar[bool]] = ContextVar("sending", default=False)
# The client's library logs addresses as they are, with what variables stand for.
logging.getLogger("httpx2").addFilter(lambda _: not _here.get())


class Away(Exception):
    """The receiver has not accepted what was sent, and may do so later, after ``seconds`` if it says so."""

    def __init__(self, problem: str, seconds: float = 0.0) -> None:
        super().__init__(problem)
        self.seconds = seconds


class Refused(Exception):
    """The receiver is there, and does not accept what was sent."""


class Connection:
    """A connection to one receiver, which is kept. ``networks`` are those that it may lead to, beside public ones."""

    def __init__(self, hook: Webhook, networks: tuple[str, ...], environ: Mapping[str, str] = os.environ) -> None:
        self._hook, self._networks, self._environ = hook, networks, environ
        self._client: httpx2.Client | None = None

    def send(self, id: str, timestamp: int, body: bytes, content_type: str) -> None:
        """Send a body, signed with what the secret is now.

        Raises:
            Away, Refused: it was not accepted; the text has no part of the secret or of a variable.
        """
        try:
            url = resolved(self._hook.url, self._environ)
            keys = keys_of(secret_at(self._hook.secret, self._environ))
        except KeyError as error:
            raise Away(f"the variable {error.args[0]} is not set") from None
        except NoSecret as error:
            raise Away(str(error)) from None
        headers = {"content-type": content_type, "user-agent": "tallystick", **signed(id, timestamp, body, keys)}
        with reaching(self._networks) as reach:
            quiet = _here.set(True)
            try:
                if self._client is None:
                    self._client = httpx2.Client(timeout=TIMEOUT, follow_redirects=False)
                # What a receiver says beside its status is not read: it may be long, or have no end.
                with self._client.stream("POST", url, content=body, headers=headers) as answer:
                    status, after = answer.status_code, answer.headers.get("retry-after", "")
            except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
                self.close()
                raise Away(reach.problem or _words(error)) from None
            finally:
                _here.reset(quiet)
        _judge(status, after)

    def close(self) -> None:
        """Keep no connection."""
        client, self._client = self._client, None
        if client is not None:
            client.close()


def _words(error: Exception) -> str:
    """What went wrong. Of an address that a variable is part of, nothing is shown."""
    return "the address is none" if isinstance(error, httpx2.InvalidURL) else f"{type(error).__name__}: {error}"


def _judge(status: int, after: str) -> None:
    """Take an answer by its status.

    Raises:
        Away, Refused: it was not accepted.
    """
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise Away(f"it answered {status}: redirects are not followed")
    if 400 <= status < 500 and status not in OF_THE_RECEIVER:
        raise Refused(f"it answered {status}")
    seconds = float(after) if after.isascii() and after.isdigit() and len(after) < 9 else 0.0
    raise Away(f"it answered {status}", min(seconds, RETRY_AFTER_MAX))
