"""A text that UTF-8 cannot write enters through no door, and is named where it stands; one written in two halves is
the character that they are.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tallystick.cli.main import main
from tallystick.config import prices
from tallystick.config.errors import ConfigError
from tallystick.config.loader import from_mapping, parse

HALF = "a\ud83d"
WORDS = "found 'a\\ud83d', half a character; allowed is text that UTF-8 can write"
SETTINGS: list[tuple[dict[str, Any], str]] = [
    ({HALF: 1}, f"a key: {WORDS}"),
    ({"products": {HALF: {"weight": 1}}}, f"products: a key: {WORDS}"),
    ({"products": {"shop": {HALF: 1}}}, f"products.shop: a key: {WORDS}"),
    ({"timezone": HALF}, f"timezone: {WORDS}"),
    ({"models": {"opus": {"id": HALF, "provider": "b"}}}, f"models.opus.id: {WORDS}"),
    ({"circuit_breaker": {"trip_conditions": [HALF]}}, f"circuit_breaker.trip_conditions[0]: {WORDS}"),
    ({"total_budget": {"cost_usd": HALF}}, f"total_budget.cost_usd: {WORDS}"),
    ({"notifications": {"ceo": [HALF]}}, f"notifications.ceo[0]: {WORDS}"),
]


@pytest.mark.parametrize(("mapping", "words"), SETTINGS, ids=[words.split(":")[0] for _, words in SETTINGS])
def test_half_a_character_in_settings_is_refused_where_it_stands(mapping: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as of_mapping:
        from_mapping(mapping)
    assert str(of_mapping.value) == words
    with pytest.raises(ConfigError) as of_file:
        parse(json.dumps(mapping), "limits.yml")
    assert str(of_file.value).startswith("limits.yml:1:")
    assert str(of_file.value).endswith(words)


def test_half_a_character_in_a_price_list_is_refused_where_it_stands() -> None:
    with pytest.raises(ConfigError, match=r"p.yml:1:13: prices: a key: found 'a\\ud83d', half a character"):
        prices.parse('{"prices": {"a\\ud83d": {"input": 1, "output": 2}}}', "p.yml")


@given(st.text(min_size=1, max_size=8))
def test_a_name_that_json_writes_in_halves_is_the_name_that_it_means(name: str) -> None:
    def read(text: str) -> Any:
        try:
            return parse(text, "limits.yml")
        except ConfigError as error:
            return str(error).split(": ", 1)[1]

    escaped = json.dumps({"products": {name: {"weight": 3}}})
    written = {"products": {name: {"weight": 3}}}
    try:
        meant: Any = from_mapping(written)
    except ConfigError as error:
        meant = str(error)
    assert read(escaped) == meant


@pytest.mark.parametrize("command", ["status --agent", "queue --product", "audit explain --agent", "holds --agent"])
def test_an_argument_that_is_not_utf8_is_refused_by_its_number(command: str, tmp_path: Path) -> None:
    words = command.split()
    result = CliRunner().invoke(main, [*words, "a\udcff"])
    assert result.exit_code == 2
    assert result.stderr.startswith("tallystick")
    assert f"argument {len(words) + 1}: found 'a\\udcff', allowed is UTF-8" in result.stderr
