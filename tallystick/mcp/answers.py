"""What a fleet answers to a tool or a resource, wherever it is reached: a reply, or a refusal with its numbers."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import msgspec

from tallystick.http.statuses import OWN_STATUS, STATUS, retry_after, status_of

_OF_THE_PROBLEM: Final = ("type", "title", "status")
_OK: Final = 200
_NOT_DECIDED: Final = 500
_encode = msgspec.json.encode


class Answer(NamedTuple):
    """An answer as JSON text, the same as a value, and whether it is a refusal."""

    text: str
    value: Any
    is_refused: bool = False

    @property
    def code(self) -> str:
        """The code of a refusal."""
        return str(self.value["code"])

    def with_id(self, id: str) -> "Answer":
        """The same. Where nothing was decided, or that is not known, it says under which id to ask again."""
        known = self.is_refused and (self.code in STATUS or self.code in OWN_STATUS)
        if not known or status_of(self.value) < _NOT_DECIDED:
            return self
        return refusal({**self.value, "id": id})


def replied(body: bytes) -> Answer:
    """A reply as it came."""
    return Answer(body.decode(), msgspec.json.decode(body))


def refusal(error: Mapping[str, Any]) -> Answer:
    """A refusal: its code, its sentence, its numbers; and ``retry_after_seconds`` wherever waiting cures it."""
    said = dict(error)
    if said["code"] in STATUS or said["code"] in OWN_STATUS:
        seconds = retry_after(said, status_of(said))
        if said.get("retry_after_seconds") is None and seconds is not None:
            said["retry_after_seconds"] = seconds
    return Answer(_encode(said).decode(), said, is_refused=True)


def answer_of(answer: Mapping[str, Any]) -> Answer:
    """``{"ok": …}`` or ``{"error": …}``, as a fleet in this process answers."""
    return refusal(answer["error"]) if "error" in answer else replied(_encode(answer["ok"]))


def answer_of_http(status: int, body: bytes) -> Answer:
    """What the HTTP API of a fleet has answered: a reply, or a problem."""
    if status == _OK:
        return replied(body)
    problem = msgspec.json.decode(body)
    return refusal({name: value for name, value in problem.items() if name not in _OF_THE_PROBLEM})
