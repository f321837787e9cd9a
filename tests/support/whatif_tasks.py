"""Tasks to ask about: messages of their runs, settings for few slots, and what happened to them."""

import datetime as dt
from typing import Any

from tallystick.events import catalog as e
from tallystick.events.log.store import Record
from tallystick.whatif.question import Question
from tallystick.whatif.rerun import Rerun
from tests.support.whatif import after, rerun_with_events

ONE = {"max_concurrent": {"total": 1, "per_type": {}}}
TWO = {"max_concurrent": {"total": 2, "per_type": {}}}
SMALL = {"token_budgets": {"default": 200}}


def leases(of_seconds: int) -> dict[str, Any]:
    return {"leases": {"seconds": of_seconds, "max_attempts": 2}}


def submit(task: str, **rest: Any) -> dict[str, Any]:
    return {"type": "SubmitTask", "task": task, "agent_type": "coder", "product": "shop", **rest}


def report(task: str, tokens: int, **rest: Any) -> dict[str, Any]:
    return {"type": "ReportUsage", "task": task, "usage": {"tokens": tokens}, **rest}


def done(task: str, tokens: int | None = None, **rest: Any) -> dict[str, Any]:
    usage = {} if tokens is None else {"usage": {"tokens": tokens}}
    return {"type": "CompleteTask", "task": task, "outcome": "completed", **usage, **rest}


def beat(task: str, **rest: Any) -> dict[str, Any]:
    return {"type": "Heartbeat", "task": task, **rest}


def task_story(records: list[Record], question: Question) -> tuple[Rerun, list[tuple[float, str]]]:
    """What happens to the tasks under the other policy: seconds since the start, and what."""
    rerun, events = rerun_with_events(records, question)
    story = []
    for event in events:
        match event:
            case e.TaskStarted():
                story.append((seconds(event.at), f"{event.task} starts"))
            case e.TaskCompleted():
                story.append((seconds(event.at), f"{event.task} {event.outcome}"))
            case e.LeaseLost():
                story.append((seconds(event.at), f"{event.task} lost"))
            case e.TaskPreempted():
                story.append((seconds(event.at), f"{event.task} preempted"))
            case e.UsageReported():
                story.append((seconds(event.at), f"{event.agent} uses {event.tokens}"))
    return rerun, story


def seconds(at: dt.datetime) -> float:
    return (at - after(0)).total_seconds()
