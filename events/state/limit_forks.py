"""What limits have counted, copied as far as it is looked at: for questions of what time will bring."""

from copy import copy
from typing import Any

from tallystick.events.state.counters import Counter
from tallystick.events.state.limits import Limits, LimitState


class _LazyCounters(dict[str, Counter]):
    """The counters of a limit on a fork: each is copied when it is first looked at."""

    def __init__(self, counters: dict[str, Counter]) -> None:
        super().__init__()
        self._counters = counters

    def get(self, value: str, default: Any = None) -> Any:
        if not dict.__contains__(self, value) and value in self._counters:
            self[value] = self._counters[value].copied()
        return super().get(value, default)

    def __missing__(self, value: str) -> Counter:
        copied = self[value] = self._counters[value].copied()
        return copied

    def __contains__(self, value: object) -> bool:
        return super().__contains__(value) or value in self._counters


class _LazyStates(dict[str, LimitState]):
    """The limits on a fork."""

    def __init__(self, states: dict[str, LimitState]) -> None:
        super().__init__()
        self._states = states

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self._states else default

    def __missing__(self, name: str) -> LimitState:
        real = self._states[name]
        state = self[name] = LimitState(real.rule, real.born, 0)
        state.since, state.approved, state.closed = real.since, dict(real.approved), real.closed
        state.counters = _LazyCounters(real.counters)
        return state

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in self._states


def states_fork(states: dict[str, LimitState]) -> dict[str, LimitState]:
    """What limits have counted by name, each copied when it is first looked at."""
    return _LazyStates(states)


def fork_of(limits: Limits) -> Limits:
    """What limits have counted, as something that time may pass on and that nothing is seen of afterwards."""
    fork = Limits()
    fork.states, fork.began, fork.ends = states_fork(limits.states), dict(limits.began), dict(limits.ends)
    fork.begun = dict(limits.begun)
    fork.due, fork.count, fork.full, fork.is_fork = limits.due, limits.count, limits.full, True
    fork.runs = {name: copy(run) for name, run in limits.runs.items()}
    return fork
