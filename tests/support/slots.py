"""The second set of books for tasks, kept from the recorded events alone: who waits, who runs, and by what right.

It shares nothing with the core: it counts who runs by looking at all of them, and proves each start against the
configuration that is in force.
"""

import datetime as dt
from typing import Any

from tallystick.events import catalog as e


class Slots:
    """Every task's state by name, and what the checks of a start need."""

    def __init__(self) -> None:
        self.state: dict[str, str] = {}
        self.labels: dict[str, tuple[str, str]] = {}
        self.needs: dict[str, list[str]] = {}
        self.lost: dict[str, int] = {}
        self.lease: dict[str, str] = {}
        self.until: dict[str, dt.datetime] = {}
        self.used_leases: set[str] = set()
        self.accounts: dict[str, int | None] = {}
        self.config: dict[str, Any] = {}
        self.paused = False

    @property
    def running(self) -> list[str]:
        """The running tasks in the order in which their runs started."""
        return [task for task, state in self.state.items() if state == "running"]

    def of(self, state: str) -> set[str]:
        return {task for task, is_in in self.state.items() if is_in == state}

    def keep(self, event: e.Event) -> None:
        """Follow one event, and refuse what may not be."""
        match event:
            case e.ConfigLoaded():
                self.config = event.config
            case e.FleetPaused() | e.FleetResumed():
                self.paused = isinstance(event, e.FleetPaused)
            case e.BudgetAllocated():
                assert self.state.get(event.agent) != "running"
                self.accounts[event.agent] = event.amount.tokens if event.for_task else None
            case e.BudgetReleased():
                assert self.state.get(event.agent) != "running", "a run outlived its account"
                self.accounts.pop(event.agent)
            case e.LeaseExtended():
                assert self.lease[event.task] == event.lease
                assert event.expires_at >= self.until[event.task]
                self.until[event.task] = event.expires_at
            case e.FleetOpened():
                assert (event.leases_until is None) == (not self.running)
                self.until.update(dict.fromkeys(self.running, event.leases_until))
            case e.TaskSubmitted():
                assert self.state.get(event.task, "rejected") != "running"
                self.state[event.task] = "submitted"
                self.labels[event.task] = (event.agent_type, event.product)
                self.needs[event.task] = event.depends_on
                self.lost[event.task] = 0
            case e.TaskStarted():
                self._start(event)
            case _:
                self._move(event)

    def _move(self, event: e.Event) -> None:
        match event:
            case e.DependenciesAwaited():
                assert event.unfinished
                assert {self.state[name] for name in event.unfinished} <= {"queued", "running", "waiting"}
                self.state[event.task] = "waiting"
            case e.TaskQueued():
                assert self.state[event.task] in ("submitted", "waiting")
                assert all(self.state.get(name, "completed") == "completed" for name in self.needs[event.task])
                self.state[event.task] = "queued"
            case e.TaskRejected():
                self.state[event.task] = "rejected"
            case e.TaskPreempted():
                self._stop(event.task, event.lease, "queued")
            case e.LeaseLost():
                assert event.at >= self.until[event.task], "a lease that was alive was taken away"
                self.lost[event.task] += 1
                assert event.attempt == self.lost[event.task]
                assert (event.then == "failed") == (self.lost[event.task] >= self.config["leases"]["max_attempts"])
                self._stop(event.task, event.lease, event.then)
            case e.TaskCompleted():
                self._stop(event.task, event.lease, event.outcome)
            case e.TaskCancelled() | e.TaskGivenUp():
                assert self.state[event.task] in ("queued", "running", "waiting")
                self.state[event.task] = "cancelled"
            case e.TaskRetried():
                assert self.state[event.task] in ("failed", "cancelled")
                self.state[event.task], self.lost[event.task] = "submitted", 0

    def _start(self, event: e.TaskStarted) -> None:
        task, config = event.task, self.config
        assert self.state[task] in ("submitted", "queued")
        assert all(self.state.get(name, "completed") == "completed" for name in self.needs[task])
        assert not self.paused
        assert not config["manual_override"]["pause_all_agents"]
        agent_type, product = self.labels[task]
        settings = config["products"].get(product, {})
        assert not settings.get("paused")
        for limit, running in (
            (config["max_concurrent"]["total"], self.running),
            (config["max_concurrent"]["per_type"].get(agent_type), self._like(0, agent_type)),
            (settings.get("max_concurrent_agents"), self._like(1, product)),
        ):
            assert limit is None or len(running) < limit, f"{task} is one too many"
        assert self.accounts[task] == event.max_tokens
        assert (event.max_tokens is None) == (event.token_budget is None)
        assert event.max_tokens is None or event.max_tokens >= event.token_budget
        assert event.attempt == self.lost[task] + 1
        assert event.lease not in self.used_leases
        self.used_leases.add(event.lease)
        del self.state[task]  # so that it stands behind those that started before
        self.state[task], self.lease[task], self.until[task] = "running", event.lease, event.expires_at

    def _like(self, place: int, name: str) -> list[str]:
        return [task for task in self.running if self.labels[task][place] == name]

    def _stop(self, task: str, lease: str, then: str) -> None:
        assert self.state[task] == "running"
        assert self.lease[task] == lease
        self.state[task] = then
