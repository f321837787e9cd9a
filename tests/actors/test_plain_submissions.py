"""A task that needs only a slot is seen at one look: all goes as where every check is asked, to the byte."""

import datetime as dt

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick.actors.policies.scheduling import index
from tallystick.events import messages as c
from tallystick.events.decide import admission
from tallystick.events.state.ledger import Ledger
from tests.support.core import START, fleet
from tests.support.driving import Outcome, Timed, simulated
from tests.support.examples import examples
from tests.support.task_sessions import session

PROFILE = settings(
    max_examples=examples(80),
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)
NO_LIMITS = {"max_tokens_total": None, "max_cost_usd": None}


def played(messages: list[Timed], *, quick: bool) -> tuple[Outcome, int]:
    """A session through a fleet that sees plain cases at one look, or that never does; how many it saw so."""
    seen = 0

    def look(ledger: Ledger, task: str, agent_type: str, parent: str | None) -> bool:
        nonlocal seen
        found = quick and admission_look(ledger, task, agent_type, parent)
        seen += found
        return found

    admission_look = admission.needs_only_a_slot
    with pytest.MonkeyPatch.context() as patched:
        for module in (admission, index):
            patched.setattr(module, "needs_only_a_slot", look)
        return simulated(messages, until=START + dt.timedelta(hours=2)), seen


@PROFILE
@given(st.integers(0, 2**64))
def test_any_queue_goes_as_where_every_check_is_asked(seed: int) -> None:
    messages = session(seed)
    one, _ = played(messages, quick=True)
    other, _ = played(messages, quick=False)
    assert one.replies == other.replies
    assert [record.data for record in one.records] == [record.data for record in other.records]
    assert one.state == other.state


def test_in_a_fleet_without_limits_tasks_need_only_a_slot() -> None:
    messages: list[Timed] = [(START, fleet(daily_limits=NO_LIMITS, max_concurrent={"total": 2, "per_type": {}}))]
    messages += [
        (START, c.SubmitTask(id=f"s-{i}", task=f"t-{i}", agent_type="writer", product="shop")) for i in range(5)
    ]
    outcome, seen = played(messages, quick=True)
    assert [reply["ok"].get("state") for reply in outcome.replies[1:]] == ["running"] * 2 + ["queued"] * 3
    assert seen >= 2 * 5, "once where it is judged, and once where it is decided"
