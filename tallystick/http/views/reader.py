"""Answers what is asked about a log, in a process of its own (``python -m tallystick.http.views.reader``) or a thread.

A question is one line of JSON; its answer is one line too, ``{"ok": …}`` or ``{"error": {"code", "detail"}}``.
"""

import gc
import os
import sys
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from tallystick.cli.common import make_way
from tallystick.events.log.broken_chain import BrokenChain
from tallystick.events.log.store import Store, StoreError, open_store
from tallystick.http.views import agents, views
from tallystick.http.views.newest import Newest
from tallystick.http.views.page import page
from tallystick.http.views.state import State
from tallystick.http.views.states import Walk
from tallystick.moments import ALLOWED, read_moment
from tallystick.projections.store.as_of import NotThere

PARAMETERS: Final[Mapping[str, tuple[str, ...]]] = {
    **{name: ("at", *plain.parameters) for name, plain in views.PLAIN.items()},
    "agents": ("at", *agents.Asked.__struct_fields__),
    "events": ("at", *views.EventsAsked.__struct_fields__),
    "page": ("at", "every"),
}
"""The views by name, and what each may be asked."""
NAMES: Final = frozenset(PARAMETERS)
STORE_VARIABLE: Final = "TALLYSTICK_STORE"
LOG_TIME: Final = "log"
"""The argument that makes now the time of the newest event."""


class Question(msgspec.Struct, frozen=True):
    """A view by its name, at a moment (None: now), and what else is asked of it, as the query of a URL has it."""

    view: str
    at: str | None = None
    asked: Mapping[str, Any] = {}


class _Wrong(Exception):
    """The question cannot be answered."""


_encode = msgspec.json.Encoder(decimal_format="number").encode
_decode = msgspec.json.Decoder(Question).decode


class Reader:
    """Answers questions about one store, one at a time.

    ``log_time``: now is the time of the newest event, as in a fleet that has a clock of its own.
    """

    def __init__(self, store: Store, *, log_time: bool) -> None:
        self._store = store
        self._newest = Newest(store, log_time=log_time)
        self._walk = Walk(store)

    def answer(self, line: bytes) -> bytes:
        """The answer to one question."""
        try:
            return _encode({"ok": self._answer(_decode(line))})
        except NotThere as error:
            return _error("unknown_position", str(error))
        except views.Refused as error:
            return _error(error.code, str(error))
        except (BrokenChain, StoreError) as error:  # before `ValueError`, which a `BrokenChain` is
            return _error("report_failed", f"the log could not be read: {error}")
        except (_Wrong, ValueError) as error:
            return _error("invalid_parameter", str(error))

    def _answer(self, question: Question) -> Any:
        state = self._state(question.at)
        asked = question.asked
        match question.view:
            case "page":
                return page(state, self._store, msgspec.convert(asked, views.RowsAsked, strict=False).every)
            case "agents":
                return agents.window(state, msgspec.convert(asked, agents.Asked, strict=False))
            case "events":
                return views.events(state, self._store, msgspec.convert(asked, views.EventsAsked, strict=False))
        return views.PLAIN[question.view].show(state, msgspec.convert(asked, views.RowsAsked, strict=False))

    def _state(self, at: str | None) -> State:
        if at is None:
            return self._newest.state()
        moment = read_moment(at)
        if moment is None:
            raise _Wrong(f"at: found {at!r:.100}, allowed is {ALLOWED}")
        return self._walk.state(moment)


def _error(code: str, detail: str) -> bytes:
    return _encode({"error": {"code": code, "detail": detail}})


def main(url: str, time: str) -> None:
    """Answer questions from stdin until it ends."""
    make_way()
    store = open_store(url)
    reader = Reader(store, log_time=time == LOG_TIME)
    gc.freeze()
    out = sys.stdout.buffer
    for line in sys.stdin.buffer:
        out.write(reader.answer(line) + b"\n")
        out.flush()
    store.close()


if __name__ == "__main__":
    main(os.environ[STORE_VARIABLE], sys.argv[1])
