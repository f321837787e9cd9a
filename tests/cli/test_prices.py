"""What models cost, and where each price comes from; and the way of a prices file into a fleet."""

import json
from pathlib import Path

import pytest

from tallystick.config.prices import PriceList
from tallystick.events.log.restoring import open_ledger
from tallystick.events.log.store import open_store
from tests.support.cli import Run

REPORT = '{"type": "ReportUsage", "agent": "a", "model": "opus", "input_tokens": 1000}'
MINE = "prices:\n  claude-opus-5-5: {input: 7, output: 8}\n  mine: {input: 0, output: 0}\n"


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    file = tmp_path / "prices.yml"
    file.write_text(MINE, encoding="utf-8")
    return file


def in_force() -> PriceList:
    store = open_store("sqlite:///tallystick.db")
    try:
        return open_ledger(store).ledger.rules.prices
    finally:
        store.close()


def cost_of(run: Run, *options: str) -> str:
    run("send", '{"type": "AllocateBudget", "agent": "a", "budget": {"cost_usd": 1}}', *options)
    reply = json.loads(run("send", REPORT).stdout)["ok"]
    return str(reply["remaining"]["cost_usd"])


def test_a_price_is_reported_with_its_source_by_alias_id_or_any_other_name(run: Run) -> None:
    lines = run("config", "prices", "sonnet", "claude-sonnet-4.5", "gpt-4o-2024-08-06").stdout.splitlines()
    assert lines[1].split()[:2] == ["sonnet", "claude-sonnet-5-5"]
    assert lines[1].rstrip().endswith(", anthropic")
    assert lines[2].split()[:5] == ["claude-sonnet-4.5", "claude-sonnet-4-5", "$3.00", "$15.00", "$0.30"]
    assert lines[3].split()[:5] == ["above", "200,000", "input", "tokens", "$6.00"]
    assert lines[4].split()[:2] == ["gpt-4o-2024-08-06", "gpt-4o"]


def test_a_written_price_and_an_unknown_model_are_distinguished(run: Run, mine: Path) -> None:
    result = run("config", "prices", "opus", "mine", "no-such", "--prices", "prices.yml")
    opus, own, unknown = result.stdout.splitlines()[1:]
    assert opus.split() == ["opus", "claude-opus-5-5", "$7.00", "$8.00", "$7.00", "prices.yml"]
    assert own.split() == ["mine", "mine", "$0.00", "$0.00", "$0.00", "prices.yml"]
    assert "unpriced: a report is charged as the most expensive model of its provider" in unknown


def test_without_a_model_all_are_listed(run: Run, mine: Path) -> None:
    listed = json.loads(run("config", "prices", "--prices", "prices.yml", "--json").stdout)["prices"]
    by_name = {row["model"]: row for row in listed}
    assert len(by_name) == len(listed) > 400
    assert list(by_name)[:3] == ["opus", "sonnet", "haiku"]
    assert by_name["mine"] == {
        "model": "mine", "id": "mine", "input": "0.00", "output": "0.00", "cached_input": "0.00", "from": "prices.yml",
    }  # fmt: skip
    assert by_name["claude-sonnet-4-5"]["tiers"][0]["above_input_tokens"] == 200_000
    (unknown,) = json.loads(run("config", "prices", "no-such", "--json").stdout)["prices"]
    assert unknown == {"model": "no-such", "id": None, "unpriced": True}


def test_a_new_fleet_begins_with_the_published_prices(run: Run) -> None:
    sonnet = json.loads(run("config", "prices", "opus", "--json").stdout)["prices"][0]
    assert cost_of(run) == f"{1 - float(sonnet['input']) / 1000:.3f}"
    assert in_force().published.source == sonnet["from"].partition(",")[0]


@pytest.mark.parametrize("way", ["option", "variable", "project"])
def test_a_new_fleet_begins_with_the_prices_that_are_found(
    run: Run, mine: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if way == "variable":
        monkeypatch.setenv("TALLYSTICK_PRICES", str(mine))
    elif way == "project":
        (folder := Path(".claude/resource-management")).mkdir(parents=True)
        mine.rename(folder / "prices.yml")
    assert cost_of(run, *(["--prices", "prices.yml"] if way == "option" else [])) == "0.993"


def test_a_fleet_that_has_begun_keeps_its_prices_until_a_file_is_named(run: Run, mine: Path) -> None:
    cost_of(run)
    (folder := Path(".claude/resource-management")).mkdir(parents=True)
    (folder / "prices.yml").write_text(MINE, encoding="utf-8")
    before = in_force()
    run("send", "resume")
    assert in_force() == before
    assert not before.written
    assert run("send", "resume", "--prices", "prices.yml").exit_code == 0
    assert in_force().written.keys() == {"claude-opus-5-5", "mine"}
    assert in_force().published.providers, "what is not written is still published"
    (row,) = json.loads(run("config", "prices", "opus", "--store", "sqlite:///tallystick.db", "--json").stdout)[
        "prices"
    ]
    assert (row["input"], row["from"]) == ("7.00", "prices.yml")


def test_a_scenario_runs_with_a_prices_file_and_with_the_prices_of_its_day(run: Run, tmp_path: Path) -> None:
    scenario = tmp_path / "scenario.jsonl"

    def spent(day: str, *options: str) -> str:
        report = '"type": "ReportUsage", "agent": "a", "model": "claude-opus-4-6", "input_tokens": 300000'
        scenario.write_text(
            f'{{"at": "{day}T12:00:00Z", {report}}}\n{{"at": "{day}T12:00:00Z", "type": "GetGlobalStatus"}}\n',
            encoding="utf-8",
        )
        lines = run("simulate", "scenario.jsonl", *options).stdout.splitlines()
        return str(json.loads(lines[1])["reply"]["ok"]["total_consumed"]["cost_usd"])

    assert (spent("2026-03-12"), spent("2026-03-13")) == ("3.00", "1.50")
    # The published tier of long requests costs twice as much on that day, and so does the written one.
    for written, cost in (("", "0.60"), (", tiers: []", "0.30")):
        text = f"prices: {{claude-opus-4-6: {{input: 1, output: 1{written}}}}}"
        (tmp_path / "prices.yml").write_text(text, encoding="utf-8")
        assert spent("2026-03-12", "--prices", "prices.yml") == cost


def test_a_bad_file_of_prices_is_reported_by_line_and_column(run: Run, mine: Path) -> None:
    mine.write_text("prices:\n  m: {input: 1, outptu: 2}\n", encoding="utf-8")
    report = '{"type": "ReportUsage", "agent": "a", "usage": {"tokens": 1}}'
    for command in (["config", "check"], ["config", "prices"], ["send", report]):
        result = run(*command, "--prices", "prices.yml")
        assert result.exit_code == 2
        assert "prices.yml:2:17: prices.m.outptu: unknown key; did you mean 'output'?" in result.stderr
        assert result.stderr.count("\n") == 1


def test_a_model_of_the_catalogue_without_a_price_is_a_warning(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.yml").write_text("models: {own: {provider: us, id: our-model}}\n", encoding="utf-8")
    result = run("config", "check", "mine.yml")
    assert (result.exit_code, result.stdout.splitlines()[0]) == (0, "OK: mine.yml")
    assert "tallystick: warning: models.own: no price is known for our-model" in result.stderr
    (tmp_path / "prices.yml").write_text("prices: {our-model: {input: 0, output: 0}}\n", encoding="utf-8")
    assert "no price is known" not in run("config", "check", "mine.yml", "--prices", "prices.yml").stderr


def test_two_questions_at_once_are_refused(run: Run, fleet: Path, mine: Path) -> None:
    result = run("config", "prices", "--store", f"sqlite:///{fleet}", "--prices", "prices.yml")
    assert result.exit_code == 2
    assert "leave one out" in result.stderr


def test_an_explained_report_names_its_price_where_it_is_from_and_since_when(run: Run, mine: Path) -> None:
    cost_of(run)
    run("send", REPORT, "--prices", "prices.yml")
    store = open_store("sqlite:///tallystick.db")
    reports = [record.position for record in store.read() if record.name == "usage-reported.v1"]
    loaded = [record.position for record in store.read() if record.name == "prices-loaded.v1"]
    store.close()
    published, written = (run("audit", "explain", str(position)).stdout for position in reports)
    assert f"output ({in_force().published.source}, in force since position {loaded[0]})" in published
    assert "priced as claude-opus-5-5: $7.00 per million input tokens, $8.00 output (prices.yml," in written
    assert f"in force since position {loaded[1]})" in written
    assert "a list of 2 written prices, over those of genai-prices" in run("audit", "explain", str(loaded[1])).stdout


def test_a_written_price_in_another_unit_is_a_warning(run: Run, tmp_path: Path) -> None:
    text = "prices: {claude-sonnet-4-5: {input: 0.000003, output: 15}}\n"
    (tmp_path / "prices.yml").write_text(text, encoding="utf-8")
    allocate = '{"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 5}}'
    (tmp_path / "day.jsonl").write_text(f'{{"at": "2026-03-04T12:00:00Z", {allocate[1:]}\n', encoding="utf-8")
    opening = (["simulate", "day.jsonl"], ["send", allocate])
    for command in (["config", "check"], ["config", "prices", "sonnet"], *opening):
        result = run(*command, "--prices", "prices.yml")
        assert result.exit_code == 0
        assert (
            "tallystick: warning: prices.claude-sonnet-4-5.input: $0.000003 is more than 100 times away"
            in result.stderr
        )


def test_a_name_that_a_router_writes_is_found(run: Run) -> None:
    names = ("bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0", "openrouter/anthropic/claude-sonnet-4.5")
    rows = json.loads(run("config", "prices", *names, "--json").stdout)["prices"]
    assert [row["from"].rpartition(", ")[2] for row in rows] == ["aws", "anthropic"]
    assert rows[1]["cache_write"] == "3.75"
