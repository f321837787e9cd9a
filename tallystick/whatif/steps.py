"""The log as it came about: what one command caused is one step, and so is what time alone brought."""

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.catalog import STORED_NAME
from tallystick.events.log.codec import BrokenChain, decode_command, decode_event
from tallystick.events.log.store import Record
from tallystick.events.messages import proposals as p


class Step:
    """The records of one command, at one moment: ``due`` what the clock had brought before it, ``own`` what it caused.

    A step without own records is what a message brought about that left no trace itself: time passed until then.
    ``asked`` and ``answered`` are the command and its reply, byte for byte.
    """

    __slots__ = ("answered", "asked", "at", "by", "due", "id", "own")

    def __init__(self, at: dt.datetime) -> None:
        self.at = at
        self.id = ""
        self.by = ""
        self.due: list[Record] = []
        self.own: list[Record] = []
        self.asked = b""
        self.answered = b""

    @property
    def records(self) -> Sequence[Record]:
        """All of them, in order."""
        return [*self.due, *self.own] if self.due else self.own

    @property
    def command(self) -> c.Command:
        """What was asked.

        Raises:
            BrokenChain: this version of tallystick does not know it.
        """
        try:
            return decode_command(self.asked)
        except (msgspec.MsgspecError, ValueError, ArithmeticError) as error:
            raise BrokenChain(self.own[0].position, f"its command cannot be read: {error}") from error

    def plan(self) -> p.ApplyMoves:
        """The plan that answered a `Rebalance`: the log has the question as the command, and the moves as events."""
        moved = [_event_of(record) for record in self.own if record.name == _MOVED]
        moves = [
            p.Move(event.source, event.target, event.amount, event.reason, event.strategy)
            for event in moved
            if isinstance(event, e.BudgetMoved)
        ]
        return p.ApplyMoves(moves=moves, asked=True, id=self.id)

    def placement(self, judged: p.PlaceTask | None = None) -> p.PlaceTask:
        """The judgement that a `SubmitTask` was decided by: the log has the question as the command, and what the law
        made of it as events.

        What of a judgement came to nothing is not in the log. ``judged`` says it, where it agrees with what is there.
        """
        submitted = self.command
        assert isinstance(submitted, c.SubmitTask)
        shown = p.PlaceTask(submitted=submitted, id=self.id)
        started = False
        for record in self.own:
            match _event_of(record) if record.name in _PLACED else None:
                case e.TaskPreempted(task=victim, beneficiary=submitted.task):
                    shown.victim = victim
                case e.TaskStarted(task=submitted.task, aged=aged):
                    shown.aged, started = aged, True
                case e.TaskQueued(task=submitted.task) as queued:
                    shown.expected_start = queued.expected_start
                    if queued.code == "outranked":
                        shown.behind = (queued.message or "").removesuffix(_OUTRANKED)
        if judged is None or judged.victim != shown.victim:
            return shown
        if judged.behind != shown.behind and (started or shown.behind is not None):
            return shown
        expected = judged.expected_start if started else shown.expected_start
        aged = shown.aged or judged.aged
        return msgspec.structs.replace(judged, id=self.id, aged=aged, expected_start=expected)

    def decided_by(self) -> c.Command:
        """What was put to the law: the command, or the judgement that answered it."""
        command = self.command
        match command:
            case c.Rebalance():
                return self.plan()
            case c.SubmitTask():
                return self.placement()
        return command


def _event_of(record: Record) -> e.Event:
    """The event of a record that nobody has proved yet.

    Raises:
        BrokenChain: it cannot be read.
    """
    try:
        return decode_event(record.data, record.name)
    except (msgspec.MsgspecError, ValueError) as error:
        raise BrokenChain(record.position, f"the record cannot be read: {error}") from error


_MOVED = STORED_NAME[e.BudgetMoved]
_PLACED = frozenset(STORED_NAME[kind] for kind in (e.TaskPreempted, e.TaskStarted, e.TaskQueued))
_OUTRANKED = " ranks higher and waits for the same slot"
"""How the law puts it that a task waits for one that ranks higher, behind that one's name."""


class _Head(msgspec.Struct):
    at: dt.datetime
    id: str = ""
    by: str = ""
    command: msgspec.Raw = msgspec.Raw()
    reply: msgspec.Raw = msgspec.Raw()


_read = msgspec.json.Decoder(_Head).decode


def steps_of(records: Iterable[Record]) -> Iterator[Step]:
    """The records of a whole log, a command at a time. Nothing is proved here: whoever applies them does it.

    Raises:
        BrokenChain: a record cannot be read, or belongs to no command.
    """
    step: Step | None = None
    for record in records:
        try:
            head = _read(record.data)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise BrokenChain(record.position, f"the record cannot be read: {error}") from error
        asked = bytes(head.command)
        if asked:
            if step is not None and (step.own or step.at != head.at):
                yield step
                step = None
            step = step or Step(head.at)
            step.id, step.by, step.asked, step.answered = head.id, head.by, asked, bytes(head.reply)
            step.own.append(record)
        elif head.id:
            if step is None or step.id != head.id:
                raise BrokenChain(record.position, "the record belongs to no command before it")
            step.own.append(record)
        else:
            if step is not None and (step.own or step.at != head.at):
                yield step
                step = None
            step = step or Step(head.at)
            step.due.append(record)
    if step is not None:
        yield step
