"""Sentences for people: another version of tallystick may have other words in them, and no other numbers."""

import contextlib
import re
from collections import Counter
from typing import Any

import msgspec

from tallystick.events.catalog import STORED_NAME, Event
from tallystick.events.log.broken_chain import BrokenChain
from tallystick.events.log.reading import event_of
from tallystick.events.log.store import Record

_SENTENCES = ("detail", "message", "reason_queued")
"""Fields of events and replies that hold a sentence."""
_NUMBER = re.compile(r"\d[\d,.]*")


def event_as_worded(record: Record, event: Event) -> Event:
    """An event with the sentences that a record has in their places, where they name no other numbers."""
    names = [name for name in _SENTENCES if hasattr(event, name)]
    if names and record.name == STORED_NAME[type(event)]:
        with contextlib.suppress(BrokenChain):
            recorded = event_of(record)
            worded = {name: _words(getattr(recorded, name), getattr(event, name)) for name in names}
            return msgspec.structs.replace(event, **worded)
    return event


def reply_as_worded(recorded: bytes, reply: bytes) -> bytes:
    """A reply with the sentences that the recorded reply has in their places, where they name no other numbers."""
    if not recorded:
        return reply
    return msgspec.json.encode(_as_worded(msgspec.json.decode(recorded), msgspec.json.decode(reply)))


def _as_worded(recorded: Any, new: Any) -> Any:
    if isinstance(recorded, dict) and isinstance(new, dict):
        return {
            name: _words(recorded.get(name), value) if name in _SENTENCES else _as_worded(recorded.get(name), value)
            for name, value in new.items()
        }
    if isinstance(recorded, list) and isinstance(new, list) and len(recorded) == len(new):
        return [_as_worded(*pair) for pair in zip(recorded, new, strict=True)]
    return new


def _words(recorded: Any, new: Any) -> Any:
    """The recorded sentence, if every number in it is in the new one as well."""
    if not isinstance(recorded, str) or not isinstance(new, str):
        return new
    return new if _numbers(recorded) - _numbers(new) else recorded


def _numbers(sentence: str) -> Counter[str]:
    return Counter(number.rstrip(".,") for number in _NUMBER.findall(sentence))
