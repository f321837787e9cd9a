"""While everything is paused, no message opens an account; accounts that are open go on as they are."""

from decimal import Decimal

import pytest

from tallystick.events import messages as c
from tallystick.events.messages.replies import Refusal
from tests.support.core import Core, allocate, budget, fleet

OPENING: list[c.Command] = [
    allocate("new", 100),
    allocate("ann/1", 100, parent="ann"),
    c.AllocateEqual(agents=["new", "newer"], total=budget(100)),
    c.AllocateProportional(weights={"new": Decimal(1)}, total=budget(100)),
    c.AllocateByPriority(agents={"new": "critical"}, total=budget(100)),
    c.AllocateFromPool(agent="new", request=budget(100)),
]


@pytest.mark.parametrize("by", ["message", "configuration"])
@pytest.mark.parametrize("command", OPENING, ids=lambda one: type(one).__name__)
def test_nothing_is_opened_while_everything_is_paused(by: str, command: c.Command) -> None:
    core = Core(fleet(10_000), allocate("ann", 1_000))
    if by == "message":
        core.given(c.PauseAll(reason="lunch"))
        end: c.Command = c.ResumeAll()
    else:
        core.given(c.LoadConfig(config={"manual_override": {"pause_all_agents": True}}))
        end = c.LoadConfig(config={"manual_override": {"pause_all_agents": False}})
    refused = core.when(command)
    assert isinstance(refused, Refusal)
    assert refused.code == "paused"
    core.given(end)
    assert not isinstance(core.when(command), Refusal)


def test_what_an_open_account_gives_back_is_taken_also_in_a_pause() -> None:
    core = Core(fleet(10_000), allocate("ann", 1_000)).given(c.PauseAll(reason="lunch"))
    assert not isinstance(core.when(c.ReturnToPool(agent="ann", amount=budget(100))), Refusal)
    assert not isinstance(core.when(c.ReleaseBudget(agent="ann")), Refusal)
