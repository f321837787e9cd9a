"""``tallystick config``: whether a file is right, what it may say, and what is in force."""

import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import yaml

from tallystick.actors.runtime.sender import problem_of
from tallystick.cli.common import json_text, prices_option, reading
from tallystick.cli.prices import prices, prices_of_today
from tallystick.config import loader
from tallystick.config.addresses import may_hold_secret
from tallystick.config.outgoing import NoSecret, outgoing_secrets, secret_at
from tallystick.config.prices import PriceList, far_from_published
from tallystick.config.remarks import never_binding, never_tripping, not_limited
from tallystick.config.schema import json_schema
from tallystick.config.settings import Config
from tallystick.events.decide.webhook_kinds import unknown_kind
from tallystick.events.log.restoring import open_ledger
from tallystick.events.log.store_place import shown
from tallystick.wording import one_line

_FILE = click.Path(path_type=Path)
_GUESSED = "a report on it is charged as the most expensive model of its provider, and flagged"


@click.group()
def config() -> None:
    """Check, describe and show settings (resource-limits.yml) and prices (prices.yml).

    \b
    Example:
      tallystick config check resource-limits.yml
    """


@config.command(short_help="Say whether a file can be used.")
@click.argument("file", required=False, type=_FILE)
@prices_option
def check(file: Path | None, prices_file: Path | None) -> None:
    """Say whether FILE can be used; where not, at which line and column, and what was probably meant.

    Without FILE it is the one that a new fleet would use: $TALLYSTICK_CONFIG, the project's, or the packaged one. The
    prices that the fleet would use are checked too. What can be used and is probably not meant is a warning.

    \b
    Examples:
      tallystick config check resource-limits.yml
      tallystick config check resource-limits.yml --prices prices.yml
    """
    found = _found(file)
    settings = loader.load(found)
    prices = prices_of_today(settings, prices_file)
    wrong = unknown_kind(settings)
    if wrong is not None:
        raise click.ClickException(f"{found}: {wrong}")
    click.echo(f"OK: {found or loader.PACKAGED_FILE}")
    unlimited = [remark.key for remark in not_limited(settings)]
    if unlimited:
        click.echo(f"not limited: {', '.join(unlimited)}")
    found_remarks = (*never_binding(settings), *never_tripping(settings))
    of_limits = [f"{remark.code}: {remark.key}: {remark.message}" for remark in found_remarks]
    others = (*_of_models(settings, prices), *far_from_published(prices))
    for warning in (*of_limits, *others, *_of_addresses(settings), *_of_secrets(settings)):
        click.echo(f"tallystick: warning: {one_line(warning)}", err=True)


def _of_models(settings: Config, prices: PriceList) -> Iterator[str]:
    for alias, model in settings.models.items():
        if prices.find(model.id, model.provider) is None:
            yield f"models.{alias}: no price is known for {model.id}: {_GUESSED}; write one into prices.yml"


def _of_addresses(settings: Config) -> Iterator[str]:
    for name, addresses in settings.notifications.items():
        for number, address in enumerate(addresses):
            key = f"notifications.{name}[{number}]"
            if may_hold_secret(address):
                text = (
                    "it goes into the log as it is written: put a secret in it into a variable, as ${TALLYSTICK_NAME}"
                )
                yield f"{key}: {text}"
            problem = problem_of(address, os.environ)
            if problem is not None:
                yield f"{key}: nothing can be sent there from here: {problem}"


def _of_secrets(settings: Config) -> Iterator[str]:
    for key, place in outgoing_secrets(settings.webhooks, settings.approval_links):
        try:
            secret_at(place, os.environ)
        except NoSecret as error:
            yield f"{key}: nothing can be signed from here: {error}"


@config.command(short_help="Print the JSON Schema, for editors.")
def schema() -> None:
    """Print the JSON Schema of the file, for editors.

    \b
    Example:
      tallystick config schema > resource-limits.schema.json
    """
    click.echo(json_text(json_schema()))


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
        raise click.ClickException(f"nothing is in force yet at {shown(store_url)}: its log is empty")
    click.echo(written(ledger.rules.config), nl=False)


config.add_command(prices)


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
