"""``tallystick reconcile`` on the command line: a store, a fleet that runs, a server, agreement, and bad bills."""

import hashlib
import json
import shutil
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tallystick.cli.main import main
from tallystick.fleet import Fleet
from tests.support.bills import as_csv, openai, openrouter, report, seeded, written
from tests.support.cli import Run
from tests.support.serving import Served

KEY = "b" * 64


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run() -> Run:
    def run_it(*args: str) -> Result:
        result = CliRunner().invoke(main, args, prog_name="tallystick")
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run_it


@pytest.fixture(scope="module")
def _template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("billed")
    world = seeded(6, "openai", ("price", "never_reported", "never_billed"))
    written(folder, openrouter(world))
    with Fleet.open(f"sqlite:///{folder}/tallystick.db") as fleet:
        report(fleet, world.reported)
    return folder


@pytest.fixture
def bill(_template: Path, tmp_path: Path) -> str:
    """A bill with faults, of a fleet in the default store."""
    for name in ("tallystick.db", "bill.csv"):
        shutil.copy(_template / name, tmp_path)
    return str(tmp_path / "bill.csv")


def found(run: Run, *args: str) -> dict[str, Any]:
    result = run("reconcile", *args, "--json")
    assert result.exit_code == 0, result.stderr
    told: dict[str, Any] = json.loads(result.stdout)
    return told


def differs(told: dict[str, Any]) -> bool:
    return any(one["status"] != "matched" for one in told["sums"])


def test_it_says_what_differs_and_why_and_changes_nothing(run: Run, bill: str) -> None:
    result = run("reconcile", "--bill", bill)
    assert result.exit_code == 0, result.stderr
    for text in (
        "price: 1.300 times what was reported",
        "never reported",
        "never billed",
        "With --apply: 2 corrections",
    ):
        assert text in result.stdout
    told = found(run, "--bill", bill)
    assert differs(told)
    assert told["coverage"] == 1.0
    assert {message["type"] for message in told["to_do"]} == {"CorrectUsage", "ReportUsage", "RecordReconciliation"}
    assert told["applied"] is None


def test_applied_twice_it_changes_nothing_the_second_time_and_everything_matches(run: Run, bill: str) -> None:
    told = found(run, "--bill", bill, "--apply", "--yes")
    assert told["applied"] == len(told["to_do"]) == 4
    again = found(run, "--bill", bill, "--apply", "--yes")
    assert not differs(again)
    assert (again["to_do"], again["applied"]) == ([], None)
    metrics = json.loads(run("metrics", "--json").stdout)
    assert metrics["coverage"] == 1.0
    assert metrics["bills"]["openrouter"]["reported"] == told["reported"] < 1.0
    assert "decided again" in run("audit", "verify").stdout


def test_every_change_says_of_which_bill_it_is_and_why(run: Run, bill: str) -> None:
    digest = hashlib.sha256(Path(bill).read_bytes()).hexdigest()
    for message in found(run, "--bill", bill)["to_do"]:
        if message["type"] == "CorrectUsage":
            assert digest[:12] in message["reason"]
            assert "price: " in message["reason"] or "never_billed" in message["reason"]


def test_without_a_terminal_it_must_have_been_agreed(run: Run, bill: str) -> None:
    result = run("reconcile", "--bill", bill, "--apply")
    assert result.exit_code == 2
    assert "--yes says that a person agreed" in result.stderr
    assert "--yes is for --apply" in run("reconcile", "--bill", bill, "--yes").stderr
    assert differs(found(run, "--bill", bill))


def test_where_the_fleet_has_an_operators_key_it_is_needed(
    run: Run, bill: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key.yml").write_text(
        f'control: {{operator_key: "sha256:{hashlib.sha256(KEY.encode()).hexdigest()}"}}\n', encoding="utf-8"
    )
    assert run("send", '{"type": "GetGlobalStatus"}', "--config", "key.yml").exit_code == 0
    refused = run("reconcile", "--bill", bill, "--apply", "--yes")
    assert refused.exit_code == 1
    assert "operator_key_needed" in refused.stderr
    monkeypatch.setenv("TALLYSTICK_OPERATOR_KEY", KEY)
    assert run("reconcile", "--bill", bill, "--apply", "--yes").exit_code == 0
    assert not differs(found(run, "--bill", bill))


@pytest.mark.skipif(sys.platform == "win32", reason="there are no Unix sockets")
def test_a_fleet_that_runs_is_asked_over_its_socket(run: Run, bill: str, tmp_path: Path) -> None:
    with Fleet.open(f"sqlite:///{tmp_path}/tallystick.db") as fleet:
        assert run("reconcile", "--bill", bill, "--apply", "--yes").exit_code == 0
        bills = fleet.ask({"type": "GetGlobalStatus"})["ok"]["bills"]
        assert bills["openrouter"]["coverage"] == 1.0
        assert not differs(found(run, "--bill", bill))


def test_a_server_is_asked_in_place_of_a_store_and_shows_the_coverage(
    run: Run, bill: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    server = Served(tmp_path, store=f"sqlite:///{tmp_path}/tallystick.db")
    try:
        told = found(run, "--bill", bill, "--url", server.url, "--apply", "--yes")
        assert told["applied"] == 4
        assert not differs(found(run, "--bill", bill, "--url", server.url))
        with closing(server.client()) as client:
            text = client.call("GET", "/metrics").body.decode()
        assert 'tallystick_bill_coverage_ratio{provider="openrouter"} 1.0' in text
        assert f'tallystick_bill_reported_ratio{{provider="openrouter"}} {told["reported"]}' in text
    finally:
        assert server.stop() == 0


def test_usage_alone_is_priced_by_the_list_in_force(run: Run, tmp_path: Path) -> None:
    world = seeded(6, "openai", ("never_reported",), by_sums=True)
    usage, _ = written(tmp_path, openai(world))
    with Fleet.open(f"sqlite:///{tmp_path}/tallystick.db") as fleet:
        report(fleet, world.reported)
    told = found(run, "--bill", str(usage), "--apply", "--yes")
    [missing] = [call for call in world.billed if call not in world.reported]
    [booking] = [one for one in told["to_do"] if one["type"] == "ReportUsage"]
    assert booking["input_tokens"] == missing.parts.input
    assert round(float(booking["usage"]["cost_usd"]) * 1e9) == missing.cost
    assert not differs(found(run, "--bill", str(usage)))


PAGE = {"object": "page", "data": [{"start_time": 1_772_582_400, "end_time": 1_772_668_800, "results": []}]}
ROW = {"generation_id": "g", "created_at": "2026-03-04 09:30:00", "cost_total": "0.1", "tokens_prompt": "1"}
ROW |= {"tokens_completion": "1", "tokens_reasoning": "0", "tokens_cached": "0", "model_permaslug": "m"}
FOCUS = {"BilledCost": "1", "ChargePeriodStart": "2026-03-04T00:00:00Z", "ChargePeriodEnd": "2026-03-05T00:00:00Z"}


def with_results(**result: object) -> str:
    return json.dumps({**PAGE, "data": [{**PAGE["data"][0], "results": [result]}]})  # type: ignore[dict-item, index]


BAD = {
    "nothing": ("", "found nothing, allowed is a bill in one of anthropic, openai, openrouter, litellm, focus"),
    "another file": ('{"some": "thing"}', "found the fields some, allowed are those of anthropic"),
    "no bill of usage": (json.dumps(PAGE), "found no line that bills usage"),
    "a price that is none": (as_csv([{**ROW, "cost_total": "free"}]), "cost_total: found 'free', allowed is a number"),
    "tokens that are none": (
        as_csv([{**ROW, "tokens_prompt": "1.5"}]),
        "tokens_prompt: found '1.5', allowed is a whole",
    ),
    "a time that is none": (as_csv([{**ROW, "created_at": "yesterday"}]), "created_at: found 'yesterday', allowed is"),
    "another currency": (with_results(amount={"value": 1, "currency": "eur"}), "found EUR, allowed is USD"),
    "an amount beyond all": (as_csv([{**ROW, "cost_total": "1e30"}]), "allowed are up to 9223372036.854775807"),
    "a span that ends before it began": (
        as_csv([{**FOCUS, "ChargePeriodEnd": "2026-03-03T00:00:00Z"}]),
        "ChargePeriodEnd: found '2026-03-03T00:00:00Z', allowed is a time after ChargePeriodStart",
    ),
    "a cost in FOCUS that is none": (as_csv([{**FOCUS, "BilledCost": "one"}]), "BilledCost: found 'one', allowed is"),
    "what has not begun": (
        as_csv([{**FOCUS, "ChargePeriodStart": "9999-12-30T00:00:00Z", "ChargePeriodEnd": "9999-12-31T23:59:59Z"}]),
        "found a span that begins at 9999-12-30T00:00+00:00, allowed are those that have begun",
    ),
    "JSON that is cut off": (with_results(output_tokens=1)[:-9], "bad"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bill_that_cannot_be_read_is_an_error_that_says_where_and_nothing_is_done(
    run: Run, bill: str, tmp_path: Path, case: str
) -> None:
    text, says = BAD[case]
    log = Path("tallystick.db").read_bytes()
    (tmp_path / "bad").write_text(text, encoding="utf-8", newline="")
    result = run("reconcile", "--bill", "bad", "--apply", "--yes")
    assert result.exit_code == 1
    assert says in result.stderr
    assert Path("tallystick.db").read_bytes() == log


def test_credits_and_taxes_are_no_usage_and_are_named(run: Run, tmp_path: Path) -> None:
    rows = [
        {**FOCUS, "BilledCost": "0.5", "ChargeCategory": "Usage", "SkuId": "m"},
        {**FOCUS, "BilledCost": "0.04", "ChargeCategory": "Tax", "SkuId": ""},
        {**FOCUS, "BilledCost": "-0.1", "ChargeCategory": "Credit", "SkuId": ""},
    ]
    (tmp_path / "bill.csv").write_text(as_csv(rows), encoding="utf-8", newline="")
    with Fleet.open(f"sqlite:///{tmp_path}/tallystick.db") as fleet:
        used = {"usage": {"tokens": 5, "cost_usd": "0.5"}, "occurred_at": "2026-03-04T10:00:00Z"}
        fleet.ask({"type": "ReportUsage", "agent": "a", "model": "m", **used})
    told = found(run, "--bill", "bill.csv")
    assert told["not_usage"] == {"Tax": "0.04", "Credit": "-0.10"}
    assert (told["billed_usd"], differs(told)) == ("0.50", False)


LONG = "x" * 100_000
KINDS = [
    {**FOCUS, "BilledCost": "1", "SkuId": f"{n}{LONG[:900]}", "ChargeCategory": f"{n}{LONG[:900]}"} for n in range(300)
]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("no-format.csv", f"{LONG}\n1\n"),
        ("no-format.json", json.dumps({LONG: 1})),
        ("currency.json", with_results(amount={"value": 1, "currency": LONG}, line_item="gpt-5, input")),
        ("currency.csv", as_csv([{**FOCUS, "BillingCurrency": LONG, "SkuId": "m"}])),
        ("kinds.csv", as_csv([*KINDS, {**FOCUS, "SkuId": "m"}])),
    ],
)
def test_however_much_a_bill_says_a_screen_has_little_of_it(run: Run, tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    run("send", '{"type": "ReportUsage", "agent": "ann", "model": "m", "usage": {"tokens": 1}}')
    result = run("reconcile", "--bill", name)
    assert len(result.stdout) + len(result.stderr) < 10_000


def test_a_bill_of_which_nothing_differs_says_so_and_that_it_is_on_record_afterwards(run: Run, tmp_path: Path) -> None:
    world = seeded(6, "openai", ())
    written(tmp_path, openrouter(world))
    with Fleet.open(f"sqlite:///{tmp_path}/tallystick.db") as fleet:
        report(fleet, world.reported)
    text = run("reconcile", "--bill", "bill.csv").stdout
    assert "agents had reported 100.00 %" in text
    assert "With --apply: nothing to correct or to book." in text
    run("reconcile", "--bill", "bill.csv", "--apply", "--yes")
    assert "the books have 100.00 %" in run("reconcile", "--bill", "bill.csv").stdout


def test_reports_that_cannot_be_corrected_are_named_and_left(run: Run, tmp_path: Path) -> None:
    """What a delegated account has used is corrected in the fleet of that account."""
    rows = [{**FOCUS, "BilledCost": "0.4", "ChargeCategory": "Usage", "SkuId": "m"}]
    (tmp_path / "bill.csv").write_text(as_csv(rows), encoding="utf-8", newline="")
    with Fleet.open(f"sqlite:///{tmp_path}/tallystick.db") as fleet:
        fleet.ask({"type": "SetTotalBudget", "budget": {"cost_usd": 10}})
        opened = {
            "type": "AllocateBudget",
            "agent": "a",
            "budget": {"cost_usd": "0.1"},
            "overdraft_max": {"cost_usd": 0},
        }
        assert "ok" in fleet.ask(opened)
        for cost in ("0.2", "0.3"):
            used = {"usage": {"tokens": 5, "cost_usd": cost}, "occurred_at": "2026-03-04T10:00:00Z"}
            assert "ok" in fleet.ask({"type": "ReportUsage", "agent": "a", "model": "m", **used})
    told = found(run, "--bill", "bill.csv")
    assert differs(told)


ODD = {
    "long names": {"SkuId": "m" * 300, "x_Agent": "a" * 300, "ProviderName": "p" * 300},
    "names of the fleet": {"SkuId": "m", "x_Agent": "pool"},
    "names that are no text": {"SkuId": " \u200bm\u202e ", "x_Agent": "\x07", "ProviderName": "a\nb"},
    "names of other tables": {"SkuId": "m'; DROP TABLE billed; --", "x_Agent": '"'},
    "a month": {"ChargePeriodStart": "2026-02-01T00:00:00Z", "ChargePeriodEnd": "2026-03-01T00:00:00Z", "SkuId": "m"},
    "no model": {"SkuId": "", "ChargeDescription": "web searches"},
    "parts of a nano-dollar": {"BilledCost": "0.0000000014", "SkuId": "m"},
}


@pytest.mark.parametrize("case", ODD)
def test_whatever_a_bill_says_can_be_applied_once_and_matches_then(run: Run, tmp_path: Path, case: str) -> None:
    row = {**FOCUS, "ChargeCategory": "Usage", "ConsumedQuantity": "70", "ConsumedUnit": "Tokens", "x_Agent": ""}
    (tmp_path / "bill.csv").write_text(as_csv([{**row, **ODD[case]}]), encoding="utf-8", newline="")
    with Fleet.open(f"sqlite:///{tmp_path}/tallystick.db") as fleet:
        fleet.ask({"type": "ReportUsage", "agent": "a", "model": "other", "usage": {"tokens": 1}})
    told = found(run, "--bill", "bill.csv", "--apply", "--yes")
    assert (told["applied"], told["sums"][0]["status"]) == (2, "billed_not_reported")
    again = found(run, "--bill", "bill.csv", "--apply", "--yes")
    assert (again["applied"], differs(again)) == (None, False)


def test_sums_beyond_all_are_an_error_and_no_traceback(run: Run, tmp_path: Path) -> None:
    rows = [{**FOCUS, "BilledCost": "9223372036", "SkuId": "m"} for _ in range(3)]
    (tmp_path / "bill.csv").write_text(as_csv(rows), encoding="utf-8", newline="")
    with Fleet.open(f"sqlite:///{tmp_path}/tallystick.db") as fleet:
        fleet.ask({"type": "ReportUsage", "agent": "a", "model": "other", "usage": {"tokens": 1}})
    result = run("reconcile", "--bill", "bill.csv")
    assert result.exit_code == 1
    assert "cannot be added up" in result.stderr


def test_an_agent_that_fell_short_in_earlier_bills_does_so_again_and_again(run: Run, bill: str, tmp_path: Path) -> None:
    [short] = found(run, "--bill", bill)["short"]
    assert (short["bills_before"], short["again"]) == (0, False)
    for number in (1, 2):
        kept = {"bill": f"b-{number}", "provider": "openrouter", "first_day": "2026-09-01", "last_day": "2026-09-30"}
        kept |= {"billed_usd": 1, "explained_usd": 1, "reported_usd": 0, "short": [short["agent"]]}  # type: ignore[dict-item]
        assert run("send", json.dumps({"type": "RecordReconciliation", **kept})).exit_code == 0
    [short] = found(run, "--bill", bill)["short"]
    assert (short["bills_before"], short["again"]) == (2, True)
    assert "and in 2 earlier bills, again and again" in run("reconcile", "--bill", bill).stdout
