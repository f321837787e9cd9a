"""What one agent was given and used itself: its rows in the views, with every unit of the budget counted once."""

import msgspec

from tallystick.config.amounts import Triple
from tallystick.events.state.money import Money, limited, minus, money, plus
from tallystick.projections.views.agent_rows import AgentRow
from tallystick.projections.views.timeline import TimelineRow


class AgentUsage(msgspec.Struct, frozen=True):
    """An agent's two rows, the token budget of one that is a run of a task, and how many tasks were done for it."""

    row: AgentRow
    story: TimelineRow
    token_budget: int | None = None
    tasks: int | None = None

    @property
    def allocated(self) -> Triple:
        """What was its own to use: its allocation less what it handed on, or closed sub-agents used of it."""
        given = plus(money(self.row.delegated.triple), money(self.row.closed.triple))
        limits = self.row.allocated.triple
        own = minus(money(limits), given)
        return limited(limits, (max(0, own[0]), max(0, own[1]), max(0, own[2])))

    @property
    def consumed(self) -> Money:
        """What it used itself, and what came after its release."""
        return used_by(self.row)


def charged_for(row: AgentRow) -> Money:
    """What an account was charged itself: without what its closed sub-agents were charged, and no late usage."""
    return minus(money(row.consumed.triple), money(row.closed.triple))


def used_by(row: AgentRow) -> Money:
    """What an agent used itself, before and after its release, also where others were charged: each unit once."""
    others = plus(money(row.late.triple), money(row.beyond.triple))
    return plus(minus(charged_for(row), money(row.paid.triple)), others)
