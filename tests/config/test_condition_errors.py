"""A condition that cannot be meant is refused when the file is loaded, at its place in the file."""

import pytest

from tallystick.config.errors import ConditionError, ConfigError
from tallystick.config.loader import from_mapping, parse, restore, to_mapping
from tallystick.config.settings import AutoModelSelection, CircuitBreaker, Config, ModelRule
from tests.support.conditions import parsed

COMPARISON = "a comparison (==, !=, <, <=, >, >=, in, not in)"
QUOTES = "(a text of several words, or with other signs, stands in quotes)"
FIXED = "the name of a value on one side (two fixed values are always equal, or never)"
PRIORITIES = "one of critical, high, normal, low"
TASK = (
    "task.priority, task.product, task.agent_type, task.estimated_minutes, task.estimated_tokens, task.workflow, "
    "task.deferrable (a text with dots stands in quotes)"
)
OTHER = "the name of a number of the configuration, or of another value that conditions know (a text with dots stands in quotes)"

CASES = {
    # names
    "task.priorty == critical": f"1: found 'task.priorty', allowed is {TASK}; did you mean 'task.priority'?",
    "queue_length > 1 and task.x == y": f"22: found 'task.x', allowed is {TASK}",
    "cost_daily_usd > daily_limits.max_cost": (
        "18: found 'daily_limits.max_cost', allowed is daily_limits.max_tokens_total, daily_limits.max_cost_usd, "
        "daily_limits.alert_at_percent (a text with dots stands in quotes); did you mean 'daily_limits.max_cost_usd'?"
    ),
    "pressure > enforcement.fleet.throtle_at": (
        "12: found 'enforcement.fleet.throtle_at', allowed is enforcement.fleet.throttle_at, enforcement.fleet.degrade_at, "
        "enforcement.fleet.stop_at, enforcement.fleet.hysteresis (a text with dots stands in quotes); "
        "did you mean 'enforcement.fleet.throttle_at'?"
    ),
    "products.x.paused == true": f"1: found 'products.x.paused', allowed is {OTHER}",
    "task.product == acme.io": f"17: found 'acme.io', allowed is {OTHER}",
    # values of a closed set
    "task.priority == critcal": f"18: found 'critcal', allowed is {PRIORITIES}; did you mean 'critical'?",
    "'hihg' != task.priority": f"1: found 'hihg', allowed is {PRIORITIES}; did you mean 'high'?",
    "task.priority in [low, nromal]": f"24: found 'nromal', allowed is {PRIORITIES}; did you mean 'normal'?",
    "task.priority == 1": f"18: found 1, allowed is {PRIORITIES}",
    "task.priority == task.product": f"18: found 'task.product', allowed is {PRIORITIES}",
    "task.deferrable == yes": "20: found 'yes', allowed is true or false",
    "task.deferrable == True": "20: found 'True', allowed is true or false; did you mean 'true'?",
    # different kinds
    "cost_daily_usd > much": "18: found 'much', allowed is a number, as cost_daily_usd is",
    "cost_daily_usd > '5'": "18: found '5', allowed is a number, as cost_daily_usd is",
    "cost_daily_usd > presure": (
        "18: found 'presure', allowed is a number, as cost_daily_usd is; did you mean 'pressure'?"
    ),
    "cost_daily_usd == task.product": "19: found 'task.product', allowed is a number, as cost_daily_usd is",
    "task.product == 42": "17: found 42, allowed is a text, as task.product is ('42' in quotes is one)",
    "task.product == pressure": (
        "17: found 'pressure', allowed is a text, as task.product is ('pressure' in quotes is one)"
    ),
    "task.product < x": "14: found '<', allowed is ==, !=, in or not in: only numbers have an order, and task.product is a text",
    "task.priority >= high": (
        f"15: found '>=', allowed is ==, !=, in or not in: only numbers have an order, and task.priority is {PRIORITIES}"
    ),
    # nothing that could change
    "prioritty == critical": f"1: found 'prioritty == critical', allowed is {FIXED}; did you mean 'task.priority'?",
    "'task.priority' == critical": (
        f"1: found ''task.priority' == critical', allowed is {FIXED}; did you mean 'task.priority'?"
    ),
    "100 < cost_dialy_usd": f"1: found '100 < cost_dialy_usd', allowed is {FIXED}; did you mean 'cost_daily_usd'?",
    "1 < 2": f"1: found '1 < 2', allowed is {FIXED}",
    # no comparison
    "urgent": "1: found 'urgent', allowed is a comparison, such as task.priority == critical",
    "deferrable": (
        "1: found 'deferrable', allowed is a comparison, such as task.priority == critical; did you mean 'task.deferrable'?"
    ),
    "task.product": "1: found 'task.product', allowed is a comparison, such as task.priority == critical",
    "1": "1: found 1, allowed is a comparison, such as task.priority == critical",
    "not default": "5: found 'default', allowed is default by itself, without and, or, not",
    "default or default": "1: found 'default', allowed is default by itself, without and, or, not",
    # not in the grammar
    " ": "1: found the end, allowed is a condition, such as task.priority == critical",
    "pressure >": "11: found the end, allowed is a name, a number or a text",
    "pressure = 1": f"10: found '=', allowed is {COMPARISON}, 'and', 'or' or the end; did you mean '=='?",
    "pressure <> 1": f"10: found '<>', allowed is {COMPARISON}, 'and', 'or' or the end; did you mean '!='?",
    "pressure === 1": f"10: found '===', allowed is {COMPARISON}, 'and', 'or' or the end; did you mean '=='?",
    "pressure => 1": f"10: found '=>', allowed is {COMPARISON}, 'and', 'or' or the end; did you mean '>='?",
    "!task.deferrable": (
        "1: found '!', allowed is a condition, such as task.priority == critical; did you mean 'not'?"
    ),
    "pressure > 1 && pressure > 2": "14: found '&&', allowed is 'and', 'or' or the end; did you mean 'and'?",
    "pressure > 1 AND pressure > 2": (
        f"14: found 'AND', allowed is 'and', 'or' or the end {QUOTES}; did you mean 'and'?"
    ),
    "0 < pressure < 1": "14: found '<', allowed is 'and', 'or' or the end",
    "task.product == urgent project": f"24: found 'project', allowed is 'and', 'or' or the end {QUOTES}",
    "task.product == acme/app": f"21: found '/', allowed is 'and', 'or' or the end {QUOTES}",
    "task.product == 3d-printer": (
        "17: found '3d-printer', allowed is a number such as 30 or 0.5 (a text that begins with a digit stands in quotes)"
    ),
    "task.product == and": "17: found 'and', allowed is a name, a number or a text",
    "task.product == 'x": "17: found ''', allowed is a closing quote for the text that begins here",
    r"task.product == 'a\n'": r"19: found '\n', allowed is one of \\, \', \" after a backslash",
    "pressure > 1e6": (
        "12: found '1e6', allowed is a number such as 30 or 0.5 (a text that begins with a digit stands in quotes)"
    ),
    "task.priority in (low)": "18: found '(', allowed is a list in brackets, such as [critical, high]",
    "task.priority in low": f"18: found 'low', allowed is a list in brackets, such as [critical, high] {QUOTES}",
    "task.priority in []": "19: found ']', allowed is a name, a number or a text",
    "task.priority in [low": "22: found the end, allowed is ',' or ']'",
    "task.priority not low": f"19: found 'low', allowed is 'in' {QUOTES}",
    "(pressure > 1": "14: found the end, allowed is 'and', 'or' or ')'",
    "pressure > 1)": "13: found ')', allowed is 'and', 'or' or the end",
    "__import__('os').system('true')": f"11: found '(', allowed is {COMPARISON}, 'and', 'or' or the end",
    # too much
    "not " * 33 + "task.deferrable": "1: found 33 of not, and, or inside one another, allowed is at most 32",
    "pressure > 1" + " " * 4085: "4097: found 4097 characters, allowed is at most 4096",
}


@pytest.mark.parametrize(("text", "line"), CASES.items(), ids=[repr(text[:40]) for text in CASES])
def test_a_mistake_is_named_by_its_place_and_what_could_stand_there(text: str, line: str) -> None:
    with pytest.raises(ConditionError) as caught:
        parsed(text)
    assert str(caught.value) == f"line 1, column {line.replace(': ', ' of the condition: ', 1)}"


def test_an_error_carries_its_parts_for_programs() -> None:
    with pytest.raises(ConditionError) as caught:
        parsed("pressure > 1\n  and task.priority == critcal")
    error = caught.value
    assert (error.line, error.column) == (2, 24)
    assert (error.found, error.allowed, error.suggestion) == ("'critcal'", PRIORITIES, "critical")


def test_any_depth_of_parentheses_around_one_condition_is_no_nesting() -> None:
    assert parsed("(" * 1000 + "pressure > 1" + ")" * 1000).tree == parsed("pressure > 1").tree
    assert parsed("not " * 32 + "task.deferrable").holds({"task.deferrable": True})


# --- in a file -------------------------------------------------------------------------------------------------------

CRITCAL = f"found 'critcal', allowed is {PRIORITIES}; did you mean 'critical'?"
RULE = "auto_model_selection.rules[0].condition"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("rules:\n- condition: task.priority == critcal\n  model: opus", f"limits.yml:2:31: {RULE}: {CRITCAL}"),
        ("rules:\n- condition: 'task.priority == critcal'\n  model: opus", f"limits.yml:2:32: {RULE}: {CRITCAL}"),
        (
            'auto_model_selection: {rules: [{condition: "task.priority == critcal", model: opus}]}',
            f"limits.yml:1:62: {RULE}: {CRITCAL}",
        ),
        # What YAML folds or unescapes stands elsewhere than in the text, so the place is that in the text.
        (
            'rules:\n- condition: "task.priority\\x20== critcal"\n  model: opus',
            f"limits.yml:2:14: {RULE}: line 1, column 18 of the condition: {CRITCAL}",
        ),
        (
            "rules:\n- condition: |\n    task.deferrable\n    or task.priority == critcal\n  model: opus",
            f"limits.yml:2:14: {RULE}: line 2, column 21 of the condition: {CRITCAL}",
        ),
        (
            "circuit_breaker:\n  trip_conditions:\n    - pressure > 1\n    - pressure > much",
            "limits.yml:4:18: circuit_breaker.trip_conditions[1]: found 'much', allowed is a number, as pressure is",
        ),
        (
            "circuit_breaker: {trip_conditions: [pressure > 1 or task.priority == critical]}",
            (
                "limits.yml:1:53: circuit_breaker.trip_conditions[0]: found 'task.priority', allowed is the name of a value of "
                "the fleet or of the configuration: this condition is about no single task"
            ),
        ),
        (
            "circuit_breaker: {trip_conditions: [default]}",
            (
                "limits.yml:1:37: circuit_breaker.trip_conditions[0]: found 'default', allowed is a comparison, such as "
                "cost_daily_usd > daily_limits.max_cost_usd: what always holds would never let go"
            ),
        ),
        (
            "circuit_breaker: {trip_conditions: [pressure > token_budgets.architect]}\ntoken_budgets: {default: 1, dba: 2}",
            (
                "limits.yml:1:48: circuit_breaker.trip_conditions[0]: found 'token_budgets.architect', allowed is "
                "token_budgets.default, token_budgets.dba "
                "(a text with dots stands in quotes); did you mean 'token_budgets.dba'?"
            ),
        ),
    ],
)
def test_a_mistake_is_pointed_at_in_the_file(text: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "limits.yml")
    assert str(caught.value) == line


def test_a_mapping_has_no_lines_so_the_place_is_that_in_the_condition() -> None:
    with pytest.raises(ConfigError) as caught:
        from_mapping({"rules": [{"condition": "task.priority == critcal", "model": "opus"}]})
    assert str(caught.value) == f"{RULE}: line 1, column 18 of the condition: {CRITCAL}"
    assert (caught.value.found, caught.value.allowed, caught.value.suggestion) == ("'critcal'", PRIORITIES, "critical")


def test_what_is_known_is_listed_only_where_the_list_is_short() -> None:
    products = {f"p{number}": {} for number in range(50)}
    with pytest.raises(ConfigError) as caught:
        from_mapping({"products": products, "circuit_breaker": {"trip_conditions": ["products.p7.wait > 1"]}})
    assert "allowed is products.p7.max_concurrent_agents, products.p7.token_budget_daily, products.p7.weight (" in str(
        caught.value
    )
    with pytest.raises(ConfigError) as caught:
        from_mapping({"products": products, "circuit_breaker": {"trip_conditions": ["products.q.weight > 1"]}})
    assert f"allowed is {OTHER}; did you mean 'products.p" in str(caught.value)


def test_a_configuration_that_was_made_by_hand_is_checked_too() -> None:
    with pytest.raises(ValueError, match=r"circuit_breaker.trip_conditions\[0\]: allowed is a number"):
        Config(circuit_breaker=CircuitBreaker(("pressure > much",)))
    with pytest.raises(ValueError, match="rules: allowed is rules of which one has the condition default"):
        Config(auto_model_selection=AutoModelSelection((ModelRule("task.deferrable", "haiku"),)))


def test_the_log_keeps_conditions_as_they_were_written() -> None:
    text = "task.priority   in ['critical',high]"
    config = from_mapping({"rules": [{"condition": text, "model": "opus"}]})
    stored = to_mapping(config)
    assert stored["auto_model_selection"]["rules"][0] == {"condition": text, "model": "opus"}
    assert restore(stored) == config
