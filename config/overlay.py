"""What a changed file changes: only the keys that differ from what it said before."""

from collections.abc import Mapping
from typing import Any

from tallystick.config.loader import from_mapping, to_mapping
from tallystick.config.settings import Config


def overlaid(in_force: Config, before: Config, after: Config) -> Config:
    """What is in force, with each key that differs between two states of a file as the later one has it.

    What an operator has changed since by a message stays, unless the file changed that very key. A list is one value.

    Raises:
        ConfigError: the keys do not go together with those that stay.
    """
    mapping: dict[str, Any] = _overlaid(to_mapping(in_force), to_mapping(before), to_mapping(after))
    return from_mapping(mapping)


def _overlaid(in_force: Any, before: Any, after: Any) -> Any:
    if before == after:
        return in_force
    if isinstance(in_force, Mapping) and isinstance(before, Mapping) and isinstance(after, Mapping):
        keys = dict.fromkeys([*in_force, *after])
        merged = {key: _overlaid(in_force.get(key), before.get(key), after.get(key)) for key in keys}
        # An entry that the file has dropped is gone; null would be the value of a key.
        return {key: value for key, value in merged.items() if key in after or key not in before}
    return after
