"""The export as FOCUS: its columns, exact sums, the same bytes each time, and the published validator's word on it."""

import csv
import io
import json
import os
import subprocess
import sys
import tracemalloc
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner, Result

from tallystick.cli.main import main
from tallystick.config.amounts import Amounts
from tallystick.fleet import Fleet
from tallystick.projections.reports.focus import COLUMNS, OF_1_0, OF_1_3, as_csv, row_of
from tallystick.projections.views.breakdown import CellRow
from tests.support.bills import report, true_usage

PROJECT = Path(__file__).parents[2]
VALIDATOR = PROJECT / ".venv-focus"
"""The environment in which .ci/run installs the validator: it has pins of its own."""
STAMP = "2026-03-04T12:00"


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*args: str) -> Result:
    result = CliRunner().invoke(main, args, prog_name="tallystick")
    assert result.exit_code == 0, result.stderr
    return result


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.fixture
def used(tmp_path: Path) -> None:
    """A fleet with usage of two providers, corrected usage, usage without a model, labels and products."""
    with Fleet.open(f"sqlite:///{tmp_path}/tallystick.db") as fleet:
        fleet.ask(
            {"type": "AllocateBudget", "agent": "ann", "product": "shop", "agent_type": "qa", "budget": {"tokens": 9}}
        )
        for provider in ("openai", "anthropic"):
            report(fleet, true_usage(Random(1), provider, days=2, calls=1), with_ids=False)
        fleet.ask({"type": "ReportUsage", "agent": "ann", "usage": {"cost_usd": "0.000000001"}})
        odd = {"labels": {"team": 'the "best", of\nall'}, "model": "no-such", "usage": {"tokens": 3, "cost_usd": 1}}
        position = fleet.store.last().position  # type: ignore[union-attr]
        fleet.ask({"type": "ReportUsage", "agent": "bob", **odd})
        fleet.ask({"type": "CorrectUsage", "position": position, "usage": {"cost_usd": "0.5"}, "reason": "a test"})


@pytest.mark.usefixtures("used")
def test_the_sum_is_that_of_the_costs_to_the_nano_dollar() -> None:
    exported = rows(run("export", "focus").stdout)
    lines = json.loads(run("cost", "--by", "agent", "--since", "2000-01-01", "--json").stdout)
    for name in ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost"):
        assert sum(Decimal(row[name]) for row in exported) == sum(Decimal(line["cost_usd"]) for line in lines)
    tokens = sum(Decimal(row["ConsumedQuantity"]) for row in exported)
    assert tokens == sum(line["tokens_used"] for line in lines)


@pytest.mark.usefixtures("used")
def test_it_has_all_columns_of_1_0_and_those_of_1_3_beside_them() -> None:
    text = run("export", "focus").stdout
    assert tuple(next(csv.reader(io.StringIO(text)))) == COLUMNS
    assert len(set(COLUMNS)) == len(COLUMNS)
    assert {*OF_1_0, *OF_1_3} < set(COLUMNS)
    for row in rows(text):
        assert row["ServiceProviderName"] == row["ProviderName"] == row["Provider"] != ""
        assert row["ResourceId"] == row["ResourceID"] == row["x_Agent"]


@pytest.mark.usefixtures("used")
def test_the_same_log_gives_the_same_bytes_and_days_can_be_chosen() -> None:
    everything = run("export", "focus").stdout_bytes
    run("export", "focus", "--out", "costs.csv")
    assert Path("costs.csv").read_bytes() == everything
    run("projections", "rebuild")
    assert run("export", "focus").stdout_bytes == everything
    day = rows(run("export", "focus", "--since", "2026-10-06", "--until", "2026-10-06").stdout)
    assert {row["ChargePeriodStart"][:10] for row in day} == {"2026-10-06"}
    assert rows(run("export", "focus", "--at", "1").stdout) == []


@pytest.mark.usefixtures("used")
def test_it_is_a_bill_with_which_the_fleet_agrees() -> None:
    run("export", "focus", "--out", "costs.csv")
    told = json.loads(run("reconcile", "--bill", "costs.csv", "--json").stdout)
    assert [(one["status"], one["cause"]) for one in told["sums"]] == [("matched", None)]


def test_a_cell_says_whose_it_is_and_leaves_out_what_is_not_known() -> None:
    cell = CellRow(date="2026-03-04", hour=STAMP, agent="ann", used=Amounts(5, None, 12), reports=2)
    row = row_of(cell, lambda _: None)
    assert (row["BilledCost"], row["ConsumedQuantity"], row["ConsumedUnit"]) == ("0.000000012", "5.0", "Tokens")
    assert (row["ChargePeriodStart"], row["ChargePeriodEnd"]) == ("2026-03-04T12:00:00Z", "2026-03-04T13:00:00Z")
    assert (row["BillingPeriodStart"], row["BillingPeriodEnd"]) == ("2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z")
    assert (row["ProviderName"], row["ChargeDescription"]) == ("unknown", "usage without a model")
    assert not {"SkuId", "SubAccountId", "ChargeClass"} & set(row)


def test_what_a_correction_made_negative_is_a_correction() -> None:
    row = row_of(CellRow(date="2026-12-04", hour="2026-12-31T23:00", agent="a", used=Amounts(-5, None, -12)), str)
    assert (row["BilledCost"], row["ConsumedQuantity"], row["ChargeClass"]) == ("-0.000000012", "-5.0", "Correction")
    assert row["BillingPeriodEnd"] == "2027-01-01T00:00:00Z"


def test_memory_does_not_grow_with_what_is_exported() -> None:
    def peak(count: int) -> int:
        cells = (
            CellRow(date="2026-03-04", hour=STAMP, agent=f"a-{n}", model="m", used=Amounts(1)) for n in range(count)
        )
        tracemalloc.start()
        for _ in as_csv(cells, str):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(500)
    assert peak(2_000) < 1.5 * peak(500)


@pytest.mark.usefixtures("used")
def test_the_published_validator_accepts_it(tmp_path: Path) -> None:
    folder = next(VALIDATOR.glob("lib/python*/site-packages"), None)
    if folder is None:
        why = "focus-validator is not installed: .ci/run says how, into an environment of its own"
        if os.environ.get("CI") and sys.version_info < (3, 13):
            pytest.fail(why)
        pytest.skip(why)
    run("export", "focus", "--out", "costs.csv")
    # It looks for its list of currencies below the folder in which it is called.
    done = subprocess.run(
        [VALIDATOR / "bin" / "focus-validator", "--data-file", tmp_path / "costs.csv", "--validate-version", "1.0"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Validation succeeded." in done.stdout, done.stdout + done.stderr
