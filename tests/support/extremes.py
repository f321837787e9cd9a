"""Every number of the configuration with its lowest and its highest value, from the definitions of the settings."""

import itertools
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Annotated, Any, get_args, get_origin

import msgspec

from tallystick.config.building import Bounds
from tallystick.config.settings import Config

NAMED = {"products": "lab", "max_concurrent.per_type": "writer", "token_budgets": "default", "webhooks": "audit"}
LIMIT = {"name": "most", "window": "day", "max": {"tokens": 1_000}}
"""What a limit needs beside the number that is tried."""

DELEGATE = {"parent": "https://parent.example", "account": "team"}
"""What a delegation needs beside it."""
BESIDE = {
    "delegate": DELEGATE,
    "audit": {"url": "https://hook.example", "secret": "file:/run/secret"},
    "approval_links": {"public_url": "https://budget.example", "key": "file:/run/key"},
}
"""What sections need beside the number that is tried."""


def numbers_of(section: type, above: str = "") -> Iterator[tuple[str, msgspec.Meta]]:
    """Each key that holds a number. NAME stands for a key that users choose, [N] for a place in a list."""
    for field in msgspec.structs.fields(section):
        kinds: list[tuple[str, Any]] = [(f"{above}{field.name}", field.type)]
        while kinds:
            key, kind = kinds.pop()
            origin, parts = get_origin(kind), get_args(kind)
            if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
                yield from numbers_of(kind, f"{key}.")
            elif origin is Annotated and parts[0] in (int, Decimal):
                yield key, next(note for note in parts if isinstance(note, msgspec.Meta))
            elif origin is Mapping:
                kinds.append((f"{key}.NAME", parts[1]))
            elif origin is tuple:
                kinds.append((f"{key}[N]", parts[0]))
            elif origin is not Annotated:
                kinds += [(key, part) for part in parts]


def extremes() -> Iterator[tuple[str, int | str]]:
    """Each key that holds a number, with its least and its greatest value."""
    for listed, meta in numbers_of(Config):
        section, _, rest = listed.replace("[N]", "[0]").partition(".NAME")
        for value in _of(meta):
            yield (f"{section}.{NAMED[section]}{rest}" if ".NAME" in listed else section), value


def put(mapping: dict[str, Any], key: str, value: object) -> None:
    """Put a value under a key such as ``limits[0].max.tokens`` into a configuration."""
    place: Any = mapping
    names = re.findall(r"[^.\[\]]+", key)
    last = names[-1]
    for name, below in itertools.pairwise(names):
        empty: Any = [] if below == "0" else {}
        if name == "0" and not place:
            made = {**LIMIT, "max": {}} if ".max." in key else dict(LIMIT)
            place.append({part: said for part, said in made.items() if part != "name" or names[0] == "limits"})
        place = place[0] if name == "0" else _entered(place, name, empty)
    if last == "0":
        place[:] = [value]
    else:
        place[last] = value


def _entered(place: dict[str, Any], name: str, empty: Any) -> Any:
    """What stands under a name; a window that was a word becomes a length."""
    if not isinstance(place.get(name), dict | list):
        place[name] = dict(BESIDE[name]) if name in BESIDE else empty
    return place[name]


def _of(meta: msgspec.Meta) -> tuple[int | str, ...]:
    bounds = (meta.extra or {}).get("bounds")
    if not isinstance(bounds, Bounds):
        assert meta.ge is not None
        assert meta.le is not None
        return int(meta.ge), int(meta.le)
    least = Decimal(1).scaleb(-bounds.decimals) if bounds.above else Decimal(bounds.least)
    return f"{least:f}", str(bounds.most)


EXTREMES = list(extremes())
