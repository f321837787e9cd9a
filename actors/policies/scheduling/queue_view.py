"""The queue as it is shown to people: where each waiting task stands, with the terms of its score."""

import datetime as dt
import itertools

from tallystick.actors.policies.scheduling.index import SchedulerIndex
from tallystick.events.catalog.tasks import Expected
from tallystick.events.decide.task_answers import has_passed
from tallystick.events.messages import proposals as p


def queue_answer(index: SchedulerIndex, limit: int, now: dt.datetime) -> p.TellQueue:
    """The answer to `GetQueue`, without an id."""
    waiting = _queue_view(index, limit, now)
    starts = (Expected(one.task, one.expected_start, one.unknown) for one in waiting)
    has_passed_one = any(has_passed(index.ledger, one, now) for one in starts)
    return p.TellQueue(waiting=waiting, not_before=now if has_passed_one else None)


def _queue_view(index: SchedulerIndex, limit: int, now: dt.datetime) -> list[p.QueueView]:
    """The first ``limit`` waiting tasks in the order of the queue; scores to 6 places."""
    queue, moment = index.queue, index.moment(now)
    expected = index.expected(moment) if limit else {}
    kept = index.kept(moment)
    shown = []
    for ranked in itertools.islice(queue.ranked(moment), limit):
        terms, task = queue.ranking.terms(ranked.waiting, moment), ranked.waiting.task
        start = expected.get(task, "far_behind")
        kept_for = index.kept_for(ranked.waiting, kept)
        shown.append(
            p.QueueView(
                task=task,
                score=round(float(terms.score), 6),
                priority=round(float(terms.priority), 6),
                wait=round(float(terms.wait), 6),
                blocking=round(float(terms.blocking), 6),
                aged=ranked.aged,
                expected_start=start if isinstance(start, dt.datetime) and kept_for is None else None,
                unknown="behind_others" if kept_for is not None else None if isinstance(start, dt.datetime) else start,
                kept_for=kept_for,
            )
        )
    return shown
