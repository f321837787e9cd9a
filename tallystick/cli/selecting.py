"""Options that say which events are meant."""

import datetime as dt
import difflib
from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from tallystick.cli.common import MomentType
from tallystick.events import catalog as e
from tallystick.explain.selection import TYPES, Selection
from tallystick.moments import Moment

Command = TypeVar("Command", bound=Callable[..., Any])
_LIKE = 3


class EventType(click.ParamType[type[e.Event]]):
    """A type of event by its stored name, with or without its version: ``level-changed``, ``level-changed.v1``."""

    name = "TYPE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> type[e.Event]:
        if isinstance(value, type):
            return value
        found = TYPES.get(value.partition(".v")[0])
        if found is None:
            like = difflib.get_close_matches(value, TYPES, _LIKE, 0.4)
            hint = f"; similar: {', '.join(like)}" if like else ""
            self.fail(f"there is no type of event {value!r}{hint}; docs/reference/events.md lists them", param, ctx)
        return found

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(name) for name in sorted(TYPES) if name.startswith(incomplete)]


def since_option(function: Command) -> Command:
    """``--since POSITION|TIME``."""
    return click.option("--since", type=MomentType(), help="Only from this position or time on.")(function)


def until_option(function: Command) -> Command:
    """``--until POSITION|TIME``."""
    return click.option("--until", type=MomentType(), help="Only up to this position or time.")(function)


def refused_option(function: Command) -> Command:
    """``--refused``."""
    return click.option("--refused", is_flag=True, help="Only what was refused.")(function)


def between(since: Moment | None, until: Moment | None) -> Selection:
    """The events between two moments, both included.

    Raises:
        UsageError: the second is before the first.
    """
    first, last = since or Moment(), until or Moment()
    later = first.position is not None and last.position is not None and first.position > last.position
    if later or (first.time is not None and last.time is not None and first.time > last.time):
        raise click.UsageError("--since and --until: found the later moment first, allowed is the earlier one first")
    return Selection(since=_bound(since), until=_bound(until))


def _bound(moment: Moment | None) -> int | dt.datetime | None:
    if moment is None:
        return None
    return moment.time if moment.position is None else moment.position
