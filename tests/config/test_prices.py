"""prices.yml: exact or an error, and nothing is free that is not written down as free."""

from pathlib import Path

import pytest

from tallystick.config.errors import ConfigError
from tallystick.config.prices import ModelPrice, PriceList, from_mapping, load_prices, parse, to_mapping


def test_the_packaged_list_prices_every_model_of_the_packaged_catalogue() -> None:
    assert load_prices(None).models == {
        "claude-opus-5-5": ModelPrice(5_000_000_000, 25_000_000_000, 500_000_000),
        "claude-sonnet-5-5": ModelPrice(3_000_000_000, 15_000_000_000, 300_000_000),
        "claude-haiku-5-5": ModelPrice(1_000_000_000, 5_000_000_000, 100_000_000),
    }


def test_a_file_is_taken_as_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "prices.yml"
    file.write_text("prices: {my-local-model: {input: 0, output: 0}}", encoding="utf-8")
    assert load_prices(file) == PriceList({"my-local-model": ModelPrice(0, 0, 0)})


def test_cached_input_costs_what_input_does_where_nothing_else_is_said() -> None:
    assert from_mapping({"m": {"input": "0.000000001", "output": 2}}).models["m"] == ModelPrice(1, 2_000_000_000, 1)


def test_a_list_is_written_as_exact_dollars_per_million_tokens_sorted_by_model() -> None:
    prices = from_mapping({"b": {"input": 1, "output": 2, "cached_input": 0.1}, "a": {"input": 0.3, "output": 0}})
    assert list(to_mapping(prices)) == ["a", "b"]
    assert to_mapping(prices)["b"] == {"input": "1.00", "output": "2.00", "cached_input": "0.10"}


DOLLARS = "allowed is a number from 0, with at most 9 decimals"
CASES = {
    "prices:\n  m: {input: 1, output: -2}": f"prices.yml:2:25: prices.m.output: found -2, {DOLLARS}",
    "prices:\n  m: {input: 1e-10, output: 2}": f"prices.yml:2:14: prices.m.input: found '1e-10', {DOLLARS}",
    "prices: {m: {input: free, output: 2}}": f"prices.yml:1:21: prices.m.input: found 'free', {DOLLARS}",
    "prices: {m: {input: 1}}": f"prices.yml:1:13: prices.m.output: this key is missing; {DOLLARS}",
    "prices: {m: {input: 1, output: 2, cached: 1}}": (
        "prices.yml:1:35: prices.m.cached: unknown key; did you mean 'cached_input'? (allowed: input, output, cached_input)"
    ),
    "price: {}": "prices.yml:1:1: price: unknown key; did you mean 'prices'? (allowed: prices)",
    "": "prices.yml: prices: this key is missing; allowed is a map",
}


@pytest.mark.parametrize(("text", "line"), CASES.items(), ids=[repr(text[:40]) for text in CASES])
def test_a_mistake_is_one_line_that_says_where_what_and_what_instead(text: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "prices.yml")
    assert str(caught.value) == line


def test_a_mapping_has_no_lines_but_the_same_errors() -> None:
    with pytest.raises(ConfigError, match=r"^prices\.m: found nothing|^prices\.m\.input: this key is missing"):
        from_mapping({"m": {}})
