"""What is known at one moment of how far the runs of each kind go: those that ended, and those that are under way."""

from collections.abc import Mapping, Sequence

from tallystick.actors.policies.forecasting.completion import Lengths, steps_of
from tallystick.actors.policies.forecasting.final_usage import Finished, used_by
from tallystick.actors.policies.forecasting.runs import Run
from tallystick.actors.policies.forecasting.survival import Ends
from tallystick.actors.policies.parts import Pace, Parts, each_of
from tallystick.config.amounts import DIMENSIONS
from tallystick.events.state.history import History, Kind
from tallystick.events.state.history import Run as Past


class _OfKind:
    """The runs of one kind: those that were over when it was first looked at, and those that were under way then."""

    __slots__ = ("_finished", "_lengths", "_steps", "_used")

    def __init__(self, over: Sequence[Past]) -> None:
        self._used: tuple[Ends, ...] = tuple(used_by(over, d) for d in DIMENSIONS)
        self._steps = steps_of(over)
        self._finished: tuple[Finished, ...] | None = None
        self._lengths: Lengths | None = None

    def add(self, run: Run) -> None:
        """Count a run that is under way."""
        account = run.account
        for d in DIMENSIONS:
            self._used[d].add(account.consumed(d) - account.closed[d])
        self._steps.add(run.steps)

    @property
    def finished(self) -> tuple[Finished, ...]:
        if self._finished is None:
            self._finished = tuple(map(Finished, self._used))
        return self._finished

    @property
    def lengths(self) -> Lengths:
        if self._lengths is None:
            self._lengths = Lengths(self._steps)
        return self._lengths


class Curves:
    """What a look at all open runs found: `look` makes it. What ends later is counted by the next look."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._kinds: dict[Kind, _OfKind] = {}

    def look(self, names: Sequence[str], runs: Mapping[str, Run]) -> Parts[None]:
        """Count the runs that are under way, some at a time: each as it is when it is looked at.

        ``names`` are those of all open accounts, sorted.
        """
        pace = Pace()
        for name in each_of(names):
            if pace.is_over():
                yield
            run = runs.get(name)
            if run is not None:
                self._of((run.account.agent_type, run.model)).add(run)

    def finished(self, kind: Kind) -> tuple[Finished, ...]:
        """What runs of a kind use in all, by dimension."""
        return self._of(kind).finished

    def lengths(self, kind: Kind) -> Lengths:
        """How many steps runs of a kind have."""
        return self._of(kind).lengths

    def _of(self, kind: Kind) -> _OfKind:
        found = self._kinds.get(kind)
        if found is None:
            found = self._kinds[kind] = _OfKind(self._history.known(*kind).runs())
        return found
