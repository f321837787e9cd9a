"""Messages, good and bad, made from the definitions of the commands: a new command is covered by itself."""

import datetime as dt
import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import cache
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
from msgspec import inspect

from tallystick.config.amounts import Budget, Usage
from tallystick.events.messages import WIRE, AllocateBudget, Command, CreateKey, Heartbeat, ReportUsage, Reserve, Settle

_OF_ONE = (Heartbeat, ReportUsage)
"""Messages about an agent, a task or a hold, of which exactly one is named."""
_MAY_BE_EMPTY = ("short", "depends_on", "labels", "limits")
"""A task may wait for none, nothing need be said about a hold, and a budget needs no limits."""
_LONG = "x" * 10_000
_NOT_FINITE = (math.nan, math.inf, -math.inf)
Message = dict[str, Any]


class Bad(NamedTuple):
    """A message with one thing wrong: the words of it that a refusal must hold, so that its sender finds the place."""

    what: str
    message: Message
    names: str


_SAID: dict[type[Command], tuple[str, ...]] = {AllocateBudget: ("budget",), Reserve: ("estimate",), Settle: ("usage",)}
"""Of optional fields, those that a message needs that says nothing else instead."""


_OBJECTS = {"child": {"fleet": "a-fleet", "number": 3, "first": 3, "upto": 3}}
"""Of fields that are objects, and no amounts."""


@cache
def fields(command: type[Command]) -> Mapping[str, inspect.Field]:
    info = inspect.type_info(command)
    assert isinstance(info, inspect.StructType)
    return MappingProxyType({field.encode_name: field for field in info.fields})


def good(command: type[Command], optional: bool = False) -> Message:
    """A message that is well formed, with its optional fields or without."""
    named = {name: _good(field.type, name) for name, field in fields(command).items() if field.required or optional}
    if "id" in named:
        named["id"] = f"good-{command.__name__}"
    # Either this or its tokens must be said.
    named |= {name: _good(fields(command)[name].type, name) for name in _SAID.get(command, ())}
    if command is CreateKey:
        named["role"] = "operator"
    if command in _OF_ONE:
        named = {name: value for name, value in named.items() if name not in ("task", "hold", "lease")}
        named["agent"] = "a-agent"
    return {"type": command.__name__, **named}


def _good(kind: inspect.Type, name: str) -> Any:
    match kind:
        case inspect.UnionType():
            return _good(next(one for one in kind.types if not isinstance(one, inspect.NoneType)), name)
        case inspect.StrType():
            return "5e" * 32 if kind.pattern else f"a-{name}"
        case inspect.IntType():
            return max(3, kind.ge or 0)
        case inspect.AnyType():
            return {"input_tokens": 9, "output_tokens": 4}
        case inspect.DecimalType():
            return "0.5"
        case inspect.BoolType():
            return False
        case inspect.DateType() | inspect.DateTimeType():
            return "2026-03-04T12:00:00Z"[: 10 if isinstance(kind, inspect.DateType) else None]
        case inspect.LiteralType():
            return kind.values[0]
        case inspect.ListType():
            return [_good(kind.item_type, name)]
        case inspect.DictType():
            return {} if isinstance(kind.value_type, inspect.AnyType) else {"a-key": _good(kind.value_type, name)}
        case inspect.StructType():
            return _OBJECTS.get(name, {"tokens": 5, "time_seconds": 2.5, "cost_usd": "0.25"})
    raise NotImplementedError(f"what is a good {kind}?")


def bad(command: type[Command]) -> Iterator[Bad]:
    """All that can be wrong with a message of this type."""
    for name, field in fields(command).items():
        for what, value, leaf in _bad(field.type, name):
            yield Bad(f"{name}: {what}", {**good(command), name: value}, leaf)
        if field.required:
            message = good(command)
            del message[name]
            yield Bad(f"{name} is missing", message, name)
    for unknown in ("agnt", "TYPE", "", "x" * 10_000, "é\n"):
        if unknown not in fields(command):
            yield Bad(f"an unknown field {unknown[:9]!r}", {**good(command), unknown: 1}, "unknown field")


Wrong = tuple[str, Any, str]
"""What is wrong in words, the value, and what a refusal must name."""
_KINDS: dict[str, Any] = {
    "a number": 5,
    "a fraction": 1.5,
    "true": True,
    "text": "no such thing",
    "a list": [],
    "an object": {"no": "such thing"},
}


def _bad(kind: inspect.Type, name: str) -> Iterator[Wrong]:
    """Wrong kinds, then right kinds with values that are not allowed."""
    if isinstance(kind, inspect.UnionType):
        finer = any(isinstance(one, inspect.FloatType) for one in kind.types)
        for one in kind.types:
            # What was used may be a whole number or a finer one: both are tried as the latter.
            if not isinstance(one, inspect.NoneType) and not (finer and isinstance(one, inspect.IntType)):
                yield from _bad(one, name)
        return
    yield from ((f"found {what}", value, name) for what, value in _KINDS.items() if not _fits(kind, value))
    yield from _not_allowed(kind, name)


def _fits(kind: inspect.Type, value: Any) -> bool:
    """Whether a value is of the kind, whatever it says."""
    match kind:
        case inspect.StrType():
            return isinstance(value, str) and not kind.pattern
        case inspect.BoolType():
            return isinstance(value, bool)
        case inspect.IntType():
            return isinstance(value, int) and not isinstance(value, bool)
        case inspect.DecimalType() | inspect.FloatType():
            return isinstance(value, int | float) and not isinstance(value, bool)
        case inspect.ListType():
            return isinstance(value, list)
        case inspect.DictType():
            # An empty list is no object; an object with entries of its own is tried below.
            return isinstance(value, dict) and isinstance(kind.value_type, inspect.AnyType | inspect.StrType)
        case inspect.AnyType():
            return True
    return False


def _not_allowed(kind: inspect.Type, name: str) -> Iterator[Wrong]:  # noqa: C901, PLR0912 - one case for each kind
    match kind:
        case inspect.StrType():
            if kind.min_length:
                yield ("empty", "", name)
            if kind.max_length:
                yield ("10 kB", _LONG, name)
        case inspect.IntType():
            yield from ((f"{value}", value, name) for value in (-1, 10**30, -(2**63)))
            yield ("1e30", 1e30, name)
            yield from ((f"{value}", value, name) for value in _NOT_FINITE)
        case inspect.FloatType():
            yield from ((f"{value}", value, name) for value in (-1, -0.5, 10**30, 1e30, *_NOT_FINITE))
        case inspect.DecimalType():
            numbers = ("-1", "NaN", "sNaN", "Infinity", "-Infinity", "1e30", "1e-30", "1e999999", "-1e999999")
            yield from ((text, text, name) for text in numbers)
            yield from ((f"{value}", value, name) for value in (-1, -0.5, 10**30, 1e30, *_NOT_FINITE))
        case inspect.DateTimeType():
            texts = ("", "2026-03-04", "2026-03-04T12:00:00", "2026-02-30T12:00:00Z", "yesterday", "1e999999")
            yield from ((text or "empty", text, name) for text in texts)
        case inspect.ListType():
            if name not in _MAY_BE_EMPTY:
                yield ("an empty list", [], name)
            yield from ((f"an entry: {what}", [value], name) for what, value, _ in _bad(kind.item_type, name))
            yield ("a huge list", [f"x{n}" for n in range(20_000)], name)
        case inspect.DictType():
            is_config = isinstance(kind.value_type, inspect.AnyType)
            yield from _bad_config(name) if is_config else _bad_entries(kind, name)
        case inspect.StructType():
            yield ("an unknown field", {"token": 5}, "token")
            if name != "usage":  # where nothing was used, nothing was used
                yield ("an empty object", {}, name)
            for field in kind.fields:
                for what, value, leaf in _bad(field.type, field.encode_name):
                    if what == "1e-30" and kind.cls is Usage:
                        continue  # finer than a unit is what was used, and is rounded up
                    yield (f"{field.encode_name}: {what}", {field.encode_name: value}, leaf)


def _bad_entries(kind: inspect.DictType, name: str) -> Iterator[Wrong]:
    if name not in _MAY_BE_EMPTY:
        yield ("an empty object", {}, name)
    if kind.max_length:
        value = _good(kind.value_type, name)
        yield ("too many entries", {f"k{n}": value for n in range(kind.max_length + 1)}, name)
    yield from ((f"an entry: {what}", {"a": value}, name) for what, value, _ in _bad(kind.value_type, name))
    yield from ((f"a key: {what}", {"": _good(kind.value_type, name)}, name) for what in ("empty",))
    yield ("a key: 10 kB", {_LONG: _good(kind.value_type, name)}, name)


def _bad_config(name: str) -> Iterator[Wrong]:
    yield ("an unknown key", {"no_such_key": 1}, "no_such_key")
    yield ("deep nesting", _nested(300), name)
    yield ("a known key with a wrong kind", {"total_budget": {"tokens": [1]}}, "tokens")
    yield from (
        (f"a known key with {value}", {"total_budget": {"tokens": value}}, "tokens")
        for value in (-1, 10**30, "5 apples", *_NOT_FINITE)
    )


def _nested(levels: int) -> dict[str, Any]:
    message: dict[str, Any] = {}
    for _ in range(levels):
        message = {"a": message}
    return message


def as_json(message: Message) -> bytes | None:
    """The message as JSON; None where JSON cannot say it (its numbers are finite)."""
    try:
        text = msgspec.json.encode(message)
    except (TypeError, ValueError, RecursionError):
        return None
    return None if _holds_nan(message) else text


def _holds_nan(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_nan, value.values()))
    if isinstance(value, list):
        return any(map(_holds_nan, value))
    return isinstance(value, float) and not math.isfinite(value)


def as_command(message: Message) -> Command | None:
    """The command as a Python program would build it, unchecked; None where the class itself refuses it."""
    named = dict(message)
    command = {cls.__name__: cls for cls in WIRE}[named.pop("type")]
    for name, field in fields(command).items():
        if isinstance(field.type, inspect.StructType | inspect.UnionType) and isinstance(named.get(name), dict):
            built = _built(field.type, named[name])
            if built is not None:
                named[name] = built
    try:
        return command(**named)
    except TypeError:
        return None


def _built(kind: inspect.Type, value: dict[str, Any]) -> Any:
    """Amounts as the struct that they are, decimals as decimals."""
    kinds = kind.types if isinstance(kind, inspect.UnionType) else (kind,)
    for one in kinds:
        if isinstance(one, inspect.StructType):
            try:
                return one.cls(**{key: _decimal(entry, key) for key, entry in value.items()})
            except TypeError:
                return None
    return None


def _decimal(value: Any, name: str) -> Any:
    if name == "tokens" or not isinstance(value, str):
        return value
    try:
        return Decimal(value)
    except ArithmeticError:
        return value


NO_JSON: dict[str, Any] = {
    "bytes": b"agent",
    "a moment": dt.datetime(2026, 3, 4, tzinfo=dt.UTC),
    "an object of a program": object(),
    "a set": {"a"},
    "half a character": "a\ud800",
    "a decimal": Decimal(5),
    "an amount": Budget(tokens=5),
    "none": None,
}
"""What a Python program may put where a name belongs."""
