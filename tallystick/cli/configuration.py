"""``tallystick config``: whether a file is right, what it may say, and what is in force."""

import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import yaml

from tallystick.actors.opening import open_ledger
from tallystick.cli.common import as_json, reading
from tallystick.config import loader
from tallystick.config.schema import json_schema
from tallystick.config.settings import Config

_FILE = click.Path(path_type=Path)


@click.group()
def config() -> None:
    """Check, describe and show settings (resource-limits.yml).

    \b
    Example:
      tallystick config check resource-limits.yml
    """


@config.command(short_help="Say whether a file can be used.")
@click.argument("file", required=False, type=_FILE)
def check(file: Path | None) -> None:
    """Say whether FILE can be used; where not, at which line and column, and what was probably meant.

    Without FILE it is the one that a fleet would be opened with: $TALLYSTICK_CONFIG, the project's, or the packaged one.

    \b
    Example:
      tallystick config check resource-limits.yml
    """
    found = _found(file)
    loader.load(found)
    click.echo(f"OK: {found or loader.PACKAGED_FILE}")


@config.command(short_help="Print the JSON Schema, for editors.")
def schema() -> None:
    """Print the JSON Schema of the file, for editors.

    \b
    Example:
      tallystick config schema > resource-limits.schema.json
    """
    click.echo(as_json(json_schema()))


@config.command(short_help="Print all settings as YAML.")
@click.argument("file", required=False, type=_FILE)
@click.option("--store", "store_url", metavar="URL", help="What is in force in this fleet, instead of a file.")
def show(file: Path | None, store_url: str | None) -> None:
    """Print all settings as YAML: those of FILE over the defaults, or with --store what is in force in a fleet.

    \b
    Examples:
      tallystick config show resource-limits.yml
      tallystick config show --store sqlite:///tallystick.db
    """
    if store_url is None:
        click.echo(written(loader.load(_found(file))), nl=False)
        return
    if file is not None:
        raise click.UsageError("a file and --store are two questions: leave one out")
    with reading(store_url) as store:
        ledger, _ = open_ledger(store)
    if not ledger.configured:
        raise click.ClickException(f"nothing is in force yet at {store_url}: its log is empty")
    click.echo(written(ledger.rules.config), nl=False)


def _found(file: Path | None) -> Path | None:
    return loader.find(None if file is None else str(file), os.environ)


def written(config: Config) -> str:
    """A configuration as a file that gives the same one when it is loaded."""
    return yaml.dump(
        _with_numbers(loader.to_mapping(config), config), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110
    )


def _with_numbers(mapping: Any, value: Any) -> Any:
    """The mapping that the log keeps, with its decimals as numbers again: people write no quotes around them."""
    if isinstance(value, Decimal):
        return Decimal(mapping)
    if isinstance(mapping, dict) and value is not None:
        entries = value if hasattr(value, "items") else {name: getattr(value, name) for name in mapping}
        return {name: _with_numbers(mapping[name], entries.get(name)) for name in mapping}
    if isinstance(mapping, list):
        return [_with_numbers(item, entry) for item, entry in zip(mapping, value, strict=True)]
    return mapping


class _Dumper(yaml.SafeDumper):
    """Writes exact numbers as they are."""


def _number(dumper: yaml.SafeDumper, value: Decimal) -> yaml.ScalarNode:
    text = format(value, "f")
    return dumper.represent_scalar(f"tag:yaml.org,2002:{'float' if '.' in text else 'int'}", text)


_Dumper.add_representer(Decimal, _number)
