"""Every number of the configuration with its lowest and its highest value, from the definitions of the settings."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Annotated, Any, get_args, get_origin

import msgspec

from tallystick.config.building import Bounds
from tallystick.config.settings import Config

NAMED = {"products": "lab", "max_concurrent.per_type": "writer", "token_budgets": "default"}


def extremes(section: type, above: str = "") -> Iterator[tuple[str, int | str]]:
    """Each key that holds a number, with its least and its greatest value."""
    for field in msgspec.structs.fields(section):
        key, kinds = f"{above}{field.name}", [field.type]
        while kinds:
            kind = kinds.pop()
            if get_origin(kind) is Mapping:
                key = f"{key}.{NAMED.get(key, '')}"
                kinds.append(get_args(kind)[1])
            elif get_origin(kind) is tuple:
                key = f"{key}.0"
                kinds.append(get_args(kind)[0])
            elif isinstance(kind, type) and issubclass(kind, msgspec.Struct):
                yield from extremes(kind, f"{key}.")
            elif get_origin(kind) is Annotated and get_args(kind)[0] in (int, Decimal):
                for value in _of(next(note for note in get_args(kind) if isinstance(note, msgspec.Meta))):
                    yield key, value
            elif get_origin(kind) is not Annotated:
                kinds += get_args(kind)


LIMIT = {"name": "n", "window": "day", "max": {"tokens": 1}}
"""What a limit must say."""


def mapping_of(key: str, value: Any) -> dict[str, Any]:
    """A configuration in which a key has a value; the items of lists are called 0."""
    made = value
    names = key.split(".")
    for place in range(len(names) - 1, -1, -1):
        if names[place] != "0":
            made = {names[place]: made}
        elif isinstance(made, dict):
            needed = LIMIT if place == 1 else {name: LIMIT[name] for name in ("window", "max")}
            made = [{**needed, **made}]
        else:
            made = [made]
    return dict(made)


def _of(meta: msgspec.Meta) -> tuple[int | str, ...]:
    bounds = (meta.extra or {}).get("bounds")
    if not isinstance(bounds, Bounds):
        assert meta.ge is not None
        assert meta.le is not None
        return int(meta.ge), int(meta.le)
    least = Decimal(1).scaleb(-bounds.decimals) if bounds.above else Decimal(bounds.least)
    return f"{least:f}", str(bounds.most)


EXTREMES = list(extremes(Config))
