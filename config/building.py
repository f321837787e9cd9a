"""Plain values become structures, strictly, and an error says where, what was found and what is allowed.

msgspec checks each single value; walking the structures is done here, because its errors name neither the keys
of open maps nor lines, and because a file is merged with the defaults on the way.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from tallystick.config.amounts import NUMBER
from tallystick.config.errors import (
    ConditionError,
    ConfigError,
    KeyPath,
    Unfit,
    did_you_mean,
    found_instead,
    nearest,
    shown,
)
from tallystick.config.grammar import check_digits
from tallystick.config.kinds import Bounds, ConditionText, KeyDigest, Name, SecretPlace
from tallystick.config.limits import LIMITS_MAX, Calendar, Limit
from tallystick.config.section import Section
from tallystick.config.source import Source
from tallystick.config.spelling import half_in, misspelled

S = TypeVar("S", bound=Section)
ENTRIES_MAX = 10_000
"""Entries of an open map: products, models, budgets per type."""
ITEMS_MAX = 100
"""Items of a list: rules, conditions, addresses; limits, which are looked up and not looked through, may be more."""
Knows = Callable[[str], bool]


def known_nowhere(name: str) -> bool:
    """No misspelled name is valid."""
    return False


class Builder:
    """Builds structures from one source.

    ``keep_entries``: the entries of open maps (products, models, budgets per type) are added to those of the
    defaults; otherwise they are all there is. ``knows``: which misspelled names are valid all the same.
    """

    def __init__(self, source: Source, *, keep_entries: bool = True, knows: Knows = known_nowhere) -> None:
        self._source = source
        self._keep_entries = keep_entries
        self._knows = knows

    def build(self, kind: type[S], over: S | None) -> S:
        """The structure that the source describes; what it leaves out is taken from ``over``.

        Raises:
            ConfigError: an unknown or missing key, a wrong value, or values that do not fit together.
        """
        return self._section(kind, self._source.tree, over, ())

    def _value(self, kind: Any, value: object, over: Any, path: KeyPath) -> Any:
        kind, may_be_null = _without_null(kind, value)
        if may_be_null and value is None:
            self._check_written(path)
            return None
        origin = get_origin(kind)
        if origin is Mapping:
            return self._entries(get_args(kind)[1], value, over, path)
        if origin is tuple:
            return self._items(get_args(kind)[0], value, path)
        if isinstance(kind, type) and issubclass(kind, Section):
            return self._section(kind, value, over, path)
        return self._single(kind, value, path, may_be_null=may_be_null)

    def _section(self, kind: type[S], value: object, over: S | None, path: KeyPath) -> S:
        given = self._keys_of(value, path)
        fields = _fields(kind)
        for key in given:
            if key not in fields:
                raise self._unknown_key(key, list(fields), path)
        settled: dict[str, Any] = {}
        for name, field in fields.items():
            default = _default(field) if over is None else getattr(over, field.name)
            if name in given:
                over_field = None if default is msgspec.NODEFAULT else default
                settled[field.name] = self._value(field.type, given[name], over_field, (*path, name))
            elif default is not msgspec.NODEFAULT:
                settled[field.name] = default
            else:
                allowed = _words(field.type)
                raise self._error(f"this key is missing; allowed is {allowed}", (*path, name), allowed=allowed)
        try:
            return kind(**settled)
        except Unfit as unfit:
            raise self._unfit(unfit, settled, path) from None

    def _entries(self, kind: Any, value: object, over: Mapping[str, Any] | None, path: KeyPath) -> dict[str, Any]:
        entries = dict(over or {}) if self._keep_entries else {}
        given = self._keys_of(value, path)
        self._check_number(len(given), "entries", path, ENTRIES_MAX)
        for key, item in given.items():
            if item is None:
                self._check_written((*path, key))
                entries.pop(key, None)
            else:
                name = self._single(Name, key, (*path, key), may_be_null=False)
                if name not in entries:
                    self._check_spelling(name, (*path, key))
                entries[name] = self._value(kind, item, entries.get(name), (*path, name))
        return entries

    def _check_spelling(self, name: str, path: KeyPath) -> None:
        """A new entry has a name that is spelled as it looks; those that are in force, or that a log holds, stay."""
        wrong = misspelled(name) if self._keep_entries else None
        if wrong is not None and not self._knows(name):
            problem = f"found {name!r} with {wrong.character}, allowed is {wrong.allowed}"
            raise self._error(problem, path, found=name, allowed=wrong.allowed)

    def _check_number(self, found: int, what: str, path: KeyPath, most: int) -> None:
        """A new list or map is short enough to be looked through at each decision; those that a log holds stay."""
        if self._keep_entries and found > most:
            raise self._error(f"found {found} {what}, allowed are at most {most}", path, found=str(found))

    def _check_written(self, path: KeyPath) -> None:
        """Null lifts a limit, so it must be written: a key without a value may be where a file was cut off."""
        if path in self._source.empty:
            problem = "this key has no value: write null to remove a limit or an entry"
            raise self._error(problem, path, found="nothing", allowed="a value, or null")

    def _items(self, kind: Any, value: object, path: KeyPath) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise self._wrong_value(value, "a list", path)
        # Limits are found by what they match, and not by looking through them.
        self._check_number(len(value), "items", path, LIMITS_MAX if kind is Limit else ITEMS_MAX)
        return tuple(self._value(kind, item, None, (*path, number)) for number, item in enumerate(value))

    def _single(self, kind: Any, value: object, path: KeyPath, *, may_be_null: bool) -> Any:
        # A float comes only from JSON that was decoded elsewhere; its shortest text is what was written there.
        plain = Decimal(repr(value)) if isinstance(value, float) else value
        if isinstance(plain, str) and (wrong := half_in(plain)):
            raise self._error(wrong, path, found=ascii(plain))
        try:
            result = msgspec.convert(plain, kind)
            # Python would read digits of any script as a number, and underscores between them.
            in_ascii = not isinstance(plain, str) or NUMBER.fullmatch(plain)
            if not isinstance(result, Decimal) or (in_ascii and _bounds(kind).hold(result)):
                self._check_digits(kind, plain)
                return result
        except ConditionError as error:
            raise self._wrong_part(error, path) from None
        except msgspec.ValidationError:
            pass  # Its words name neither the place nor the entry; ours follow.
        words = _words(kind)
        if kind is KeyDigest or kind is SecretPlace:
            found = "another value, which is not shown"
            raise self._error(found_instead(found, words, None), path, found=found, allowed=words)
        choices = get_args(kind) if get_origin(kind) is Literal else ()
        raise self._wrong_value(value, f"{words}, or null" if may_be_null else words, path, nearest(value, choices))

    def _check_digits(self, kind: Any, value: object) -> None:
        """A new condition has no underscores in its numbers; those that a log holds may."""
        if kind is ConditionText and self._keep_entries and isinstance(value, str):
            check_digits(value)

    def _keys_of(self, value: object, path: KeyPath) -> dict[str, object]:
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            hint = " (leave the key out to keep the defaults)" if value is None else ""
            raise self._wrong_value(value, f"a map with names as keys{hint}", path)
        for key in value:
            if wrong := half_in(key):
                raise self._error(f"a key: {wrong}", path, found=ascii(key), place=self._source.keys.get((*path, key)))
        return value

    def _unknown_key(self, key: str, known: list[str], path: KeyPath) -> ConfigError:
        suggestion = nearest(key, known)
        allowed = ", ".join(known)
        place = self._source.keys.get((*path, key))
        problem = f"unknown key{did_you_mean(suggestion)} (allowed: {allowed})"
        return self._error(problem, (*path, key), found=key, allowed=allowed, suggestion=suggestion, place=place)

    def _wrong_value(self, value: object, allowed: str, path: KeyPath, suggestion: str | None = None) -> ConfigError:
        found = shown(value)
        problem = found_instead(found, allowed, suggestion)
        return self._error(problem, path, found=found, allowed=allowed, suggestion=suggestion)

    def _wrong_part(self, error: ConditionError, path: KeyPath) -> ConfigError:
        """A part of a text is wrong: it is pointed at in the file, or else in the text."""
        place = self._source.place_in_text(path, error.line, error.column)
        return self._error(
            str(error) if place is None else error.problem,
            path,
            found=error.found,
            allowed=error.allowed,
            suggestion=error.suggestion,
            place=place,
        )

    def _unfit(self, unfit: Unfit, settled: Mapping[str, Any], path: KeyPath) -> ConfigError:
        """Shows the first of the values that the file itself holds: the others are defaults."""
        keys = list(unfit.allowed)
        key = next((key for key in keys if self._source.holds((*path, *key))), keys[0])
        if unfit.within is not None:
            return self._wrong_part(unfit.within, (*path, *key))
        return self._wrong_value(_at(settled, key), unfit.allowed[key], (*path, *key), unfit.suggestion)

    def _error(
        self,
        problem: str,
        path: KeyPath,
        *,
        found: str | None = None,
        allowed: str | None = None,
        suggestion: str | None = None,
        place: tuple[int, int] | None = None,
    ) -> ConfigError:
        source = self._source
        return ConfigError(
            problem,
            path=path,
            found=found,
            allowed=allowed,
            suggestion=suggestion,
            file=source.name,
            place=place or source.place(path),
        )


@cache
def _fields(kind: type[Section]) -> dict[str, msgspec.structs.FieldInfo]:
    """The fields of a structure under the names that they have in a file; looking them up takes longest."""
    return {field.encode_name: field for field in msgspec.structs.fields(kind)}


def _without_null(kind: Any, value: object) -> tuple[Any, bool]:
    """``X | None`` as (X, True), anything else as it is. Of several kinds, the one that has the form of the value."""
    if get_origin(kind) in {UnionType, Union}:
        inner = [part for part in get_args(kind) if part is not NoneType]
        form: Any = Section if isinstance(value, dict) else tuple if isinstance(value, list | tuple) else None
        fits = (part for part in inner if (get_origin(part) or part) is form or _is_section(part, form))
        return next(fits, inner[0]), len(inner) < len(get_args(kind))
    return kind, False


def _is_section(kind: Any, form: Any) -> bool:
    return form is Section and isinstance(kind, type) and issubclass(kind, Section)


def _default(field: msgspec.structs.FieldInfo) -> Any:
    """What a key has that is left out."""
    factory = field.default_factory
    return field.default if factory is msgspec.NODEFAULT else factory()


def _words(kind: Any) -> str:
    """What is allowed for a kind of value, in words."""
    if kind == Calendar:
        return f"one of {', '.join(get_args(kind))}, or a length such as {{hours: 5}}"
    if get_origin(kind) is Literal:
        return f"one of {', '.join(get_args(kind))}"
    if get_origin(kind) is Annotated:
        return str(_meta(kind).description)
    return "true or false" if kind is bool else "a list" if get_origin(kind) is tuple else "a map"


def _bounds(kind: Any) -> Bounds:
    bounds = (_meta(kind).extra or {})["bounds"]
    assert isinstance(bounds, Bounds)
    return bounds


def _meta(kind: Any) -> msgspec.Meta:
    return next(note for note in kind.__metadata__ if isinstance(note, msgspec.Meta))


def _at(settled: Any, key: KeyPath) -> Any:
    """What stands at ``key`` inside a structure; None where there is nothing."""
    for step in key:
        match settled:
            case Mapping():
                settled = settled.get(step)
            case tuple() if isinstance(step, int):
                settled = settled[step]
            case _:
                settled = getattr(settled, str(step), None)
    return settled
