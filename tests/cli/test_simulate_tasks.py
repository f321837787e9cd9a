"""``simulate`` of a day of tasks: the scenario gives the fleet's own log, and the log passes every proof."""

import json
from pathlib import Path

from tallystick.config.loader import from_mapping
from tallystick.events.log.store import open_store
from tests.support.cli import Run
from tests.support.driving import simulated
from tests.support.task_day import DAY, SCARCE, decided, scarce_day, submit


def test_the_same_day_as_a_scenario_gives_the_same_log_which_passes_every_proof(run: Run, tmp_path: Path) -> None:
    messages, until = scarce_day()
    lines = [{"at": at.isoformat().replace("+00:00", "Z"), **message} for at, message in messages]
    lines.append({"at": until.isoformat().replace("+00:00", "Z"), "type": "GetQueue", "limit": 0, "id": "last"})
    (tmp_path / "day.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    (tmp_path / "day.yml").write_text(json.dumps({**DAY, **SCARCE}), encoding="utf-8")
    result = run("simulate", "day.jsonl", "--config", "day.yml", "--store", "sqlite:///tallystick.db")
    assert result.exit_code == 0, result.stderr
    replies = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(replies) == len(lines) + 1
    store = open_store(f"sqlite:///{tmp_path}/tallystick.db")
    kept = decided(list(store.read()))
    count = sum(1 for _ in store.read())
    store.close()
    assert kept == decided(simulated(messages, from_mapping({**DAY, **SCARCE}), until=until).records)
    assert replies[-1]["end"]["position"] == count
    for command in (["audit", "verify"], ["whatif"], ["audit", "replay", "--until", str(count // 2)]):
        proof = run(*command)
        assert proof.exit_code == 0, (command, proof.stderr)
    exported = run("audit", "export", "--format", "jsonl")
    assert len(exported.stdout.splitlines()) == count


def test_a_question_that_waits_is_answered_in_its_line_with_what_it_waited_for(run: Run, tmp_path: Path) -> None:
    (tmp_path / "one.yml").write_text("max_concurrent: {total: 1}\n", encoding="utf-8")
    lines = [
        {"at": "2026-03-04T12:00:00Z", **submit("a")},
        {"at": "2026-03-04T12:00:01Z", **submit("b")},
        {"at": "2026-03-04T12:00:02Z", "type": "GetTask", "task": "b", "wait_seconds": 60},
        {"at": "2026-03-04T12:00:30Z", "type": "CompleteTask", "task": "a", "outcome": "completed"},
        {"at": "2026-03-04T12:00:40Z", "type": "GetTask", "task": "b", "wait_seconds": 60},
    ]
    (tmp_path / "wait.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    result = run("simulate", "wait.jsonl", "--config", "one.yml")
    assert result.exit_code == 0, result.stderr
    replies = [json.loads(line) for line in result.stdout.splitlines()]
    assert [reply.get("line") for reply in replies] == [1, 2, 3, 4, 5, None]
    assert replies[2]["reply"]["ok"]["state"] == "running"
    # The last one waits for nothing: time passes until its wait, or the lease, is over.
    assert replies[4]["reply"]["ok"]["state"] == "running"
