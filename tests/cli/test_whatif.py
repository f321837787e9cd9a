"""``whatif``: what another policy would have decided, for people and machines, and the proof that it can be trusted."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tallystick.events.log.store import open_store
from tests.support.cli import Run, lines
from tests.support.whatif import USED_UP, log, sealed_again
from tests.support.whatif_cli import LIMITS, answer, message, report

TIGHTER = "enforcement: {degrade_at: 0.8, stop_at: 0.8}\n"
LOOSER = "enforcement: {stop_at: 1.5}\n"


STORY = [
    message(0, type="AllocateBudget", agent="ann", budget={"tokens": 1000}, by="lead"),
    message(1, type="AllocateBudget", agent="bob", budget={"tokens": 9500}, by="lead"),
    message(2, type="AllocateBudget", agent="bob", budget={"tokens": 500}, by="lead"),
    report(3, "ann", 850),
    report(4, "ann", 100),
    report(5, "bob", 10),
    report(6, "ann", 60),
    report(7, "bob", 20),
]


@pytest.fixture
def story(run: Run, tmp_path: Path) -> Path:
    """A fleet in this test's folder to which the story happened, and other policies beside it."""
    (tmp_path / "limits.yml").write_text(LIMITS, encoding="utf-8")
    (tmp_path / "tighter.yml").write_text(LIMITS + TIGHTER, encoding="utf-8")
    (tmp_path / "looser.yml").write_text(LIMITS + LOOSER, encoding="utf-8")
    (tmp_path / "story.jsonl").write_text(lines(STORY), encoding="utf-8")
    result = run("simulate", "story.jsonl", "--config", "limits.yml", "--store", "sqlite:///tallystick.db")
    assert result.exit_code == 0, result.stderr
    return tmp_path


# --- the same policy -------------------------------------------------------------------------------------------------


def test_without_another_policy_it_proves_that_it_can_be_trusted(run: Run, story: Path) -> None:
    result = run("whatif")
    assert result.exit_code == 0
    store = open_store("sqlite:///tallystick.db")
    last = store.last()
    store.close()
    assert last is not None
    assert "decided again, by the policy" in result.stdout
    assert f"digest        {last.position}:" in result.stdout
    assert result.stdout.endswith("result        the same\n")


def test_the_proof_for_machines(run: Run, fleet: Path) -> None:
    told = answer(run)
    assert told["differs"] is False
    assert told["first_difference"] is None
    assert told["facts"] + told["decisions"] == told["log"]["position"]


def test_the_configuration_that_was_in_force_changes_nothing(run: Run, story: Path) -> None:
    result = run("whatif", "--config", "limits.yml")
    assert result.exit_code == 0
    assert "result        nothing would have been decided differently" in result.stdout
    told = answer(run, "--config", "limits.yml")
    assert told["differs"] is False
    assert told["agents"] == []
    assert told["recorded"] == told["what_if"]
    assert told["specialists_anew_from"] is None


def test_a_log_of_other_decisions_fails_the_proof_and_says_where(run: Run, tmp_path: Path) -> None:
    records = log(*USED_UP)
    (place,) = [record.position for record in records if b'"level":"black"' in record.data]

    def milder(event: Any) -> Any:
        event.level = "red"
        return event

    store = open_store("sqlite:///tallystick.db", writer=True)
    store.append(sealed_again(records, place, milder))
    store.close()
    result = run("whatif")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"tallystick whatif: position {place}, 2026-03-04 12:00:03Z: ReportUsage was not")
    assert result.stderr.count("\n") == 1
    assert "ann went from red to red at 106 % of its tokens" in result.stdout
    assert "ann went from red to black at 106 % of its tokens" in result.stdout
    assert result.stdout.endswith("result        not the same\n")
    told = json.loads(run("whatif", "--json").stdout)
    assert told["differs"] is True
    assert told["first_difference"]["position"] == place


# --- another policy --------------------------------------------------------------------------------------------------


def test_a_tighter_policy_is_reported_with_its_first_difference_and_all_that_was_assumed(run: Run, story: Path) -> None:
    result = run("whatif", "--config", "tighter.yml")
    assert result.exit_code == 0
    assert result.stderr == ""
    for text in (
        "changed enforcement.stop_at: 0.8 instead of 1",
        "used 1,040 tokens 880 tokens",
        "saved – 160 tokens in 2 reports",
        "agents stopped 1 1",
        "1 of 2 agents would have been affected",
        "ReportUsage of ann",
        "in the log ann went from green to orange at 85 % of its tokens",
        "850 tokens used of 1,000 tokens: 85 % of its tokens",
        "black would begin at 100 %",
        "what if ann went from green to black at 85 % of its tokens",
        "black begins at 80 % (enforcement.stop_at)",
        "- A throttle moves no report in time",
    ):
        assert text in " ".join(result.stdout.split()), result.stdout


def test_the_answer_for_machines_holds_everything(run: Run, story: Path) -> None:
    told = answer(run, "--config", "tighter.yml", "--total", "tokens=20000")
    assert told["question"]["config"] == "tighter.yml"
    assert told["question"]["total"] == {"tokens": "20000"}
    changed = {change["key"]: (change["log"], change["what_if"]) for change in told["question"]["changes"]}
    assert changed["total_budget.tokens"] == ("10000", "20000")
    assert changed["enforcement.stop_at"] == ("1", "0.8")
    assert told["saved"]["tokens"] == 160
    assert told["saved"]["because"] == {"stopped": {"reports": 2, "tokens": 160, "time_seconds": 0, "cost_usd": "0.00"}}
    assert told["unknown"] == ["bob"]
    ann, bob = {row["agent"]: row for row in told["agents"]}.values()
    assert ann["agent"] == "ann"
    assert ann["recorded"]["actions"]["stop"]["first_at"] == "2026-03-04T12:00:06Z"
    assert ann["what_if"]["actions"]["stop"] == {"times": 1, "first_at": "2026-03-04T12:00:03Z"}
    assert (ann["recorded"]["used"]["tokens"], ann["what_if"]["used"]["tokens"]) == (1_010, 850)
    # bob got all of what was refused in the log, and so never asked for the smaller amount.
    assert (bob["recorded"]["allocated"], bob["what_if"]["allocated"]) == ({"tokens": 500}, {"tokens": 9_500})
    first = told["first_difference"]
    assert first["request"] == "AllocateBudget"
    assert "pool_exhausted" in first["recorded"]["text"]
    assert first["what_if"]["text"].startswith("bob was opened with 9,500 tokens")
    assert any("What 1 agent would have used beyond the log is unknown" in line for line in told["assumptions"])


def test_a_looser_policy_says_whose_usage_is_not_known(run: Run, story: Path) -> None:
    told = answer(run, "--config", "looser.yml")
    assert told["unknown"] == ["ann"]
    assert told["saved"]["reports"] == 0
    assert told["recorded"]["agents"]["stop"] == 1
    assert told["what_if"]["agents"]["stop"] == 0
    assert told["what_if"]["tokens"] == told["recorded"]["tokens"]
    assert told["first_difference"]["what_if"]["text"] == "ann stays red at 101 % of its tokens"
    assert "black would begin at 150 % (enforcement.stop_at)" in told["first_difference"]["what_if"]["why"]


def test_what_stays_as_it_was_is_explained_by_the_rule_that_it_does_not_reach(run: Run, story: Path) -> None:
    (story / "later.yml").write_text(LIMITS + "enforcement: {warn_at: 0.9, throttle_at: 0.9}\n", encoding="utf-8")
    first = answer(run, "--config", "later.yml")["first_difference"]
    assert first["recorded"]["text"] == "ann went from green to orange at 85 % of its tokens"
    assert first["what_if"]["text"] == "ann stays green at 85 % of its tokens"
    assert "yellow would begin at 90 % (enforcement.warn_at)" in first["what_if"]["why"]


def test_a_response_of_the_fleet_that_does_not_come_is_explained(run: Run, story: Path) -> None:
    spend = message(8, type="ReportUsage", agent="nobody", usage={"tokens": 8_200}, id="big")
    (story / "more.jsonl").write_text(lines([spend]), encoding="utf-8")
    assert run("simulate", "more.jsonl", "--store", "sqlite:///tallystick.db").exit_code == 0
    (story / "calm.yml").write_text(
        LIMITS + "enforcement: {fleet: {throttle_at: 1, degrade_at: 1, stop_at: 1}}\n", encoding="utf-8"
    )
    first = answer(run, "--config", "calm.yml")["first_difference"]
    assert (
        first["recorded"]["text"] == "the fleet's response went from none to throttle at a pressure of 92.4 % (tokens)"
    )
    assert first["what_if"]["text"] == "the fleet's response stays none at a pressure of 92.4 %"
    assert any(
        line.startswith("throttle begins at 100 % (enforcement.fleet.throttle_at)") for line in first["what_if"]["why"]
    )


def test_other_prices_are_listed_and_priced_by(run: Run, tmp_path: Path) -> None:
    story = [
        message(0, type="AllocateBudget", agent="ann", budget={"cost_usd": "1"}),
        message(1, type="ReportUsage", agent="ann", model="claude-opus-5-5", input_tokens=100_000),
    ]
    (tmp_path / "story.jsonl").write_text(lines(story), encoding="utf-8")
    (tmp_path / "limits.yml").write_text("total_budget: {cost_usd: 10}\n", encoding="utf-8")
    assert run("simulate", "story.jsonl", "--config", "limits.yml", "--store", "sqlite:///tallystick.db").exit_code == 0
    (tmp_path / "prices.yml").write_text("prices: {claude-opus-5-5: {input: 50, output: 1}}\n", encoding="utf-8")
    told = answer(run, "--prices", "prices.yml")
    assert (told["recorded"]["cost_usd"], told["what_if"]["cost_usd"]) == ("0.40", "5.00")
    changed = {change["key"]: (change["log"], change["what_if"]) for change in told["question"]["changes"]}
    assert changed["prices.claude-opus-5-5.input"] == ("4.00", "50.00")
    assert not any("haiku" in key for key in changed), "what is not written stays as it was published"
    assert told["first_difference"]["what_if"]["text"] == "ann went from green to black at 500 % of its cost"
    assert any(line.startswith("Usage that named a model and no cost is priced anew") for line in told["assumptions"])


def test_many_agents_are_cut_short_for_people_and_whole_for_machines(run: Run, tmp_path: Path) -> None:
    story = [message(0, type="AllocateBudget", agent=f"a-{n:02}", budget={"tokens": 100}) for n in range(30)]
    story += [message(1, type="ReportUsage", agent=f"a-{n:02}", usage={"tokens": 90 + n}) for n in range(30)]
    (tmp_path / "story.jsonl").write_text(lines(story), encoding="utf-8")
    (tmp_path / "limits.yml").write_text(LIMITS, encoding="utf-8")
    (tmp_path / "tighter.yml").write_text(LIMITS + TIGHTER, encoding="utf-8")
    assert run("simulate", "story.jsonl", "--config", "limits.yml", "--store", "sqlite:///tallystick.db").exit_code == 0
    shown = run("whatif", "--config", "tighter.yml").stdout
    assert "10 of 30 agents would have been affected" in shown
    looser = run("whatif", "--config", "tighter.yml", "--total", "tokens=100").stdout
    assert "30 of 30 agents would have been affected" in looser
    assert "and 10 more: --json has all" in looser
    assert len(answer(run, "--config", "tighter.yml", "--total", "tokens=100")["agents"]) == 30


def test_it_reads_beside_a_writer_and_leaves_nothing_behind(run: Run, story: Path) -> None:
    writer = open_store("sqlite:///tallystick.db", writer=True)
    files = {path.name for path in story.iterdir()}
    before = list(writer.read())
    try:
        assert answer(run, "--config", "tighter.yml")["log"]["position"] == len(before)
        assert list(writer.read()) == before
        assert {path.name for path in story.iterdir()} == files
    finally:
        writer.close()


# --- mistakes --------------------------------------------------------------------------------------------------------


def test_a_bad_configuration_is_reported_by_file_and_line(run: Run, story: Path) -> None:
    (story / "bad.yml").write_text("total_budget: {tokens: 10}\nenforcement: {stop_att: 1}\n", encoding="utf-8")
    result = run("whatif", "--config", "bad.yml")
    assert result.exit_code == 2
    assert result.stderr.startswith("tallystick: bad.yml:2:15: enforcement.stop_att")
    assert "stop_at" in result.stderr
    assert run("whatif", "--prices", "missing.yml").exit_code == 2


@pytest.mark.parametrize(
    ("total", "words"),
    [
        ("tokens", "allowed is tokens=, time_seconds= or cost_usd= and an amount or none"),
        ("dollars=5", "allowed is tokens=, time_seconds= or cost_usd= and an amount or none"),
        ("tokens=many", "tokens: found 'many', allowed is a number, or none"),
        ("tokens=-1", "tokens: found -1, allowed is whole tokens, from 0 to 9223372036854775807, or none"),
        ("tokens=1.5", "tokens: found 1.5, allowed is whole tokens"),
        ("cost_usd=NaN", "cost_usd: found NaN, allowed is US dollars with at most 9 decimals"),
    ],
)
def test_a_total_that_is_none_is_reported_by_what_is_allowed(run: Run, story: Path, total: str, words: str) -> None:
    result = run("whatif", "--total", total)
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_dimension_is_named_once(run: Run, story: Path) -> None:
    result = run("whatif", "--total", "tokens=1", "--total", "tokens=2")
    assert result.exit_code == 2
    assert "found tokens twice, allowed is each dimension once" in result.stderr


def test_where_there_is_no_log_there_is_nothing_to_ask(run: Run, tmp_path: Path) -> None:
    assert "the file tallystick.db does not exist" in run("whatif").stderr
    open_store("sqlite:///tallystick.db", writer=True).close()
    result = run("whatif", "--total", "tokens=1")
    assert result.exit_code == 1
    assert "there is nothing to decide again at sqlite:///tallystick.db: its log is empty" in result.stderr


def test_a_broken_log_is_no_other_history(run: Run, story: Path) -> None:
    with sqlite3.connect("tallystick.db") as connection:
        connection.execute(
            "UPDATE stored_events SET state ="
            " CAST(replace(CAST(state AS TEXT), '\"tokens\":850', '\"tokens\":85') AS BLOB)"
        )
    connection.close()
    for args in ((), ("--config", "tighter.yml")):
        result = run("whatif", *args)
        assert result.exit_code == 1
        assert "the log is broken at position" in result.stderr
        assert "the digest does not match" in result.stderr


# --- tasks -----------------------------------------------------------------------------------------------------------

ONE_SLOT = LIMITS + "max_concurrent: {total: 1}\ntoken_budgets: {default: 200}\n"
TASKS = [
    message(0, type="SubmitTask", task="build", agent_type="coder", product="shop"),
    message(5, type="SubmitTask", task="docs", agent_type="coder", product="site"),
    message(20, type="CompleteTask", task="build", outcome="completed", usage={"tokens": 50}),
    message(50, type="CompleteTask", task="docs", outcome="completed", usage={"tokens": 30}),
]


@pytest.fixture
def tasks(run: Run, tmp_path: Path) -> Path:
    (tmp_path / "one.yml").write_text(ONE_SLOT, encoding="utf-8")
    (tmp_path / "two.yml").write_text(ONE_SLOT.replace("total: 1", "total: 2"), encoding="utf-8")
    (tmp_path / "tasks.jsonl").write_text(lines(TASKS), encoding="utf-8")
    result = run("simulate", "tasks.jsonl", "--config", "one.yml", "--store", "sqlite:///tallystick.db")
    assert result.exit_code == 0, result.stderr
    return tmp_path


def test_tasks_are_laid_side_by_side(run: Run, tasks: Path) -> None:
    told = answer(run, "--config", "two.yml")
    one, two = told["recorded"]["tasks"], told["what_if"]["tasks"]
    assert (one["completed"], two["completed"]) == (2, 2)
    assert (one["slot_utilization"], two["slot_utilization"]) == (1.0, 0.5)
    assert one["waits"]["by_product"]["site"] == {
        "started": 1,
        "still_waiting": 0,
        "average_minutes": 0.25,
        "longest_minutes": 0.25,
    }
    assert two["waits"]["longest_minutes"] == 0
    assert told["runs"] == {"moved": 1, "guessed": 0}
    assert told["recorded"]["breaker_trips"] == told["what_if"]["breaker_trips"] == 0
    assert told["saved"]["reports"] == 0
    assert any("takes its messages with it" in text for text in told["assumptions"])


def test_tasks_for_people(run: Run, tasks: Path) -> None:
    shown = run("whatif", "--config", "two.yml").stdout
    for words in (
        "tasks completed  2                     2",
        "slots in use     100.0 %               50.0 %",
        "waits: site      0.2 min, at most 0.2  0.0 min, at most 0.0",
        "docs was queued, total_concurrency: max 1 task already running",
        "docs was admitted on",
    ):
        assert words in shown


def test_without_tasks_nothing_is_said_of_them(run: Run, story: Path) -> None:
    shown = run("whatif", "--config", "tighter.yml").stdout
    assert "slots in use" not in shown
    assert "tasks" not in shown


def test_a_breaker_that_trips_only_here_is_reported_with_what_is_assumed_of_it(run: Run, story: Path) -> None:
    (story / "trips.yml").write_text(
        LIMITS + "circuit_breaker: {trip_conditions: ['tokens_daily > 900']}\n", encoding="utf-8"
    )
    told = answer(run, "--config", "trips.yml")
    assert (told["recorded"]["breaker_trips"], told["what_if"]["breaker_trips"]) == (0, 1)
    assert any("A breaker that trips only under the other policy is not reset" in text for text in told["assumptions"])
    assert "breaker trips" in run("whatif", "--config", "trips.yml").stdout
