"""The price list: what a million tokens of each model cost, in whole nano-dollars.

It has two layers. The *published* prices are those that the providers publish, as the library ``genai-prices`` bundles
them (``published.py`` reads them). The *written* ones are those of a file ``prices.yml``: they win, model by model, and
only they can be free. The list in force is a fact in the log, so all that is needed to find a price is in it.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from tallystick.config.amounts import COST, InvalidAmount, dollars, exact_units
from tallystick.config.building import Builder
from tallystick.config.errors import ConfigError
from tallystick.config.kinds import Dollars, Name
from tallystick.config.loader import located, text_of
from tallystick.config.settings import Section
from tallystick.config.source import Source, read

PACKAGED_FILE: Final = Path(__file__).with_name("prices.yml")
ENVIRONMENT_VARIABLE: Final = "TALLYSTICK_PRICES"
PROJECT_FILE: Final = Path(".claude/resource-management/prices.yml")

MILLION: Final = 1_000_000
REMEMBERED_MAX: Final = 1_024
"""Names of models whose price was looked up, and need not be again."""

_COMPACT_DATE: Final = re.compile(r"-(20\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=[-:]|$)")


class Tier(msgspec.Struct, frozen=True, gc=False):
    """What a long request costs: with more than ``above`` input tokens, all of its tokens cost this."""

    above: int
    input: int
    output: int
    cached_input: int


class ModelPrice(msgspec.Struct, frozen=True, gc=False):
    """Nano-dollars per million tokens. ``cached_input`` is for the part of the input that came from a cache.

    ``tiers`` are by rising ``above``: of those that a request is above, the last holds for all of it.
    """

    input: int
    output: int
    cached_input: int
    tiers: tuple[Tier, ...] = ()

    def at(self, input_tokens: int) -> "ModelPrice | Tier":
        """What holds for a request of so many input tokens, the cached ones included."""
        found: ModelPrice | Tier = self
        for tier in self.tiers:
            if input_tokens > tier.above:
                found = tier
        return found

    def cost(self, input_tokens: int, output_tokens: int, cached_tokens: int) -> int:
        """Nano-dollars of one request, rounded up, once; the cached tokens are a part of the input."""
        price = self.at(input_tokens) if self.tiers else self
        fresh = input_tokens - cached_tokens
        per_million = fresh * price.input + output_tokens * price.output + cached_tokens * price.cached_input
        return -(-per_million // MILLION)


class Names(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """Which names mean one model, or are of one provider: those that fit any of these, in lower case."""

    equals: tuple[str, ...] = ()
    starts_with: tuple[str, ...] = ()
    ends_with: tuple[str, ...] = ()
    contains: tuple[str, ...] = ()
    regex: tuple[str, ...] = ()

    def fit(self, name: str) -> bool:
        """Whether a name, in lower case, is one of these."""
        return (
            name in self.equals
            or name.startswith(self.starts_with)
            or name.endswith(self.ends_with)
            or any(part in name for part in self.contains)
            or any(re.search(pattern, name) for pattern in self.regex)
        )


class PublishedModel(msgspec.Struct, frozen=True, gc=False):
    """A model's published price, and what it is called."""

    price: ModelPrice
    names: Names


class Provider(msgspec.Struct, frozen=True, gc=False):
    """A provider's models by id. ``names`` show that a model is this provider's where none is given."""

    names: Names
    models: Mapping[str, PublishedModel]


class Published(msgspec.Struct, frozen=True, gc=False):
    """What providers publish; ``source`` says who collected it, and in which version."""

    source: str = ""
    providers: Mapping[str, Provider] = msgspec.field(default_factory=dict)


class Found(NamedTuple):
    """A model's price. ``provider`` is None, and ``written`` true, where the price is from a file."""

    id: str
    price: ModelPrice
    provider: str | None
    written: bool


@dataclass(frozen=True)
class PriceList:
    """The price of each known model. A model that is not here is unknown, never free."""

    written: Mapping[str, ModelPrice] = field(default_factory=dict)
    published: Published = field(default_factory=Published)

    @cached_property
    def models(self) -> Mapping[str, ModelPrice]:
        """All models by id. Of providers that have a model of the same id, the first in the list counts."""
        models: dict[str, ModelPrice] = {}
        for provider in self.published.providers.values():
            for id, model in provider.models.items():
                models.setdefault(id, model.price)
        return models | dict(self.written)

    def find(self, model: str, provider: str | None = None) -> Found | None:
        """The price of a model by its id or any other name of it; None where it is not known.

        Where ``provider`` is one of the list, only its models are searched; without one, the provider is recognized by
        the name. A written price beats a published one, whatever the model is called.
        """
        return self.finding(model, provider)

    def most_expensive(self, model: str, provider: str | None, used: tuple[int, int, int]) -> str | None:
        """The model that stands for an unknown one, by id: the most expensive for what was used (input, output, cached)
        of the same provider, or of all where none is known of it; None where the list is empty.
        """
        candidates = self._most_expensive_of.get(provider or "") or self._most_expensive_of.get(self._family(model))
        candidates = candidates or self._most_expensive_of_all
        return max(candidates, key=lambda id: (self.models[id].cost(*used), id), default=None)

    @cached_property
    def finding(self) -> Callable[[str, str | None], Found | None]:
        """`find` itself, without a step in between, for the hot path, which asks with every report."""
        # A twin looks up: a memory that held this list, which holds the memory, would outlive both.
        return lru_cache(REMEMBERED_MAX)(PriceList(self.written, self.published).look_up)

    def look_up(self, model: str, provider: str | None) -> Found | None:
        """`find` without a memory."""
        if model in self.written:
            return Found(model, self.written[model], None, written=True)
        # Some write a date at the end of a name together, others with dashes.
        plain = model.lower()
        for name in dict.fromkeys((plain, _COMPACT_DATE.sub(r"-\1-\2-\3", plain))):
            if (found := self._named(name, provider)) is not None:
                return found
        if provider not in self.published.providers:
            for owner, one in self.published.providers.items():
                if model in one.models:
                    return self._entry(owner, model)
        return None

    def _named(self, name: str, provider: str | None) -> Found | None:
        owner = provider if provider in self.published.providers else self._owner(name)
        if owner is not None:
            for id, model in self.published.providers[owner].models.items():
                if model.names.fit(name):
                    return self._entry(owner, id)
        return None

    def _entry(self, owner: str, id: str) -> Found:
        written = self.written.get(id)
        if written is not None:
            return Found(id, written, None, written=True)
        return Found(id, self.published.providers[owner].models[id].price, owner, written=False)

    def _owner(self, name: str) -> str | None:
        """The provider that a name is recognized to be of."""
        return next((id for id, provider in self.published.providers.items() if provider.names.fit(name)), None)

    def _family(self, model: str) -> str:
        """A model's provider; where the name is of none in the list, its first word stands for it."""
        return self._owner(model.lower()) or model.split("-", 1)[0]

    @cached_property
    def _most_expensive_of(self) -> Mapping[str, list[str]]:
        """Of each provider, or family, those models that may be its most expensive."""
        families: dict[str, dict[str, ModelPrice]] = {}
        for name, provider in self.published.providers.items():
            families[name] = {id: self._entry(name, id).price for id in provider.models}
        for id, price in self.written.items():
            families.setdefault(self._family(id), {})[id] = price
        return {name: _may_be_most_expensive(models) for name, models in families.items()}

    @cached_property
    def _most_expensive_of_all(self) -> list[str]:
        return _may_be_most_expensive(self.models)

    @cached_property
    def mapping(self) -> dict[str, Any]:
        """What `to_mapping` gives."""
        mapping: dict[str, Any] = {"prices": {model: _shown(price) for model, price in sorted(self.written.items())}}
        if self.published.providers:
            providers = {name: _shown_provider(provider) for name, provider in self.published.providers.items()}
            mapping["published"] = {"source": self.published.source, "providers": providers}
        return mapping


def _may_be_most_expensive(models: Mapping[str, ModelPrice]) -> list[str]:
    """The ids of those than which no other of the models is more expensive, whatever is used."""
    kept: list[tuple[str, tuple[int, ...]]] = []
    for id, price in sorted(models.items(), key=lambda entry: (_least(entry[1]), entry[0]), reverse=True):
        most = _bound(price, max)
        if not any(all(map(int.__ge__, least, most)) for _, least in kept):
            kept.append((id, _least(price)))
    return [id for id, _ in kept]


def _least(price: ModelPrice) -> tuple[int, ...]:
    return _bound(price, min)


def _bound(price: ModelPrice, choose: Callable[[Iterable[int]], int]) -> tuple[int, ...]:
    """The least, or most, that a model charges for input, output and cached input, in whichever tier."""
    lines: list[ModelPrice | Tier] = [price, *price.tiers]
    return tuple(choose(getattr(line, name) for line in lines) for name in ("input", "output", "cached_input"))


# --- files -----------------------------------------------------------------------------------------------------------


class WrittenPrice(Section, frozen=True):
    """US dollars per million tokens; a cached token costs what an input token does where nothing else is said."""

    input: Dollars
    output: Dollars
    cached_input: Dollars | None = None


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


# --- the form in which the log keeps a list --------------------------------------------------------------------------


class _Tier(msgspec.Struct, forbid_unknown_fields=True):
    above: int
    input: Decimal
    output: Decimal
    cached_input: Decimal


class _Model(msgspec.Struct, forbid_unknown_fields=True):
    input: Decimal
    output: Decimal
    cached_input: Decimal
    names: Names
    tiers: tuple[_Tier, ...] = ()


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
    try:
        given = msgspec.convert(published, _Published)
        providers = {name: _provider(name, one) for name, one in given.providers.items()}
    except (msgspec.ValidationError, InvalidAmount, re.error) as error:
        raise ConfigError(f"not published prices: {error}", path=("published",)) from None
    return PriceList(written, Published(given.source, providers))


def to_mapping(prices: PriceList) -> dict[str, Any]:
    """The arguments of ``from_mapping``, in plain values: US dollars per million tokens as exact strings, the written
    ones sorted by model. ``published`` is left out where nothing is. It is made once for each list: only read it.
    """
    return prices.mapping


def _provider(name: str, given: _Provider) -> Provider:
    for pattern in (*given.names.regex, *(regex for model in given.models.values() for regex in model.names.regex)):
        re.compile(pattern)
    models = {id: PublishedModel(_price(f"{name}.{id}", model), model.names) for id, model in given.models.items()}
    return Provider(given.names, models)


def _price(field: str, given: WrittenPrice | _Model) -> ModelPrice:
    cached = given.input if given.cached_input is None else given.cached_input
    tiers = () if isinstance(given, WrittenPrice) else tuple(_tier(field, tier) for tier in given.tiers)
    return ModelPrice(_nanos(field, given.input), _nanos(field, given.output), _nanos(field, cached), tiers)


def _tier(field: str, given: _Tier) -> Tier:
    units = (_nanos(field, amount) for amount in (given.input, given.output, given.cached_input))
    return Tier(given.above, *units)


def _nanos(field: str, price: Decimal) -> int:
    return exact_units(price, COST, field)


def _shown(price: ModelPrice | Tier) -> dict[str, str]:
    return {
        "input": dollars(price.input),
        "output": dollars(price.output),
        "cached_input": dollars(price.cached_input),
    }


def _shown_provider(provider: Provider) -> dict[str, Any]:
    models = {id: _shown_model(model) for id, model in provider.models.items()}
    return {"names": _shown_names(provider.names), "models": models}


def _shown_names(names: Names) -> dict[str, list[str]]:
    return {kind: list(texts) for kind, texts in msgspec.to_builtins(names).items()}


def _shown_model(model: PublishedModel) -> dict[str, Any]:
    shown: dict[str, Any] = {**_shown(model.price), "names": _shown_names(model.names)}
    if model.price.tiers:
        shown["tiers"] = [{"above": tier.above, **_shown(tier)} for tier in model.price.tiers]
    return shown
