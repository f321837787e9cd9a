"""How a child reaches its parent: over HTTP with an agent's key, or on the same machine over its control socket."""

import itertools
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from tallystick.actors.errors import Unanswered
from tallystick.actors.runtime import control_client
from tallystick.actors.runtime.control_place import places_of
from tallystick.client.answers import TEMPORARY
from tallystick.client.connections import Target
from tallystick.client.errors import WrongServer
from tallystick.client.transport import HttpTransport

KEY_VARIABLE: Final = "TALLYSTICK_PARENT_KEY"
ANSWER_SECONDS: Final = 5.0
"""So long a parent may take for an answer; then it counts as away, and is asked again."""


class Away(Exception):
    """The parent gave no answer, or none for now: what was sent may have been decided all the same."""


class Parent(Protocol):
    """Where a child sends its messages."""

    def ask(self, messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Send messages as one array; the answers in their order.

        Raises:
            Away: none came.
        """

    def close(self) -> None:
        """Send nothing more."""


def parent_at(addresses: Sequence[str], account: str, environ: Mapping[str, str]) -> Parent:
    """The parent at its addresses of the configuration. ``account`` is who asks, where there are no keys."""
    if addresses[0].startswith("sqlite:"):
        return LocalParent(addresses[0], account)
    return ServedParent(addresses, environ.get(KEY_VARIABLE) or None)


class ServedParent:
    """A parent behind a server, or several that share it: where one does not answer for now, the next is asked. Each
    message has an id of its own, and is sent once: what is due is sent again anew.
    """

    def __init__(self, urls: Sequence[str], key: str | None) -> None:
        prefix, numbers = f"c-{secrets.token_hex(6)}", itertools.count(1)
        targets = [Target(url.rstrip("/"), key, None) for url in urls]
        self._count = len(targets)
        self._transport = HttpTransport(targets, lambda: f"{prefix}-{next(numbers)}")

    def ask(self, messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        for _ in range(self._count - 1):
            url = self._transport.url
            try:
                return self._asked(messages)
            except Away:
                if self._transport.url == url:
                    raise
        return self._asked(messages)

    def _asked(self, messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        try:
            return decided(self._transport.ask(list(messages), timeout=ANSWER_SECONDS))
        except (Unanswered, WrongServer) as error:
            raise Away(str(error)) from error

    def close(self) -> None:
        self._transport.close()


class LocalParent:
    """A parent that runs on this machine, as this user."""

    def __init__(self, store_url: str, by: str) -> None:
        self._url, self._by = store_url, by

    def ask(self, messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        for place in places_of(self._url):
            try:
                answers = control_client.ask(place, msgspec.json.encode(messages), self._by)
            except (Unanswered, OSError) as error:
                raise Away(str(error)) from error
            if answers is not None:
                return decided(msgspec.json.decode(answers))
        raise Away(f"no fleet runs at {self._url}: is `tallystick serve` running there, as this user?")

    def close(self) -> None:
        """No connection is kept."""


def decided(replies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The answers of a parent that has decided all of what it was sent.

    Raises:
        Away: it refuses some of it for now only, as without its store, or when too much waits.
    """
    for reply in replies:
        error = reply.get("error", {})
        if error.get("code") in TEMPORARY:
            raise Away(f"{error['code']}: {error['detail']}")
    return replies
