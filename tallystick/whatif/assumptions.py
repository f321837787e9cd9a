"""All that a what-if had to assume, in sentences."""

from collections.abc import Iterator

from tallystick.events.catalog import rules_version
from tallystick.events.state.money import minus
from tallystick.whatif.rerun import Rerun
from tallystick.whatif.stretches import positions
from tallystick.wording import counted, shown_time


def assumptions(rerun: Rerun) -> Iterator[str]:
    """Every assumption that the answer rests on, in a sentence or two each."""
    question, messages, divergence = rerun.question, rerun.message_filter, rerun.divergence
    yield from _about_rules(rerun)
    yield (
        "Messages are kept as they were sent, when they were sent. Except for what follows, agents behave as"
        " they did in"
        " the log."
    )
    yield (
        "An agent that the other policy has stopped, and the log had not, begins nothing until it may go on: what it"
        " reported meanwhile is counted as saved at its recorded cost, also what was under way when it was"
        " stopped. A hold"
        " that it had been granted is settled as recorded."
    )
    yield (
        "An agent that gets no account uses nothing, and an operation whose hold is refused for lack of budget is not"
        " begun: that is counted as saved, too."
    )
    yield from _about_runs(rerun)
    if rerun.other.tasks.counts["breaker_tripped"] > rerun.recorded.tasks.counts["breaker_tripped"]:
        yield (
            "A breaker that trips only under the other policy is not reset: it stays open until the next day,"
            " or until the"
            " log's next order."
        )
    yield (
        "A throttle moves no report in time: an agent that has to wait longer than in the log, or not at all,"
        " reports when"
        " it did."
    )
    if question.prices is not None:
        yield "Usage that named a model and no cost is priced anew; a cost that was reported stays as it is."
    if messages.unknown:
        yield (
            f"What {counted(len(messages.unknown), 'agent')} would have used beyond the log is unknown, and"
            " counts as nothing:"
            " the other policy allows what the log had refused or stopped. What was refused in the log and is"
            " granted here"
            " is granted once, however often it was requested; a hold that would never be settled is given back"
            " at once."
        )
    if any(minus(messages.beyond_log, messages.beyond_log_by_runs)):
        yield "Settlements that the log refused, and the other policy records, are counted as used."
    if any(messages.beyond_log_by_runs):
        yield (
            "Usage of runs of tasks that are repeated, go on where the log cut them short, or never ran in the log, is"
            " counted as used beyond the log."
        )
    yield from _about_corrections(rerun)
    if divergence is None:
        yield "The specialists had no reason to propose anything else: their proposals in the log were decided anew."
    else:
        yield (
            f"Up to position {divergence.position:,} ({shown_time(divergence.at)}) the specialists had no"
            " reason to propose"
            " anything else, and their proposals in the log were decided anew. After that they make their own"
            " proposals,"
            " with a clock that is never late, in a fleet that is never closed."
        )
    yield "Moments that differ by less than a second are counted as the same."
    for what, count in question.passed_over.items():
        if count:
            many = what.replace("_", " ")
            subject = (
                f"{count:,} later {many} of the log change" if count > 1 else f"A later {many[:-1]} of the log changes"
            )
            yield f"{subject} nothing here."


def _about_corrections(rerun: Rerun) -> Iterator[str]:
    """What is assumed of usage that the log corrects."""
    if rerun.message_filter.corrected:
        yield (
            "What the log corrects later is corrected here, too, as far as it was used here: to the same figure where"
            " the same was used, and else by as much."
        )


def _about_rules(rerun: Rerun) -> Iterator[str]:
    """What was decided by other rules than ours."""
    for stretch in rerun.stretches.others:
        yield (
            f"{positions(stretch).capitalize()} were decided by version {stretch.rules} of the rules. What would have"
            f" been different is decided by version {rules_version.RULES_VERSION}: figures may differ for that reason"
            " alone, and single decisions are not compared there."
        )


def _about_runs(rerun: Rerun) -> Iterator[str]:
    """What is assumed of the runs of tasks."""
    if not rerun.recorded.tasks.counts["submitted"]:
        return
    yield (
        "A run of a task that starts at another time than in the log takes its messages with it: they follow"
        " its start by"
        " the same delays, with the lease that it has here. What was submitted, cancelled or ordered from outside stays"
        " where it was."
    )
    yield (
        "A run that only the log cut short goes on like the first later run of that task that ended by itself."
        " A run that"
        " is cut short only here sends its next message, learns of it, and stops; the task's next run begins"
        " anew. A run"
        " that fell silent in the log falls silent here. The answer ends where the log ends."
    )
    estimated = rerun.shifted.estimated
    if estimated:
        yield (
            f"{counted(estimated, 'run')} of tasks that the log never ran {'is' if estimated == 1 else 'are'}"
            " assumed to use"
            " what was estimated, and to last as long; where no time was estimated, as long as a run of the log"
            " on average."
        )
        mean = rerun.shifted.priced_by_mean
        if mean:
            yield (
                f"Of these, {counted(mean, 'run')} cost per token what completed tasks of the same type and model cost"
                " in the log on average."
            )
        if mean < estimated:
            yield (
                f"For {counted(estimated - mean, 'run')} no task of the type and model was completed in the log: the"
                " price list says what the estimated tokens cost, all as input."
            )
