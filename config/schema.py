"""A JSON Schema of resource-limits.yml, so that editors complete its keys and mark its errors while one types."""

from typing import Any

import msgspec

from tallystick.config.settings import Config

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_PARTLY_WRITTEN = ("Model", "PriorityLevel")
"""Entries that are merged with those of the defaults, so that a file need not repeat what they say."""


def json_schema() -> dict[str, Any]:
    """The schema, in plain JSON values, of what a file may say; what is left out has its default."""
    schema = msgspec.json.schema(Config)
    for name in _PARTLY_WRITTEN:
        schema["$defs"][name].pop("required")
    for definition in schema["$defs"].values():
        for field in definition["properties"].values():
            _as_written(field)
    top = schema["$defs"]["Config"]["properties"]
    # Seed 000 shows the rules at the top level, too.
    top["rules"] = schema["$defs"]["AutoModelSelection"]["properties"]["rules"]
    encoded = msgspec.json.encode({"$schema": _DIALECT, "title": "tallystick resource limits", **schema})
    plain: dict[str, Any] = msgspec.json.decode(encoded)
    return plain


def _as_written(schema: dict[str, Any]) -> None:
    """What a file may say for a value, where that is more than what the structure holds."""
    for part in schema.get("anyOf", []):
        _as_written(part)
    if schema.get("format") == "decimal":
        # A decimal is a number in a file; a string is how JSON keeps one exactly.
        del schema["format"]
        schema["type"] = ["number", "string"]
    entries = schema.get("additionalProperties")
    if isinstance(entries, dict):
        _as_written(entries)
        # Null takes an entry of the defaults away.
        schema["additionalProperties"] = {"anyOf": [entries, {"type": "null"}]}
