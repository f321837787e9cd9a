"""What a session of Claude Code says that it used: in the parts and messages of its stream, in the transcripts of its
sub-agents, and in the totals of a result. Each says less than the next, and the same of the same message.
"""

import contextlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import msgspec

_COUNTS: Final = {
    "input_tokens": "inputTokens",
    "output_tokens": "outputTokens",
    "cache_read_input_tokens": "cacheReadInputTokens",
    "cache_creation_input_tokens": "cacheCreationInputTokens",
}
"""The counts of a message, and their names in totals."""


class Message(NamedTuple):
    """What is known of a message of a model."""

    id: str
    model: str
    usage: Mapping[str, Any]

    @property
    def size(self) -> int:
        """Its tokens, with those that were sent for it."""
        return sum(self.usage.get(name) or 0 for name in _COUNTS)


def message_of(given: Mapping[str, Any]) -> Message | None:
    """A message of a model; None where it does not say what it used, or is of Claude Code itself."""
    id, model, usage = given.get("id"), given.get("model"), given.get("usage")
    return Message(id, model, usage) if id and model and usage and model != "<synthetic>" else None


class Parts:
    """The message that is being streamed; only its last parts say all that it used."""

    def __init__(self) -> None:
        self._message: dict[str, Any] = {}

    def add(self, event: Mapping[str, Any]) -> Message | None:
        """The message, once it is whole."""
        if event["type"] == "message_start":
            self._message = dict(event["message"])
        elif event["type"] == "message_delta":
            self._message["usage"] = {**self._message.get("usage", {}), **event.get("usage", {})}
        return message_of(self._message) if event["type"] == "message_stop" else None

    def has(self, id: str) -> bool:
        """Whether this message is streamed, and its parts will say more."""
        return self._message.get("id") == id


class Transcripts:
    """The files of sub-agents that have ended, each read again where it has grown."""

    def __init__(self) -> None:
        self._read: dict[Path, tuple[str, int]] = {}

    def add(self, path: str, kind: str) -> None:
        """The file of a sub-agent of this type."""
        self._read[Path(path)] = (kind, 0)

    def messages(self) -> list[tuple[str, Message]]:
        """What is new, with the type of its sub-agent."""
        found: list[tuple[str, Message]] = []
        for path, (kind, size) in list(self._read.items()):
            with contextlib.suppress(OSError):
                lines = path.read_bytes()
                if len(lines) > size:
                    self._read[path] = (kind, len(lines))
                    found += [(kind, message) for line in lines.splitlines() for message in _in(line)]
        return found


def _in(line: bytes) -> Iterator[Message]:
    """The message of a line; the last line may not be whole yet."""
    with contextlib.suppress(msgspec.DecodeError):
        entry = msgspec.json.decode(line)
        if entry.get("type") == "assistant" and (message := message_of(entry["message"])):
            yield message


class Reported:
    """What was reported of a session, by message; and what its totals have beside."""

    def __init__(self) -> None:
        self._used: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)

    def add(self, message: Message) -> Literal["new", "more"] | None:
        """Whether a message is new, or says more than before, or nothing that was not said."""
        counts = Counter({name: message.usage.get(name) or 0 for name in _COUNTS})
        is_new, used = (message.model, message.id) not in self._used, self._used[message.model, message.id]
        more = counts - used
        used |= counts
        return "new" if is_new else "more" if more else None

    def rest(self, totals: Mapping[str, Any]) -> Iterator[Message]:
        """What the totals of a session have beyond its messages, by model, as for a title; each is given once."""
        used: dict[str, Counter[str]] = defaultdict(Counter)
        for (model, _), counts in self._used.items():
            used[model] += counts
        of_models = {
            model: Counter({ours: said.get(theirs, 0) for ours, theirs in _COUNTS.items()})
            for model, said in totals.items()
        }
        # A model may have another name in the totals: then its messages are there, too.
        rest = sum(of_models.values(), Counter[str]()) - sum(used.values(), Counter[str]())
        for model, counts in of_models.items():
            if more := (counts - used[model]) & rest:
                rest -= more
                self._used[model, ""] += more
                yield Message("", model, dict(more))

    def clear(self) -> None:
        """The totals begin anew."""
        self._used.clear()
