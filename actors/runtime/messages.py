"""What the people of the fleet say to one another. Actors only ``tell``; what must be answered carries its reply."""

import asyncio
import datetime as dt
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import msgspec

from tallystick.config.amounts import DIMENSIONS, Triple
from tallystick.events.catalog import Event
from tallystick.events.messages import Command
from tallystick.events.state.ledger import Ledger

MANAGER, ALLOCATOR, TRACKER, ENFORCER, REALLOCATOR = "manager", "allocator", "tracker", "enforcer", "reallocator"
NOTIFIER, SENDER, REPORTER = "courier", "messenger", "reporter"


class Answers(Protocol):
    """Somebody who waits for the answers of one envelope."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """Where the waiting coroutine runs; None for a thread."""

    def set(self, answers: Sequence[bytes]) -> None: ...


class Envelope:
    """Commands that belong together (one, or up to a thousand), who asks, and who waits for the answers."""

    __slots__ = ("answers", "asked", "by", "commands", "open", "reply")

    def __init__(self, commands: list[Command], asked: list[bytes], by: str, reply: Answers | None) -> None:
        self.commands = commands
        self.asked = asked
        """Each command's bytes, as the log will keep them."""
        self.by = by
        self.reply = reply
        self.answers: list[bytes] = [b""] * len(commands)
        self.open = 0
        """How many answers still wait for a specialist's judgement."""


class Proposal(msgspec.Struct, frozen=True, gc=False):
    """What a specialist wants done. ``answers`` is the question that it answers, where there was one.

    ``needs_refusal_notice``: the proposer counts on it, and is told where it was refused.
    """

    command: Command
    by: str
    answers: "Question | None" = None
    needs_refusal_notice: bool = False


class Refused(msgspec.Struct, frozen=True, gc=False):
    """A proposal that its proposer counts on was refused."""

    command: Command


class Question(msgspec.Struct, frozen=True, gc=False):
    """A command that needs judgement before it can be decided, and where its answer goes."""

    command: Command
    envelope: Any
    slot: int


class Answered(msgspec.Struct, frozen=True, gc=False):
    """The answer to a question that changes nothing, as it goes out."""

    question: Question
    answer: bytes


class Figures(msgspec.Struct, frozen=True):
    """How the fleet stands after a commit: what a plan must know of the whole."""

    pool: Triple
    spendable: Triple
    minimum_share: tuple[int, int, int]
    in_crisis: bool


def figures_of(ledger: Ledger) -> Figures:
    """How the fleet stands by its state."""
    spendable = [None if ledger.root.allocated[d] is None else ledger.spendable(d) for d in DIMENSIONS]
    least = [ledger.minimum_share(d) for d in DIMENSIONS]
    return Figures(
        ledger.pool,
        (spendable[0], spendable[1], spendable[2]),
        (least[0], least[1], least[2]),
        ledger.in_crisis,
    )


class Recorded(msgspec.Struct, frozen=True):
    """A batch that is durable: its events in order, and how the fleet stands after them."""

    events: Sequence[Event]
    figures: Figures


class Heard(msgspec.Struct, frozen=True, gc=False):
    """What was decided and is not durable yet, for one beside the manager, and what the pool has free after it."""

    events: Sequence[Event]
    pool: Triple


class Tick(msgspec.Struct, frozen=True):
    """A moment that somebody waited for has come."""

    now: dt.datetime


class SurveyWanted(msgspec.Struct, frozen=True):
    """The reallocator asks the tracker how the agents stand."""

    question: Question | None


class Post(msgspec.Struct, frozen=True, gc=False):
    """A message and whom it is for."""

    to: str
    message: Any


class Batch(msgspec.Struct, frozen=True):
    """Messages that are delivered together, because they are for the same person: one hop for all of them."""

    messages: list[Any]


def each(message: Any) -> Sequence[Any]:
    """The messages that were delivered together, or the one."""
    return message.messages if type(message) is Batch else (message,)


def together(posts: Iterable[Post]) -> Iterator[Post]:
    """The posts in their order, those that follow one another to the same person as one."""
    for to, group in itertools.groupby(posts, key=lambda post: post.to):
        messages = [post.message for post in group]
        yield Post(to, messages[0] if len(messages) == 1 else Batch(messages))
