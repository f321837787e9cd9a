"""The published prices are those of genai-prices: the same model, the same cost, but for what is decided otherwise."""

import datetime as dt
import subprocess
import sys
from collections.abc import Iterator
from math import ceil
from typing import Any

import pytest
from genai_prices import data_snapshot
from genai_prices.types import ModelPrice as TheirPrice
from genai_prices.types import Usage

from tallystick.config.prices import PriceList, from_mapping, to_mapping
from tallystick.config.published import published_prices
from tallystick.config.settings import Config, Model

DAY = dt.date(2026, 3, 4)
MIDNIGHT = dt.datetime(2026, 3, 4, tzinfo=dt.UTC)
PUBLISHED = published_prices(DAY)
LIST = PriceList({}, PUBLISHED)
THEIRS = data_snapshot.get_snapshot()
USES = [(1_000, 100, 300), (250_000, 1_000, 200_000), (1_000_000, 0, 0)]


def spellings() -> Iterator[str]:
    """Every text by which a model of the library is called, alone and with a date behind it."""

    def texts(match: Any) -> Iterator[str]:
        for kind in ("equals", "starts_with", "ends_with", "contains"):
            text = getattr(match, kind, None)
            if text is not None:
                yield from (text, text.upper(), f"{text}-20250514", f"{text}-2025-05-14")
        for clause in (*getattr(match, "or_", ()), *getattr(match, "and_", ())):
            yield from texts(clause)

    for provider in THEIRS.providers:
        for model in provider.models:
            yield model.id
            yield from texts(model.match)


def their_model(name: str) -> Any:
    try:
        return THEIRS.find_provider_model(name, None, None, None)
    except LookupError:
        return None


def is_priced_otherwise(prices: TheirPrice, model: Any) -> bool:
    """What is decided otherwise: nothing is free, output is not, and of a day's prices the highest counts."""
    by_the_hour = isinstance(model.prices, list) and any(hasattr(one.constraint, "start_time") for one in model.prices)
    return not prices.input_mtok or not prices.output_mtok or by_the_hour


def test_every_name_that_the_library_knows_is_the_same_model_at_the_same_cost() -> None:
    compared = 0
    for name in set(spellings()):
        known = their_model(name)
        if known is None:
            continue
        provider, model = known
        found, prices = LIST.find(name), model.get_prices(MIDNIGHT)
        if is_priced_otherwise(prices, model):
            continue
        assert found is not None, name
        assert (found.id, found.provider) == (model.id, provider.id), name
        for sent, written, cached in USES:
            # What the library's models charge beside text, such as per request, is no price of a token.
            text = TheirPrice(
                input_mtok=prices.input_mtok, output_mtok=prices.output_mtok, cache_read_mtok=prices.cache_read_mtok
            )
            usage = Usage(input_tokens=sent, output_tokens=written, cache_read_tokens=cached)
            cost = ceil(text.calc_price(usage)["total_price"] * 10**9)
            assert found.price.cost(sent, written, cached) == cost, (name, sent, written, cached)
        compared += 1
    assert compared > 1_000


def test_nothing_that_is_published_is_free() -> None:
    for provider in PUBLISHED.providers.values():
        for model in provider.models.values():
            for line in (model.price, *model.price.tiers):
                assert min(line.input, line.output, line.cached_input) > 0
    free = [one for one in THEIRS.providers for one in one.models if one.get_prices(MIDNIGHT) == TheirPrice()]
    assert free, "the library knows models without a price"


def test_the_output_of_a_model_that_embeds_costs_what_its_input_does() -> None:
    found = LIST.find("text-embedding-3-small")
    assert found is not None
    assert found.price.output == found.price.input == 20_000_000


def test_the_price_of_a_day_is_the_one_that_held_then() -> None:
    model = "claude-opus-4-6"
    before, after = (PriceList({}, published_prices(dt.date(2026, 3, day))).find(model) for day in (12, 13))
    assert before is not None
    assert after is not None
    assert before.price.at(300_000).input == 2 * after.price.at(300_000).input == 10_000_000_000


def test_of_prices_by_the_time_of_day_the_highest_counts() -> None:
    _, model = THEIRS.find_provider_model("deepseek-chat", None, None, None)
    hours = [model.get_prices(MIDNIGHT + dt.timedelta(minutes=minutes)).input_mtok for minutes in range(0, 1440, 10)]
    assert min(hours) < max(hours)
    found = LIST.find("deepseek-chat")
    assert found is not None
    assert found.price.input == max(hours) * 10**9


def test_the_packaged_catalogue_has_prices() -> None:
    for model in Config().models.values():
        assert LIST.find(model.id, model.provider) is not None


@pytest.mark.parametrize(
    "model",
    [
        Model("groq", "llama-3.3-70b-versatile"),
        Model("openrouter", "anthropic/claude-opus-4.5"),
        Model("bedrock", "anthropic.claude-3-haiku-20240307-v1:0"),
        Model("azure", "gpt-4o"),
    ],
    ids=lambda model: f"{model.provider} {model.id}",
)
def test_a_model_that_only_the_catalogues_provider_knows_is_listed_under_it(model: Model) -> None:
    _, theirs = THEIRS.find_provider_model(model.id, None, model.provider, None)
    found = PriceList({}, published_prices(DAY, [model])).find(model.id, model.provider)
    assert found is not None
    assert (found.id, found.provider) == (theirs.id, model.provider)
    assert found.price.output == theirs.get_prices(MIDNIGHT).output_mtok * 10**9


def test_a_model_of_the_catalogue_that_is_unknown_is_left_out() -> None:
    models = [Model("anthropic", "claude-made-up"), Model("nobody", "nothing")]
    assert published_prices(DAY, models) == PUBLISHED


def test_a_snapshot_that_a_program_has_set_changes_nothing() -> None:
    data_snapshot.set_custom_snapshot(data_snapshot.DataSnapshot(providers=[], from_auto_update=False))
    try:
        assert published_prices(dt.date(2026, 3, 5)).providers.keys() == PUBLISHED.providers.keys()
    finally:
        data_snapshot.set_custom_snapshot(None)


def test_the_list_says_who_collected_it_and_survives_the_log() -> None:
    assert PUBLISHED.source.startswith("genai-prices 0.")
    assert from_mapping(**to_mapping(LIST)) == LIST


@pytest.mark.usefixtures("loading")
def test_the_library_is_loaded_only_where_a_list_is_put_in_force() -> None:
    program = "import sys, tallystick, tallystick.cli.send; sys.exit('genai_prices' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
