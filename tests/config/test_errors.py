"""Every mistake in a file is one line: where it stands, what was found, what is allowed."""

import pytest

from tallystick.config.errors import ConfigError
from tallystick.config.loader import from_mapping, parse

FOUR = "one of critical, high, normal, low"
CASES = {
    # unknown, missing and repeated keys
    "enforcement:\n\n  warn_att: 0.5": (
        "limits.yml:3:3: enforcement.warn_att: unknown key; did you mean 'warn_at'? (allowed: warn_at, throttle_at, "
        "degrade_at, stop_at, throttle_rate, warn_before_exhaustion_seconds, last_call, fleet)"
    ),
    "holds: {q: 1}": "limits.yml:1:9: holds.q: unknown key (allowed: ttl_seconds, quantile)",
    "rules:\n- {condition: default}": (
        "limits.yml:2:3: auto_model_selection.rules[0].model: this key is missing; allowed is a name of 1 to 128 characters"
    ),
    "models: {tiny: {provider: me}}": (
        "limits.yml:1:16: models.tiny.id: this key is missing; allowed is a name of 1 to 128 characters"
    ),
    "holds: {}\nleases: {}\nholds: {}": "limits.yml:3:1: holds: this key is given twice; the first is on line 1",
    "rules: []\nauto_model_selection: {rules: []}": (
        "limits.yml:1:1: rules: the rules are given twice, here and in auto_model_selection"
    ),
    # wrong kinds of values
    "- a": "limits.yml:1:1: found a list, allowed is a map with names as keys",
    "total_budget: 5": "limits.yml:1:15: total_budget: found 5, allowed is a map with names as keys",
    "daily_limits:\nholds: {}": (
        "limits.yml:1:14: daily_limits: found nothing (null), allowed is a map with names as keys "
        "(leave the key out to keep the defaults)"
    ),
    "auto_model_selection: 7\nrules: []": (
        "limits.yml:1:23: auto_model_selection: found 7, allowed is a map with names as keys"
    ),
    "circuit_breaker:\n  trip_conditions: pressure > 1": (
        "limits.yml:2:20: circuit_breaker.trip_conditions: found 'pressure > 1', allowed is a list"
    ),
    "circuit_breaker: {trip_conditions: [1]}": (
        "limits.yml:1:37: circuit_breaker.trip_conditions[0]: found 1, allowed is a text of 1 to 4096 characters"
    ),
    "circuit_breaker: {trip_conditions: [tokens_daily > 2_000_000]}": (
        "limits.yml:1:52: circuit_breaker.trip_conditions[0]: found '2_000_000', allowed is a number without underscores; "
        "did you mean '2000000'?"
    ),
    "rules: [{condition: task.priority == low or 1_0 < task.estimated_minutes, model: opus}]": (
        "limits.yml:1:45: auto_model_selection.rules[0].condition: found '1_0', allowed is a number without underscores; "
        "did you mean '10'?"
    ),
    "leases: {max_attempts: 2.5}": "limits.yml:1:24: leases.max_attempts: found 2.5, allowed is a whole number from 1 to 9223372036854775807",
    "leases: {max_attempts: 010}": "limits.yml:1:24: leases.max_attempts: found '010', allowed is a whole number from 1 to 9223372036854775807",
    "leases: {max_attempts: yes}": "limits.yml:1:24: leases.max_attempts: found true, allowed is a whole number from 1 to 9223372036854775807",
    "reallocation: {enabled: 1}": "limits.yml:1:25: reallocation.enabled: found 1, allowed is true or false",
    "daily_limits: {alert_at_percent: 80%}": (
        "limits.yml:1:34: daily_limits.alert_at_percent: found '80%', allowed is a number from 0 to 100, "
        "with at most 9 decimals"
    ),
    "products: {x: {priority: hihg}}": (
        f"limits.yml:1:26: products.x.priority: found 'hihg', allowed is {FOUR}, or null; did you mean 'high'?"
    ),
    "manual_override:\n  priority_override:\n    x: hi": (
        f"limits.yml:3:8: manual_override.priority_override.x: found 'hi', allowed is {FOUR}; did you mean 'high'?"
    ),
    "telemetry: {account: []}": "limits.yml:1:22: telemetry.account: found a list, allowed is 1 to 16 attributes",
    "telemetry: {labels: {team: [team, gen_ai.input.messages]}}": (
        "limits.yml:1:28: telemetry.labels.team: found a list, allowed is attributes without the text of prompts and "
        "replies: gen_ai.input.messages has it"
    ),
    "telemetry: {account: [ai.prompt.messages]}": (
        "limits.yml:1:22: telemetry.account: found a list, allowed is attributes without the text of prompts and "
        "replies: ai.prompt.messages has it"
    ),
    "delegate: {account: team, parent: []}": (
        "limits.yml:1:35: delegate.parent: found a list, allowed is an address, or several in a list"
    ),
    "delegate: {account: team, parent: [ftp://there]}": (
        "limits.yml:1:35: delegate.parent: found a list, allowed is the address of a server (https://…), "
        "or a store of this machine (sqlite:///…)"
    ),
    "delegate: {account: team, parent: ['https://a', 'sqlite:///top.db']}": (
        "limits.yml:1:35: delegate.parent: found a list, allowed is in a list, "
        "addresses of servers that share the parent (https://…)"
    ),
    "delegate: {account: team, parent: [https://tsk_secret@a]}": (
        "limits.yml:1:35: delegate.parent: found a list, allowed is an address without a key: "
        "that is in $TALLYSTICK_PARENT_KEY"
    ),
    "total_budget: {period: yearly}": (
        "limits.yml:1:24: total_budget.period: found 'yearly', allowed is one of none, day, week, month"
    ),
    "products: {'': {}}": "limits.yml:1:16: products.: found '', allowed is a name of 1 to 128 characters",
    'timezone: "a\\n\\e[31mb"': (
        "limits.yml:1:11: timezone: found 'a\\n\\x1b[31mb', allowed is a time zone of the IANA data base, "
        "such as 'Europe/Zurich'"
    ),
    # numbers out of their bounds
    "max_concurrent: {per_type: {a: -1}}": (
        "limits.yml:1:32: max_concurrent.per_type.a: found -1, allowed is a whole number from 0 to 9223372036854775807"
    ),
    "emergency_reserve_percent: 100.1": (
        "limits.yml:1:28: emergency_reserve_percent: found 100.1, allowed is a number from 0 to 100, with at most 9 decimals"
    ),
    "enforcement: {throttle_rate: 0}": (
        "limits.yml:1:30: enforcement.throttle_rate: found 0, allowed is a number above 0, at most 1, with at most 9 decimals"
    ),
    "enforcement: {warn_at: 0}": (
        "limits.yml:1:24: enforcement.warn_at: found 0, allowed is a number above 0, at most 9223372036, with at most 9 decimals"
    ),
    "holds: {ttl_seconds: 1.2345}": (
        "limits.yml:1:22: holds.ttl_seconds: found 1.2345, allowed is a number above 0, at most 9223372036, with at most 3 decimals"
    ),
    "total_budget: {cost_usd: 0.0000000001}": (
        "limits.yml:1:26: total_budget.cost_usd: found 1E-10, allowed is a number from 0 to 9223372036, with at most 9 decimals, or null"
    ),
    "total_budget: {cost_usd: 1.0000000000000000000000000000001}": (
        "limits.yml:1:26: total_budget.cost_usd: found 1.0000000000000000000000000000001, "
        "allowed is a number from 0 to 9223372036, with at most 9 decimals, or null"
    ),
    "scoring: {wait: .inf}": (
        "limits.yml:1:17: scoring.wait: found '.inf', allowed is a number from 0 to 9223372036, with at most 9 decimals"
    ),
    "scoring: {wait: NaN}": (
        "limits.yml:1:17: scoring.wait: found 'NaN', allowed is a number from 0 to 9223372036, with at most 9 decimals"
    ),
    "scoring: {wait: 1e999999}": (
        "limits.yml:1:17: scoring.wait: found '1e999999', allowed is a number from 0 to 9223372036, with at most 9 decimals"
    ),
    # values that do not fit together
    "enforcement:\n  warn_at: 0.8": "limits.yml:2:12: enforcement.warn_at: found 0.8, allowed is at most throttle_at (0.75)",
    "enforcement:\n  stop_at: 0.8": "limits.yml:2:12: enforcement.stop_at: found 0.8, allowed is at least degrade_at (0.90)",
    "enforcement: {fleet: {degrade_at: 1.1}}": (
        "limits.yml:1:35: enforcement.fleet.degrade_at: found 1.1, allowed is at most stop_at (1.00)"
    ),
    "enforcement: {fleet: {hysteresis: 0.9}}": (
        "limits.yml:1:35: enforcement.fleet.hysteresis: found 0.9, allowed is below throttle_at (0.90)"
    ),
    "allocation_weights: {critical: 0, high: 0, normal: 0, low: 0}": (
        "limits.yml:1:32: allocation_weights.critical: found 0, allowed is above 0 for at least one of the four priorities"
    ),
    "timezone: Europe/Zurch": (
        "limits.yml:1:11: timezone: found 'Europe/Zurch', allowed is a time zone of the IANA data base, "
        "such as 'Europe/Zurich'; did you mean 'Europe/Zurich'?"
    ),
    "timezone: ../etc/passwd": (
        "limits.yml:1:11: timezone: found '../etc/passwd', allowed is a time zone of the IANA data base, "
        "such as 'Europe/Zurich'"
    ),
    "rules:\n- condition: default\n  model: sonet": (
        "limits.yml:3:10: auto_model_selection.rules[0].model: found 'sonet', allowed is one of opus, sonnet, haiku; "
        "did you mean 'sonnet'?"
    ),
    "models: {haiku: {degrades_to: tiny}}": (
        "limits.yml:1:31: models.haiku.degrades_to: found 'tiny', allowed is one of opus, sonnet, haiku"
    ),
    "models: {haiku: {degrades_to: opus}}": (
        "limits.yml:1:31: models.haiku.degrades_to: found 'opus', allowed is a model that does not lead back "
        "(opus -> sonnet -> haiku -> opus)"
    ),
    "models: {haiku: {degrades_to: haiku}}": (
        "limits.yml:1:31: models.haiku.degrades_to: found 'haiku', allowed is a model that does not lead back (haiku -> haiku)"
    ),
    "models:\n  haiku: null": (
        "limits.yml:2:10: models.haiku: found nothing (null), allowed is an entry, because "
        "auto_model_selection.rules[1].model names it"
    ),
    "rules: [{condition: task.product == b, model: opus}]\nmodels: {sonnet: {degrades_to: null}, haiku: null}": (
        "limits.yml:2:46: models.haiku: found nothing (null), allowed is an entry, because "
        "auto_model_selection.rules[2].model names it"
    ),
    "circuit_breaker: {when_tripped: {notify: coe}}": (
        "limits.yml:1:42: circuit_breaker.when_tripped.notify: found 'coe', allowed is one of ceo; did you mean 'ceo'?"
    ),
    # what is not YAML, or more of it than a file of settings needs
    "holds: [": (
        "limits.yml:1:9: not valid YAML: while parsing a flow node expected the node content, but found '<stream end>'"
    ),
    "a: 1\n---\nb: 2": (
        "limits.yml:2:1: not valid YAML: expected a single document in the stream but found another document"
    ),
    "holds: {}\nb: \x00": "limits.yml:2:4: not valid YAML: special characters are not allowed",
    "holds: &h {}\nleases: *h": "limits.yml:2:9: aliases are not supported; write the value of *h out",
    "[" * 100: "limits.yml:1:33: nested more than 32 levels deep",
    "? [a]\n: 1": "limits.yml:1:3: a key must be a single word",
    "timezone: !!python/object:os.system x": (
        "limits.yml:1:11: timezone: the tag tag:yaml.org,2002:python/object:os.system is not supported"
    ),
}


@pytest.mark.parametrize(("text", "line"), CASES.items(), ids=[repr(text[:40]) for text in CASES])
def test_a_mistake_is_one_line_that_says_where_what_and_what_instead(text: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "limits.yml")
    assert str(caught.value) == line
    assert "\n" not in line


def test_an_error_carries_its_parts_for_programs() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("products:\n  x: {priority: hihg}", "limits.yml")
    error = caught.value
    assert (error.file, error.line, error.column, error.path) == ("limits.yml", 2, 17, "products.x.priority")
    assert (error.found, error.allowed, error.suggestion) == ("'hihg'", f"{FOUR}, or null", "high")


@pytest.mark.parametrize(
    ("mapping", "line"),
    [
        ({"holds": {"ttl": 1}}, "holds.ttl: unknown key (allowed: ttl_seconds, quantile)"),
        (
            {"scoring": {"wait": float("nan")}},
            "scoring.wait: found nan, allowed is a number from 0 to 9223372036, with at most 9 decimals",
        ),
        ({"rules": [{"condition": "default", "model": ["opus"]}]}, "found a list, allowed is a name"),
        ({"timezone": b"UTC"}, "timezone: found a bytes, allowed is a name of 1 to 128 characters"),
        ({"timezone": "x" * 99}, f"timezone: found '{'x' * 56}..., allowed is a time zone"),
        ({"products": {1: {}}}, "products: found a map, allowed is a map with names as keys"),
        ({"enforcement": {"warn_at": 0.8}}, "enforcement.warn_at: found 0.8, allowed is at most throttle_at (0.75)"),
    ],
)
def test_a_mapping_has_no_lines_but_the_same_errors(mapping: dict[str, object], line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_mapping(mapping)
    assert line in str(caught.value)
    assert (caught.value.file, caught.value.line, caught.value.column) == (None, None, None)


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://me:s3cret@db/budgets",
        "https://s3cret@parent.example",
        "https://me:s3/cret@x:s3cret@parent.example",
    ],
)
def test_what_is_secret_in_an_address_is_not_shown(address: str) -> None:
    with pytest.raises(ConfigError, match=r"delegate\.parent: found '.*://\*\*\*@") as caught:
        from_mapping({"delegate": {"parent": address, "account": "team"}})
    assert "cret" not in str(caught.value) + str(caught.value.found)
