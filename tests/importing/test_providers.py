"""What providers and gateways say: rows of calls, and sums of hours and days."""

import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tallystick.demo.trace import COLUMNS
from tallystick.importing import anthropic, litellm, openai, openrouter, trace
from tallystick.importing.files import Opened
from tallystick.importing.notes import Notes
from tallystick.importing.staging import Staging
from tallystick.importing.used import Used, report_of
from tests.support.usage_files import brought_together

NOW = datetime(2026, 11, 29, 9, tzinfo=UTC)


def found(kind: str, *files: Path, notes: Notes | None = None, begins: datetime | None = None) -> list[Used]:
    notes = notes or Notes()
    with Staging(notes) as staging:
        readers: dict[str, Any] = {
            "openai": lambda file: openai.read(file, NOW),
            "anthropic": lambda file: anthropic.read(file, NOW),
            "openrouter": openrouter.read,
            "litellm": litellm.read,
            "trace": lambda file: trace.read(file, begins, staging.nth),
        }
        read: Iterator[Used] = (used for file in files for used in readers[kind](Opened(file, notes)))
        return brought_together(read, notes)


def as_json(tmp_path: Path, value: Any, name: str = "export.json") -> Path:
    (tmp_path / name).write_text(json.dumps(value, indent=2), encoding="utf-8")
    return tmp_path / name


def as_csv(tmp_path: Path, rows: list[dict[str, Any]], name: str = "export.csv") -> Path:
    with (tmp_path / name).open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return tmp_path / name


# --- OpenAI ----------------------------------------------------------------------------------------------------------

USAGE = {
    "object": "organization.usage.completions.result", "input_tokens": 5000, "output_tokens": 700,
    "input_cached_tokens": 4000, "input_audio_tokens": 0, "output_audio_tokens": 0, "num_model_requests": 9,
    "project_id": "proj_1", "user_id": None, "api_key_id": "key_1", "model": "gpt-4o-2024-08-06", "batch": False,
    "service_tier": None,
}  # fmt: skip
COST = {
    "object": "organization.costs.result", "amount": {"value": 0.06, "currency": "usd"}, "line_item": "gpt-4o, input",
    "project_id": "proj_1", "organization_id": "org_1",
}  # fmt: skip
DAY = {"object": "bucket", "start_time": 1793491200, "end_time": 1793577600}


def page(*results: Any, **bucket: Any) -> dict[str, Any]:
    return {
        "object": "page",
        "data": [{**DAY, "results": list(results), **bucket}],
        "has_more": False,
        "next_page": None,
    }


def test_openai_counts_cached_input_within_the_input(tmp_path: Path) -> None:
    (used,) = found("openai", as_json(tmp_path, page(USAGE)))
    assert (used.tokens, used.requests, used.model) == (5700, 9, "gpt-4o-2024-08-06")
    assert (used.counts["input_tokens"], used.counts["cached_tokens"]) == (5000, 4000)
    assert used.agent == "openai/proj_1"
    assert used.labels == {"project": "proj_1", "key": "key_1"}
    assert used.at.isoformat() == "2026-11-01T12:00:00+00:00", "the day of the provider, in most time zones"


def test_a_bucket_that_has_grown_is_the_same_and_its_largest_figure_counts(tmp_path: Path) -> None:
    early = as_json(tmp_path, page({**USAGE, "input_tokens": 4100}), "early.json")
    late = as_json(tmp_path, page(USAGE), "late.json")
    for order in ((early, late), (late, early)):
        assert [used.tokens for used in found("openai", *order)] == [5700]


@pytest.mark.parametrize("other", ["project_id", "user_id", "api_key_id", "model", "service_tier"])
def test_what_an_export_is_grouped_by_tells_sums_apart(tmp_path: Path, other: str) -> None:
    assert len(found("openai", as_json(tmp_path, page(USAGE, {**USAGE, other: "another"})))) == 2


def test_costs_are_taken_in_the_currency_of_the_bill(tmp_path: Path) -> None:
    euros = {**COST, "amount": {"value": 1.5, "currency": "eur"}}
    first, second = found("openai", as_json(tmp_path, page(COST, euros)))
    assert {(used.cost, used.currency) for used in (first, second)} == {
        (Decimal("0.06"), "USD"),
        (Decimal("1.5"), "EUR"),
    }
    report = report_of(second if second.currency == "EUR" else first, "m-1", None, {"EUR": Decimal("1.08")})
    assert report.usage is not None
    assert report.usage.cost_usd == Decimal("1.62")
    assert report.labels == {"project": "proj_1", "currency": "EUR", "rate": "1.08"}
    assert report.operation == "gpt-4o, input"


def test_costs_may_be_rows_of_csv(tmp_path: Path) -> None:
    cost = {"amount_value": "0.06", "amount_currency": "usd", "line_item": "gpt-4o, input", "project_id": "proj_1"}
    (row,) = found("openai", as_csv(tmp_path, [{**DAY, **cost}]))
    (same,) = found("openai", as_json(tmp_path, page(COST)))
    assert (row.source, row.cost) == (same.source, same.cost)


def test_pages_may_follow_one_another_and_rows_may_be_csv(tmp_path: Path) -> None:
    text = "\n".join(json.dumps(page(USAGE, start_time=1793491200 + n, end_time=1793577600 + n)) for n in range(3))
    (tmp_path / "pages.jsonl").write_text(text)
    assert len(found("openai", tmp_path / "pages.jsonl")) == 3
    rows = as_csv(tmp_path, [{**DAY, **USAGE}])
    assert [used.source for used in found("openai", rows)] == [used.source for used in found(
        "openai", as_json(tmp_path, page(USAGE)))]  # fmt: skip


def test_a_bucket_without_tokens_is_left_out_and_one_that_goes_on_is_of_now(tmp_path: Path) -> None:
    notes = Notes()
    images = {"object": "organization.usage.images.result", "images": 3, "num_model_requests": 3}
    today = int(NOW.replace(hour=0).timestamp())
    (used,) = found(
        "openai", as_json(tmp_path, page(images, USAGE, start_time=today, end_time=today + 86400)), notes=notes
    )
    assert used.at == NOW
    assert notes.dropped == {"of no use": 1}


def test_a_file_of_something_else_is_said(tmp_path: Path) -> None:
    for text in ('{"error": {"message": "no"}}', "a,b\n1,2\n", "", "[1, 2]"):
        notes = Notes()
        (tmp_path / "x.json").write_text(text)
        assert found("openai", tmp_path / "x.json", notes=notes) == []
        assert notes.unreadable == {"": 0, "[1, 2]": 2}.get(text, 1)


# --- Anthropic -------------------------------------------------------------------------------------------------------

CLAUDE = {
    "uncached_input_tokens": 1500,
    "cache_creation": {"ephemeral_1h_input_tokens": 1000, "ephemeral_5m_input_tokens": 500},
    "cache_read_input_tokens": 200, "output_tokens": 500, "server_tool_use": {"web_search_requests": 10},
    "api_key_id": "apikey_1", "workspace_id": "wrkspc_1", "model": "claude-sonnet-4-5-20250929",
    "service_tier": "standard", "context_window": "0-200k",
}  # fmt: skip
CENTS = {"currency": "USD", "amount": "123.78912", "workspace_id": "wrkspc_1", "description": "Sonnet - Input Tokens",
         "cost_type": "tokens", "model": "claude-sonnet-4-5-20250929"}  # fmt: skip
HOUR = {"starting_at": "2026-11-01T10:00:00Z", "ending_at": "2026-11-01T11:00:00Z"}


def claude_page(*results: Any) -> dict[str, Any]:
    return {"data": [{**HOUR, "results": list(results)}], "has_more": True, "next_page": "page_2"}


def test_anthropic_counts_cached_input_beside_the_input(tmp_path: Path) -> None:
    (used,) = found("anthropic", as_json(tmp_path, claude_page(CLAUDE)))
    assert used.tokens == 3700
    usage = used.counts["provider_usage"]
    assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]) == (
        1500, 200, 1500,
    )  # fmt: skip
    assert usage["cache_creation"]["ephemeral_1h_input_tokens"] == 1000
    assert used.agent == "anthropic/wrkspc_1"


def test_amounts_of_anthropic_are_texts_in_fractions_of_cents(tmp_path: Path) -> None:
    (used,) = found("anthropic", as_json(tmp_path, claude_page(CENTS)))
    assert used.cost == Decimal("1.2378912")
    assert (used.tokens, used.operation) == (0, "Sonnet - Input Tokens")


def test_an_amount_below_zero_is_named(tmp_path: Path) -> None:
    notes = Notes()
    assert found("anthropic", as_json(tmp_path, claude_page({**CENTS, "amount": "-5"})), notes=notes) == []
    assert "amount: found '-5', allowed is an amount, not negative" in notes.problems[0]


# --- OpenRouter ------------------------------------------------------------------------------------------------------

GENERATION = {
    "generation_id": "gen-1", "created_at": "2026-11-01 10:00:00.123", "cost_total": "0.000123456789",
    "tokens_prompt": "1000", "tokens_completion": "50", "tokens_reasoning": "20", "tokens_cached": "800",
    "model_permaslug": "anthropic/claude-4-sonnet-20250522", "provider_name": "Anthropic", "app_name": "web",
}  # fmt: skip


def test_a_generation_has_its_cost_and_is_known_by_its_id(tmp_path: Path) -> None:
    (used,) = found("openrouter", as_csv(tmp_path, [GENERATION, GENERATION]))
    assert (used.source, used.cost, used.tokens) == ("gen-1", Decimal("0.000123456789"), 1050)
    assert used.at == datetime(2026, 11, 1, 10, 0, 0, 123000, UTC), "without a zone it is UTC"
    assert (used.agent, used.labels) == ("openrouter/web", {"app": "web", "provider": "Anthropic"})


def test_a_column_that_is_missing_is_said_once(tmp_path: Path) -> None:
    notes = Notes()
    rows = [{name: value for name, value in GENERATION.items() if name != "cost_total"}] * 9
    assert found("openrouter", as_csv(tmp_path, rows), notes=notes) == []
    assert len(notes.problems) == 1
    assert "line 1: the column cost_total is missing" in notes.problems[0]


# --- LiteLLM ---------------------------------------------------------------------------------------------------------

SPENT = {
    "request_id": "chatcmpl-1", "spend": 0.00125, "total_tokens": 1050, "prompt_tokens": 1000, "completion_tokens": 50,
    "startTime": "2026-11-01T10:00:00.000Z", "endTime": "2026-11-01T12:00:02+02:00", "model": "gpt-4o",
    "custom_llm_provider": "openai", "user": "ann", "team_id": "shop", "end_user": "guest", "request_tags": ["nightly"],
    "session_id": "s-1", "agent_id": None, "status": "success", "cache_hit": "False",
    "metadata": {"user_api_key_alias": "web", "usage_object": {"prompt_tokens_details": {"cached_tokens": 800}}},
    "messages": [{"role": "user", "content": "a secret"}],
}  # fmt: skip
FORMS = {
    "an array": lambda rows: json.dumps(rows, indent=1),
    "an array on one line": json.dumps,
    "lines": lambda rows: "\n".join(map(json.dumps, rows)),
    "a page": lambda rows: json.dumps({"data": rows, "total": len(rows)}),
    "with a byte order mark and other line ends": lambda rows: (
        "\ufeff" + json.dumps(rows, indent=1).replace("\n", "\r\n")
    ),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_spend_logs_are_read_in_each_form(tmp_path: Path, form: Any) -> None:
    (tmp_path / "logs").write_bytes(form([SPENT, {**SPENT, "request_id": "chatcmpl-2"}]).encode())
    first, second = found("litellm", tmp_path / "logs")
    assert {first.source, second.source} == {"chatcmpl-1", "chatcmpl-2"}
    assert (first.cost, first.tokens, first.model) == (Decimal("0.00125"), 1050, "openai/gpt-4o")
    assert first.agent == "litellm/web"
    assert first.labels == {
        "user": "ann", "team": "shop", "end_user": "guest", "tag": "nightly", "session": "s-1", "key": "web",
    }  # fmt: skip
    assert first.counts["provider_usage"] == {"prompt_tokens_details": {"cached_tokens": 800}}
    assert first.at == datetime(2026, 11, 1, 10, 0, 2, tzinfo=UTC), "zones are minded"
    assert "secret" not in repr(first)


def test_spend_logs_as_csv_have_objects_as_json_text(tmp_path: Path) -> None:
    row = {name: json.dumps(value) if isinstance(value, dict | list) else value for name, value in SPENT.items()}
    (used,) = found("litellm", as_csv(tmp_path, [row]))
    assert (used.cost, used.labels["tag"], used.agent) == (Decimal("0.00125"), "nightly", "litellm/web")


def test_what_was_answered_from_a_cache_or_failed_is_left_out(tmp_path: Path) -> None:
    failed = {**SPENT, "request_id": "b", "status": "failure", "spend": 0, "total_tokens": 0, "prompt_tokens": 0}
    failed["completion_tokens"] = 0
    notes = Notes()
    assert found("litellm", as_json(tmp_path, [{**SPENT, "cache_hit": "True"}, failed]), notes=notes) == []
    assert notes.dropped == {"answered from LiteLLM's own cache": 1, "of no use": 1}


# --- traces ----------------------------------------------------------------------------------------------------------

STEP = dict(zip(COLUMNS, ("run-1", "writer", "shop", 1, 5, 2.5, "sonnet", 100, 10, 40, ""), strict=True))


def test_a_step_counts_at_its_time_and_steps_that_are_alike_are_several(tmp_path: Path) -> None:
    began = datetime(2026, 3, 4, tzinfo=UTC)
    file = as_csv(tmp_path, [STEP, STEP, {**STEP, "step": 2}])
    uses = found("trace", file, begins=began)
    assert len({used.source for used in uses}) == 3
    assert {used.at for used in uses} == {began + timedelta(seconds=5)}
    assert (uses[0].agent, uses[0].labels) == ("writer", {"run": "run-1", "product": "shop"})
    assert (uses[0].tokens, uses[0].seconds) == (110, Decimal("2.5"))
    again = found("trace", file, begins=began)
    assert [used.source for used in again] == [used.source for used in uses]
    assert len(found("trace", file, as_csv(tmp_path, [STEP] * 2, "copy.csv"), begins=began)) == 3


def test_times_that_count_from_a_beginning_need_to_know_it(tmp_path: Path) -> None:
    notes = Notes()
    assert found("trace", as_csv(tmp_path, [STEP]), notes=notes) == []
    assert "line 2: timestamp_s: found '5'" in notes.problems[0]
    assert "name --begins" in notes.problems[0]
    since_1970 = {**STEP, "timestamp_s": "1793491200.25"}
    assert found("trace", as_csv(tmp_path, [since_1970]))[0].at == datetime(2026, 11, 1, 0, 0, 0, 250000, UTC)
