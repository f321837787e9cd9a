"""Messages that are read although a part of them is not: usage is a fact, whatever form a provider's object has.

And what no message may say: a number in other than ASCII digits.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tallystick.config.amounts import NUMBER

FIELD: Final = b'"provider_usage"'
_DEEP: Final = 5
_TOKEN: Final = re.compile(rb'[{}\[\],:]|"[^"\\]*(?:\\.[^"\\]*)*"|[^\s{}\[\],:"]+', re.DOTALL)
_SHORT: Final = re.compile(rb'"[A-Za-z0-9._-]{0,64}"')
_PLAIN: Final = re.compile(rb"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,17})?|true|false|null")
_OTHER: Final = b'"?"'


def mended(message: bytes) -> bytes | None:
    """A JSON message with its ``provider_usage`` rewritten so that it can be decoded: what is deeper than five
    levels, and numbers and texts that none of its known names can have, become null. None where it has no such field.
    """
    if FIELD not in message:
        return None
    pieces: list[bytes] = []
    done, depth, last, value_of = 0, 0, b"", b""
    tokens = _TOKEN.finditer(message)
    for token in tokens:
        text = token[0]
        if text in b"}]":
            depth -= 1
        elif depth == 1 and last == b":" and value_of == FIELD:
            pieces.append(message[done : token.start()])
            value, done = _rewritten(text, token.end(), tokens)
            pieces.append(value)
            text = b"null"
        elif text in b"{[":
            depth += 1
        elif text == b":":
            value_of = last
        last = text
    pieces.append(message[done:])
    return b"".join(pieces)


def _rewritten(first: bytes, end: int, tokens: Iterator[re.Match[bytes]]) -> tuple[bytes, int]:
    """One value, without what cannot be read, and where it ends: where its last piece does if it is cut off."""
    if first not in b"{[":
        return _scalar(first), end
    out, in_object, depth, is_key = [first], [first == b"{"], 1, first == b"{"
    for token in tokens:
        text, end = token[0], token.end()
        # Of what is too deep only its beginning is written, as null.
        written = depth <= _DEEP
        if text in b"{[":
            depth += 1
            if depth <= _DEEP:
                in_object.append(text == b"{")
                is_key = in_object[-1]
            else:
                text = b"null"
        elif text in b"}]":
            depth -= 1
            if written:
                in_object.pop()
        elif text in b",:":
            is_key = text == b"," and in_object[-1]
        elif not is_key:
            text = _scalar(text)
        elif not _SHORT.fullmatch(text):
            text = _OTHER
        if written:
            out.append(text)
        if not depth:
            return b"".join(out), end
    # It is cut off: nothing of it is left to copy.
    return b"".join(out), end


def _scalar(text: bytes) -> bytes:
    return text if _PLAIN.fullmatch(text) or _SHORT.fullmatch(text) else b"null"


# --- digits -----------------------------------------------------------------------------------------------------------

_NUMBERS: Final = frozenset({
    "cost_usd", "time_seconds", "ttl_seconds", "rate", "estimated_minutes", "wait_seconds", "max_cost_usd",
    "retry_after_seconds",
})  # fmt: skip
"""Fields whose number may be written as text."""
_HOLDERS: Final = frozenset({"budget", "total", "request", "usage", "estimate", "amount", "weights", "overdraft_max"})
_GOOD: Final = rb'[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"'
_SUSPECT: Final = re.compile(rb'":\s*"(?=[-+.0-9\s\\\x80-\xff])(?!%b)([^"]*)' % _GOOD)
"""A text that begins as a number does and is no number in ASCII digits."""


_OTHER_DIGITS: Final = re.compile(r"[_\s\\]|[^\x00-\x7f]")
"""What a number has that is read as one, and is not written in ASCII digits alone."""


def other_digits(message: bytes) -> str | None:
    """What is wrong with a number that a message writes as text, in underscores, blanks or digits of other scripts."""
    for found in _SUSPECT.finditer(message):
        name = message[message.rfind(b'"', 0, found.start()) + 1 : found.start()].decode(errors="replace")
        value = found[1].decode(errors="replace")
        if name in _NUMBERS and _is_number(value):
            return _wrong(name, value)
    return None


def other_digits_in(message: Mapping[str, Any], *, every: bool = False) -> str | None:
    """The same for a message that is a mapping. ``every``: each of its texts should be a number."""
    for name, value in message.items():
        if isinstance(value, str):
            if (every or name in _NUMBERS) and not NUMBER.fullmatch(value) and _is_number(value):
                return _wrong(name, value)
        elif name in _HOLDERS and isinstance(value, Mapping):
            wrong = other_digits_in(value, every=name == "weights")
            if wrong is not None:
                return f"{name}.{wrong}"
    return None


def _is_number(value: str) -> bool:
    """Whether a text that is no number in ASCII digits would be read as one."""
    return _OTHER_DIGITS.search(value) is not None and (any(map(str.isdigit, value)) or "\\" in value)


def _wrong(name: str, found: str) -> str:
    return f"{name}: found {found[:40]!r}, allowed is a number in ASCII digits, without underscores or blanks"
