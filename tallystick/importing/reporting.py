"""Reports what was read to a fleet, in arrays, and counts what became of it."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import Any, Final

import msgspec

from tallystick.events.messages import MESSAGES_MAX, ReportUsage
from tallystick.importing.notes import SHOWN_MAX
from tallystick.importing.used import Used, report_of
from tallystick.wording import one_line

BYTES_MAX: Final = 512 * 1024
"""Of one array; a control socket takes twice as many."""
NO_MODEL: Final = "(no model)"
_encode = msgspec.json.Encoder(decimal_format="string").encode
Ask = Callable[[list[ReportUsage]], list[dict[str, Any]]]
"""Sends reports, and gives their answers in their order."""


class Outcome:
    """What became of the uses that were reported, or would become of them."""

    def __init__(self) -> None:
        self.reported = self.recorded = self.raised = self.known = self.history = self.refused = 0
        self.unallocated = 0
        self.tokens = 0
        self.unpriced: Counter[str] = Counter()
        self.foreign: dict[str, Decimal] = {}
        """The sum in each currency that is not dollars."""
        self.refusals: list[str] = []

    def note(self, used: Used, answer: dict[str, Any]) -> None:
        """Count an answer."""
        self.reported += 1
        error = answer.get("error")
        if error is not None:
            self.refused += 1
            if len(self.refusals) < SHOWN_MAX:
                self.refusals.append(one_line(f"{used.place}: refused: {error['code']}: {error.get('detail', '')}"))
            return
        reply = answer["ok"]
        if not reply.get("recorded", True):
            self.known += 1
        elif reply.get("repeats") is not None:
            self.raised += 1
        else:
            self.recorded += 1
            self.tokens += used.tokens
            self.history += bool(reply.get("history"))
            self.unallocated += bool(reply.get("unallocated")) and not reply.get("history")
            if used.cost is not None and used.currency not in ("USD",):
                self.foreign[used.currency] = self.foreign.get(used.currency, Decimal()) + used.cost
        if reply.get("unpriced") or (used.cost is None and used.model is None):
            self.unpriced[used.model or NO_MODEL] += 1


def report(
    uses: Iterable[Used], ask: Ask, agent: str | None, rates: dict[str, Decimal], prefix: str, outcome: Outcome
) -> None:
    """Report uses, whose messages are called ``prefix`` and a number; ``agent``, in place of those that are named."""
    messages = ((used, report_of(used, f"{prefix}-{n}", agent, rates)) for n, used in enumerate(uses))
    for array in _arrays(messages):
        answers = ask([message for _, message in array])
        for (used, _), answer in zip(array, answers, strict=True):
            outcome.note(used, answer)


def _arrays(messages: Iterator[tuple[Used, ReportUsage]]) -> Iterator[list[tuple[Used, ReportUsage]]]:
    array: list[tuple[Used, ReportUsage]] = []
    size = 0
    for pair in messages:
        length = len(_encode(pair[1])) + 1
        if array and (size + length > BYTES_MAX or len(array) == MESSAGES_MAX):
            yield array
            array, size = [], 0
        array.append(pair)
        size += length
    if array:
        yield array
