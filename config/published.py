"""What providers publish, as the library ``genai-prices`` bundles it: read here, and nowhere else.

The library and its data are loaded (a quarter of a second) only where a list is put in force.
"""

import datetime as dt
import re
from collections.abc import Iterable, Sequence
from decimal import ROUND_CEILING, Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from tallystick.config.amounts import NANOS_PER_DOLLAR
from tallystick.config.model_names import PROVIDERS
from tallystick.config.price import PARTS, ModelPrice, Tier
from tallystick.config.price_list import Names, PriceList, Provider, Published, PublishedModel
from tallystick.config.settings import Model

if TYPE_CHECKING:
    from genai_prices import data_snapshot, types

LIBRARY: Final = "genai-prices"
ROUTER: Final = "openrouter"
_PRICED: Final = (
    "input_mtok", "output_mtok", "cache_read_mtok",
    "cache_write_mtok", "cache_write_1h_mtok", "input_audio_mtok", "output_audio_mtok",
)  # fmt: skip
"""What the library calls `PARTS`."""


def published_prices(on: dt.date, catalogue: Iterable[Model] = ()) -> Published:
    """The prices that hold on a day (UTC): of every model that its name alone tells, of the clouds and vendors that are
    written before a name (`PROVIDERS`), and of the models of the catalogue that only one of its providers knows.

    A router sells the models of listed vendors at their prices: of it those are listed that no vendor sells itself. Of
    prices that depend on the time of day the highest counts. What has no price per token of text is left out, and so is
    what is free: only what is written can be. Nothing is fetched: the same library gives the same prices.
    """
    return _published(on, tuple((model.provider, model.id) for model in catalogue))


@cache
def _published(on: dt.date, named: tuple[tuple[str, str], ...]) -> Published:
    bundled = _bundled()
    sold = set(PROVIDERS.values())
    providers = {
        one.id: Provider(Names() if one.model_match is None else _names(one.model_match), _models(_own(one), on))
        for one in bundled.providers
        if one.model_match is not None or one.id in sold
    }
    for provider, id in named:
        known = providers.get(provider, Provider(Names(), {}))
        if PriceList({}, Published("", {provider: known})).look_up(id, provider) is not None:
            continue
        try:
            _, found = bundled.find_provider_model(id, None, provider, None)
        except LookupError:
            continue
        providers[provider] = Provider(known.names, {**known.models, **_models([found], on)})
    from importlib.metadata import version  # noqa: PLC0415 - as below

    return Published(f"{LIBRARY} {version(LIBRARY)}", providers)


@cache
def _bundled() -> "data_snapshot.DataSnapshot":
    """The library's data as it was installed, whatever a program may have set in its place."""
    from genai_prices import data, data_snapshot  # noqa: PLC0415 - it takes a quarter of a second, and is rarely needed

    return data_snapshot.DataSnapshot(providers=data.providers, from_auto_update=False)


def _own(provider: "types.Provider") -> "list[types.ModelInfo]":
    """The models of a provider; of a router those that no listed vendor sells."""
    if provider.id != ROUTER:
        return provider.models
    vendors = ((model, model.id.lower().partition("/")) for model in provider.models)
    return [model for model, (vendor, slash, _) in vendors if slash and vendor.lstrip("~") not in PROVIDERS]


def _models(models: "Iterable[types.ModelInfo]", on: dt.date) -> dict[str, PublishedModel]:
    priced = {}
    for model in models:
        price = _price(model, on)
        if price is not None:
            names = _names(model.match)
            priced[model.id] = PublishedModel(price, Names() if names == Names(equals=(model.id.lower(),)) else names)
    return priced


# --- prices ----------------------------------------------------------------------------------------------------------


def _price(model: "types.ModelInfo", on: dt.date) -> ModelPrice | None:
    """What a model costs on a day; None where its tokens of text have no price."""
    found = [_tiered(model.get_prices(moment)) for moment in _moments(model, on)]
    known = [prices for prices in found if prices is not None]
    return max(known, key=lambda price: (price.output, price.input, price.cached_input), default=None)


def _moments(model: "types.ModelInfo", on: dt.date) -> list[dt.datetime]:
    """Moments of a day that see each of the prices that a model has in it."""
    times = {dt.time()}
    for conditional in model.prices if isinstance(model.prices, list) else ():
        constraint = conditional.constraint
        times |= {getattr(constraint, name) for name in ("start_time", "end_time") if hasattr(constraint, name)}
    return [dt.datetime.combine(on, time.replace(tzinfo=None), time.tzinfo or dt.UTC) for time in times]


def _tiered(prices: "types.ModelPrice") -> ModelPrice | None:
    """The prices of tokens: of text, from a cache, to a cache, of audio.

    What has no price of its own costs what input does: a cached token, and the output of a model that embeds.
    """
    starts = sorted({tier.start for price in _of_tokens(prices) for tier in getattr(price, "tiers", ())})
    base, *tiers = [_line(prices, start) for start in (0, *(start + 1 for start in starts))]
    if not base["input"]:
        return None
    return ModelPrice(
        tiers=tuple(Tier(above=start, **line) for start, line in zip(starts, tiers, strict=True)),
        **base,
    )


def _of_tokens(prices: "types.ModelPrice") -> "Sequence[Decimal | types.TieredPrices | None]":
    return [getattr(prices, name) for name in _PRICED]


def _line(prices: "types.ModelPrice", input_tokens: int) -> dict[str, Any]:
    """Nano-dollars per million tokens of a request of so many input tokens, by the names of `PARTS`."""
    found = {name: _nanos(price, input_tokens) for name, price in zip(PARTS, _of_tokens(prices), strict=True)}
    line: dict[str, Any] = {name: nanos or None for name, nanos in found.items()}
    sent = found["input"]
    return line | {"input": sent, "output": found["output"] or sent, "cached_input": found["cached_input"] or sent}


def _nanos(price: "Decimal | types.TieredPrices | None", input_tokens: int) -> int:
    """What holds for a request of so many input tokens, rounded up; 0 for nothing."""
    if price is None:
        return 0
    if not isinstance(price, Decimal):
        price = next((tier.price for tier in reversed(price.tiers) if input_tokens > tier.start), price.base)
    return int((price * NANOS_PER_DOLLAR).to_integral_value(ROUND_CEILING))


# --- names -----------------------------------------------------------------------------------------------------------


def _names(match: "types.MatchLogic") -> Names:
    """The library's rule for a name, which it compares in lower case, in the form in which the log keeps it."""
    from genai_prices import types  # noqa: PLC0415 - as above

    match match:
        case types.ClauseOr():
            parts = [_names(clause) for clause in match.or_]
            return Names(*(sum((getattr(part, kind) for part in parts), ()) for kind in Names.__struct_fields__))
        case types.ClauseEquals():
            return Names(equals=(match.equals.lower(),))
        case types.ClauseStartsWith():
            return Names(starts_with=(match.starts_with.lower(),))
        case types.ClauseEndsWith():
            return Names(ends_with=(match.ends_with.lower(),))
        case types.ClauseContains():
            return Names(contains=(match.contains.lower(),))
        case types.ClauseRegex():
            return Names(regex=(match.regex,))
        case types.ClauseAnd():
            return Names(regex=("".join(f"(?=.*(?:{_regex(clause)}))" for clause in match.and_),))
    raise AssertionError(f"{type(match).__name__} is a rule that this version of {LIBRARY} should not have")


def _regex(match: "types.MatchLogic") -> str:
    """A rule as one regular expression, for those that need more than one part of a name."""
    names = _names(match)
    patterns = [f"^{re.escape(text)}$" for text in names.equals] + [f"^{re.escape(text)}" for text in names.starts_with]
    patterns += [f"{re.escape(text)}$" for text in names.ends_with] + [re.escape(text) for text in names.contains]
    return "|".join((*patterns, *names.regex))
