"""What a fleet sets out to do: runs of steps, each with what it uses, whether generated or read from a trace."""

from collections.abc import Iterable

import msgspec

from tallystick.config.kinds import Priority
from tallystick.config.prices import PriceList
from tallystick.events.state.money import Money


class Step(msgspec.Struct, frozen=True):
    """One step of a run, such as one call of a model. None is unknown.

    ``gap_ms`` passes between the end of the step before and this one's beginning; ``input_tokens`` includes the cached.
    """

    gap_ms: int
    duration_ms: int | None
    model: str | None
    input_tokens: int | None
    output_tokens: int | None
    cached_tokens: int | None
    cost_nanos: int | None

    @property
    def used(self) -> Money:
        """Tokens, milliseconds, nano-dollars; what is unknown counts nothing."""
        return ((self.input_tokens or 0) + (self.output_tokens or 0), self.duration_ms or 0, self.cost_nanos or 0)


class Run(msgspec.Struct, frozen=True):
    """What one agent does, from its start (milliseconds after the fleet's) to its last step."""

    id: str
    agent_type: str | None
    product: str | None
    priority: Priority
    starts_ms: int
    steps: tuple[Step, ...]

    @property
    def lasts_ms(self) -> int:
        """How long it takes where nothing slows it down."""
        return sum(step.gap_ms + (step.duration_ms or 0) for step in self.steps)


class Workload(msgspec.Struct, frozen=True):
    """All runs. With ``prices``, a degraded agent's steps cost what the cheaper model's would.

    ``title`` says what it is, ``note`` in a sentence what of it was made up.
    """

    title: str
    note: str
    runs: tuple[Run, ...]
    prices: PriceList | None = None

    @property
    def needs(self) -> Money:
        """What all runs use if nothing stops them."""
        return needed(step for run in self.runs for step in run.steps)

    @property
    def steps(self) -> int:
        return sum(len(run.steps) for run in self.runs)

    @property
    def lasts_ms(self) -> int:
        """When the last run ends if nothing slows it down."""
        return max((run.starts_ms + run.lasts_ms for run in self.runs), default=0)


def needed(steps: Iterable[Step]) -> Money:
    """What some steps use together."""
    tokens = time_ms = cost = 0
    for step in steps:
        used = step.used
        tokens, time_ms, cost = tokens + used[0], time_ms + used[1], cost + used[2]
    return (tokens, time_ms, cost)
