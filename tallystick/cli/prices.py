"""``tallystick config prices``: what models cost, and where each price comes from."""

import datetime as dt
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from tallystick.cli.common import config_option, console, json_option, json_text, prices_option, reading
from tallystick.config import loader
from tallystick.config.amounts import dollars
from tallystick.config.model_names import catalogued
from tallystick.config.price_list import shown
from tallystick.config.prices import Found, ModelPrice, PriceList, Tier, far_from_published, find_prices, load_prices
from tallystick.config.published import published_prices
from tallystick.config.settings import Config
from tallystick.events.log.restoring import open_ledger
from tallystick.wording import one_line

_UNKNOWN = "unpriced: a report is charged as the most expensive model of its provider, and flagged"


def prices_of_today(config: Config, prices_file: Path | None) -> PriceList:
    """The list that a fleet with this configuration would be opened with now.

    Raises:
        ConfigError: the file cannot be used.
    """
    written = load_prices(find_prices(None if prices_file is None else str(prices_file), os.environ)).written
    return PriceList(written, published_prices(dt.datetime.now(dt.UTC).date(), config.models.values()))


@click.command(short_help="Say what models cost, and why.")
@click.argument("model", nargs=-1)
@config_option
@prices_option
@click.option("--store", "store_url", metavar="URL", help="What is in force in this fleet, instead of files.")
@json_option
def prices(
    model: tuple[str, ...], config_file: Path | None, prices_file: Path | None, store_url: str | None, as_json: bool
) -> None:
    """Say what each MODEL costs, in dollars per million tokens, and where the price comes from; without MODEL, all.

    A MODEL is named as reports name it: by its alias in the settings, its id, or any other name of it. The prices are
    those that a new fleet would begin with, or with --store those in force in a fleet.

    \b
    Examples:
      tallystick config prices opus claude-haiku-5-5
      tallystick config prices --store sqlite:///tallystick.db
    """
    if store_url is None:
        config = loader.load(loader.find(None if config_file is None else str(config_file), os.environ))
        listed = prices_of_today(config, prices_file)
    elif config_file is not None or prices_file is not None:
        raise click.UsageError("files and --store are two questions: leave one out")
    else:
        with reading(store_url) as store:
            rules = open_ledger(store).ledger.rules
        config, listed = rules.config, rules.prices
    for warning in far_from_published(listed):
        click.echo(f"tallystick: warning: {one_line(warning)}", err=True)
    rows = list(_rows(config, listed, model or _all(config, listed)))
    if as_json:
        click.echo(_json(rows))
    else:
        console().print(_table(rows))


def _all(config: Config, prices: PriceList) -> list[str]:
    return list(dict.fromkeys((*config.models, *prices.models)))


Row = tuple[str, Found | None, str]
"""What was asked for, what was found, and where it comes from."""


def _rows(config: Config, prices: PriceList, models: "tuple[str, ...] | list[str]") -> Iterator[Row]:
    known = catalogued(config.models)
    for asked in models:
        found = prices.find(*known.get(asked, (asked, None)))
        if found is None:
            yield asked, None, _UNKNOWN
        else:
            yield asked, found, "prices.yml" if found.written else f"{prices.published.source}, {found.provider}"


def _table(rows: list[Row]) -> Table:
    table = Table("model", "id", box=None, pad_edge=False)
    for heading in ("input", "output", "cached"):
        table.add_column(heading, justify="right")
    table.add_column("from")
    for asked, found, source in rows:
        if found is None:
            table.add_row(one_line(asked), "", "", "", "", source)
            continue
        table.add_row(one_line(asked), one_line(found.id), *_cells(found.price), one_line(source))
        for tier in found.price.tiers:
            table.add_row("", f"  above {tier.above:,} input tokens", *_cells(tier), "")
    return table


def _cells(price: ModelPrice | Tier) -> tuple[str, str, str]:
    return f"${dollars(price.input)}", f"${dollars(price.output)}", f"${dollars(price.cached_input)}"


def _json(rows: list[Row]) -> str:
    return json_text({"prices": [_plain(asked, found, source) for asked, found, source in rows]})


def _plain(asked: str, found: Found | None, source: str) -> dict[str, Any]:
    if found is None:
        return {"model": asked, "id": None, "unpriced": True}
    plain: dict[str, Any] = {"model": asked, "id": found.id, **_edge(found.price), "from": source}
    if found.price.tiers:
        plain["tiers"] = [{"above_input_tokens": tier.above, **_edge(tier)} for tier in found.price.tiers]
    return plain


def _edge(price: ModelPrice | Tier) -> dict[str, str]:
    return shown(price)
