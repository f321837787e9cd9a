"""Questions that wait for a task to change: a bounded list, without a thread for each that waits."""

import datetime as dt

from tallystick.actors.runtime.deadlines import Deadlines
from tallystick.actors.runtime.messages import Question
from tallystick.events.messages import SubmitTask

WAITS_MAX = 10_000
"""So many wait at once; a question beyond them is answered at once."""


class Waits:
    """Which question waits for which task, and until when."""

    def __init__(self) -> None:
        self._questions: dict[str, Question] = {}
        self._by_task: dict[str, list[str]] = {}
        self._until: Deadlines[str] = Deadlines()
        self._count = 0

    def __bool__(self) -> bool:
        return bool(self._questions)

    @property
    def full(self) -> bool:
        return len(self._questions) >= WAITS_MAX

    def add(self, task: str, question: Question, until: dt.datetime) -> None:
        """Let a question wait for a task to change, at most until a moment."""
        self._count += 1
        name = f"{self._count} {task}"
        self._questions[name] = question
        self._by_task.setdefault(task, []).append(name)
        self._until.set(name, until)

    def changed(self, task: str, *, keeps_submitters: bool = False) -> list[Question]:
        """A task has changed: the questions that waited for it, in the order in which they came. With
        ``keeps_submitters`` those who have submitted it wait on.
        """
        names = self._by_task.pop(task, [])
        if keeps_submitters:
            stay = [name for name in names if isinstance(self._questions[name].command, SubmitTask)]
            if stay:
                self._by_task[task] = stay
            names = [name for name in names if name not in stay]
        for name in names:
            self._until.drop(name)
        return [self._questions.pop(name) for name in names]

    def expired(self, now: dt.datetime) -> list[Question]:
        """The questions that have waited long enough."""
        questions = []
        for name in self._until.pop_due(now):
            task = name.partition(" ")[2]
            self._by_task[task].remove(name)
            if not self._by_task[task]:
                del self._by_task[task]
            questions.append(self._questions.pop(name))
        return questions

    def first(self) -> dt.datetime | None:
        """When the next wait is over."""
        return self._until.first()
