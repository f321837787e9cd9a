"""What the actors send to one another. Actors only ``tell``; a message that must be answered carries its reply."""

import asyncio
import datetime as dt
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import msgspec

from tallystick.actors.policies.rebalancing.survey import Survey
from tallystick.events.catalog import Event
from tallystick.events.decide.permissions import Caller
from tallystick.events.log.store import Record
from tallystick.events.messages import Command

MANAGER, ALLOCATOR, TRACKER, ENFORCER, REALLOCATOR = "manager", "allocator", "tracker", "enforcer", "reallocator"
REPORTER, SENDER = "reporter", "sender"


class Answers(Protocol):
    """Takes the answers of one envelope."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """Where the waiting coroutine runs; None for a thread."""

    def set(self, answers: Sequence[bytes]) -> None:
        """Take them. `answer_all` wakes those who wait for them, behind the last of a batch."""


class BudgetNote:
    """How an account stands after a command: noted beside the answer, so that no second message must ask for it."""

    __slots__ = ("action", "allocated", "level", "remaining")

    def __init__(self) -> None:
        self.allocated: int | None = None
        """Tokens; None where they are not limited, or where there is no open account."""
        self.remaining: int | None = None
        self.level: str | None = None
        self.action: str | None = None


class Envelope:
    """Commands that belong together (one, or up to a thousand), their sender, and where the answers go.

    ``asked`` are each command's bytes, as the log will keep them. ``peer`` is who asked, by the system, as JSON: None
    where it is the process that runs the fleet. What hardly any envelope has is the class's until it is set.
    """

    key: str | None = None
    """Of a peer: the SHA-256, in hex, of the key that it has shown."""
    caller: Caller | None = None
    """Who it is over the HTTP service, where that asks for keys."""
    trace: str | None = None
    """The trace id that its sender gave."""
    note: BudgetNote | None = None
    """Where to note how the budget stands that a single command is about."""
    gone: bool = False
    """Its caller does not wait for the answer any more."""
    peer: bytes | None = None
    open: int = 0
    """How many answers still wait for a specialist's judgement."""

    def __init__(
        self, commands: list[Command], asked: list[bytes], by: str, reply: Answers | None, *, in_array: bool = False
    ) -> None:
        self.commands = commands
        self.asked = asked
        self.by = by
        self.reply = reply
        self.answers: list[bytes] = [b""] * len(commands)
        self.in_array = in_array or len(commands) > 1
        """Its commands came as a list, and are committed together."""


class Question(msgspec.Struct, frozen=True, gc=False):
    """A command that needs judgement before it can be decided, and where its answer goes."""

    command: Command
    envelope: Any
    slot: int


class Proposal(msgspec.Struct, frozen=True, gc=False):
    """What a specialist wants done. ``answers`` is the question that it answers, where there was one."""

    command: Command
    by: str
    answers: Question | None = None


class Answered(msgspec.Struct, frozen=True, gc=False):
    """The answer to a question that changes nothing, as it goes out."""

    question: Question
    answer: bytes


class Recorded(msgspec.Struct, frozen=True):
    """A batch that is durable: its events in order, and its records as stored."""

    events: Sequence[Event]
    records: Sequence[Record] = ()


class Tick(msgspec.Struct, frozen=True):
    """The moment has come at which the receiver asked to be woken."""

    now: dt.datetime


class SurveyWanted(msgspec.Struct, frozen=True):
    """The reallocator asks the tracker for a survey of the agents; ``question`` is the `Rebalance` that it is for."""

    question: Question | None


class Surveyed(msgspec.Struct, frozen=True):
    """The tracker's answer to `SurveyWanted`."""

    survey: Survey
    question: Question | None


class LookOn(msgspec.Struct, frozen=True):
    """The tracker to itself: there are steps that it has not looked at."""


LOOK_ON = LookOn()


class ExhaustionNear(msgspec.Struct, frozen=True):
    """The tracker reports to the enforcer that a budget will soon be used up; ``position`` is that of the report."""

    agent: str
    seconds: int
    method: str
    position: int
    opened_at: dt.datetime
    """When the agent's account was opened."""


class Post(msgspec.Struct, frozen=True, gc=False):
    """A message and its receiver."""

    to: str
    message: Any


class Batch(msgspec.Struct, frozen=True):
    """Messages for the same receiver, delivered together: one hop for all of them."""

    messages: list[Any]


def each(message: Any) -> Sequence[Any]:
    """The messages that were delivered together, or the one."""
    return message.messages if type(message) is Batch else (message,)


def together(posts: Sequence[Post]) -> Iterable[Post]:
    """The posts in their order; consecutive ones for the same receiver become one."""
    return posts if len(posts) < 2 else _together(posts)


def _together(posts: Sequence[Post]) -> Iterator[Post]:
    for to, group in itertools.groupby(posts, key=lambda post: post.to):
        messages = [post.message for post in group]
        yield Post(to, messages[0] if len(messages) == 1 else Batch(messages))
