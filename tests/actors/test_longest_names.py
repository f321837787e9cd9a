"""What the fleet sends to itself about a thing with the longest name can be read again, as any message can."""

from hypothesis import given
from hypothesis import strategies as st

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


@given(st.text(max_size=300))
def test_an_id_of_the_fleets_own_is_never_longer_than_names_may_be(text: str) -> None:
    id = c.internal_id(text)
    assert id.startswith(c.INTERNAL_ID)
    assert len(id) <= NAME_MAX
    assert len(text) >= NAME_MAX or id == c.INTERNAL_ID + text
