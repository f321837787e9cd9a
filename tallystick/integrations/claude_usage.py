"""What a session of Claude Code says that it used. Its messages come first, and say little of their output. Its
transcripts say all of a message a moment later, and the id of its request, under which telemetry and imports have it.
The totals of a result have also what is in no message.
"""

import contextlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

Kind = str | None
"""The type of a sub-agent; None for the session's own agent."""
_COUNTS: Final = {
    "input_tokens": "inputTokens",
    "output_tokens": "outputTokens",
    "cache_read_input_tokens": "cacheReadInputTokens",
    "cache_creation_input_tokens": "cacheCreationInputTokens",
}
"""The counts of a message, and their names in totals."""


class Message(NamedTuple):
    """What is known of a message of a model, and the id of its call where it is reported."""

    id: str
    model: str
    usage: Mapping[str, Any]
    source: str

    @property
    def size(self) -> int:
        """Its tokens, with those that were sent for it."""
        return sum(self.usage.get(name) or 0 for name in _COUNTS)


def message_of(given: Mapping[str, Any], request_id: str | None = None) -> Message | None:
    """A message of a model; None where it does not say what it used, or is of Claude Code itself."""
    id, model, usage = given.get("id"), given.get("model"), given.get("usage")
    is_one = id and model and usage and model != "<synthetic>"
    return Message(str(id), str(model), usage or {}, request_id or str(id)) if is_one else None


class Transcripts:
    """The files that a session writes, read as they grow: its own from now on, those of sub-agents from their begin."""

    def __init__(self) -> None:
        self._read: dict[Path, tuple[Kind, int]] = {}

    def watch(self, path: Path, kind: Kind) -> None:
        """Read this file, too."""
        if path not in self._read:
            past = path.stat().st_size if kind is None and path.exists() else 0
            self._read[path] = (kind, past)

    @property
    def are_written(self) -> bool:
        """Whether there are any; a session may be kept from writing them."""
        return any(offset for _, offset in self._read.values())

    def messages(self) -> list[tuple[Kind, Message]]:
        """What is new; a line that is not whole yet is read later."""
        found: list[tuple[Kind, Message]] = []
        for path, (kind, offset) in list(self._read.items()):
            with contextlib.suppress(OSError), path.open("rb") as file:
                file.seek(offset)
                lines = file.read().rpartition(b"\n")[0]
                if lines:
                    self._read[path] = (kind, offset + len(lines) + 1)
                    found += [(kind, message) for line in lines.splitlines() for message in _in(line)]
        return found


def _in(line: bytes) -> Iterator[Message]:
    with contextlib.suppress(msgspec.DecodeError):
        entry = msgspec.json.decode(line)
        if entry.get("type") == "assistant" and (message := message_of(entry["message"], entry.get("requestId"))):
            yield message


class Reported:
    """What was reported of a session, by message; and what its totals have beside."""

    def __init__(self) -> None:
        self._used: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self._sources: dict[str, str] = {}

    def __contains__(self, message: Message) -> bool:
        return message.id in self._sources

    def add(self, message: Message) -> Message | None:
        """The message as it is to be reported, once it says more than before: under the same id each time."""
        source = self._sources.setdefault(message.id, message.source)
        counts = Counter({name: message.usage.get(name) or 0 for name in _COUNTS})
        used = self._used[message.model, message.id]
        more = counts - used
        used |= counts
        return message._replace(source=source) if more else None

    def rest(self, totals: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, int]]]:
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
                yield model, dict(more)

    def clear(self) -> None:
        """The totals begin anew."""
        self._used.clear()
