"""YAML text as plain values that still know where they stood: line, column, and every number exactly as written."""

import re
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import yaml

from tallystick.config.errors import ConfigError, KeyPath
from tallystick.config.spelling import halves_joined

Place = tuple[int, int]
"""Line and column, counted from 1."""

TEXT_MAX = 256 * 1024
"""The longest text of settings, in bytes: reading YAML costs much, and thousands of products fit."""
_DEPTH_MAX = 32
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9]{0,39})")
_DECIMAL = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+)([eE][-+][0-9]+)?")
_TAG = "tag:yaml.org,2002:"
_SCALARS = {"bool", "float", "int", "merge", "null", "str", "timestamp", "value"}


@dataclass(frozen=True)
class Source:
    """A tree of maps, lists and scalars, and where its keys and values stand.

    ``name`` is the file's name, or None for a mapping that came in a message; then there are no places.
    """

    name: str | None
    tree: object
    keys: dict[KeyPath, Place] = field(default_factory=dict)
    values: dict[KeyPath, Place] = field(default_factory=dict)
    empty: set[KeyPath] = field(default_factory=set)
    """Where a key stands without a value, which YAML reads as null: a file that was cut off may end so."""
    texts: dict[KeyPath, Place] = field(default_factory=dict)
    """Where a text begins that stands in one line of the file as it is, with nothing folded or escaped."""

    def holds(self, path: KeyPath) -> bool:
        """Whether the file itself says something at ``path``."""
        return path in self.values

    def place(self, path: KeyPath) -> Place | None:
        """Where the value at ``path`` stands, or else the nearest thing around it."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.values:
                return self.values[path[:length]]
        return None

    def place_in_text(self, path: KeyPath, line: int, column: int) -> Place | None:
        """Where a place of the text at ``path`` stands in the file; None where the text alone does not show it."""
        begins = self.texts.get(path)
        return None if begins is None or line > 1 else (begins[0], begins[1] + column - 1)


def read(text: str, name: str) -> Source:
    """The values of one YAML document, by PyYAML's safe loader; an empty document is an empty map.

    Raises:
        ConfigError: not YAML, too long, more than one document, a key given twice, an alias, or a tag.
    """
    check_size(len(text.encode(errors="replace")), name)
    try:
        root = _SafeLoader(text).get_single_node()
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        place = (before.count("\n") + 1, len(before) - before.rfind("\n"))
        raise ConfigError(f"not valid YAML: {error.reason}", file=name, place=place) from None
    except yaml.MarkedYAMLError as error:
        words = " ".join(part for part in (error.context, error.problem) if part)
        problem = words if isinstance(error, _Unsupported) else f"not valid YAML: {words}"
        mark = error.problem_mark or error.context_mark
        raise ConfigError(problem, file=name, place=_place(mark) if mark else None) from None
    source = Source(name, {})
    return source if root is None else replace(source, tree=_value(root, source, ()))


def check_size(size: int, name: str) -> None:
    """Refuse a text of settings that is too long to be read in reasonable time; ``size`` in bytes.

    Raises:
        ConfigError: it is.
    """
    if size > TEXT_MAX:
        raise ConfigError(f"found {size} bytes, allowed are at most {TEXT_MAX}", file=name)


def _value(node: yaml.Node, source: Source, path: KeyPath) -> object:
    """The plain value of a node; notes in ``source`` where it stands."""
    source.values[path] = _place(node.start_mark)
    kind = node.tag.removeprefix(_TAG)
    if isinstance(node, yaml.MappingNode) and kind == "map":
        return _map(node, source, path)
    if isinstance(node, yaml.SequenceNode) and kind == "seq":
        return [_value(item, source, (*path, number)) for number, item in enumerate(node.value)]
    if isinstance(node, yaml.ScalarNode) and kind in _SCALARS:
        if kind == "null" and not node.value:
            source.empty.add(path)
        _note_text(node, source, path)
        return _scalar(kind, halves_joined(node.value))
    raise ConfigError(f"the tag {node.tag} is not supported", path=path, file=source.name, place=source.values[path])


def _note_text(node: yaml.ScalarNode, source: Source, path: KeyPath) -> None:
    start, end = node.start_mark, node.end_mark
    quote = len(node.style or "")
    assert start.buffer is not None
    raw = start.buffer[start.pointer + quote : end.pointer - quote]
    if raw == node.value and start.line == end.line:
        source.texts[path] = (start.line + 1, start.column + 1 + quote)


def _map(node: yaml.MappingNode, source: Source, path: KeyPath) -> dict[str, object]:
    values: dict[str, object] = {}
    for key_node, value_node in node.value:
        place = _place(key_node.start_mark)
        if not isinstance(key_node, yaml.ScalarNode):
            raise ConfigError("a key must be a single word", path=path, file=source.name, place=place)
        # A key is the text that was written, also where YAML would see a truth value (`no`) or a number in it.
        key = halves_joined(key_node.value)
        key_path = (*path, key)
        if key in values:
            first, _ = source.keys[key_path]
            problem = f"this key is given twice; the first is on line {first}"
            raise ConfigError(problem, path=key_path, file=source.name, place=place)
        source.keys[key_path] = place
        values[key] = _value(value_node, source, key_path)
    return values


def _scalar(kind: str, text: str) -> object:
    """A scalar of YAML 1.1 without its surprises: ``010``, ``0x1F``, ``1:30``, ``1_000`` and ``.inf`` stay text, not
    numbers.
    """
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() in {"yes", "true", "on"}
    if kind in {"int", "float"}:
        if _WHOLE.fullmatch(text):
            return int(text)
        if _DECIMAL.fullmatch(text):
            return Decimal(text)
    return text


def _place(mark: yaml.Mark) -> Place:
    return (mark.line + 1, mark.column + 1)


class _Unsupported(yaml.MarkedYAMLError):
    """Good YAML that a file of settings has no use for."""

    def __init__(self, problem: str, mark: Any) -> None:
        super().__init__(problem=problem, problem_mark=mark)


class _SafeLoader(yaml.SafeLoader):
    """Refuses what a file of settings does not need and what could make a small file cost much."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]  # the stubs leave the parser out
        if isinstance(event, yaml.AliasEvent):
            raise _Unsupported(f"aliases are not supported; write the value of *{event.anchor} out", event.start_mark)
        if self.depth == _DEPTH_MAX:
            raise _Unsupported(f"nested more than {_DEPTH_MAX} levels deep", event.start_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node
