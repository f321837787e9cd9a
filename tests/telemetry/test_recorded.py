"""What Claude Code, Codex, Gemini CLI and OpenCode export becomes the right cost, of each call once."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from starlette.types import ASGIApp

from tallystick.cli.main import main
from tests.support.otlp import JSON, PROTOBUF, Taking, post, recorded

ONE, TWO = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
CODEX, GEMINI = "0199a213-0000-7000-8000-000000000001", "33333333-3333-4333-8333-333333333333"
OPENCODE = "ses_0000000000000001"
COSTS = {
    # By session, agent, model and branch: the tokens of each kind times the price of the model.
    (ONE, None, "claude-sonnet-4-5-20250929", "main"): "0.035235",
    (ONE, "Explore", "claude-haiku-4-5-20251001", "main"): "0.000685",
    (TWO, None, "claude-haiku-4-5-20251001", "main"): "0.0015",
    (CODEX, None, "gpt-5", "feature-x"): "0.01872",
    (GEMINI, None, "gemini-2.5-pro", "main"): "0.015915",
    (OPENCODE, None, "claude-haiku-4-5", "main"): "0.00204",
}


@pytest.mark.parametrize("media", [JSON, PROTOBUF])
@pytest.mark.parametrize("order", range(3))
def test_recorded_exports_become_the_cost_of_each_session_agent_model_and_branch(
    media: str, order: int, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'fleet.db'}"
    taking = Taking(store=url)
    exports = [*recorded().values()] * 2
    random.Random(order).shuffle(exports)

    async def test(app: ASGIApp) -> None:
        for signal, export in exports:
            answer = await post(app, signal, export, media)
            assert answer.status == 200, answer.body

    taking.run(test)
    taking.restart()
    taking.run(test)
    taking.fleet.close()
    assert costs(url) == {key: f"{float(cost):.9f}" for key, cost in COSTS.items()}


def costs(url: str) -> dict[tuple[Any, ...], str]:
    """What ``tallystick cost`` shows."""
    names = "agent,label:agent,model,label:branch"
    result = CliRunner().invoke(main, ["cost", "--by", names, "--store", url, "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    return {tuple(row["by"][name] for name in names.split(",")): f"{float(row['cost_usd']):.9f}" for row in found}


def test_a_prompt_in_an_export_is_in_no_record() -> None:
    taking = Taking()
    said = "the text of a prompt that nobody else may read"
    signal, export = recorded()["claude-code-logs"]
    export = json.loads(json.dumps(export).replace("<REDACTED>", said).replace('"linux"', f'"{said}"'))

    async def test(app: ASGIApp) -> None:
        assert (await post(app, signal, export)).status == 200

    taking.run(test)
    stored = b"".join(record.data for record in taking.fleet.store.read(0))
    taking.fleet.close()
    assert b"req_04" in stored
    assert said.encode() not in stored
