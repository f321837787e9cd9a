"""`tallystick demo`: what it prints, to whom, and that it leaves a store that the other commands read."""

import csv
import gzip
import json
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tallystick.cli.main import main
from tallystick.demo.trace import COLUMNS
from tests.support.examples import THOROUGH

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "agents-swebench-gemini3-public.csv.gz"
LINES = [",".join(COLUMNS), *(f"run-{i % 3},x,shop,{i // 3},{i},2,m,{100 * i},10,0,0.00{i}" for i in range(1, 10))]


@pytest.fixture(autouse=True)
def _own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    file = tmp_path / "trace.csv"
    file.write_text("\n".join(LINES), encoding="utf-8")
    return file


def demo(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["demo", *map(str, arguments)])


def test_json_is_all_that_is_printed_for_machines(trace: Path, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'fleet.db'}"
    result = demo("--trace", trace, "--json", "--store", store)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    summary = json.loads(result.stdout)
    assert "each twelfth run was made critical" in summary["workload"].pop("note")
    assert summary["workload"] == {
        "title": "the 3 runs of trace.csv",
        "runs": 3,
        "steps": 9,
        "needs": {"tokens": 4590, "time_seconds": 18, "cost_usd": "0.045"},
    }
    assert sum(summary["runs"].values()) == 3
    assert summary["fleet"]["total"] == {"tokens": 4131, "cost_usd": "0.0405"}
    assert summary["proof"]["accounted_for"] is True
    assert summary["proof"]["reported"] == summary["proof"]["recorded"] == summary["proof"]["ledger"]
    assert summary["store"] == store
    assert set(summary["quality"]) == {"utilization", "fairness", "jain"}
    assert len(summary["try_next"]) == 3


def test_what_it_suggests_works(trace: Path, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'fleet.db'}"
    summary = json.loads(demo("--trace", trace, "--json", "--store", store).stdout)
    for command in summary["try_next"]:
        result = CliRunner().invoke(main, command.split()[1:])
        assert result.exit_code == 0, f"{command}: {result.output}"


def test_in_a_pipe_there_are_lines_without_colours_and_the_store_is_reported(trace: Path) -> None:
    result = demo("--trace", trace)
    assert result.exit_code == 0, result.output
    assert "\x1b" not in result.stdout
    assert result.stdout.startswith("through the real manager, on sqlite:///")
    assert "the 3 runs of trace.csv, 9 steps\n" in result.stdout
    assert "All accounted for." in result.stdout
    assert "tallystick audit verify --store sqlite:///" in result.stdout


def test_limits_of_ones_own_take_the_place_of_the_small_budget(trace: Path, tmp_path: Path) -> None:
    limits = tmp_path / "limits.yml"
    limits.write_text("total_budget: {tokens: 1000000}\nemergency_reserve_percent: 20\n", encoding="utf-8")
    summary = json.loads(demo("--trace", trace, "--limits", limits, "--json", "--store", "memory:").stdout)
    assert summary["fleet"]["total"] == {"tokens": 1_000_000}
    assert summary["fleet"]["reserve"] == {"tokens": 200_000}
    assert summary["too_small_for"] == []


def test_a_fleet_that_is_there_already_is_left_alone(trace: Path, tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'fleet.db'}"
    assert demo("--trace", trace, "--json", "--store", store).exit_code == 0
    result = demo("--trace", trace, "--json", "--store", store)
    assert result.exit_code == 2
    assert "holds a fleet already" in result.stderr


@pytest.mark.parametrize("speed", ["fast", "0", "-1", "nan", "1e9"])
def test_a_speed_that_is_none_is_refused(speed: str) -> None:
    result = demo(f"--speed={speed}")
    assert result.exit_code == 2
    assert "is neither max nor a number" in result.stderr


def test_a_bad_trace_is_refused_with_its_place(tmp_path: Path) -> None:
    file = tmp_path / "bad.csv"
    file.write_text(f"{LINES[0]}\n{LINES[1]}\nrun-1,x,shop,2,3,2,m,many,1,0,0.1\n", encoding="utf-8")
    result = demo("--trace", file)
    assert result.exit_code == 2
    assert "bad.csv, line 3, column input_tokens: found many" in result.stderr


def test_limits_that_are_not_understood_are_refused_with_their_place(trace: Path, tmp_path: Path) -> None:
    limits = tmp_path / "limits.yml"
    limits.write_text("total_budgett: {tokens: 5}\n", encoding="utf-8")
    result = demo("--trace", trace, "--limits", limits)
    assert result.exit_code == 2
    assert "total_budget" in result.stderr


def test_a_watched_demonstration_draws_screens_of_the_terminals_size(
    trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    result = demo("--trace", trace, "--speed", "max")
    assert result.exit_code == 0, result.output
    assert "\x1b" in result.stdout
    assert "what happens" in result.stdout


@pytest.mark.skipif(not REAL.is_file(), reason="the public traces are not on this machine")
def test_the_real_runs_are_budgeted_end_to_end(tmp_path: Path) -> None:
    """All of them in a thorough run, else the first 80."""
    store = f"sqlite:///{tmp_path / 'fleet.db'}"
    with gzip.open(REAL, "rt", encoding="utf-8") as packed:
        rows = list(csv.DictReader(packed))
    runs = list(dict.fromkeys(row["run_id"] for row in rows))[: None if THOROUGH else 80]
    steps = [row for row in rows if row["run_id"] in set(runs)]
    needs = sum(int(row["input_tokens"]) + int(row["output_tokens"]) for row in steps)
    trace = tmp_path / "runs.csv"
    with trace.open("w", encoding="utf-8", newline="") as file:
        written = csv.DictWriter(file, list(rows[0]))
        written.writeheader()
        written.writerows(steps)
    result = demo("--trace", trace, "--speed", "max", "--json", "--store", store)
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert (summary["workload"]["runs"], summary["workload"]["steps"]) == (len(runs), len(steps))
    assert summary["workload"]["needs"]["tokens"] == needs
    assert summary["runs"]["running"] == 0
    assert summary["runs"]["finished"] > 0.7 * len(runs)
    assert summary["too_small_for"]
    assert summary["proof"]["accounted_for"] is True
    assert summary["consumed_of_spendable"]["cost_usd"] > 0.95
