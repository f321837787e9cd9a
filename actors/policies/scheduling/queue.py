"""The tasks that wait, kept so that the next one is found without looking at all of them.

Tasks of one kind with the same number of blocked tasks form a *group*, in which who was queued earlier always ranks
higher. So only the first of each group is scored, at the moment of dispatch: the cost grows with the number of groups,
and with the logarithm of the number of tasks in them (`SortedList` of the library ``sortedcontainers``).
"""

import heapq
from collections import Counter
from collections.abc import Container, Iterator, KeysView
from typing import NamedTuple

from sortedcontainers import SortedList

from tallystick.actors.policies.scheduling.ranking import Moment, Order, Ranking, is_aged
from tallystick.actors.policies.scheduling.tasks import Kind, Waiting
from tallystick.config.kinds import Priority
from tallystick.events.state.slot_time import micros

_Entry = tuple[int, int, Waiting]
"""Microseconds of queueing, number, task. No two have the same number, so tasks themselves are never compared."""
_Group = tuple[Kind, int]


class Ranked(NamedTuple):
    """A waiting task where it stands. ``aged`` goes into the record of its admission."""

    order: Order
    waiting: Waiting

    @property
    def aged(self) -> bool:
        return is_aged(self.order)


class Queue:
    """The waiting tasks by group. ``ranking`` may be replaced at any time: nothing here is kept by score."""

    def __init__(self, ranking: Ranking) -> None:
        self.ranking = ranking
        self._tasks: dict[str, _Entry] = {}
        self._groups: dict[_Group, SortedList[_Entry]] = {}
        self._products: Counter[str] = Counter()
        self._priorities: Counter[Priority] = Counter()
        """Of each, how many groups there are."""

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, task: str) -> bool:
        return task in self._tasks

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __getitem__(self, task: str) -> Waiting:
        """The task of that name.

        Raises:
            KeyError: it does not wait.
        """
        return self._tasks[task][2]

    @property
    def products(self) -> KeysView[str]:
        """The products that have tasks here."""
        return self._products.keys()

    @property
    def priorities(self) -> KeysView[Priority]:
        """The priorities that have tasks here."""
        return self._priorities.keys()

    def paid_by_none_of(self, accounts: Container[str]) -> list[str]:
        """The tasks that name an account to pay for them that is not among these."""
        return [
            entry[2].task
            for (kind, _), group in self._groups.items()
            if kind.parent is not None and kind.parent not in accounts
            for entry in group
        ]

    def add(self, waiting: Waiting) -> None:
        """Let a task wait. Its name must not wait already."""
        assert waiting.task not in self._tasks, f"{waiting.task} waits already"
        entry = (micros(waiting.queued_at), waiting.number, waiting)
        self._tasks[waiting.task] = entry
        name = (waiting.kind, waiting.blocked)
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = SortedList()
            self._count(waiting.kind, 1)
        group.add(entry)

    def remove(self, task: str) -> Waiting:
        """Take a task out: it starts, or is not wanted any more.

        Raises:
            KeyError: it does not wait.
        """
        entry = self._tasks.pop(task)
        waiting = entry[2]
        name = (waiting.kind, waiting.blocked)
        group = self._groups[name]
        group.remove(entry)
        if not group:
            del self._groups[name]
            self._count(waiting.kind, -1)
        return waiting

    def _count(self, kind: Kind, more: int) -> None:
        """There are so many more groups of a kind."""
        self._products[kind.product] += more
        self._priorities[kind.priority] += more
        if not self._products[kind.product]:
            del self._products[kind.product]
        if not self._priorities[kind.priority]:
            del self._priorities[kind.priority]

    def replace(self, waiting: Waiting) -> None:
        """Put a task in the place of the one of the same name: its priority changed, or how many it blocks."""
        self.remove(waiting.task)
        self.add(waiting)

    def firsts(self) -> Iterator[Waiting]:
        """The first of each group, in no order."""
        return (group[0][2] for group in self._groups.values())

    def heads(self, moment: Moment) -> Iterator[Ranked]:
        """The first of each group, best first. The next to start is among them."""
        order = self.ranking.ordering(moment)
        firsts = map(next, map(iter, self._groups.values()))
        heads = [(order(queued, waiting), waiting) for queued, _, waiting in firsts]
        heapq.heapify(heads)
        while heads:
            yield Ranked(*heapq.heappop(heads))

    def ranked(self, moment: Moment) -> Iterator[Ranked]:
        """The whole queue, best first, ranked as it is taken: the first n cost the groups once, and n steps."""
        order = self.ranking.ordering(moment)

        def of(group: SortedList[_Entry]) -> Iterator[Ranked]:
            for queued, _, waiting in group:
                yield Ranked(order(queued, waiting), waiting)

        return heapq.merge(*map(of, self._groups.values()))
