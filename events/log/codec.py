"""Bytes: messages in, replies out, and the log's records with the digest that chains them.

A record is one JSON object that an auditor reads with nothing but the ``sqlite3`` shell: the event, and on the first
event of a command also the ``command`` as it was asked and the ``reply`` as it was given (and, where another process
asked, the ``peer``: who that is by the system; and the ``trace`` in which it was asked, where that is known: a trace id
of W3C Trace Context), and last the ``digest``::

    {"type":"usage-reported.v1","position":7,"at":"…","id":"c-1","by":"agent-7","agent":"agent-7","tokens":450,
     "command":{…},"reply":{"ok":{…}},"digest":"<64 hex digits>"}

``digest = SHA-256(digest of the record before, as 32 bytes || the record's bytes up to ',"digest"')``, beginning with
32 zero bytes. To change, remove, insert or reorder one stored record breaks every later link.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import reduce
from operator import or_
from typing import Any, Final, get_args

import msgspec

from tallystick.config.amounts import Budget
from tallystick.config.kinds import NAME_MAX
from tallystick.events.catalog import CATALOG, EVENT_BY_NAME, Event
from tallystick.events.catalog.rules_version import OnlyNewerKnows
from tallystick.events.log.broken_chain import BrokenChain
from tallystick.events.messages import INTERNAL_ID, WIRE, Command, ReportUsage, Settle, Spending
from tallystick.events.messages.invalid import KEYED_BY_AGENT, NO_TEXT, explained, no_key_twice, unwritable
from tallystick.events.messages.legible import mended, other_digits, other_digits_in
from tallystick.events.messages.proposals import INTERNAL
from tallystick.events.messages.provider_usage import stripped
from tallystick.events.messages.replies import Refusal, Reply

GENESIS: Final = bytes(32)
BODY_MAX: Final = 4 * 1024 * 1024
"""The largest message, in bytes: a thousand commands of a reasonable size."""

_encode = msgspec.json.Encoder().encode
_WIRE: Final[Any] = reduce(or_, WIRE)
_BY_TYPE: Final[Mapping[str, Any]] = {str(cls.__struct_config__.tag): cls for cls in WIRE}
_ANY: Final[Any] = reduce(or_, (*WIRE, *INTERNAL))
_decode_wire = msgspec.json.Decoder(_WIRE).decode
_decode_any = msgspec.json.Decoder(_ANY).decode
_decode_event = msgspec.json.Decoder[Any](reduce(or_, CATALOG)).decode

DIGEST_KEY: Final = b',"digest":"'
TAIL: Final = len(DIGEST_KEY) + 64 + 2
"""Bytes of a record from its digest on."""

UPCASTERS: Final[dict[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {}
"""Old stored name to the function that turns its fields into those of the next version, ``type`` included."""


Message = Command | Mapping[str, Any] | bytes | str
_TEXT: Final = (bytes, str)
_SPENDING: Final = get_args(Spending)
_USING: Final = ReportUsage, Settle
_WHOLE: Final = (int, type(None))
_EXACT: Final = (Decimal, type(None))

# --- messages --------------------------------------------------------------------------------------------------------


def read_message(message: Message, new_id: Callable[[], str]) -> "tuple[Command, bytes] | Refusal":
    """A message of the wire contract as a command and its bytes, or a refusal that names the field.

    Python programs may hand in a command or a mapping; both are held to the contract just as JSON text is. ``new_id``
    names the command where its sender did not. Of a provider's usage object only what is known is read (`stripped`):
    what else is in it, and what of it cannot be decoded, is left out.
    """
    read = _read_or_refuse(message, new_id)
    if isinstance(read, Refusal) and (again := _mended(message)) is not None:
        # Once: what cannot be read then is not read.
        return _read_or_refuse(again, new_id)
    return read


def _read_or_refuse(message: Message, new_id: Callable[[], str]) -> "tuple[Command, bytes] | Refusal":
    try:
        return _read(message, new_id)
    except msgspec.ValidationError as error:
        return Refusal("invalid_message", explained(str(error), message))
    except msgspec.DecodeError as error:
        return Refusal("invalid_message", f"not JSON: {error}")
    except RecursionError:
        return Refusal("invalid_message", unwritable(message) or "nested too deeply to be read")
    except (UnicodeError, TypeError, ValueError, ArithmeticError) as error:
        return Refusal("invalid_message", unwritable(message) or f"not a message: {error}")


def _mended(message: Message) -> bytes | None:
    """A message with a usage object that can be decoded, if that is what was wrong with it."""
    if not isinstance(message, bytes | str) or len(message) > BODY_MAX:
        return None
    text = message.encode(errors="replace") if isinstance(message, str) else message
    again = mended(text)
    return None if again == text else again


def _read(message: Message, new_id: Callable[[], str]) -> "tuple[Command, bytes] | Refusal":
    if isinstance(message, Command):
        if isinstance(message, _SPENDING) and message.provider_usage is not None:
            message = msgspec.structs.replace(message, provider_usage=stripped(message.provider_usage))
        data = _encode(message)
        command: Command = _decode_wire(data)
        # A float, or a NaN, that JSON shows otherwise: every value is converted by the rules of the contract.
        if command != message and not _is_a_budget(command, message):
            said = msgspec.to_builtins(message, builtin_types=NO_TEXT)
            command = msgspec.convert(said, _class_of(said))
        elif command.id is not None:
            return _of_the_sender(command), data
    elif isinstance(message, _TEXT):
        if len(message) > BODY_MAX:
            return Refusal("invalid_message", f"found {len(message)} bytes, allowed are {BODY_MAX}")
        command = _decode_wire(message)
        if type(command) in KEYED_BY_AGENT:
            _in_ascii(other_digits_in(json.loads(message, object_pairs_hook=no_key_twice)))
        _in_ascii(other_digits(message if isinstance(message, bytes) else message.encode()))
    else:
        if isinstance(message, Mapping):
            if message.get("provider_usage") is not None:
                message = {**message, "provider_usage": stripped(message["provider_usage"])}
            _in_ascii(other_digits_in(message))
        command = msgspec.convert(message, _class_of(message))
    if isinstance(command, _SPENDING) and command.provider_usage is not None:
        command.provider_usage = stripped(command.provider_usage)
    if command.id is None:
        command.id = new_id()
    return _of_the_sender(command), _encode(command)


def _is_a_budget(command: Command, message: Any) -> bool:
    """Whether a command differs from its message in nothing but that its usage was given as a `Budget`, as most
    programs do: then it is one from here on. Amounts of these types are read as they were written.
    """
    given = getattr(message, "usage", None)
    if (
        type(given) is not Budget
        or not isinstance(command, _USING)
        or type(given.tokens) not in _WHOLE
        or type(given.time_seconds) not in _EXACT
        or type(given.cost_usd) not in _EXACT
    ):
        return False
    command.usage = given
    return bool(command == message)


def _class_of(message: Any) -> Any:
    """The class that a mapping is to become: the one that its type names, so that the union of all, which takes longer
    to make ready than the rest takes, is made only to say what is wrong with a type.
    """
    named = message.get("type") if type(message) is dict else None
    return _BY_TYPE.get(named, _WIRE) if type(named) is str else _WIRE


def _in_ascii(wrong: str | None) -> None:
    if wrong is not None:
        raise msgspec.ValidationError(wrong)


def _of_the_sender(command: Command) -> Command:
    """A command under an id that is the sender's to choose."""
    if command.id is not None and command.id.startswith(INTERNAL_ID):
        raise msgspec.ValidationError(
            f"id: found {command.id!r}, ids that begin with {INTERNAL_ID!r} are the fleet's own"
        )
    return command


def encode_command(command: Command) -> bytes:
    """A command as the log keeps it."""
    return _encode(command)


def decode_command(data: bytes) -> Command:
    """A recorded command, also a specialist's.

    In older logs, an id of the fleet's own may be longer than names are: a long name in it made it so.
    """
    try:
        command: Command = _decode_any(data)
    except msgspec.ValidationError:
        fields = msgspec.json.decode(data)
        id = fields.get("id") if isinstance(fields, dict) else None
        if not isinstance(id, str) or not id.startswith(INTERNAL_ID) or len(id) <= NAME_MAX:
            raise
        del fields["id"]
        command = _decode_any(msgspec.json.encode(fields))
        command.id = id
    return command


def is_same(one: bytes, other: bytes) -> bool:
    """Whether two messages say the same, however they write it; a signalling NaN equals nothing."""
    try:
        return decode_command(one) == decode_command(other)
    except ArithmeticError:
        return False


def encode_answer(answer: Reply | Refusal) -> bytes:
    """An answer as it goes out and into the log: ``{"ok": …}`` or ``{"error": {"code", "detail", …numbers}}``."""
    if type(answer) is Refusal:
        return _encode({"error": {"code": answer.code, "detail": answer.detail, **answer.numbers}})
    return b'{"ok":' + _encode(answer) + b"}"


def decode_answer(data: bytes) -> dict[str, Any]:
    """An answer as Python programs read it."""
    answer: dict[str, Any] = msgspec.json.decode(data)
    return answer


# --- records ---------------------------------------------------------------------------------------------------------


def seal(
    event: Event,
    asked: bytes | None,
    answered: bytes | None,
    before: bytes,
    peer: bytes | None = None,
    trace: str | None = None,
) -> tuple[bytes, bytes]:
    """The record of an event and its digest, chained to the digest ``before`` (32 bytes)."""
    body = record_body(event, asked, answered, peer, trace)
    digest = hashlib.sha256(before + body).digest()
    return with_digest(body, digest), digest


def with_digest(body: bytes, digest: bytes) -> bytes:
    """A record, from what it has up to its digest (32 bytes)."""
    return b"".join((body, DIGEST_KEY, digest.hex().encode(), b'"}'))


def record_body(
    event: Event, asked: bytes | None, answered: bytes | None, peer: bytes | None = None, trace: str | None = None
) -> bytes:
    """A record up to its digest."""
    body = _encode(event)[:-1]
    if asked is None or answered is None:
        return body
    return b"".join((body, b',"command":', asked, b',"reply":', answered, origin_body(peer, trace)))


def origin_body(peer: bytes | None, trace: str | None) -> bytes:
    """What a record says of where its command came from."""
    by = b',"peer":' + peer if peer else b""
    return by + b',"trace":' + _encode(trace) if trace else by


def unseal(record: bytes, before: bytes, position: int) -> bytes:
    """The digest of a record, once it is proved to follow ``before``.

    Raises:
        BrokenChain: the record does not end in a digest, or its digest is not that of its content and predecessor.
    """
    digest = hashlib.sha256(before + record[:-TAIL])
    if not record.endswith(b'%b%b"}' % (DIGEST_KEY, digest.hexdigest().encode())):
        if record[-TAIL:-66] != DIGEST_KEY:
            raise BrokenChain(position, "the record does not end in a digest")
        raise BrokenChain(position, "the digest does not match the record and the one before it")
    return digest.digest()


def digest_of(record: bytes) -> bytes:
    """The digest that a record carries, taken at its word."""
    return bytes.fromhex(record[-66:-2].decode())


def decode_event(record: bytes, name: str) -> Event:
    """The event of a record, whatever version it was stored in (``name``: its stored name).

    Raises:
        OnlyNewerKnows: its name is of a newer version.
        ValidationError: it is no such event.
    """
    if name in EVENT_BY_NAME:
        event: Event = _decode_event(record)
        return event
    fields = msgspec.json.decode(record)
    while name not in EVENT_BY_NAME:
        upcast = UPCASTERS.get(name)
        if upcast is None:
            raise OnlyNewerKnows(f"{name} is no event that this tallystick knows")
        fields = upcast(fields)
        name = fields["type"]
    return msgspec.convert(fields, EVENT_BY_NAME[name])


class Exchange(msgspec.Struct):
    """The command, the reply, the peer and the trace in a record; empty where the event is not its command's first."""

    command: msgspec.Raw = msgspec.Raw()
    reply: msgspec.Raw = msgspec.Raw()
    peer: msgspec.Raw = msgspec.Raw()
    """Empty, too, where the command came from the process that runs the fleet."""
    trace: str = ""
    """The trace id, where the command came with one."""


_decode_exchange = msgspec.json.Decoder(Exchange).decode


def begins_a_command(record: bytes) -> bool:
    """Whether an event is its command's first, by the bytes of its record: within a text, quotes are escaped."""
    return b',"command":' in record


def exchange_of(record: bytes) -> Exchange:
    """What was asked and answered, byte for byte."""
    return _decode_exchange(record)
