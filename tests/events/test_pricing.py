import hashlib
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from tallystick.config.prices import ModelPrice, PriceList
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.evolve import evolve
from tallystick.events.log.codec import decode_event
from tallystick.events.messages import proposals as p
from tests.support.core import Core, allocate, budget, fleet

PRICES = {
    "claude-opus-5-5": {"input": 5, "output": 25, "cached_input": "0.5"},
    "claude-haiku-5-5": {"input": 1, "output": 5, "cached_input": "0.1"},
    "gpt-small": {"input": "0.000001", "output": "0.000003"},
    "gpt-large": {"input": 40, "output": 80},
    "local-free": {"input": 0, "output": 0},
}


@pytest.fixture
def core() -> Core:
    return Core(fleet(), p.LoadPrices(prices=PRICES), allocate("ann", 10_000_000))


def report(core: Core, **fields: Any) -> e.UsageReported:
    core.given(c.ReportUsage(agent="ann", **fields))
    return core.only(e.UsageReported)


def test_a_given_cost_wins(core: Core) -> None:
    event = report(core, usage=budget(1_000_000, None, "0.07"), model="claude-opus-5-5")
    assert (event.cost_nanos, event.priced_as, event.unpriced) == (70_000_000, None, False)
    event = report(core, usage=budget(5, None, 0), model="unheard-of", input_tokens=5)
    assert (event.cost_nanos, event.unpriced) == (0, False)


def test_tokens_with_a_split_are_priced_by_their_parts(core: Core) -> None:
    event = report(core, model="claude-opus-5-5", input_tokens=1_000, output_tokens=200)
    assert (event.tokens, event.cost_nanos, event.priced_as) == (1_200, 1_000 * 5_000 + 200 * 25_000, "claude-opus-5-5")


def test_cached_tokens_are_a_part_of_the_input_at_a_price_of_their_own(core: Core) -> None:
    event = report(core, model="claude-opus-5-5", input_tokens=1_000, cached_tokens=900, output_tokens=0)
    assert (event.tokens, event.cost_nanos) == (1_000, 100 * 5_000 + 900 * 500)
    event = report(core, model="gpt-large", input_tokens=10, cached_tokens=10)
    assert event.cost_nanos == 10 * 40_000


def test_tokens_without_a_split_count_as_input(core: Core) -> None:
    assert report(core, usage=budget(1_000), model="claude-opus-5-5").cost_nanos == 5_000_000


def test_given_tokens_win_over_their_parts(core: Core) -> None:
    event = report(core, usage=budget(7), model="claude-opus-5-5", input_tokens=1_000)
    assert (event.tokens, event.cost_nanos) == (7, 5_000_000)


def test_a_price_is_rounded_up_once(core: Core) -> None:
    # 1 x 1 and 1 x 3 millionths of a micro-dollar: 0.004 nano-dollars together, and not one for each.
    assert report(core, model="gpt-small", input_tokens=1, output_tokens=1).cost_nanos == 1
    assert report(core, model="gpt-small", input_tokens=1_000_000, output_tokens=1).cost_nanos == 1_001
    assert report(core, model="gpt-small", input_tokens=1_000_000).cost_nanos == 1_000


def test_a_model_may_be_named_by_its_alias(core: Core) -> None:
    assert report(core, usage=budget(1_000), model="haiku").priced_as == "claude-haiku-5-5"


def test_a_family_that_is_only_written_never_makes_an_unknown_model_cheap(core: Core) -> None:
    answer = core.when(c.ReportUsage(agent="ann", model="claude-next", input_tokens=1_000, output_tokens=0))
    event = core.only(e.UsageReported)
    assert (event.cost_nanos, event.priced_as, event.unpriced) == (40_000_000, "gpt-large", True)
    assert answer.unpriced is True
    assert core.only(e.AlertRaised).code == "unpriced_model"


def test_an_unknown_provider_costs_what_the_most_expensive_of_all_does(core: Core) -> None:
    event = report(core, model="mystery", input_tokens=1_000)
    assert (event.cost_nanos, event.priced_as) == (40_000_000, "gpt-large")


def test_only_a_price_of_zero_is_free(core: Core) -> None:
    event = report(core, usage=budget(1_000), model="local-free")
    assert (event.cost_nanos, event.unpriced) == (0, False)
    core = Core(fleet(), allocate("ann", 10))
    event = report(core, usage=budget(1_000), model="claude-opus-5-5")
    assert (event.cost_nanos, event.unpriced, event.priced_as) == (0, True, None)


def test_without_a_model_and_a_cost_nothing_is_charged_in_dollars(core: Core) -> None:
    event = report(core, input_tokens=10, output_tokens=5)
    assert (event.tokens, event.cost_nanos, event.unpriced) == (15, 0, False)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "usage"),
        ({"model": "claude-opus-5-5"}, "usage"),
        ({"input_tokens": -1}, "input_tokens"),
        ({"output_tokens": 2**63}, "output_tokens"),
        ({"cached_tokens": 1}, "cached_tokens"),
        ({"input_tokens": 5, "cached_tokens": 6}, "cached_tokens"),
        ({"input_tokens": 2**63 - 1, "output_tokens": 1}, "input_tokens"),
        ({"input_tokens": 2**63 - 1, "model": "mystery"}, "usage"),
        ({"usage": budget(2**63 - 1), "model": "gpt-large"}, "usage"),
    ],
)
def test_what_is_no_usage_is_refused_with_its_field(core: Core, fields: dict[str, Any], field: str) -> None:
    core.when(c.ReportUsage(agent="ann", **fields))
    core.then_refused("invalid_amount", field=field)


def test_a_price_list_is_in_force_from_its_event_on(core: Core) -> None:
    core.given(p.LoadPrices(prices={"claude-opus-5-5": {"input": Decimal(1), "output": Decimal(1)}}))
    assert report(core, usage=budget(1_000), model="opus").cost_nanos == 1_000_000


# --- published prices, and written ones over them --------------------------------------------------------------------

PUBLISHED = {
    "source": "collected 1.0",
    "providers": {
        "anthropic": {
            "names": {"contains": ["claude"]},
            "models": {
                "claude-opus-5-5": {
                    "input": "4.00",
                    "output": "20.00",
                    "cached_input": "0.20",
                    "names": {"starts_with": ["claude-opus-5-5", "claude-opus-5.5"]},
                    "tiers": [{"above": 1_000, "input": "8.00", "output": "30.00", "cached_input": "0.40"}],
                },
                "claude-haiku-5-5": {
                    "input": "1.00",
                    "output": "5.00",
                    "cached_input": "0.10",
                    "names": {"equals": ["claude-haiku-5-5"]},
                },
            },
        },
        "openai": {
            "names": {"starts_with": ["gpt-"]},
            "models": {
                "gpt-huge": {
                    "input": "100.00",
                    "output": "600.00",
                    "cached_input": "100.00",
                    "names": {"equals": ["gpt-huge"]},
                }
            },
        },
    },
}


@pytest.fixture
def published() -> Core:
    haiku = {"claude-haiku-5-5": {"input": 2, "output": 2}, "local-free": {"input": 0, "output": 0}}
    return Core(fleet(), p.LoadPrices(prices=haiku, published=PUBLISHED), allocate("ann", 10_000_000))


def test_a_published_price_is_taken_where_none_is_written(published: Core) -> None:
    event = report(published, model="opus", input_tokens=1_000, output_tokens=10, cached_tokens=500)
    assert (event.cost_nanos, event.priced_as) == (500 * 4_000 + 10 * 20_000 + 500 * 200, "claude-opus-5-5")


def test_a_written_price_beats_the_published_one(published: Core) -> None:
    assert report(published, model="haiku", input_tokens=1_000).cost_nanos == 1_000 * 2_000


def test_a_report_may_call_a_model_by_any_of_its_names_and_the_log_says_which_was_meant(published: Core) -> None:
    event = report(published, model="Claude-Opus-5.5", input_tokens=1_000)
    assert (event.model, event.priced_as, event.unpriced) == ("Claude-Opus-5.5", "claude-opus-5-5", False)


def test_a_report_of_a_long_request_pays_its_tier_for_all_of_it(published: Core) -> None:
    event = report(published, model="opus", input_tokens=1_001, output_tokens=10, cached_tokens=1)
    assert event.cost_nanos == 1_000 * 8_000 + 10 * 30_000 + 1 * 400
    assert report(published, usage=budget(1_001), model="opus").cost_nanos == 1_001 * 8_000


def test_an_unknown_model_costs_what_the_most_expensive_of_its_provider_does_by_its_name_or_by_the_catalogue() -> None:
    models = {"new": {"provider": "anthropic", "id": "mythos-1"}}
    core = Core(fleet(models=models), p.LoadPrices(prices={}, published=PUBLISHED), allocate("ann", 10_000_000))
    for model, priced_as in (
        ("my-claude-tuned", "claude-opus-5-5"),
        ("new", "claude-opus-5-5"),
        ("gpt-next", "gpt-huge"),
        ("mystery", "gpt-huge"),
    ):
        event = report(core, model=model, input_tokens=10)
        assert (event.priced_as, event.unpriced) == (priced_as, True)


def test_only_what_is_written_is_free(published: Core) -> None:
    assert (report(published, model="local-free", input_tokens=9).cost_nanos, published.ledger.unpriced) == (0, {})


def test_the_whole_list_with_its_hash_is_in_the_log_and_an_old_record_without_published_prices_is_read(
    published: Core,
) -> None:
    loaded = next(event for event in published.log if isinstance(event, e.PricesLoaded))
    assert loaded.published == PUBLISHED
    content = {"prices": loaded.prices, "published": loaded.published}
    assert loaded.sha256 == hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()
    old = b'{"type":"prices-loaded.v1","position":3,"at":"2026-01-05T09:00:00Z","prices":{"m":{"input":"1.00",'
    old += b'"output":"2.00","cached_input":"0.10"}},"sha256":"00"}'
    event = decode_event(old, "prices-loaded.v1")
    assert isinstance(event, e.PricesLoaded)
    evolve(published.ledger, event)
    assert published.ledger.rules.prices == PriceList({"m": ModelPrice(10**9, 2 * 10**9, 10**8)})


def test_published_prices_that_are_none_are_refused(published: Core) -> None:
    published.when(p.LoadPrices(prices={}, published={"source": "x"}))
    assert "published" in published.then_refused("invalid_message").detail
