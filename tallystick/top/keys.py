"""Keys of a terminal: what arrives on its line, by name."""

import codecs
import os
import select
from collections.abc import Iterator
from typing import Final

_SEQUENCES: Final = {
    "[A": "up",
    "[B": "down",
    "OA": "up",
    "OB": "down",
    "[5~": "page up",
    "[6~": "page down",
    "[H": "home",
    "[F": "end",
    "OH": "home",
    "OF": "end",
    "[1~": "home",
    "[4~": "end",
}
_NAMED: Final = {"\r": "enter", "\n": "enter", "\x7f": "backspace", "\b": "backspace", "\t": "tab", "\x1a": "suspend"}
_ESCAPE: Final = "\x1b"
_REST_SECONDS: Final = 0.05
"""How long the rest of a sequence may take: Escape by itself has none."""
_AT_ONCE: Final = 1_024


class Hungup(Exception):
    """The terminal is gone."""


class Keys:
    """Reads keys off a file descriptor."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._decoder = codecs.getincrementaldecoder("utf-8")("ignore")

    def read(self, seconds: float) -> list[str]:
        """The keys that were pressed: a letter, or a name such as ``up``; none where none was for so long.

        Raises:
            Hungup: the terminal is gone.
        """
        text = self._text(seconds)
        if text.endswith(_ESCAPE) or (_ESCAPE in text[-3:] and not _ends(text)):
            text += self._text(_REST_SECONDS)
        return list(_named(text))

    def _text(self, seconds: float) -> str:
        if not select.select([self._fd], [], [], seconds)[0]:
            return ""
        try:
            data = os.read(self._fd, _AT_ONCE)
        except OSError as error:
            raise Hungup from error
        if not data:
            raise Hungup
        return self._decoder.decode(data)


def _ends(text: str) -> bool:
    """Whether the sequence at the end is whole."""
    return text.rpartition(_ESCAPE)[2] in _SEQUENCES


def _named(text: str) -> Iterator[str]:
    while text:
        if text[0] == _ESCAPE:
            found = next((one for one in _SEQUENCES if text.startswith(one, 1)), None)
            if found is not None:
                yield _SEQUENCES[found]
                text = text[1 + len(found) :]
                continue
            if text[1:2] in ("[", "O"):
                text = _behind_unknown(text)
                continue
            yield "escape"
        elif text[0] in _NAMED:
            yield _NAMED[text[0]]
        elif text[0].isprintable():
            yield text[0]
        text = text[1:]


def _behind_unknown(text: str) -> str:
    """What follows a sequence that means nothing here, such as that of a function key."""
    for place, letter in enumerate(text[2:], start=3):
        if "@" <= letter <= "~":
            return text[place:]
    return ""
