"""Finds resource-limits.yml, reads it over the defaults, and writes a configuration as the log keeps it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final

import msgspec

from tallystick.config.building import Builder, Knows, known_nowhere
from tallystick.config.errors import ConfigError, KeyPath
from tallystick.config.grammar import ALWAYS
from tallystick.config.limits import AccountLimit, AccountLimits
from tallystick.config.settings import AutoModelSelection, Config, DailyLimits, MaxConcurrent
from tallystick.config.source import Source, check_size, read
from tallystick.config.total_budget import TotalBudget

ENVIRONMENT_VARIABLE: Final = "TALLYSTICK_CONFIG"
PROJECT_FILE: Final = Path(".claude/resource-management/resource-limits.yml")
PACKAGED_FILE: Final = Path(__file__).with_name("resource-limits.yml")

_NAMED: Final = "named"
"""Where a configuration keeps what its file says: no part of it, and not compared."""
_RULES: Final[KeyPath] = ("rules",)
_RULES_HOME: Final[KeyPath] = ("auto_model_selection", "rules")


def without_limits() -> Config:
    """The defaults without the packaged limits: what a file or a mapping is laid over that a new fleet begins with.

    The packaged limits are in force by themselves only where a new fleet gets no configuration at all.
    """
    return Config(
        total_budget=TotalBudget(),
        max_concurrent=MaxConcurrent(None, {}),
        token_budgets={},
        daily_limits=DailyLimits(None, None),
    )


def find(explicit: str | None, environ: Mapping[str, str]) -> Path | None:
    """The file to load: the one that was named, else that of the environment, else the project's, or None.

    A file that was named is not looked for elsewhere: if it is missing, ``load`` says so.
    """
    return located(explicit, environ, ENVIRONMENT_VARIABLE, PROJECT_FILE)


def located(explicit: str | None, environ: Mapping[str, str], variable: str, project_file: Path) -> Path | None:
    """The file that was named, else that of the environment, else the project's; None if there is none."""
    named = explicit or environ.get(variable)
    if named:
        return Path(named)
    return project_file if project_file.is_file() else None


def load(path: Path | None) -> Config:
    """The configuration of a file over the defaults, without limits that it does not name; or the packaged one.

    Raises:
        ConfigError: the file cannot be read, or says something that is not allowed.
    """
    file = PACKAGED_FILE if path is None else path
    return parse(text_of(file), str(file))


def text_of(file: Path) -> str:
    """The text of a file of settings.

    Raises:
        ConfigError: there is no such file, it may not be read, is too long, or is not UTF-8.
    """
    try:
        check_size(file.stat().st_size, str(file))
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", file=str(file)) from None
    except UnicodeDecodeError:
        raise ConfigError("is not a UTF-8 text", file=str(file)) from None


def parse(text: str, name: str) -> Config:
    """The configuration of a YAML text, as for `load`; ``name`` is what errors call the text.

    Raises:
        ConfigError: the text says something that is not allowed, at a line and a column.
    """
    return _over_defaults(read(text, name))


def from_mapping(mapping: Mapping[str, Any], knows: Knows = known_nowhere) -> Config:
    """The configuration of a JSON-like mapping, as a file with the same content would give it.

    ``knows``: which misspelled names are valid all the same.

    Raises:
        ConfigError: the mapping says something that is not allowed; there is a key path, but no line.
    """
    return _over_defaults(Source(None, dict(mapping)), knows)


def changed(in_force: Config, mapping: Mapping[str, Any], knows: Knows = known_nowhere) -> Config:
    """What is in force, with the keys that a mapping names as they are there: null removes a limit or an entry.

    ``knows``: which misspelled names are valid all the same.

    Raises:
        ConfigError: the mapping says something that is not allowed, or that does not go with what stays.
    """
    return Builder(_whole(Source(None, dict(mapping))), knows=knows).build(Config, in_force)


def named(config: Config) -> dict[str, Any]:
    """What a configuration says itself, as `to_mapping` writes it: the keys of its file; all where it has none."""
    said: dict[str, Any] | None = config.__dict__.get(_NAMED)
    return to_mapping(config) if said is None else said


def account_limits(written: Sequence[Any]) -> tuple[AccountLimit, ...]:
    """The limits of one account, as a message writes them.

    Raises:
        ConfigError: a limit says something that is not allowed; there is a key path, but no line.
    """
    source = Source(None, {"limits": list(written)})
    return Builder(source).build(AccountLimits, None).limits


def restore(mapping: Mapping[str, Any]) -> Config:
    """The configuration that ``to_mapping`` wrote, for the log: what was in force then, whatever the defaults are now.

    Unlike with ``from_mapping``, no product, model or budget per type is added from the defaults; only a key that did
    not exist when the mapping was written has its default.

    Raises:
        ConfigError: the mapping was not written by ``to_mapping``.
    """
    return _restored(msgspec.json.encode(mapping))


@lru_cache(maxsize=16)
def _restored(written: bytes) -> Config:
    """Each specialist, and each reader of a log, takes up the same few configurations; none of them changes one."""
    return Builder(Source(None, msgspec.json.decode(written)), keep_entries=False).build(Config, Config())


def to_mapping(config: Config) -> dict[str, Any]:
    """The whole configuration in plain JSON values; decimal numbers are strings, so that nothing is rounded.

    The same configuration always gives the same mapping, also in the order of its keys. An entry of the defaults that
    the configuration does not have is null, so that ``from_mapping`` gives the configuration back. Keys that came
    later (`_LATER`) are left out where they have their default, so that what older programs wrote stays the same.
    """
    written, default = _written(config), _written_defaults()
    return {key: value for key, value in written.items() if key not in _LATER or value != default[key]}


_LATER: Final = frozenset(
    {
        *("accounts", "control", "limits", "limits_counters_max", "notification_networks"),
        *("approval_links", "webhooks"),
    }
)


def _written(config: Config) -> dict[str, Any]:
    written: dict[str, Any] = _plain(config, _defaults())
    return written


@cache
def _defaults() -> Config:
    """What a configuration is written beside: to make one, and check it, takes longer than to write it."""
    return Config()


@cache
def _written_defaults() -> dict[str, Any]:
    return _written(_defaults())


def _over_defaults(source: Source, knows: Knows = known_nowhere) -> Config:
    whole = _whole(source)
    config = Builder(whole, knows=knows).build(Config, without_limits())
    config.__dict__[_NAMED] = _as_named(_written(config), whole.tree)
    return config


def _as_named(written: Any, tree: Any) -> Any:
    """Of a written configuration the keys that a tree names; an entry that it removes is null."""
    if isinstance(written, dict) and isinstance(tree, dict):
        return {key: _as_named(written.get(key), value) for key, value in tree.items()}
    return written


def _whole(source: Source) -> Source:
    return _with_whole_rules(_with_rules_at_home(source))


def _with_rules_at_home(source: Source) -> Source:
    """Seed 000 shows ``rules`` at the top level, too: they are moved to ``auto_model_selection``, with their places."""
    tree = source.tree
    if not isinstance(tree, dict) or "rules" not in tree:
        return source
    section = tree.get("auto_model_selection", {})
    if isinstance(section, dict) and "rules" in section:
        problem = "the rules are given twice, here and in auto_model_selection"
        raise ConfigError(problem, path=_RULES, file=source.name, place=source.keys.get(_RULES))
    moved = {key: value for key, value in tree.items() if key != "rules"}
    # What is no map stays as it is, to be refused for what it is.
    moved["auto_model_selection"] = {**section, "rules": tree["rules"]} if isinstance(section, dict) else section
    return replace(
        source, tree=moved, keys=_moved(source.keys), values=_moved(source.values), texts=_moved(source.texts)
    )


def _with_whole_rules(source: Source) -> Source:
    """A list of rules without a default falls through to the packaged ones.

    They are written out, so that what is in force can be read from the configuration alone.
    """
    match source.tree:
        case {"auto_model_selection": {"rules": list() | tuple() as rules} as section, **others}:
            if not any(isinstance(rule, dict) and str(rule.get("condition")).strip() == ALWAYS for rule in rules):
                packaged = msgspec.to_builtins(AutoModelSelection().rules)
                whole = {**section, "rules": [*rules, *packaged]}
                return replace(source, tree={**others, "auto_model_selection": whole})
    return source


def _moved(places: Mapping[KeyPath, tuple[int, int]]) -> dict[KeyPath, tuple[int, int]]:
    return {(*_RULES_HOME, *path[1:]) if path[:1] == _RULES else path: place for path, place in places.items()}


def _plain(value: Any, default: Any) -> Any:
    match value:
        case msgspec.Struct():
            fields = zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True)
            return {key: _plain(getattr(value, name), getattr(default, name, None)) for name, key in fields}
        case Mapping():
            defaults = default if isinstance(default, Mapping) else {}
            names = sorted(value.keys() | defaults.keys())
            return {name: _plain(value.get(name), defaults.get(name)) for name in names}
        case tuple():
            return [_plain(item, None) for item in value]
        case Decimal():
            # Adding zero makes a negative zero positive: equal numbers are to have equal texts.
            return format(value.normalize() + 0, "f")
    return value
