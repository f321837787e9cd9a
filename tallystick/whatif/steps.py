"""The log as it came about: what one command caused is one step, and so is what only time brought."""

import contextlib
import datetime as dt
from collections.abc import Container, Iterable, Iterator, Sequence
from decimal import Context, Decimal
from typing import Final

import msgspec

from tallystick.config.amounts import Amounts, Budget, InvalidAmount
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.catalog import STORED_NAME
from tallystick.events.decide.turn import Waited
from tallystick.events.decide.waiting import waited_of
from tallystick.events.log.broken_chain import BrokenChain
from tallystick.events.log.reading import command_of, event_of
from tallystick.events.log.store import Record
from tallystick.events.messages import proposals as p

REFUSED = STORED_NAME[e.RequestRefused]


class Step:
    """The records of one command, at one moment: ``due`` is what time had brought before it, ``own`` what it caused.

    A step without own records is what happened before a command that left no trace itself: time passed until then.
    ``request`` and ``reply`` are the command and its reply, and ``peer`` is who asked, byte for byte; ``trace`` is
    where it was asked.
    """

    __slots__ = ("at", "by", "due", "id", "own", "peer", "reply", "request", "trace")

    def __init__(self, at: dt.datetime) -> None:
        self.at = at
        self.id = ""
        self.by = ""
        self.due: list[Record] = []
        self.own: list[Record] = []
        self.request = b""
        self.reply = b""
        self.peer = b""
        self.trace = ""

    @property
    def records(self) -> Sequence[Record]:
        """All of them, in order."""
        return [*self.due, *self.own] if self.due else self.own

    @property
    def position(self) -> int:
        """The position of its first record."""
        return (self.due or self.own)[0].position

    @property
    def command(self) -> c.Command:
        """The command.

        Raises:
            NewerLog: only a newer version knows it.
            BrokenChain: it cannot be read.
        """
        return command_of(self.request, self.own[0].position)

    def waited(self) -> Waited | None:
        """How long a `Reserve` had waited for room when it was decided: the manager knew, and the log says it."""
        return waited_of(event_of(self.own[0])) if self.own and isinstance(self.command, c.Reserve) else None

    def decided_by(self) -> c.Command:
        """What the core was given: the command, or the judgement that a specialist answered it with."""
        command = self.command
        match command:
            case c.Rebalance():
                return self.plan()
            case c.SubmitTask():
                return self.placement()
        return command

    def plan(self) -> p.ApplyMoves:
        """The plan that answered a `Rebalance`: the log has the question as the command, and the moves as events."""
        moved = [event_of(record) for record in self.own if record.name == _MOVED]
        moves = [
            p.Move(event.source, event.target, event.amount, event.reason, event.strategy)
            for event in moved
            if isinstance(event, e.BudgetMoved)
        ]
        answered = self._moves_answered()
        if len(answered) == len(moves):
            # The reply has all of it but the strategy. So an event that says something else is found as itself.
            moves = [
                p.Move(one.source, one.target, _amount(one.amount, move.amount), one.reason, move.strategy)
                for one, move in zip(answered, moves, strict=True)
            ]
        return p.ApplyMoves(moves=moves, asked=True, id=self.id)

    def _start_answered(self, recorded: dt.datetime | None) -> dt.datetime | None:
        """When the reply said that a task is expected to start; ``recorded`` where it does not say it."""
        with contextlib.suppress(msgspec.MsgspecError):
            answered = _read_start(self.reply).ok.expected_start
            return recorded if answered is msgspec.UNSET else answered
        return recorded

    def _moves_answered(self) -> "list[_MoveAnswered]":
        with contextlib.suppress(msgspec.MsgspecError, InvalidAmount):
            return _read_moves(self.reply).ok.moves
        return []

    def placement(self, judged: p.PlaceTask | None = None) -> p.PlaceTask:
        """The judgement that answered a `SubmitTask`: the log has the question as the command, and as events what the
        core made of the judgement.

        What came to nothing is not in the log. It is taken from ``judged``, where that agrees with what is in the log.
        """
        submitted = self.command
        assert isinstance(submitted, c.SubmitTask)
        shown = p.PlaceTask(submitted=submitted, id=self.id)
        started = False
        for record in self.own:
            match event_of(record) if record.name in _PLACED else None:
                case e.TaskPreempted(task=victim, beneficiary=submitted.task):
                    shown.victim = victim
                case e.TaskStarted(task=submitted.task, aged=aged):
                    shown.aged, started = aged, True
                case e.TaskQueued(task=submitted.task) as queued:
                    shown.expected_start = self._start_answered(queued.expected_start)
                    shown.unknown = queued.unknown
                    if queued.code == "outranked":
                        # Older records name the task only in their sentence.
                        shown.behind = queued.behind or (queued.message or "").removesuffix(_OUTRANKED)
                    elif queued.code == "kept_for_older":
                        shown.kept_for = queued.behind
        if judged is None or judged.victim != shown.victim:
            return shown
        first, recorded = (judged.behind, judged.kept_for), (shown.behind, shown.kept_for)
        if first != recorded and (started or any(recorded)):
            return shown
        expected = judged.expected_start if started else shown.expected_start
        aged = shown.aged or judged.aged
        unknown = judged.unknown if started else shown.unknown
        return msgspec.structs.replace(judged, id=self.id, aged=aged, expected_start=expected, unknown=unknown)


def _amount(answered: Budget, recorded: Amounts) -> Amounts:
    """The amount that a reply says, however large: it may be a sum of many. Its seconds are a JSON number, which has 53
    bits: where the reply can say no more than that about the time that was recorded, that is what it says. Nor does a
    figure that is none say anything: the reply is found to be another one all the same.
    """
    seconds, time_ms = answered.time_seconds, recorded.time_ms
    if seconds is None or time_ms is None or not seconds.is_finite() or float(seconds) != time_ms / 1_000:
        time_ms = _units(seconds, 3, time_ms)
    return Amounts(answered.tokens, time_ms, _units(answered.cost_usd, 9, recorded.cost_nanos))


def _units(amount: Decimal | None, digits: int, recorded: int | None) -> int | None:
    """An amount in internal units, of which one at the edge has ``10 ** digits``."""
    if amount is None:
        return None
    return int(amount.scaleb(digits, _WIDE)) if amount.is_finite() and amount.adjusted() < _WIDE.prec else recorded


_WIDE = Context(prec=100)
_OPENED = STORED_NAME[e.FleetOpened]
_MOVED = STORED_NAME[e.BudgetMoved]
_PLACED = frozenset(STORED_NAME[kind] for kind in (e.TaskPreempted, e.TaskStarted, e.TaskQueued))
_OUTRANKED = " ranks higher and waits for the same slot"
"""What follows the name of the higher task in the message of a task that is queued as ``outranked``."""


class _MoveAnswered(msgspec.Struct, rename={"source": "from", "target": "to"}):
    source: str
    target: str
    amount: Budget
    reason: str


class _Plan(msgspec.Struct):
    moves: list[_MoveAnswered]


class _PlanReply(msgspec.Struct):
    ok: _Plan


class _Start(msgspec.Struct):
    expected_start: dt.datetime | msgspec.UnsetType | None = msgspec.UNSET


class _StartReply(msgspec.Struct):
    ok: _Start


_read_start = msgspec.json.Decoder(_StartReply).decode
_read_moves = msgspec.json.Decoder(_PlanReply).decode


class _Head(msgspec.Struct):
    at: dt.datetime
    id: str = ""
    by: str = ""
    command: msgspec.Raw = msgspec.Raw()
    reply: msgspec.Raw = msgspec.Raw()
    peer: msgspec.Raw = msgspec.Raw()
    trace: str = ""


_read = msgspec.json.Decoder(_Head).decode


def steps_of(records: Iterable[Record], cuts: Container[int] = ()) -> Iterator[Step]:
    """The records of a whole log, a command at a time. Nothing is proved here, but where the records are applied.

    What only time brought ends at each position in ``cuts``: the state there is wanted. It ends also where a fleet is
    opened again, which comes before what falls due by then: what was due before it was brought while the fleet ran.

    Raises:
        BrokenChain: a record cannot be read, or belongs to no command.
    """
    step: Step | None = None
    for record in records:
        try:
            head = _read(record.data)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise BrokenChain(record.position, f"the record cannot be read: {error}") from error
        request = bytes(head.command)
        if head.id and not request:
            if step is None or step.id != head.id:
                raise BrokenChain(record.position, "the record belongs to no command before it")
            step.own.append(record)
            continue
        if step is not None and (step.own or step.at != head.at or record.name == _OPENED):
            yield step
            step = None
        step = step or Step(head.at)
        if request:
            step.id, step.by, step.request, step.reply = head.id, head.by, request, bytes(head.reply)
            step.peer, step.trace = bytes(head.peer), head.trace
            step.own.append(record)
        else:
            step.due.append(record)
            if record.position in cuts:
                yield step
                step = None
    if step is not None:
        yield step


_IN_ROWS: Final = frozenset(STORED_NAME[kind] for kind in (e.UsageReported, e.HoldPlaced, e.HoldSettled))
ROW_MAX: Final = 64
"""Steps of a row."""
_WAITED: Final = b',"waited_since":'


def rows_of(steps: Iterable[Step], cuts: Container[int] = ()) -> Iterator[list[Step]]:
    """Steps that may be decided in one go together; any other by itself. A row ends at each position in ``cuts``.

    Raises:
        BrokenChain: the steps have raised it, behind those before.
    """
    row: list[Step] = []
    broken: BrokenChain | None = None
    try:
        for step in steps:
            own = step.own
            is_one = not step.due and len(own) == 1 and own[0].name in _IN_ROWS and _WAITED not in own[0].data
            if row and not (is_one and row[0].own[0].name == own[0].name):
                yield row
                row = []
            row.append(step)
            if not is_one or len(row) == ROW_MAX or own[0].position in cuts:
                yield row
                row = []
    except BrokenChain as error:
        broken = error
    if row:
        yield row
    if broken is not None:
        raise broken
