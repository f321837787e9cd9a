"""How names are spelled: one that looks like another is not opened, and a report under one is read as what it shows.

A name is NFC text (Unicode's composed form) without leading or trailing white space, and without characters that are
not seen: control characters, those of no width, and those that turn the direction of writing.
"""

import re
import unicodedata
from typing import Final, NamedTuple

from tallystick.config.kinds import NAME_MAX

# Written out, not asked of the library: what is decided may not depend on the version of Unicode that it knows. These
# are the control characters, and Unicode's Default_Ignorable_Code_Point with the other format controls.
_UNSEEN: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_HALF: Final = re.compile("[\ud800-\udfff]")
"""One half of a character of two, as UTF-16 has them: no text by itself, and nothing can write it."""
_CONTROLS: Final = {
    "\x00": "NULL", "\x07": "ALERT", "\x08": "BACKSPACE", "\t": "TAB", "\n": "LINE FEED", "\r": "CARRIAGE RETURN",
    "\x1b": "ESCAPE", "\x7f": "DELETE", "\x85": "NEXT LINE",
}  # fmt: skip


class Misspelled(NamedTuple):
    """The first character of a name that may not be where it is, and what is allowed."""

    character: str
    allowed: str


def half_in(text: str) -> str | None:
    """What is wrong with a text that UTF-8 cannot write, and what is allowed; None for any other."""
    if text.isascii() or _HALF.search(text) is None:
        return None
    return f"found {text[:40]!a}, half a character; allowed is text that UTF-8 can write"


def halves_joined(text: str) -> str:
    """A text in which two halves that belong together are one character: JSON writes some characters so."""
    if text.isascii() or _HALF.search(text) is None:
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def misspelled(name: str) -> Misspelled | None:
    """What is wrong with the spelling of a name; None where nothing is."""
    # As `_is_plain` says: every message has names.
    if name.isascii() and name.isprintable() and name[:1] != " " and name[-1:] != " ":
        return None
    unseen = _UNSEEN.search(name)
    if unseen is not None:
        return Misspelled(character_named(unseen[0]), "text without control, zero-width and bidirectional characters")
    if name != name.strip():
        outer = name[0] if name[0].isspace() else name[-1]
        return Misspelled(character_named(outer), "text without leading and trailing white space")
    composed = unicodedata.normalize("NFC", name)
    if composed != name:
        apart = next(
            (found for found, meant in zip(name, composed, strict=False) if found != meant), name[len(composed) :][:1]
        )
        return Misspelled(character_named(apart), f"NFC text, here {composed!r}")
    return None


def are_plain(*names: str) -> bool:
    """Whether names are of printable ASCII without a space, as nearly all are: then nothing is wrong with them."""
    text = "".join(names)
    return text.isascii() and text.isprintable() and " " not in text


def repaired(name: str) -> str:
    """A name without what `misspelled` finds, at most 128 characters long.

    One that shows nothing at all is called by its characters, as ``U+200B``.
    """
    if _is_plain(name):
        return name
    composed = unicodedata.normalize("NFC", _UNSEEN.sub("", name)).strip()
    composed = composed or " ".join(f"U+{ord(letter):04X}" for letter in name)
    # A composed text may be longer than what it was made of; the beginning of one is composed too.
    return composed[:NAME_MAX].rstrip()


def _is_plain(name: str) -> bool:
    """Whether a name is of printable ASCII, as nearly all are: then nothing more is looked at."""
    return name.isascii() and name.isprintable() and name == name.strip()


def character_named(letter: str) -> str:
    """A character as Unicode calls it: ``U+200B ZERO WIDTH SPACE``."""
    name = _CONTROLS.get(letter) or unicodedata.name(letter, "a control character")
    return f"U+{ord(letter):04X} {name}"
