"""What a changed file changes: only the keys that it names, and that differ from what it said before."""

from collections.abc import Iterator, Mapping
from typing import Any

from tallystick.config.errors import KeyPath


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The part of ``after`` (what a file names, see `loader.named`) that ``before`` does not say just so.

    What an operator has changed since by a message stays, unless the file changed that very key. A list is one value. A
    key that ``after`` does not name is not in it.
    """
    found: dict[str, Any] = {}
    for key, value in after.items():
        old = before.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            if part := changes(old, value):
                found[key] = part
        elif key not in before or old != value:
            found[key] = value
    return found


def dropped(before: Mapping[str, Any], after: Mapping[str, Any], above: KeyPath = ()) -> Iterator[KeyPath]:
    """The keys that ``before`` names and ``after`` does not, without those that were null."""
    for key, value in before.items():
        if key not in after:
            if value is not None:
                yield (*above, key)
        elif isinstance(value, Mapping) and isinstance(after[key], Mapping):
            yield from dropped(value, after[key], (*above, key))


def says(mapping: Mapping[str, Any], path: KeyPath) -> bool:
    """Whether a mapping names a key, or removes what is above it."""
    said: Any = mapping
    for name in path:
        if not isinstance(said, Mapping):
            return True
        if name not in said:
            return False
        said = said[name]
    return True
