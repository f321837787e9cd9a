"""A submission that is being placed: a task that is not on record yet, made only where something asks for all of it."""

from tallystick.events.decide.start_tasks import submission
from tallystick.events.evolve.tasks import task_of
from tallystick.events.messages import SubmitTask
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.tasks import Task


class Newcomer:
    """The submission that ``id`` is the name of."""

    __slots__ = ("_ledger", "_task", "_wanted", "id")

    def __init__(self, ledger: Ledger, wanted: SubmitTask) -> None:
        self.id = wanted.task
        self._ledger = ledger
        self._wanted = wanted
        self._task: Task | None = None

    @property
    def task(self) -> Task:
        """As the core will record it, with what may be wrong in it left out."""
        if self._task is None:
            ledger = self._ledger
            self._task = task_of(ledger, submission(ledger, self._wanted, None), ledger.tasks.submitted + 1)
        return self._task
