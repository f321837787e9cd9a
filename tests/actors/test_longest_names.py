"""What the fleet sends to itself about a thing with the longest name can be read again, as any message can."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tallystick.cli.main import main
from tallystick.config.kinds import NAME_MAX
from tallystick.events import messages as c
from tallystick.events.log.codec import decode_event
from tallystick.events.log.store_memory import MemoryStore
from tests.support.running import OpenFleet

LONGEST = "é" * NAME_MAX


def test_a_task_with_the_longest_name_is_started_by_a_message_of_a_proper_length(
    open_fleet: OpenFleet,
) -> None:
    store = MemoryStore()
    fleet = open_fleet(store, max_concurrent={"total": 1}, leases={"seconds": 100_000})
    for task in ("first", LONGEST):
        fleet.ask({"type": "SubmitTask", "task": task, "agent_type": "qa", "product": LONGEST, "priority": "high"})
    fleet.ask({"type": "CompleteTask", "task": "first", "outcome": "completed"})
    assert fleet.ask({"type": "GetTask", "task": LONGEST})["ok"]["state"] == "running"
    fleet.quiesce()
    ids = [decode_event(record.data, record.name).id for record in store.read()]
    assert any(id.startswith("~start-") for id in ids)
    assert max(map(len, ids)) == NAME_MAX


def test_a_log_in_which_such_an_id_is_too_long_is_decided_again_all_the_same(
    open_fleet: OpenFleet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As it was written before."""
    url = f"sqlite:///{tmp_path}/tallystick.db"
    with monkeypatch.context() as earlier:
        earlier.setattr(c, "internal_id", lambda text: c.INTERNAL_ID + text)
        fleet = open_fleet(url, max_concurrent={"total": 1}, leases={"seconds": 100_000})
        for task in ("first", LONGEST):
            fleet.ask({"type": "SubmitTask", "task": task, "agent_type": "qa", "product": "p"})
        fleet.ask({"type": "CompleteTask", "task": "first", "outcome": "completed"})
        fleet.quiesce()
        fleet.close()
    for command in (["audit", "verify"], ["whatif"], ["audit", "explain", LONGEST]):
        result = CliRunner().invoke(main, [*command, "--store", url])
        assert result.exit_code == 0, result.output
    assert b"~start-" + LONGEST.encode() in (tmp_path / "tallystick.db").read_bytes()


@given(st.text(max_size=300))
def test_an_id_of_the_fleets_own_is_never_longer_than_names_may_be(text: str) -> None:
    id = c.internal_id(text)
    assert id.startswith(c.INTERNAL_ID)
    assert len(id) <= NAME_MAX
    assert len(text) >= NAME_MAX or id == c.INTERNAL_ID + text
