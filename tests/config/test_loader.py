"""resource-limits.yml over the defaults: what it may say, and that nothing is lost or rounded on the way."""

import json
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from tallystick.config import loader
from tallystick.config.errors import ConfigError
from tallystick.config.loader import (
    changed,
    find,
    from_mapping,
    load,
    named,
    parse,
    restore,
    to_mapping,
    without_limits,
)
from tallystick.config.remarks import limits_of
from tallystick.config.settings import (
    Config,
    DailyLimits,
    MaxConcurrent,
    Model,
    ModelRule,
    Product,
    TotalBudget,
)
from tallystick.config.source import read

SEED = Path(__file__).parent / "seed"
PACKAGED_RULES = Config().auto_model_selection.rules


def loaded(text: str) -> Config:
    return parse(text, "limits.yml")


def test_the_packaged_file_says_what_the_structures_have_as_defaults() -> None:
    assert load(None) == Config()


def test_the_packaged_file_spells_out_every_key() -> None:
    empty = loaded("")
    keys = loaded(loader.PACKAGED_FILE.read_text(encoding="utf-8"))
    assert to_mapping(keys) == to_mapping(Config())
    written = read(loader.PACKAGED_FILE.read_text(encoding="utf-8"), "packaged").keys
    for section in ("enforcement", "enforcement.fleet", "reallocation", "daily_limits", "circuit_breaker.when_tripped"):
        path = tuple(section.split("."))
        structure: object = empty
        for step in path:
            structure = getattr(structure, step)
        assert isinstance(structure, msgspec.Struct)
        assert {(*path, name) for name in structure.__struct_fields__} <= written.keys()
    assert {(name,) for name in Config.__struct_fields__} <= written.keys()


def test_the_total_comes_in_the_units_of_the_ledger() -> None:
    assert Config().total == (60_000_000, None, 3_000_000_000_000)
    assert loaded("total_budget: {time_seconds: 0.001, cost_usd: '0.000000001'}").total == (None, 1, 1)
    assert loaded("daily_limits: {max_cost_usd: 12.34}").daily_limits.max_cost_nanos == 12_340_000_000
    assert loaded("daily_limits: {max_cost_usd: null}").daily_limits.max_cost_nanos is None


def test_a_priority_names_its_weight_and_its_level() -> None:
    config = Config()
    assert config.allocation_weights.of("high") == Decimal("0.75")
    assert config.priority_levels.of("low").max_wait_time_minutes == 240


@pytest.mark.parametrize("file", sorted(SEED.iterdir()), ids=lambda file: file.stem)
def test_every_snippet_of_the_seed_loads_word_for_word(file: Path) -> None:
    load(file)


def test_the_snippets_of_the_seed_mean_what_they_say() -> None:
    adjusted = load(SEED / "ceo_adjusts_limits.yml")
    assert adjusted.daily_limits.max_cost_usd == 200
    assert adjusted.daily_limits.max_tokens_total is None
    assert adjusted.products == {
        "urgent-project": Product(priority="critical", max_concurrent_agents=8, token_budget_daily=1_000_000)
    }
    assert adjusted.auto_model_selection.rules[0] == ModelRule("task.product == urgent-project", "opus")
    assert load(SEED / "rules.yml").auto_model_selection.rules == PACKAGED_RULES
    assert load(SEED / "priority_levels.yml").priority_levels == Config().priority_levels
    assert {"default": 80_000, **load(SEED / "token_budgets.yml").token_budgets} == Config().token_budgets
    overridden = load(SEED / "manual_override.yml").manual_override
    assert overridden.pause_all_agents
    assert overridden.priority_override == {"critical-product": "critical"}


def test_maps_are_merged_key_by_key() -> None:
    config = loaded("models: {opus: {id: newer}}\nenforcement: {warn_at: 0.4}\ndaily_limits: {max_cost_usd: 5}")
    assert config.daily_limits.alert_at_percent == 80
    assert config.models["opus"] == Model("anthropic", "newer", "sonnet")
    assert config.enforcement.warn_at == Decimal("0.4")
    assert config.enforcement.fleet == Config().enforcement.fleet


def test_lists_replace_the_list() -> None:
    assert loaded("circuit_breaker: {trip_conditions: [pressure > 1]}").circuit_breaker.trip_conditions == (
        "pressure > 1",
    )


def test_limits_are_taken_as_they_are_written() -> None:
    assert loaded("total_budget: {tokens: 5}").total_budget == TotalBudget(tokens=5, period="none")
    assert loaded("total_budget: {}").total == (None, None, None)
    config = loaded("max_concurrent: {per_type: {architect: 1}}\ntoken_budgets: {architect: 7}")
    assert config.max_concurrent == MaxConcurrent(None, {"architect": 1})
    assert config.token_budgets == {"architect": 7}
    assert config.max_tokens == {"architect": 10}
    assert config.daily_limits == DailyLimits(None, None)


@pytest.mark.parametrize("text", ["", "timezone: UTC", "enforcement: {warn_at: 0.4}", "products: {shop: {weight: 2}}"])
def test_a_limit_that_a_file_does_not_name_is_not_limited(text: str) -> None:
    assert limits_of(loaded(text)) == {}


def test_the_packaged_limits_are_in_force_only_without_any_configuration() -> None:
    assert load(None) == Config()
    assert limits_of(Config()).keys() >= {
        "total_budget.tokens",
        "daily_limits.max_cost_usd",
        "max_concurrent.total",
        "token_budgets.default",
    }
    assert without_limits().enforcement == Config().enforcement
    assert without_limits().models == Config().models


def test_null_removes_a_limit_or_an_entry() -> None:
    mapping = {
        "daily_limits": {"max_cost_usd": None},
        "max_concurrent": {"total": None, "per_type": {"backend-engineer": None, "nobody": None}},
        "token_budgets": {"architect": None},
        "models": {"opus": {"degrades_to": None}},
    }
    config = changed(Config(), mapping)
    assert config.daily_limits.max_cost_usd is None
    assert config.daily_limits.max_tokens_total == 2_000_000
    assert config.max_concurrent.total is None
    assert config.max_concurrent.per_type == {"frontend-engineer": 2}
    assert config.token_budgets == {"default": 80_000, "backend-engineer": 80_000, "qa-engineer": 60_000}
    assert config.models["opus"].degrades_to is None


@pytest.mark.parametrize(
    "text",
    [
        "daily_limits: {max_cost_usd: }",
        "daily_limits:\n  max_cost_usd:",
        "total_budget: {tokens: 5, cost_usd: }",
        "token_budgets:\n  architect:\n",
        "products: {shop: {token_budget_daily: }}",
    ],
)
def test_a_key_without_a_value_lifts_nothing_because_null_must_be_written(text: str) -> None:
    with pytest.raises(ConfigError, match="this key has no value: write null to remove a limit or an entry"):
        loaded(text)


def test_a_configuration_knows_what_its_file_names() -> None:
    text = "daily_limits: {max_cost_usd: 5.50}\nrules: [{condition: default, model: haiku}]\nproducts: {shop: null}"
    assert named(loaded(text)) == {
        "daily_limits": {"max_cost_usd": "5.5"},
        "auto_model_selection": {"rules": [{"condition": "default", "model": "haiku"}]},
        "products": {"shop": None},
    }
    assert named(loaded("")) == {}
    assert named(Config()) == to_mapping(Config())


def test_rules_without_a_default_fall_through_to_the_packaged_ones() -> None:
    mine = ModelRule("task.product == x", "opus")
    text = "{condition: task.product == x, model: opus}"
    assert loaded(f"rules: [{text}]").auto_model_selection.rules == (mine, *PACKAGED_RULES)
    for default in ("default", " default\n"):
        last = ModelRule(default, "haiku")
        written = f"rules: [{text}, {{condition: {json.dumps(default)}, model: haiku}}]"
        assert loaded(written).auto_model_selection.rules == (mine, last)


def test_the_rules_may_stand_at_the_top_or_under_their_heading() -> None:
    rules = "[{condition: default, model: haiku}]"
    assert loaded(f"rules: {rules}") == loaded(f"auto_model_selection: {{rules: {rules}}}")


@pytest.mark.parametrize("number", ["0.1", "0.10", "'0.1'", "1.0e-1", "+.1"])
def test_a_number_is_taken_from_its_text_exactly(number: str) -> None:
    assert loaded(f"enforcement: {{warn_at: {number}}}").enforcement.warn_at == Decimal("0.1")


@pytest.mark.parametrize("number", ["3_000", "\u0663\u0660", "1_0.5", "0x10", " '30 ' "])
@pytest.mark.parametrize("key", ["max_tokens_total", "max_cost_usd"])
def test_a_number_is_written_in_ascii_digits_alone(key: str, number: str) -> None:
    with pytest.raises(ConfigError, match=rf"daily_limits\.{key}: found "):
        loaded(f"daily_limits: {{{key}: {number}}}")
    with pytest.raises(ConfigError, match=rf"daily_limits\.{key}: found "):
        from_mapping({"daily_limits": {key: number.strip(" '") + " "}})


def test_a_key_is_its_text_also_where_yaml_sees_something_else() -> None:
    assert loaded("products: {no: {weight: 2}, 42: {}}").products.keys() == {"no", "42"}


def test_a_mapping_means_what_a_file_with_the_same_content_means() -> None:
    mapping = {"enforcement": {"warn_at": 0.1}, "daily_limits": {"max_cost_usd": None}, "rules": []}
    text = "{enforcement: {warn_at: 0.1}, daily_limits: {max_cost_usd: null}, rules: []}"
    assert from_mapping(mapping) == loaded(text)


def test_what_was_written_to_the_log_is_restored_without_the_defaults_of_later_versions() -> None:
    config = loaded("models: {haiku: null, sonnet: {degrades_to: null}}\nrules: [{condition: default, model: sonnet}]")
    stored = to_mapping(config)
    assert restore(stored) == config
    del stored["models"]["haiku"], stored["leases"]
    assert restore(stored) == config


def test_equal_configurations_are_written_the_same_to_the_byte() -> None:
    one = loaded("products: {a: {weight: 1.50}, b: {}}\nscoring: {wait: 0.0}")
    other = loaded("scoring: {wait: -0.0}\nproducts: {b: {}, a: {weight: 1.5}}")
    assert one == other
    assert msgspec.json.encode(to_mapping(one)) == msgspec.json.encode(to_mapping(other))


def test_the_file_is_the_named_one_then_the_environments_then_the_projects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find(None, {}) is None
    assert find(None, {"TALLYSTICK_CONFIG": ""}) is None
    project = tmp_path / ".claude/resource-management/resource-limits.yml"
    project.parent.mkdir(parents=True)
    project.write_text("", encoding="utf-8")
    assert find(None, {}) == Path(".claude/resource-management/resource-limits.yml")
    assert find(None, {"TALLYSTICK_CONFIG": "env.yml"}) == Path("env.yml")
    assert find("named.yml", {"TALLYSTICK_CONFIG": "env.yml"}) == Path("named.yml")


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    file = tmp_path / "limits.yml"
    file.write_bytes(b"\xef\xbb\xbftimezone: Europe/Zurich\n")
    assert load(file).timezone == "Europe/Zurich"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    missing, binary = tmp_path / "missing.yml", tmp_path / "binary.yml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"missing\.yml: cannot be read: No such file or directory"):
        load(missing)
    with pytest.raises(ConfigError, match=r"binary\.yml: is not a UTF-8 text"):
        load(binary)


def test_a_condition_with_underscores_that_a_log_holds_is_read_as_ever() -> None:
    kept = to_mapping(Config()) | {"circuit_breaker": {"trip_conditions": ["tokens_daily > 2_000_000"]}}
    (condition,) = restore(kept).trip_conditions
    assert condition.holds({"tokens_daily": 2_000_001})
    assert not condition.holds({"tokens_daily": 2_000_000})
    goes_on = changed(restore(kept), {"leases": {"seconds": 60}})
    assert goes_on.trip_conditions == (condition,)
    with pytest.raises(ConfigError, match="without underscores"):
        changed(restore(kept), {"circuit_breaker": kept["circuit_breaker"]})
