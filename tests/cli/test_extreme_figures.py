"""Sums may exceed what one message may say: whatever was accepted, everything is answered and shown."""

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tallystick.config.loader import from_mapping
from tallystick.events.log.restoring import open_ledger
from tallystick.events.log.store import open_store
from tallystick.reports.reporter import Reporter
from tests.support.cli import Run
from tests.support.driving import simulated
from tests.support.examples import examples
from tests.support.extreme_life import CONFIG, QUERIES, Life, query_names

PAGES = (
    *(
        "status",
        "status --json",
        "forecast",
        "forecast --json",
        "report",
        "report --workflow w",
        "queue",
        "holds",
        "dashboard",
    ),
    *("cost", "cost --month", "cost --compare", "cost --json", "cost --month --json", "metrics", "holds --json"),
    *(f"cost --by {what}" for what in ("product", "model", "type", "agent")),
    *("audit verify", "audit replay --until 9", "audit explain 9", "audit export --format csv --out log.csv"),
    *("audit export --format jsonl --out log.jsonl", "audit export --format parquet --out log.parquet"),
    *("projections list", "projections rebuild", "config show", "whatif", "whatif --total tokens=9223372036854775807"),
    *("whatif --total tokens=none --json", "status --at 14"),
)
BROKEN = {"halted", "busy", "internal_error", "specialist_given_up", "report_failed", "no_reporter"}


def test_two_reports_of_more_than_one_message_may_say_are_reported_as_their_sum(run: Run) -> None:
    report = {"type": "ReportUsage", "agent": "w", "usage": {"cost_usd": 5_000_000_000}}
    asked = [report, report, {"type": "GenerateReport", "workflow": "w"}, {"type": "GetGlobalStatus"}]
    lines = [{"at": f"2026-03-04T12:00:0{second}Z", **one} for second, one in enumerate(asked)]
    Path("scenario.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    result = run("simulate", "scenario.jsonl", "--store", "sqlite:///tallystick.db")
    assert result.exit_code == 0, result.output
    replies = [json.loads(line).get("reply") for line in result.stdout.splitlines()]
    assert "$10,000,000,000.00" in run("report").output
    assert replies[2]["ok"]["summary"]["unallocated"]["cost_usd"] == "10000000000.00"
    assert replies[3]["ok"]["total_consumed"]["cost_usd"] == "10000000000.00"
    shown(run, *(page for page in PAGES if "--workflow" not in page))


def shown(run: Run, *pages: str) -> None:
    """Every page is shown, before and after the views are made anew."""
    for page in pages:
        result = run(*page.split())
        assert result.exit_code == 0, (page, result.output)


@pytest.mark.parametrize("seed", range(examples(6)))
def test_of_a_fleet_of_any_extremes_everything_is_answered_and_shown_also_after_a_restart(
    seed: int, run: Run, tmp_path: Path
) -> None:
    store = open_store(f"sqlite:///{tmp_path}/tallystick.db", writer=True)
    try:
        outcome = simulated(Life(Random(seed)).messages(60), from_mapping(CONFIG), store, reporter=Reporter)
    finally:
        store.close()
    check(outcome.replies)
    shown(run, *PAGES)
    store = open_store(f"sqlite:///{tmp_path}/tallystick.db", writer=True)
    try:
        assert open_ledger(store).ledger.position == outcome.ledger.position
        later = [(outcome.ledger.now, {**one, "id": f"again-{number}"}) for number, one in enumerate(QUERIES)]
        check(simulated(later, None, store, reporter=Reporter).replies)
    finally:
        store.close()


def check(replies: list[Any]) -> None:
    codes = {reply["error"]["code"] for reply in replies if "error" in reply}
    assert not codes & BROKEN, [reply for reply in replies if reply.get("error", {}).get("code") in BROKEN]


def test_every_query_is_asked() -> None:
    assert query_names() <= {query["type"] for query in QUERIES}
