"""The names that conditions may use, and what each stands for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from types import UnionType
from typing import Annotated, Final, Union, get_args, get_origin

import msgspec

from tallystick.config.kinds import Priority


@dataclass(frozen=True, slots=True)
class Kind:
    """What a name stands for: in words, and the only texts that there are where that is a closed set."""

    words: str
    choices: tuple[str, ...] = ()


NUMBER: Final = Kind("a number")
TEXT: Final = Kind("a text")
PRIORITY: Final = Kind(f"one of {', '.join(get_args(Priority))}", get_args(Priority))
TRUTH: Final = Kind("true or false", ("true", "false"))

FLEET_NAMES: Final[Mapping[str, Kind]] = {
    "cost_daily_usd": NUMBER,
    "tokens_daily": NUMBER,
    "cost_hourly_usd": NUMBER,
    "tokens_hourly": NUMBER,
    "pressure": NUMBER,
    "agents_active": NUMBER,
    "queue_length": NUMBER,
}
"""What is said of the fleet: today's use, that of the last 60 minutes, and what goes on now (spec 5)."""

TASK_NAMES: Final[Mapping[str, Kind]] = {
    "task.priority": PRIORITY,
    "task.product": TEXT,
    "task.agent_type": TEXT,
    "task.estimated_minutes": NUMBER,
    "task.estimated_tokens": NUMBER,
    "task.workflow": TEXT,
    "task.deferrable": TRUTH,
}
"""What is said of the task in question."""


def numbers_in(section: msgspec.Struct, above: str = "") -> Iterator[tuple[str, int | Decimal | None]]:
    """Every number of a configuration by its dotted path, in the file's order; None for a limit that is not set."""
    for name, is_number in _fields(type(section)):
        value, path = getattr(section, name), f"{above}{name}"
        if is_number:
            yield path, value
        elif isinstance(value, msgspec.Struct):
            yield from numbers_in(value, f"{path}.")
        elif isinstance(value, Mapping):
            for key, entry in value.items():
                if isinstance(entry, msgspec.Struct):
                    yield from numbers_in(entry, f"{path}.{key}.")
                elif isinstance(entry, int | Decimal):
                    yield f"{path}.{key}", entry


@cache
def _fields(section: type[msgspec.Struct]) -> tuple[tuple[str, bool], ...]:
    """The names of a section's fields, each with whether it is a number (which may be null)."""
    fields = []
    for field in msgspec.structs.fields(section):
        kinds = get_args(field.type) if get_origin(field.type) in {UnionType, Union} else (field.type,)
        numbers = [kind for kind in kinds if get_origin(kind) is Annotated and get_args(kind)[0] in (int, Decimal)]
        fields.append((field.name, bool(numbers)))
    return tuple(fields)
