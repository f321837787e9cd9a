"""``config``: is a file right, what may it say, what is in force."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from tallystick.config import loader
from tests.support.cli import Run

FILES = [
    "",
    "total_budget: {tokens: 1000, cost_usd: 12.345678901}\n",
    (
        "models: {haiku: null, sonnet: {degrades_to: null}}\n"
        "auto_model_selection: {rules: [{condition: default, model: sonnet}]}\n"
        "enforcement: {warn_at: 0.123456789}\nmetrics_file: '7'\n"
        "products: {urgent-project: {priority: critical, weight: 2}}\n"
    ),
]


OTHERS = "daily_limits.max_tokens_total, daily_limits.max_cost_usd, max_concurrent.total, token_budgets.default"


def test_a_good_file_is_ok_and_what_it_does_not_limit_is_listed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "good.yml").write_text("total_budget: {tokens: 1000}\n", encoding="utf-8")
    not_limited = f"not limited: total_budget.time_seconds, total_budget.cost_usd, {OTHERS}\n"
    assert run("config", "check", "good.yml").stdout == f"OK: good.yml\n{not_limited}"


def test_a_packaged_trip_condition_whose_limit_is_absent_is_a_warning(run: Run, tmp_path: Path) -> None:
    (tmp_path / "good.yml").write_text("total_budget: {tokens: 1000}\n", encoding="utf-8")
    assert run("config", "check", "good.yml").stderr == (
        "tallystick: warning: can_never_trip: circuit_breaker.trip_conditions[0]: cost_daily_usd >"
        " daily_limits.max_cost_usd never becomes true: there is no daily_limits.max_cost_usd\n"
    )
    (tmp_path / "other.yml").write_text("daily_limits: {max_cost_usd: 10}\n", encoding="utf-8")
    assert run("config", "check", "other.yml").stderr == ""


def test_without_a_file_it_is_the_one_that_is_found(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packaged = f"OK: {loader.PACKAGED_FILE}\nnot limited: total_budget.time_seconds\n"
    assert run("config", "check").stdout == packaged
    (tmp_path / "mine.yml").write_text("total_budget: {tokens: 1000}\n", encoding="utf-8")
    monkeypatch.setenv("TALLYSTICK_CONFIG", "mine.yml")
    assert run("config", "check").stdout.startswith("OK: mine.yml\n")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("enforcement: {warn_att: 1}\n", "bad.yml:1:15: enforcement.warn_att: unknown key; did you mean 'warn_at'?"),
        ("enforcement:\n  warn_at: much\n", "bad.yml:2:12: enforcement.warn_at: "),
        ("a: [\n", "bad.yml:2:1: not valid YAML"),
        (
            "rules:\n  - {condition: task.priority == critcal, model: opus}\n",
            (
                "bad.yml:2:34: auto_model_selection.rules[0].condition: found 'critcal', "
                "allowed is one of critical, high, normal, low; did you mean 'critical'?"
            ),
        ),
    ],
)
def test_a_bad_file_is_told_by_line_and_column(run: Run, tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "bad.yml").write_text(text, encoding="utf-8")
    for command in (["check"], ["show"]):
        result = run("config", *command, "bad.yml")
        assert result.exit_code == 2
        assert result.stderr.startswith(f"tallystick: {reason}")
        assert result.stderr.count("\n") == 1
        assert result.stdout == ""


def test_a_file_that_is_not_there_is_told(run: Run) -> None:
    result = run("config", "check", "none.yml")
    assert result.exit_code == 2
    assert result.stderr == "tallystick: none.yml: cannot be read: No such file or directory\n"


@pytest.mark.parametrize("text", FILES)
def test_what_is_shown_is_a_file_that_says_the_same(run: Run, tmp_path: Path, text: str) -> None:
    file = tmp_path / "mine.yml"
    file.write_text(text, encoding="utf-8")
    shown = run("config", "show", "mine.yml").stdout
    assert loader.parse(shown, "shown") == loader.load(file)
    schema = json.loads(run("config", "schema").stdout)
    jsonschema.validate(yaml.safe_load(shown), schema)


def test_what_is_in_force_in_a_fleet(run: Run, fleet: Path) -> None:
    shown = run("config", "show", "--store", f"sqlite:///{fleet}").stdout
    assert loader.parse(shown, "shown") == loader.load(None)


def test_two_questions_at_once_are_refused(run: Run, fleet: Path) -> None:
    result = run("config", "show", "mine.yml", "--store", f"sqlite:///{fleet}")
    assert result.exit_code == 2
    assert "leave one out" in result.stderr


def test_a_fleet_that_has_not_begun_has_nothing_in_force(run: Run) -> None:
    result = run("config", "show", "--store", "memory:")
    assert result.exit_code == 1
    assert "nothing is in force yet" in result.stderr


def test_an_address_that_may_hold_a_secret_or_leads_nowhere_is_a_warning(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALLYSTICK_TOKENS", "T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ")
    addresses = [
        "json://localhost/hook",
        "slack://${TALLYSTICK_TOKENS}",
        "slack://T",
        "mailto://ann:${TALLYSTICK_NOT_SET}@example.org",
    ]
    file = tmp_path / "mine.yml"
    settings = {"notifications": {"ceo": addresses}, "daily_limits": {"max_cost_usd": 5}}
    file.write_text(json.dumps(settings), encoding="utf-8")
    result = run("config", "check", "mine.yml")
    assert (result.exit_code, result.stdout.splitlines()[0]) == (0, "OK: mine.yml")
    secret, nowhere, unset = result.stderr.splitlines()
    assert secret.startswith("tallystick: warning: notifications.ceo[2]: it goes into the log as it is written")
    assert nowhere == (
        "tallystick: warning: notifications.ceo[2]: nothing can be sent there from here: it is no address of apprise"
        " (its scheme is 'slack')"
    )
    assert unset.endswith(
        "notifications.ceo[3]: nothing can be sent there from here: the variable TALLYSTICK_NOT_SET is not set"
    )
