"""How a child reaches its parent: over HTTP with an agent's key, or on the same machine over its control socket."""

import itertools
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import msgspec

from tallystick.actors.errors import Unanswered
from tallystick.actors.runtime import control_client
from tallystick.actors.runtime.control_place import places_of
from tallystick.client.connections import Target
from tallystick.client.errors import WrongServer
from tallystick.client.transport import HttpTransport

KEY_VARIABLE: Final = "TALLYSTICK_PARENT_KEY"
ANSWER_SECONDS: Final = 5.0
"""So long a parent may take for an answer; then it counts as away, and is asked again."""


class Away(Exception):
    """The parent gave no answer: what was sent may have been decided all the same."""


class Parent(Protocol):
    """Where a child sends its messages."""

    def ask(self, messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Send messages as one array; the answers in their order.

        Raises:
            Away: none came.
        """

    def close(self) -> None:
        """Send nothing more."""


def parent_at(url: str, account: str, environ: Mapping[str, str]) -> Parent:
    """The parent at an address of the configuration. ``account`` is who asks, where there are no keys."""
    if url.startswith("sqlite:"):
        return LocalParent(url, account)
    return ServedParent(url, environ.get(KEY_VARIABLE) or None)


class ServedParent:
    """A parent behind a server. Each message has an id of its own, and is sent once: what is due is sent again anew."""

    def __init__(self, url: str, key: str | None) -> None:
        prefix, numbers = f"c-{secrets.token_hex(6)}", itertools.count(1)
        self._transport = HttpTransport([Target(url.rstrip("/"), key, None)], lambda: f"{prefix}-{next(numbers)}")

    def ask(self, messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        try:
            answers: list[dict[str, Any]] = self._transport.ask(list(messages), timeout=ANSWER_SECONDS)
        except (Unanswered, WrongServer) as error:
            raise Away(str(error)) from error
        return answers

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
                replies: list[dict[str, Any]] = msgspec.json.decode(answers)
                return replies
        raise Away(f"no fleet runs at {self._url}: is `tallystick serve` running there, as this user?")

    def close(self) -> None:
        """No connection is kept."""
