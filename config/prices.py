"""prices.yml: what models cost where that is not what their providers publish; and the list as the log keeps it."""

import functools
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec

from tallystick.config.amounts import COST, InvalidAmount, dollars, exact_units
from tallystick.config.building import Builder
from tallystick.config.errors import ConfigError, Unfit
from tallystick.config.kinds import Count, Dollars, Name
from tallystick.config.loader import located, text_of
from tallystick.config.price import PARTS, ModelPrice, Tier, Tokens
from tallystick.config.price_list import Found, Names, PriceList, Provider, Published, PublishedModel
from tallystick.config.section import Section
from tallystick.config.source import Source, read

__all__ = [
    "PARTS",
    "Found",
    "ModelPrice",
    "Names",
    "PriceList",
    "Provider",
    "Published",
    "PublishedModel",
    "Tier",
    "Tokens",
    "far_from_published",
    "find_prices",
    "from_mapping",
    "load_prices",
    "parse",
    "to_mapping",
]

PACKAGED_FILE: Final = Path(__file__).with_name("prices.yml")
ENVIRONMENT_VARIABLE: Final = "TALLYSTICK_PRICES"
PROJECT_FILE: Final = Path(".claude/resource-management/prices.yml")
FAR_TIMES: Final = 100
_LISTS_KEPT: Final = 8
"""A written price this many times above or below the published one is probably in another unit."""


# --- files -----------------------------------------------------------------------------------------------------------


class WrittenTier(Section, frozen=True):
    """What a request with more than ``above`` input tokens costs, for all of its tokens."""

    above: Count
    input: Dollars
    output: Dollars
    cached_input: Dollars | None = None
    cache_write: Dollars | None = None
    cache_write_1h: Dollars | None = None
    audio_input: Dollars | None = None
    audio_output: Dollars | None = None


class WrittenPrice(Section, frozen=True):
    """US dollars per million tokens; a cached token costs what an input token does where nothing else is said.

    What else is left out costs as much more than input (or output) as it does where the model is published; else the
    same. ``tiers`` replace the published ones, and an empty list says that there are none.
    """

    input: Dollars
    output: Dollars
    cached_input: Dollars | None = None
    cache_write: Dollars | None = None
    cache_write_1h: Dollars | None = None
    audio_input: Dollars | None = None
    audio_output: Dollars | None = None
    tiers: tuple[WrittenTier, ...] | None = None

    def __post_init__(self) -> None:
        above = [tier.above for tier in self.tiers or ()]
        if above != sorted(set(above)):
            raise Unfit({("tiers",): "tiers by rising `above`"})


class WrittenPrices(Section, frozen=True):
    """Everything that prices.yml says."""

    prices: Mapping[Name, WrittenPrice]


def find_prices(explicit: str | None, environ: Mapping[str, str]) -> Path | None:
    """The file to load: the one that was named, else that of the environment, else the project's, or None."""
    return located(explicit, environ, ENVIRONMENT_VARIABLE, PROJECT_FILE)


def load_prices(path: Path | None) -> PriceList:
    """The written prices of a file, or of the packaged one. The published ones are put under them where a fleet opens.

    Raises:
        ConfigError: the file cannot be read, or says something that is not allowed.
    """
    file = PACKAGED_FILE if path is None else path
    return parse(text_of(file), str(file))


def parse(text: str, name: str) -> PriceList:
    """The written prices of a YAML text; ``name`` is what errors call the text.

    Raises:
        ConfigError: the text says something that is not allowed, at a line and a column.
    """
    return PriceList(_written(read(text, name)))


def _written(source: Source) -> Mapping[str, ModelPrice]:
    written = Builder(source).build(WrittenPrices, None)
    return {model: _price(f"prices.{model}", price) for model, price in written.prices.items()}


def far_from_published(prices: PriceList) -> Iterator[str]:
    """A sentence for each written price that is more than a hundred times away from the published one of its model."""
    bare = PriceList({}, prices.published)
    for model, price in sorted(prices.written.items()):
        found = bare.find(model)
        if found is None:
            continue
        for part in ("input", "output"):
            written, known = getattr(price, part), getattr(found.price, part)
            if written * FAR_TIMES < known or written > known * FAR_TIMES:
                yield (
                    f"prices.{model}.{part}: ${dollars(written)} is more than {FAR_TIMES} times away from the published"
                    f" ${dollars(known)} ({found.provider}): prices are in US dollars per million tokens"
                )


# --- the form in which the log keeps a list --------------------------------------------------------------------------


class _Tier(msgspec.Struct, forbid_unknown_fields=True):
    above: int
    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None
    cache_write_1h: Decimal | None = None
    audio_input: Decimal | None = None
    audio_output: Decimal | None = None


class _Model(msgspec.Struct, forbid_unknown_fields=True):
    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None
    names: Names = Names()
    tiers: tuple[_Tier, ...] = ()
    cache_write: Decimal | None = None
    cache_write_1h: Decimal | None = None
    audio_input: Decimal | None = None
    audio_output: Decimal | None = None


class _Provider(msgspec.Struct, forbid_unknown_fields=True):
    names: Names
    models: dict[str, _Model]


class _Published(msgspec.Struct, forbid_unknown_fields=True):
    source: str
    providers: dict[str, _Provider]


def from_mapping(prices: Mapping[str, Any], published: Mapping[str, Any] | None = None) -> PriceList:
    """The list of what ``to_mapping`` gives: ``prices`` as they stand under that key in a file, and the published ones.

    Raises:
        ConfigError: the mapping says something that is not allowed; there is a key path, but no line.
    """
    written = _written(Source(None, {"prices": dict(prices)}))
    if not published:
        return PriceList(written)
    return PriceList(written, _published(msgspec.json.encode(published, order="deterministic")))


@functools.lru_cache(_LISTS_KEPT)
def _published(mapping: bytes) -> Published:
    """What was published, as JSON. The fleets of a process share a list that they have in common.

    Raises:
        ConfigError: as for `from_mapping`.
    """
    try:
        given = msgspec.convert(msgspec.json.decode(mapping), _Published)
        providers = {name: _provider(name, one) for name, one in given.providers.items()}
    except (msgspec.ValidationError, InvalidAmount, re.error) as error:
        raise ConfigError(f"not published prices: {error}", path=("published",)) from None
    return Published(given.source, providers)


def to_mapping(prices: PriceList) -> dict[str, Any]:
    """The arguments of ``from_mapping``, in plain values: US dollars per million tokens as exact strings, the written
    ones sorted by model. ``published`` is left out where nothing is. It is made once for each list: only read it.
    """
    return prices.mapping


def _provider(name: str, given: _Provider) -> Provider:
    models = {}
    for id, model in given.models.items():
        models[id] = PublishedModel(_price(f"{name}.{id}", model), model.names)
    for pattern in (*given.names.regex, *(regex for one in models.values() for regex in one.names.regex)):
        re.compile(pattern)
    return Provider(given.names, models)


def _price(field: str, given: WrittenPrice | _Model) -> ModelPrice:
    tiers = tuple(Tier(above=tier.above, **_parts(field, tier)) for tier in given.tiers or ())
    flat = isinstance(given, WrittenPrice) and given.tiers == ()
    return ModelPrice(tiers=tiers, flat=flat, **_parts(field, given))


def _parts(field: str, given: WrittenPrice | WrittenTier | _Model | _Tier) -> dict[str, Any]:
    """The prices of a line in nano-dollars: what is left out is None, but for cached input, which costs what input
    does.
    """
    found = {name: getattr(given, name) for name in PARTS}
    parts = {name: None if price is None else exact_units(price, COST, field) for name, price in found.items()}
    if parts["cached_input"] is None:
        parts["cached_input"] = parts["input"]
    return parts
