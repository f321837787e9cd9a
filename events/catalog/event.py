"""The head that every event has."""

import datetime as dt
from typing import ClassVar, Literal

import msgspec

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
Kind = Literal["fact", "decision"]


class Event(msgspec.Struct, tag_field="type", kw_only=True, omit_defaults=True, gc=False):
    """The head that every event has; it is stamped when the event is recorded.

    ``id`` is the command that caused it, ``by`` who asked, ``position`` gapless from 1. The log's record of an event
    adds the command and the reply (to the first event of a command) and the digest that chains it (see ``codec``).
    """

    kind: ClassVar[Kind]

    position: int = 0
    at: dt.datetime = EPOCH
    id: str = ""
    by: str = ""
