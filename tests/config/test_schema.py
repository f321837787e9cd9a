"""The JSON Schema accepts what the loader accepts, so that an editor neither nags nor stays silent."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from tallystick.config.loader import PACKAGED_FILE, load, to_mapping
from tallystick.config.schema import json_schema

SEED = Path(__file__).parent / "seed"


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize("file", [PACKAGED_FILE, *sorted(SEED.iterdir())], ids=lambda file: file.stem)
def test_every_file_that_loads_is_valid(validator: Draft202012Validator, file: Path) -> None:
    validator.validate(yaml.safe_load(file.read_text(encoding="utf-8")))


def test_a_written_configuration_is_valid(validator: Draft202012Validator) -> None:
    validator.validate(to_mapping(load(None)))


@pytest.mark.parametrize(
    ("content", "valid"),
    [
        ({"models": {"opus": {"id": "newer"}, "haiku": None}}, True),
        ({"daily_limits": {"max_cost_usd": None}, "max_concurrent": {"per_type": {"architect": None}}}, True),
        ({"enforcement": {"warn_at": 0.4}}, True),
        ({"enforcement": {"warn_att": 0.4}}, False),
        ({"enforcement": {"throttle_rate": 0}}, False),
        ({"enforcement": None}, False),
        ({"rules": [{"condition": "default"}]}, False),
        ({"products": {"x": {"priority": "hihg"}}}, False),
        ({"emergency_reserve_percent": 101}, False),
        ({"leases": {"max_attempts": 0}}, False),
    ],
)
def test_the_schema_agrees_with_the_loader(
    validator: Draft202012Validator, content: dict[str, Any], valid: bool
) -> None:
    assert validator.is_valid(content) is valid
