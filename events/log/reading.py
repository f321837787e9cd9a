"""What records say, and what is raised where one cannot be read: every reader of a log learns it here.

A record that names an event, a command or a field of which this version knows nothing is not damaged: a newer version
of tallystick wrote it. So it is a `NewerLog`, and any other is a `BrokenChain`.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from tallystick.events.catalog import Event
from tallystick.events.catalog.rules_version import OnlyNewerKnows
from tallystick.events.log.broken_chain import BrokenChain, NewerLog
from tallystick.events.log.codec import decode_command, decode_event
from tallystick.events.log.store_contract import Record
from tallystick.events.messages import WIRE, Command
from tallystick.events.messages.proposals import INTERNAL

_UNREADABLE: Final = (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError)
_FIELDS: Final[Mapping[object, frozenset[str]]] = {
    cls.__struct_config__.tag: frozenset(("type", *cls.__struct_encode_fields__)) for cls in (*WIRE, *INTERNAL)
}
"""The fields of each command, by its type."""


def event_of(record: Record) -> Event:
    """The event of a record.

    Raises:
        NewerLog: only a newer version knows it.
        BrokenChain: it cannot be read.
    """
    try:
        return decode_event(record.data, record.name)
    except _UNREADABLE as error:
        raise _unreadable(record.position, "the record", error) from error


def command_of(data: bytes, position: int) -> Command:
    """The command that the record at a position has.

    Raises:
        NewerLog: only a newer version knows it.
        BrokenChain: it cannot be read.
    """
    try:
        return decode_command(data)
    except _UNREADABLE as error:
        raise _unreadable(position, "its command", _of_newer(data) or error) from error


def _unreadable(position: int, what: str, error: BaseException) -> BrokenChain:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OnlyNewerKnows):
        cause = cause.__cause__
    if cause is not None:
        return NewerLog(position, str(cause))
    return BrokenChain(position, f"{what} cannot be read: {error}")


def _of_newer(data: bytes) -> OnlyNewerKnows | None:
    """What a command has that only a newer version knows: commands are recorded only with what their version knows."""
    try:
        said: Any = msgspec.json.decode(data)
    except _UNREADABLE:
        return None
    kind = said.get("type") if isinstance(said, dict) else None
    if not isinstance(kind, str):
        return None
    if kind not in _FIELDS:
        return OnlyNewerKnows(f"{kind:.100} is no command that this tallystick knows")
    new = next((name for name in said if name not in _FIELDS[kind]), None)
    if new is None:
        return None
    return OnlyNewerKnows(f"{kind} has a field, {new:.100}, that this tallystick does not know")
