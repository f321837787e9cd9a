"""What a fuzzed session says: extreme numbers, strange names, and spoilt messages. All drawn from one `Random`."""

import json
from random import Random
from typing import Any

from msgspec import inspect

from tallystick.events.messages import WIRE, Command
from tests.support.messages import fields, good

Message = dict[str, Any]

AMOUNT_MAX = 2**63 - 1
USD_MAX = "9223372036.854775807"
SECONDS_MAX = "9223372036854775.807"

TOKENS: tuple[Any, ...] = (0, 1, 2, 10, 99, 100, 101, 1_000, 12_345, 50_000)
LARGE_TOKENS = (10**9, 2**31, 2**53 + 1, 10**15, 2**62, AMOUNT_MAX - 1, AMOUNT_MAX)
SECONDS: tuple[Any, ...] = (0, 1, 60, "0.001", 12.5, "300", 3_600)
LARGE_SECONDS: tuple[Any, ...] = (10**9, SECONDS_MAX, "9007199254740993.5", 86_400 * 365)
DOLLARS: tuple[Any, ...] = (0, "0.000000001", "0.01", 0.3, 1, "2.50", "17.123456789")
LARGE_DOLLARS: tuple[Any, ...] = (10**6, USD_MAX, "9223372036", "9007199.254740993")
FINE: tuple[Any, ...] = (
    0.00010811999999999999, 0.1 + 0.2, 5e-324, 1e-10, "0.00000000000000001", 1e-300, 1.7976931348623157e308,
)  # fmt: skip
"""Finer than our units, or larger than all of them."""
WILD: tuple[Any, ...] = (
    *(-1, 2**63, 2**64, 10**30, -(2**63), -0.5, -0.0, 1e30, "NaN", "-NaN", "sNaN", "Infinity", "-Infinity", "1E+18"),
    *("1e999999", "-1e-999999", "1_000", "١٢", " 1", "0x10", "", "1,5", USD_MAX[:-1] + "8", SECONDS_MAX[:-1] + "8"),
    *(None, True, False, [], {}, [1], {"tokens": 1}, "null", "5 apples"),
)
"""No amounts at all, and what is one too much."""

STRANGE = (
    *("", " ", "a b", " lead", "trail ", "\t", "a\nb", "\x00", "a\x07b", "\x7f", "\x85", "\u2028", "\ufeff"),
    *(
        "é",
        "e\u0301",
        "ﬁ",
        "ａ",
        "日本語",
        "😀",
        "👩\u200d👩\u200d👧",
        "\u200b",
        "a\u200bb",
        "\u202egnp",
        "ß",
        "İ",
        "Å",
    ),
    *("'; DROP TABLE log; --", '"', "''", "\\", "../../etc/passwd", "/", "a/b/..", "C:\\x", "{}", "{0}", "%s", "$HOME"),
    *("[red]x[/red]", "<script>alert(1)</script>", "`ls`", "|", "a,b", "a=b", "#", "--help", "-", "*", "?", "~x", "~"),
    *("x" * 128, "x" * 129, "é" * 128, "😀" * 128, "x" * 5_000, "pool", "fleet", "reserve", "overdraft", "root"),
    *("null", "None", "true", "0", "-1", "1e5", "NaN", "2026-01-01T00:00:00Z", "default", "ann", "T1", "lease-1"),
)
"""Names as programs, and those who would break them, write them."""

NUMBERS = (inspect.IntType, inspect.FloatType, inspect.DecimalType)
COUNTED = tuple(sorted({name for command in WIRE for name in fields(command) if name.endswith("tokens")}))


class Temper:
    """How a session speaks: how likely it is that something is large, strange and wrong differ from one to the next."""

    def __init__(self, dice: Random) -> None:
        self.large = dice.choice((0.0, 0.0, 0.02, 0.1, 0.4))
        self.fine = dice.choice((0.0, 0.02, 0.1))
        self.wild = dice.choice((0.0, 0.01, 0.05))
        self.strange = dice.choice((0.0, 0.02, 0.1))
        self.spoilt = dice.choice((0.0, 0.03, 0.15))
        self.repeated = dice.choice((0.0, 0.02, 0.1))
        self.backwards = dice.choice((0.0, 0.0, 0.3))


def aside(said: Any) -> Random:
    """Dice of their own for what is drawn beside something: all that is drawn after it stays as it was."""
    return Random(json.dumps(said, sort_keys=True, default=str))


def number(dice: Random, temper: Temper, usual: tuple[Any, ...], large: tuple[Any, ...], fine: bool = False) -> Any:
    """An amount in one dimension: mostly a usual one."""
    chance = dice.random()
    if chance < temper.wild:
        return dice.choice(WILD)
    if chance < temper.wild + temper.large:
        return dice.choice(large)
    if fine and chance < temper.wild + temper.large + temper.fine:
        return dice.choice(FINE)
    return dice.choice(usual)


def amount(dice: Random, temper: Temper, part: int, fine: bool = False) -> Message:
    """Amounts in some of the dimensions, around ``part`` tokens; ``fine``: of what was used."""
    names = dice.choice((*("t" * 8), *(("c", "s", "tc", "tc", "ts", "cs", "tcs") * 2), ""))
    made: Message = {}
    if "t" in names:
        usual = TOKENS if dice.random() < 0.1 else (0, 1, part // 2, part, part, part, 2 * part)
        made["tokens"] = number(dice, temper, usual, LARGE_TOKENS, fine)
    if "s" in names:
        made["time_seconds"] = number(dice, temper, SECONDS, LARGE_SECONDS, fine)
    if "c" in names:
        made["cost_usd"] = number(dice, temper, DOLLARS, LARGE_DOLLARS, fine)
    return made


def any_number(dice: Random) -> Any:
    return dice.choice(dice.choice((TOKENS, LARGE_TOKENS, SECONDS, LARGE_SECONDS, DOLLARS, LARGE_DOLLARS, FINE, WILD)))


def any_value(dice: Random, deep: int = 0) -> Any:
    """Anything that JSON can say."""
    kind = dice.randint(0, 5)
    if kind == 0 and deep < 3:
        return [any_value(dice, deep + 1) for _ in range(dice.randint(0, 3))]
    if kind == 1 and deep < 3:
        return {dice.choice((*STRANGE, *COUNTED)): any_value(dice, deep + 1) for _ in range(dice.randint(0, 3))}
    return dice.choice(STRANGE) if kind < 4 else any_number(dice)


def spoilt(dice: Random, message: Message) -> Message:
    """The message with one field left out, replaced, added, or with another number or name in it."""
    message = dict(message)
    command = {one.__name__: one for one in WIRE}.get(message.get("type", ""))
    known = fields(command) if command is not None else {}
    name = dice.choice(sorted({*message, *known}))
    match dice.randint(0, 5):
        case 0:
            message.pop(name, None)
        case 1:
            message[name] = any_value(dice)
        case 2:
            message[dice.choice((*known, *STRANGE, "tokens", "wait_seconds"))] = any_value(dice)
        case 3 if name in known and _is_number(known[name].type):
            message[name] = any_number(dice)
        case 4 if isinstance(message.get(name), dict) and message[name]:
            inside = dict(message[name])
            inside[dice.choice(sorted(inside))] = any_number(dice)
            message[name] = inside
        case _:
            message[name] = dice.choice(STRANGE)
    return message


def _is_number(kind: inspect.Type) -> bool:
    if isinstance(kind, inspect.UnionType):
        return any(map(_is_number, kind.types))
    return isinstance(kind, NUMBERS)


def garbage(dice: Random, message: Message) -> str:
    """Text that is nearly a message: cut, scratched, doubled, or nothing of the kind."""
    text = json.dumps(message, ensure_ascii=bool(dice.randint(0, 1)))
    at = dice.randint(0, len(text))
    match dice.randint(0, 5):
        case 0:
            return text[:at]
        case 1:
            return text[:at] + dice.choice(("\x00", '"', "}", "{", ",", "\\", "NaN", "1e999999999", "😀")) + text[at:]
        case 2:
            return text[:at] + text[at + dice.randint(1, 5) :]
        case 3:
            return text + text
        case 4:
            return "[" * dice.choice((1, 50, 5_000)) + text
        case _:
            return dice.choice(
                ("", " ", "null", "0", "[]", "{}", '"type"', '{"type": 1}', '{"type": null}', "\ufeff{}")
            )


def made_up(dice: Random, command: type[Command], names: dict[str, list[str]]) -> Message:
    """A message of any type, with names that mean something in this session in the fields that are named so.

    A message that is new in the product is asked from the day on which it is there.
    """
    message = good(command, optional=dice.random() < 0.3)
    message.pop("id", None)
    for name in list(message):
        if names.get(name):
            message[name] = dice.choice(names[name])
        elif (
            name != "type" and name not in ("priority",) and not fields(command)[name].required and dice.random() < 0.5
        ):
            del message[name]
    return message
