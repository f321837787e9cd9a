"""The tables are whole: each event has a row of steps, each message a handler."""

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide.handlers import HANDLERS
from tallystick.events.evolve.table import STEPS, TASK_EVENTS
from tallystick.events.messages.proposals import INTERNAL

HANDED_ON_WITH_THE_RECORD = {c.CorrectUsage}
"""The manager adds what the log holds, and the core gets `ApplyCorrection`."""
ANSWERED_BY_SPECIALISTS = {c.Forecast, c.GenerateReport, c.GetQueue, c.GetTask, c.Rebalance, c.SubmitTask}


def test_every_event_has_a_row() -> None:
    assert set(STEPS) == set(e.CATALOG)
    assert all(isinstance(steps, tuple) for steps in STEPS.values())


def test_a_completed_task_frees_its_slot_counts_for_its_payer_and_is_no_longer_committed() -> None:
    assert [step.__name__ for step in STEPS[e.TaskCompleted]] == ["complete", "count_done_task", "end_run", "end"]
    assert e.TaskCompleted in TASK_EVENTS


def test_every_message_has_a_handler_in_the_core_or_is_for_a_specialist() -> None:
    assert set(HANDLERS) == {*c.WIRE, *INTERNAL} - ANSWERED_BY_SPECIALISTS - HANDED_ON_WITH_THE_RECORD
