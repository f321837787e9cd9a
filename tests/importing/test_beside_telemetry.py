"""The same calls as telemetry, over OTLP, and as files: whichever is first, each counts once."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Run
from tests.support.serving import Served
from tests.support.usage_files import BEGAN, answer, counts_of, meta, minted, rollout, turn, write

SESSION = minted(0)
CLAUDE = {"session.id": "s-1", "input_tokens": 10, "output_tokens": 100, "cache_read_tokens": 1000}
CLAUDE |= {"cache_creation_tokens": 300, "cost_usd": 0.002955, "model": "claude-sonnet-4-5-20250929"}
CODEX = {"event.kind": "response.completed", "conversation.id": SESSION, "model": "gpt-5", "input_token_count": 1000}
CODEX |= {"cached_token_count": 600, "output_token_count": 50, "reasoning_token_count": 10}


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    server = Served(tmp_path)
    yield server
    server.stop()


def export(served: Served, service: str, name: str, attributes: dict[str, Any]) -> None:
    """One event, as the tool's exporter sends it."""
    written = [
        {"key": key, "value": {{int: "intValue", float: "doubleValue", str: "stringValue"}[type(value)]: value}}
        for key, value in {**attributes, "event.name": name}.items()
    ]
    at = str(int((BEGAN + timedelta(seconds=1)).timestamp() * 10**9))
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]}
    record = {"timeUnixNano": at, "attributes": written}
    scope = {"name": "com.anthropic.claude_code.events" if service == "claude-code" else service}
    logs = [{"resource": resource, "scopeLogs": [{"scope": scope, "logRecords": [record]}]}]
    client = served.client()
    answered = client.post("/v1/logs", {"resourceLogs": logs}, content_type="application/json")
    client.close()
    assert (answered.status, answered.json) == (200, {})


def imported(run: Run, served: Served, *args: str) -> tuple[int, int]:
    """How many calls were new, and how many the fleet had."""
    result = run("import", *args, "--url", served.url, "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    return said["recorded"], said["known"]


def used(run: Run, served: Served) -> tuple[int, str]:
    found = json.loads(run("cost", "--by", "model", "--since", "2026-09-01", "--url", served.url, "--json").stdout)
    return sum(part["tokens_used"] for part in found), next(
        part["cost_usd"] for part in found if part["by"]["model"] == CLAUDE["model"]
    )


def test_each_call_counts_once_whichever_comes_first(run: Run, tmp_path: Path, served: Served) -> None:
    export(served, "claude-code", "claude_code.api_request", {**CLAUDE, "request_id": "req_1"})
    export(served, "codex_cli_rs", "codex.sse_event", CODEX)
    write(tmp_path / "p/s-1.jsonl", answer(output=1), answer(), answer("msg_2", "req_2", 2))
    responses = counts_of((1000, 600, 50, 10), (1000, 600, 50, 10))
    rollout(tmp_path / "c", SESSION, meta(SESSION), turn(0, "gpt-5"), *responses)
    assert imported(run, served, "claude-code", "p") == (1, 1)
    assert imported(run, served, "codex", "c") == (1, 1)
    export(served, "claude-code", "claude_code.api_request", {**CLAUDE, "request_id": "req_2"})
    export(served, "codex_cli_rs", "codex.sse_event", CODEX)
    assert used(run, served) == (2 * 1410 + 2 * 1050, "0.00591")
