"""Follows a log by deciding it anew: each event, number, reason and reply must be the recorded one.

Commands and what specialists judged are taken from the log (`tallystick.whatif.steps`); `decide` checks a judgement as
it did when it was made. What was decided by another version of the rules is followed as it is recorded.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from tallystick.events.catalog import STORED_NAME, Event
from tallystick.events.log.broken_chain import BrokenChain
from tallystick.events.log.lookup import Records
from tallystick.events.log.replaying import Chain
from tallystick.events.log.store import Record
from tallystick.events.state.ledger import Ledger
from tallystick.whatif.mismatch import Field, Mismatch, fields_of, in_words
from tallystick.whatif.reproduction import Reproduction
from tallystick.whatif.steps import ROW_MAX, Step, rows_of, steps_of

T = TypeVar("T")
_SHOWN = 3
"""Fields that the sentence about a contradiction names; the JSON form has all."""


class Contradicted(BrokenChain):
    """A record that follows the one before it, and says something else than what was decided; ``fields`` say what."""

    def __init__(self, position: int, reason: str, fields: Sequence[Field]) -> None:
        super().__init__(position, reason)
        self.fields = fields


class Deciding:
    """See `tallystick.events.log.audit.Follower`. ``cuts`` are positions at which the state is wanted,
    ``log`` is as in `Reproduction`.
    """

    replays = True

    def __init__(self, cuts: Container[int] = (), log: Records | None = None) -> None:
        self.reproduction = Reproduction(log=log)
        self._cuts = cuts

    @property
    def ledger(self) -> Ledger:
        return self.reproduction.ledger

    def follow(self, records: Iterable[Record]) -> Iterator[tuple[Event, bytes]]:
        chain, again, size = Chain(), self.reproduction, 1
        for row in rows_of(steps_of(chain.proved(records), self._cuts), self._cuts):
            done = 0
            while done < len(row):
                tried = row[done : done + size]
                try:
                    if len(tried) > 1:
                        came_out, found = _decided(partial(again.take_row, tried), tried[0])
                        size = min(2 * size, ROW_MAX) if came_out == len(tried) else 1
                    else:
                        came_out, found = 1, _decided(partial(again.take, tried[0]), tried[0])
                        size = max(size, 2)
                except BrokenChain as error:
                    yield from again.proved
                    raise chain.broken or error from error
                yield from self._proved(found, tried[min(came_out, len(tried) - 1)], chain)
                done += came_out
        if chain.broken is not None:
            raise chain.broken

    def _proved(self, found: Mismatch | None, step: Step, chain: Chain) -> Iterator[tuple[Event, bytes]]:
        """The events that are as recorded, up to what was ``found`` to be otherwise in a step.

        Raises:
            BrokenChain: something was.
        """
        if found is None:
            yield from self.reproduction.proved
            return
        for event, digest in self.reproduction.proved:
            if event.position < found.position:
                yield event, digest
        # A step that the chain broke off in the middle lacks its rest.
        if chain.broken is not None and found.position >= chain.broken.position:
            raise chain.broken
        raise contradicted(found, step)


def _decided(take: Callable[[], T], first: Step) -> T:
    """What is found when steps are decided, of which this is the first."""
    try:
        return take()
    except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError) as error:
        reason = f"what is recorded cannot be decided: {type(error).__name__} {error}"
        raise BrokenChain(first.position, reason) from error


def contradicted(found: Mismatch, step: Step) -> Contradicted:
    """A contradiction in words: what, whose, and the fields."""
    fields = fields_of(found)
    what = f"{type(step.command).__name__} of {step.by}" if step.own else "time passed"
    event = found.recorded or found.new
    assert event is not None
    if found.recorded is None:
        text = f"{STORED_NAME[type(event)]} is missing ({what}): it follows when this is decided again"
    elif found.new is None:
        used = "" if found.new_reply or not step.own else ": the id was used before, and would be answered from the log"
        text = f"{STORED_NAME[type(event)]} ({what}) does not follow when this is decided again{used}"
    else:
        shown = [in_words(field) for field in fields[:_SHOWN]]
        more = f", and {len(fields) - _SHOWN} more fields" if len(fields) > _SHOWN else ""
        text = f"{STORED_NAME[type(event)]} ({what}): {'; '.join(shown)}{more}"
    return Contradicted(found.position, text, fields)
