"""The price list: what a million tokens of each model cost, in whole nano-dollars."""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec

from tallystick.config.building import Builder
from tallystick.config.kinds import Dollars, Name
from tallystick.config.loader import text_of
from tallystick.config.settings import Section
from tallystick.config.source import Source, read
from tallystick.events.amounts import COST, dollars, exact_units

PACKAGED_FILE: Final = Path(__file__).with_name("prices.yml")


class ModelPrice(msgspec.Struct, frozen=True):
    """Nano-dollars per million tokens. ``cached_input`` is for the part of the input that came from a cache."""

    input: int
    output: int
    cached_input: int


class PriceList(msgspec.Struct, frozen=True):
    """The price of each known model, by its id. A model that is not here is unknown, never free."""

    models: Mapping[str, ModelPrice] = msgspec.field(default_factory=dict)


class WrittenPrice(Section, frozen=True):
    """US dollars per million tokens; a cached token costs what an input token does where nothing else is said."""

    input: Dollars
    output: Dollars
    cached_input: Dollars | None = None


class WrittenPrices(Section, frozen=True):
    """Everything that prices.yml says."""

    prices: Mapping[Name, WrittenPrice]


def load_prices(path: Path | None) -> PriceList:
    """The price list of a file, or the packaged one.

    Raises:
        ConfigError: the file cannot be read, or says something that is not allowed.
    """
    file = PACKAGED_FILE if path is None else path
    return parse(text_of(file), str(file))


def parse(text: str, name: str) -> PriceList:
    """The price list of a YAML text; ``name`` is what errors call the text.

    Raises:
        ConfigError: the text says something that is not allowed, at a line and a column.
    """
    return _exact(read(text, name))


def from_mapping(prices: Mapping[str, Any]) -> PriceList:
    """The price list of a mapping from model to its price, as it stands under ``prices:`` in a file.

    Raises:
        ConfigError: the mapping says something that is not allowed; there is a key path, but no line.
    """
    return _exact(Source(None, {"prices": dict(prices)}))


def to_mapping(prices: PriceList) -> dict[str, dict[str, str]]:
    """The mapping that ``from_mapping`` reads, sorted by model; US dollars per million tokens as exact strings."""
    return {
        model: {
            "input": dollars(price.input),
            "output": dollars(price.output),
            "cached_input": dollars(price.cached_input),
        }
        for model, price in sorted(prices.models.items())
    }


def _exact(source: Source) -> PriceList:
    written = Builder(source).build(WrittenPrices, None)
    return PriceList({model: _price(model, price) for model, price in written.prices.items()})


def _price(model: str, written: WrittenPrice) -> ModelPrice:
    cached = written.input if written.cached_input is None else written.cached_input
    return ModelPrice(_nanos(model, written.input), _nanos(model, written.output), _nanos(model, cached))


def _nanos(model: str, price: Decimal) -> int:
    return exact_units(price, COST, f"prices.{model}")
