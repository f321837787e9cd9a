"""The answers to questions that a fleet does not record, so that the same key gets the same answer."""

import hashlib
from collections import OrderedDict
from typing import Any, Final

import msgspec

from tallystick.cycles.errors import MISMATCH, Fault
from tallystick.cycles.wire import Request

KEPT: Final = 10_000
"""Keys whose answers are remembered, by each server for itself, the newest ones."""


class Memory:
    """Answers by endpoint, by whose keys they are (`asking.owner_of`), and key."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._answers: OrderedDict[tuple[str, str, str], tuple[bytes, Any]] = OrderedDict()

    def find(self, endpoint: str, owner: str, asked: Request) -> Any:
        """The answer that a key got before; None where it is new.

        Raises:
            Fault: the key came with another request.
        """
        found = self._answers.get((endpoint, owner, asked.idempotency_key))
        if found is None:
            return None
        if found[0] != _digest(asked):
            raise Fault(MISMATCH, "idempotency_key: it was used before for another request")
        return found[1]

    def keep(self, endpoint: str, owner: str, asked: Request, answer: Any) -> None:
        """Remember an answer."""
        self._answers[endpoint, owner, asked.idempotency_key] = (_digest(asked), answer)
        if len(self._answers) > self._kept:
            self._answers.popitem(last=False)


def _digest(asked: Request) -> bytes:
    return hashlib.sha256(msgspec.json.encode(asked, order="deterministic")).digest()
